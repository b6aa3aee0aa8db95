"""Whatever stands in documents, messages, logs and files: no screen sends a character to the terminal that acts there,
none takes it for markup, and every line and column keeps its width. Every screen of the program is looked at."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.screen import Screen
from textual.strip import Strip

from tests import hostile, screens
from tests.hostile import Texts
from tests.snapshot.catalogue import PROJECT, SCREENS
from winslow.config import Config
from winslow.errors import InvalidInput
from winslow_tui.program.app import WinslowApp
from winslow_tui.program.sitewatch import Server
from winslow_tui.widgets.table import GAP, VirtualTable

SIZE = (100, 30)
MORE = {
    "environment": (*PROJECT, "e"),
    "comment": (*PROJECT, "colon", *"comment", "enter"),
    "preview-text": ("3", "G", "k", "enter"),
    "workspace": (*PROJECT, "2", "G", "enter"),
    "folder": ("3", "j", "j", "j", "right", "j"),
    "log-search": (*PROJECT, "1", "slash", "q", "enter"),
    "pipeline-history": ("4", "j", "h"),
    "remove": ("3", "G", "D"),
}
"""Screens that hold more of what others wrote than the pictures of `tests.snapshot` show."""

BARE = {"help", "commands", "transfers-none", "first-run", "new"}
"""Where nothing stands that others wrote, or little enough to be absent."""


@given(st.lists(hostile.TEXTS, min_size=60, max_size=60, unique=True))
@settings(max_examples=1, deadline=None, phases=[Phase.generate], database=None)  # it holds a hundred texts
def test_no_screen_lets_a_text_act(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_look_everywhere(Path(folder), Texts([*hostile.KNOWN, *texts])))


async def _look_everywhere(folder: Path, make: Texts) -> None:
    app = screens.app(hostile.site(make), folder)
    app.transfers.all |= hostile.transfers(make)
    visited: set[type[Screen[object]]] = set()
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await _quiet(pilot)
        for name, keys in {**{name: picture.keys for name, picture in SCREENS.items()}, **MORE}.items():
            if name == "first-run":
                continue
            if name == "away":
                assert isinstance(app.watch_, screens.Told)
                app.watch_.tell(
                    broker=Server(up=False, problem=make(), hint=make()),
                    store=Server(up=False, problem=make()),
                )
            for key in keys:
                await pilot.press(key)
                if len(key) > 1 or key in "12345":
                    await _quiet(pilot)
            await _quiet(pilot)
            visited.add(type(app.screen))
            for _ in range(200):
                if (seen := check(app, name)) or name in BARE:
                    break
                await pilot.pause(0.05)
            assert seen or name in BARE, f"{name}: none of the texts can be seen in\n{_lines(app)}"
            await _back(pilot)
        app.told(make(), hint=make(), bad=True)
        await _quiet(pilot)
        assert len(check(app, "notice")) > 1
    visited.add(await _look_at_the_first_run(folder, make))
    assert visited == set(screens.every()), "every screen is looked at"


async def _look_at_the_first_run(folder: Path, make: Texts) -> type[Screen[object]]:
    def load() -> Config:
        if app is not None:
            raise InvalidInput(make(), hint=make())
        return screens.NOWHERE

    app: WinslowApp | None = None
    app = screens.app(screens.Site(), folder, load=load)
    async with app.run_test(size=SIZE) as pilot:
        app._look_again()
        await _quiet(pilot)
        assert check(app, "first-run")
        return type(app.screen)


def check(app: WinslowApp, name: str) -> set[str]:
    """Look at what is drawn, as it would be sent to the terminal; the marks of the texts in it."""
    for strip in app.screen._compositor.render_strips():
        where = f"{name}: {strip.text!r}"
        assert not hostile.acting(strip.render(app.console)), where
        assert cell_len(strip.text) == app.size.width, where
        assert not Texts.eaten(strip.text), where
    for table in app.screen.query(VirtualTable):
        if table.display and table.size.width:
            _check_columns(table, name)
    return Texts.seen(_lines(app))


def _check_columns(table: VirtualTable, name: str) -> None:
    """Between two columns is nothing, in every row of which no cell has the room of several."""
    at, top = 2, int(table.scroll_offset.y)
    shown = table.keys[top : top + table.size.height - 1]
    rows = [table.render_line(0)] + [
        table.render_line(y)
        for y, key in enumerate(shown, start=1)
        if not any(cell.wide for cell in table._row(key) or ())
    ]
    for _, width in table.plan(table.size.width):
        at += width
        if at + GAP <= table.size.width:
            for row in rows:
                gap = Strip(row).crop(at, at + GAP).text
                assert gap == " " * GAP, f"{name}: column at {at} in {row.text!r}"
        at += GAP


def _lines(app: WinslowApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


async def _quiet(pilot: Pilot[None]) -> None:
    """Nothing is being read, and nothing waits to be drawn."""
    await pilot.app.workers.wait_for_complete()
    await pilot.pause(0.02)


async def _back(pilot: Pilot[None]) -> None:
    """To the list of projects, as it was at the beginning."""
    app = pilot.app
    while len(app.screen_stack) > 1:
        app.pop_screen()
        await pilot.pause()
    await pilot.press("1")
    await pilot.press("escape")
    for table in app.screen.query(VirtualTable):
        table.marks.clear()
        table.action_edge(-1)
    await pilot.pause()
