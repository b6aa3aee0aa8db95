"""The tree of files on a screen: what keys do, what comes when, and what stays where it was."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from winslow.errors import StoreUnreachable, WinslowError
from winslow.workspace import EntryType
from winslow_tui.facade.filing import File
from winslow_tui.program.filetree import LOOKING, Level, Place
from winslow_tui.program.sorting import Sorting
from winslow_tui.program.themes import DARK
from winslow_tui.widgets.browser import Browser
from winslow_tui.widgets.frame import Line
from winslow_tui.widgets.table import Cell

PATHS = ("models/v8.bin", "models/old/v7.bin", "ulm/north.mp4", "ulm/south.mp4", "readme.txt")
RESOURCES: Place = ("res:", "what all projects share")


@dataclass
class Disk:
    """Files by path. A look is answered at once or, while it is `slow`, when the test says so; while it is `away` none
    is."""

    paths: set[str]
    slow: bool = False
    away: bool = False
    looks: list[str] = field(default_factory=list)
    answers: list[Callable[[], None]] = field(default_factory=list)

    def look(self, where: str) -> list[File]:
        self.looks.append(where)
        if self.away:
            raise StoreUnreachable("the store is away")
        below = where.partition(":")[2]
        names = {path.removeprefix(below).partition("/")[:2] for path in self.paths if path.startswith(below)}
        return [
            File(
                path=below + name,
                kind=EntryType.DIR if slash else EntryType.FILE,
                size=0 if slash else len(name),
                modified="2026-06-12T10:00:00Z",
                target="../elsewhere" if name == "link" else "",
            )
            for name, slash in names
        ]

    def ask(
        self,
        work: Callable[[], Level],
        done: Callable[[Level], None],
        failed: Callable[[WinslowError], None],
    ) -> None:
        try:
            answer: Callable[[], None] = partial(done, work())
        except WinslowError as error:
            answer = partial(failed, error)
        if self.slow:
            self.answers.append(answer)
        else:
            answer()


class Shown(App[None]):
    """A tree alone."""

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self.disk = disk
        self.opened: list[str] = []

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return DARK.variables

    def compose(self) -> ComposeResult:
        view = Browser(self.disk.look, self.disk.ask)
        view.set_places([RESOURCES], unfolded=["res:"])
        yield view

    def on_mount(self) -> None:
        self.view.table.focus()

    def on_browser_opened(self, event: Browser.Opened) -> None:
        self.opened.append(event.where)

    @property
    def view(self) -> Browser:
        return self.query_one(Browser)

    def rows(self) -> list[str]:
        """What stands below NAME, with cursor and marks; of wide rows all."""
        table = self.view.table
        shown = [table.render_line(y).text for y in range(1, table.size.height)]
        return [re.sub(r" +\d+ B +2026.*", "", line).rstrip() for line in shown if line.strip()]

    @property
    def place(self) -> str:
        """The line above."""
        line = self.query_one("#place", Line)
        return line.render_line(0).text.strip()


@asynccontextmanager
async def looking(
    disk: Disk | None = None, *, size: tuple[int, int] = (60, 14)
) -> AsyncIterator[tuple[Shown, Pilot[None]]]:
    """Who looks at the tree."""
    app = Shown(disk or Disk(set(PATHS)))
    async with app.run_test(size=size) as pilot:
        yield app, pilot


TOP = ["▶ ▾ res:  what all projects share", "    ▸ models/", "    ▸ ulm/", "      readme.txt"]


async def test_enter_and_arrows_unfold_and_fold_in_place() -> None:
    async with looking() as (app, pilot):
        assert app.rows() == TOP
        await pilot.press("right", "right")
        assert app.rows() == [
            "  ▾ res:  what all projects share",
            "▶   ▾ models/",
            "      ▸ old/",
            "        v8.bin",
            "    ▸ ulm/",
            "      readme.txt",
        ], "the first goes into what is unfolded"
        await pilot.press("enter")
        assert app.rows()[1:3] == ["▶   ▸ models/", "    ▸ ulm/"]
        await pilot.press("enter", "j", "enter", "j")
        assert app.rows()[1:5] == ["    ▾ models/", "      ▾ old/", "▶         v7.bin", "        v8.bin"]


async def test_left_folds_or_goes_to_the_folder_above() -> None:
    async with looking() as (app, pilot):
        await pilot.press("j", "right", "j", "right", "j")
        assert app.view.table.current == "res:models/old/v7.bin"
        for key, current in (
            *(("left", "res:models/old/"), ("left", "res:models/old/"), ("backspace", "res:models/")),
            *(("left", "res:models/"), ("left", "res:"), ("left", "res:"), ("left", "res:")),
        ):
            await pilot.press(key)
            assert app.view.table.current == current
        assert app.rows() == ["▶ ▸ res:  what all projects share"]
        await pilot.press("right")
        assert app.rows() == TOP


async def test_enter_opens_a_file_and_says_which() -> None:
    async with looking() as (app, pilot):
        await pilot.press("j", "j", "enter", "j", "enter", "right")
        await pilot.pause()
        assert app.opened == ["res:ulm/north.mp4"]


async def test_a_folder_is_looked_at_when_it_unfolds_and_not_before() -> None:
    async with looking() as (app, pilot):
        assert set(app.disk.looks) == {"res:"}
        app.disk.looks.clear()
        await pilot.press("j", "right")
        assert app.disk.looks == ["res:models/"]


async def test_what_has_not_come_yet_is_told_and_what_is_asked_meanwhile_is_asked_then() -> None:
    disk = Disk(set(PATHS), slow=True)
    async with looking(disk) as (app, pilot):
        assert app.rows()[1:] == [f"      {LOOKING}"]
        disk.paths = {"new.txt"}
        await pilot.press("enter", "enter")
        app.view.refresh_files()
        assert disk.looks == ["res:"], "one look at a time"
        disk.answers.pop()()
        assert app.rows()[1:] == TOP[1:] and disk.looks == ["res:", "res:"]
        disk.answers.pop()()
        assert app.rows()[1:] == ["      new.txt"] and not disk.answers


async def test_what_comes_for_a_folder_that_was_folded_meanwhile_is_kept_for_later() -> None:
    disk = Disk(set(PATHS))
    async with looking(disk) as (app, pilot):
        disk.slow = True
        await pilot.press("j", "enter", "enter")
        for answer in disk.answers:
            answer()
        assert app.rows() == [TOP[0].replace("▶", " "), "▶   ▸ models/", *TOP[2:]]
        await pilot.press("enter")
        assert "        v8.bin" in app.rows(), "before it has come again"


async def test_what_cannot_be_looked_at_says_why_in_its_place_and_is_tried_again() -> None:
    disk = Disk(set(PATHS))
    async with looking(disk) as (app, pilot):
        disk.away = True
        await pilot.press("j", "right")
        assert app.rows()[1:3] == ["▶   ▾ models/", "        the store is away"]
        app.view.refresh_files()
        assert app.rows()[:3] == [
            "  ▾ res:  what all projects share",
            "      the store is away",
            "▶   ▾ models/",
        ]
        disk.away = False
        await pilot.press("j", "enter")
        assert app.rows()[2:5] == ["    ▾ models/", "▶     ▸ old/", "        v8.bin"]


async def test_a_refresh_keeps_cursor_marks_and_folds() -> None:
    async with looking() as (app, pilot):
        await pilot.press("j", "right", "j", "j", "space")
        assert app.view.chosen == ["res:models/v8.bin"]
        app.disk.paths |= {"a/first.txt", "models/a.bin", "models/old/v6.bin"}
        app.disk.paths -= {"readme.txt"}
        app.disk.looks.clear()
        app.view.refresh_files()
        assert app.disk.looks == ["res:", "res:models/"]
        assert app.rows() == [
            "  ▾ res:  what all projects share",
            "    ▸ a/",
            "    ▾ models/",
            "      ▸ old/",
            "        a.bin",
            " *      v8.bin",
            "▶   ▸ ulm/",
        ]


async def test_verbs_are_for_marks_of_all_levels_and_for_what_holds_them_once() -> None:
    async with looking() as (app, pilot):
        await pilot.press("j", "right", "j", "j", "space", "space")
        assert app.view.chosen == ["res:models/v8.bin", "res:ulm/"]
        await pilot.press("g", "j", "space")
        assert app.view.chosen == ["res:models/", "res:ulm/"]
        await pilot.press("k", "space", "k", "left")
        assert app.view.chosen == ["res:ulm/"], "what cannot be seen any more is not marked"


async def test_the_line_above_says_where_one_is() -> None:
    async with looking(size=(40, 12)) as (app, pilot):
        assert app.place == "res:  3 here, 10 B"
        await pilot.press("j", "j", "right", "j")
        await pilot.pause()
        assert app.place == "res:ulm/north.mp4  2026-06-12 10:00"
        assert app.view.folder == "res:ulm/"
        app.disk.paths = {f"{'long' * 12}/end.txt"}
        app.view.refresh_files()
        await pilot.press("g", "j", "right", "j")
        await pilot.pause()
        assert (
            app.place.startswith("…") and app.place.endswith("longlong/end.txt") and cell_len(app.place) == 38
        )


async def test_a_filter_and_another_order_hold_for_every_level() -> None:
    async with looking() as (app, pilot):
        await pilot.press("j", "right")
        app.view.narrow("v8")
        assert app.rows() == ["  ▾ res:  what all projects share", "▶   ▾ models/", "        v8.bin"]
        app.view.narrow("")
        app.view.sort(Sorting("NAME", backwards=True))
        assert [row.strip("▶ ") for row in app.rows()[1:]] == [
            "▸ ulm/",
            "▾ models/",
            "▸ old/",
            "v8.bin",
            "readme.txt",
        ]


async def test_what_was_unfolded_at_the_lower_edge_comes_into_sight() -> None:
    async with looking(Disk({f"f{n:02}/x{m}" for n in range(30) for m in range(3)}), size=(60, 12)) as (
        app,
        pilot,
    ):
        await pilot.press("G", "k")
        await pilot.press("right")
        assert [row.strip("▶ ") for row in app.rows()[-4:]] == ["▾ f28/", "x0", "x1", "x2"]


async def test_a_link_says_where_it_leads() -> None:
    async with looking(Disk({"link"})) as (app, _):
        assert app.rows()[1] == "      link -> ../elsewhere"


async def test_of_a_folder_of_ten_thousand_only_what_is_on_the_screen_is_drawn() -> None:
    disk = Disk({f"frames/{n:05}.jpg" for n in range(10_000)} | set(PATHS))
    async with looking(disk) as (app, pilot):
        table, drawn = app.view.table, list[str]()
        cells = table._row

        def counted(key: str) -> Sequence[Cell] | None:
            drawn.append(key)
            return cells(key)

        table._row = counted
        await pilot.press("j", "right", "G", "k", "ctrl+b", "g", "ctrl+f")
        assert len(table.keys) == 10_005
        assert len(drawn) < 1_000
