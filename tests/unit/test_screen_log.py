"""The log of a run on the screen: keys, what is told below, and that nothing moves what is read."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from broker import topics
from broker.messages import LogChunk
from tests import screens
from tests.pagers import Pager
from tests.screens import ULM
from tests.stored_logs import archive, line
from winslow.errors import StoreUnreachable, UsageError
from winslow.logs import Record
from winslow.store import layout
from winslow.store.memory import MemoryStore
from winslow_tui.logs.logtimes import moment
from winslow_tui.program.app import WinslowApp
from winslow_tui.program.logfeed import LogFeed
from winslow_tui.screens import logpane, project
from winslow_tui.screens.logpane import LogPane
from winslow_tui.widgets import logview
from winslow_tui.widgets.table import VirtualTable

SIZE = (140, 30)
RUN = 3  # of ULM; it runs


@dataclass
class Reader:
    """A person before a run's log."""

    pilot: Pilot[Any]
    site: screens.Site
    offset: int = 0

    @property
    def app(self) -> WinslowApp:
        assert isinstance(self.pilot.app, WinslowApp)
        return self.pilot.app

    @property
    def pane(self) -> LogPane:
        return self.app.screen.query_one(LogPane)

    @property
    def feed(self) -> LogFeed:
        assert self.pane._feed is not None
        return self.pane._feed

    @property
    def watch(self) -> screens.Told:
        assert self.site.watch is not None
        return self.site.watch

    def field(self, name: str) -> Input:
        """A line to type into."""
        return self.app.screen.query_one(name, Input)

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Wait for something, as a test of asyncio can."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, what or "\n".join(self.rows())
            await self.pilot.pause(0.02)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def ask(self, key: str, text: str) -> None:
        """Type into the line below."""
        await self.press(key)
        self.field("#ask").value = text
        await self.press("enter")

    def write(self, *texts: str, attempt: int = 1) -> None:
        """Lines come live."""
        data = archive(record for text in texts for record in line(text, 9_000))
        self.watch.hear(
            topics.Log(project=ULM, run=RUN, attempt=attempt), LogChunk(offset=self.offset, data=data)
        )
        self.offset += len(data)

    def rows(self) -> list[str]:
        """What the view shows."""
        return [strip.text.rstrip() for _, _, strip in self.pane.view._shown()]

    def texts(self) -> list[str]:
        """The same, without times and sources."""
        return [row[17:].strip() for row in self.rows()]

    def below(self) -> str:
        return self.pane.query_one("#below").render_line(0).text.strip()


LINES = [f"frame {number} of 500" + (" oops" if number % 100 == 7 else "") for number in range(500)]


def _has(reader: Reader, lines: int) -> bool:
    return reader.feed.lines.lines >= lines


def _at(reader: Reader, line: int) -> bool:
    return reader.pane.view.marked == line


@asynccontextmanager
async def reading(
    tmp_path: Path, texts: list[str] | None = None, *, size: tuple[int, int] = SIZE
) -> AsyncIterator[Reader]:
    """The log of a running run in which these lines stand."""
    site = screens.site()
    screens.log(site.store, ULM, RUN, LINES if texts is None else texts)
    key = layout.log_segment(ULM, RUN, 1, first_byte=0, first_line=0)
    app = screens.app(site, tmp_path)
    async with app.run_test(size=size) as pilot:
        app.open_project(ULM)
        reader = Reader(pilot, site, offset=len(site.store.get(key).data))
        await reader.until(lambda: app.screen.query(LogPane) and reader.rows(), "the log")
        await reader.press("enter")
        yield reader


async def test_it_opens_at_the_end_and_follows(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        assert reader.texts()[-1] == "frame 499 of 500" and reader.below().startswith("following")
        reader.write("one more")
        await reader.until(lambda: reader.texts()[-1] == "one more")
        await reader.until(lambda: "501 lines" in reader.below())


async def test_what_is_read_never_moves(tmp_path: Path) -> None:
    """Neither lines that come, nor events that come late, nor another attempt."""
    async with reading(tmp_path) as reader:
        for keys in (["g", "ctrl+f", "j"], ["G", "k"], ["G", "f"], ["w", "g", "ctrl+d", "j", "j"]):
            await reader.press(*keys)
            seen, records = reader.texts(), reader.feed.lines.lines + 30
            for number in range(30):
                reader.write(f"new {number} " + "long " * number)
            await reader.until(partial(_has, reader, records))
            await reader.pilot.pause(0.25)
            assert reader.texts() == seen, keys
        await reader.press("w", "g", "ctrl+f")
        seen = reader.texts()
        store = reader.site.store
        store.put(
            layout.event_segment(ULM, RUN, 1, first_byte=0, first_line=0),
            b'{"time":"2026-06-12T10:00:03.000000000Z","event":"note","text":"late"}\n',
        )
        reader.feed.changed(ended=False)
        await reader.until(lambda: reader.feed.lines.events)
        await reader.pilot.pause(0.25)
        assert reader.texts() == seen
        await reader.press("g")
        assert "late" in reader.texts()


async def test_moving_and_following(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        height = reader.pane.view.size.height
        await reader.press("g")
        assert reader.texts()[0] == "frame 0 of 500"
        await reader.press("j")
        assert reader.texts()[0] == "frame 1 of 500"
        await reader.press("ctrl+f")
        assert reader.texts()[0] == f"frame {height} of 500"
        assert reader.below().startswith(f"line {2 * height} of 500")
        await reader.press("G", "k")
        assert reader.texts()[-1] == "frame 498 of 500" and "99 %" in reader.below()
        await reader.press("j", "j")
        assert reader.below().startswith("following")


async def test_searching_finds_the_nearest_and_goes_round(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        await reader.ask("slash", r"OOPS|oops$")
        await reader.until(partial(_at, reader, 407))
        assert "frame 407 of 500 oops" in reader.texts()
        await reader.until(lambda: "5 found" in reader.below())
        for key, wanted in (("N", 307), ("n", 407), ("n", 7), ("N", 407)):
            await reader.press(key)
            await reader.until(partial(_at, reader, wanted))
        assert "on from the other end" in reader.below()
        await reader.ask("slash", "nowhere")
        await reader.until(lambda: "nowhere is not found" in reader.below())
        await reader.press("escape")
        assert "nowhere" not in reader.below()


async def test_a_hit_is_set_off_on_the_screen(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:

        def lit() -> set[str]:
            view = reader.pane.view
            ground = view.get_component_rich_style("log--hit", partial=True).bgcolor
            return {
                segment.text
                for _, _, strip in view._shown()
                for segment in strip
                if segment.style and segment.style.bgcolor == ground
            }

        await reader.ask("slash", "oops")
        await reader.until(lambda: lit() == {"oops"})
        await reader.ask("slash", r"4\d7")
        await reader.until(lambda: lit() == {"407", "417"})
        await reader.press("escape")
        assert not lit()


async def test_filtering_grows_and_keeps_the_place(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        await reader.ask("ampersand", "oops")
        await reader.until(
            lambda: [text.split()[1] for text in reader.texts()] == ["7", "107", "207", "307", "407"]
        )
        reader.write("nothing", "another oops")
        await reader.until(lambda: reader.texts()[-1] == "another oops")
        await reader.press("g", "J", "J", "J", "escape")
        assert "frame 207 of 500 oops" in reader.texts(), "where one was among the few, one is among all"
        assert len(reader.texts()) == reader.pane.view.size.height


async def test_sources_go_round(tmp_path: Path) -> None:
    async with reading(tmp_path, ["out", "!err", "out"]) as reader:
        await reader.press("e")
        await reader.until(lambda: reader.texts() == ["err"])
        assert "&stderr" in reader.below()
        await reader.press("e")
        await reader.until(lambda: reader.texts() == [])
        await reader.press("e")
        await reader.until(lambda: reader.texts() == ["out", "err", "out"])


async def test_what_is_no_expression_stays_in_the_line(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        await reader.ask("slash", "(oops")
        field = reader.field("#ask")
        assert field.has_class("shown") and field.value == "(oops"
        await reader.press("escape")
        assert not field.has_class("shown")


async def test_a_search_that_takes_for_ever_is_ended_by_escape(tmp_path: Path) -> None:
    async with reading(tmp_path, ["a" * 60 + "!"]) as reader:
        await reader.ask("slash", "(a+)+$")
        scan = reader.pane._search
        assert scan is not None
        await reader.until(lambda: scan._process is not None)
        await reader.press("j", "k", "escape")
        await reader.until(lambda: not scan._thread.is_alive())
        assert reader.pane._search is None


async def test_a_time_is_gone_to(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        await reader.ask("at", "2026-06-12 10:05:00")
        await reader.until(lambda: "frame 301 of 500" in reader.texts())
        await reader.ask("at", "-2m")
        await reader.until(lambda: "frame 181 of 500" in reader.texts())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("14:05", "2026-06-12T14:05:00"),
        ("4:05:30", "2026-06-12T04:05:30"),
        ("2026-06-11 23:00", "2026-06-11T23:00:00"),
        ("-10m", "2026-06-12T11:50:05"),
        ("+90s", "2026-06-12T12:01:35"),
    ],
)
def test_times_are_understood(text: str, wanted: str) -> None:
    assert moment(text, now="2026-06-12T12:00:05.5Z") == f"{wanted}.000000000Z"


@pytest.mark.parametrize("text", ["noon", "25:00", "10", "-10", "12:61"])
def test_what_is_no_time_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        moment(text, now="2026-06-12T12:00:05Z")


async def test_a_long_line_is_cut_on_the_screen_and_whole_in_the_clipboard(tmp_path: Path) -> None:
    long = "0123456789" * 5_000
    async with reading(tmp_path, ["first", "last"]) as reader:
        reader.write(long)
        await reader.until(lambda: len(reader.rows()) == 3)
        await reader.press("G", "K")
        assert len(reader.rows()[-1]) <= 140
        await reader.press("y")
        await reader.until(lambda: reader.app.clipboard == long)
        reader.write("x" * 80_000)
        await reader.until(lambda: len(reader.rows()) == 4)
        await reader.press("J", "y")
        await reader.pilot.pause(0.2)
        assert reader.app.clipboard == long, "too long for a terminal"


async def test_a_wrapped_line_longer_than_the_screen_can_be_read_to_its_end(tmp_path: Path) -> None:
    async with reading(tmp_path, ["x" * 6_000 + "END"]) as reader:
        await reader.press("w", "g")
        assert all("END" not in row for row in reader.rows())
        await reader.press(*["ctrl+f"] * 9)
        assert any("END" in row for row in reader.rows())


async def test_the_log_is_saved_whole_or_filtered(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        for name, filtered in (("whole", False), ("some", True)):
            if filtered:
                await reader.ask("ampersand", "oops")
            await reader.press("ctrl+s")
            await reader.until(lambda: reader.app.screen.query("#field-0"))
            reader.field("#field-0").value = str(tmp_path / name)
            await reader.press("enter")
            await reader.until((tmp_path / name).exists)
            await reader.until(lambda: reader.app.screen.query(LogPane))
        await reader.until(lambda: len((tmp_path / "some").read_text().splitlines()) == 5)
        assert (tmp_path / "whole").read_text().splitlines() == LINES


async def test_the_pager_gets_harmless_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pager = Pager(tmp_path / "less", "-S")
    pager.use(monkeypatch)
    async with reading(tmp_path, ["one", "\x1b]52;c;eA==\x07two"]) as reader:
        await reader.press("v")
        await reader.until(lambda: pager.opened)
        assert pager.arguments == ["-S", "+2"] and pager.text.splitlines()[1].endswith("stdout two")


async def test_a_store_that_is_away_is_said_and_all_goes_on_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = True
    walk = MemoryStore.walk

    def refuse(store: MemoryStore, prefix: str) -> Any:
        if away:
            raise StoreUnreachable("store.example does not answer")
        return walk(store, prefix)

    async with reading(tmp_path) as reader:
        monkeypatch.setattr(MemoryStore, "walk", refuse)
        reader.feed.changed(ended=False)
        await reader.until(lambda: "store.example does not answer" in reader.below())
        reader.write("it goes on")
        await reader.until(lambda: reader.texts()[-1] == "it goes on")
        away = False
        await reader.until(lambda: "does not answer" not in reader.below())


async def test_earlier_attempts_can_be_read_and_a_new_one_takes_over_only_who_follows(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        key = layout.log_segment(ULM, RUN, 2, first_byte=0, first_line=0)
        reader.site.store.put(
            key, archive([Record("2026-06-12T11:00:00.000000000Z", "stdout", True, b"again")])
        )
        first = reader.pane._newest
        assert first is not None
        second = replace(first, k=2, attempts=2)
        await reader.press("g")
        reader.pane.show(second)
        assert reader.texts()[0] == "frame 0 of 500" and "attempt 1 of 2" in reader.below()
        await reader.press("right_curly_bracket")
        await reader.until(lambda: reader.texts() == ["again"])
        await reader.press("left_curly_bracket")
        await reader.until(lambda: "frame 499 of 500" in reader.texts())
        reader.pane.show(second)
        assert "attempt 1 of 2" in reader.below(), "it was chosen"
        reader.pane.show(first)
        reader.pane.show(second)
        await reader.until(lambda: reader.texts() == ["again"], "who follows goes on with the next")


async def test_only_rows_that_changed_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with reading(tmp_path) as reader:
        await reader.press("g")
        await reader.pilot.pause(0.2)
        view = reader.pane.view
        drawn: list[object] = []
        monkeypatch.setattr(view, "refresh", lambda *regions, **_: drawn.append(regions))
        reader.write("far below")
        await reader.pilot.pause(0.3)
        assert not drawn


async def test_a_key_gives_the_log_the_whole_width_and_back(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        narrow = reader.pane.size.width
        await reader.press("z")
        await reader.until(lambda: reader.pane.size.width == SIZE[0])
        await reader.press("escape")
        await reader.until(lambda: reader.pane.size.width == narrow)


async def test_searching_begins_from_the_list_of_runs_too(tmp_path: Path) -> None:
    async with reading(tmp_path) as reader:
        await reader.press("tab")
        assert reader.app.screen.query_one("#runs").has_focus
        await reader.ask("slash", "oops")
        await reader.until(partial(_at, reader, 407))
        assert reader.pane.view.has_focus


async def test_a_run_that_the_cursor_passes_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project, "REST_SECONDS", 3600.0)
    async with reading(tmp_path) as reader:
        opened, feed = list[int](), reader.feed

        def begin(*args: Any, n: int, **named: Any) -> LogFeed:
            opened.append(n)
            return LogFeed(*args, n=n, **named)

        monkeypatch.setattr(logpane, "LogFeed", begin)
        await reader.press("tab", "j", "j")
        assert reader.app.screen.query_one("#runs", VirtualTable).current == "1"
        assert reader.feed is feed and not opened
        await reader.press("enter")
        await reader.until(lambda: opened == [1], "the log of the run at which the cursor rests")
        await reader.until(lambda: not feed._thread.is_alive(), "the end of the one that was left")


def test_wrapped_lines_break_behind_words_and_lose_nothing() -> None:
    def rows(text: str, room: int) -> list[str]:
        return list(logview._pieces(text, room))

    assert rows("hello world of logs", 14) == ["hello world ", "of logs"]
    assert rows("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
    assert (
        rows("", 10) == [""] and rows("車が走る", 5) == ["車が", "走る"] and rows("車が", 1) == ["車", "が"]
    )
    for room in (1, 2, 7, 60):
        assert "".join(rows("a bc e\u0301 車 def " * 100, room)) == "a bc e\u0301 車 def " * 100
