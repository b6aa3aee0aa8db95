"""The log of one attempt on a screen: the view, what is asked of it in the line below, and what is told there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from textual import on
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widget import Widget

from winslow import terminal_text
from winslow.errors import UsageError
from winslow_tui.logs.logblocks import SOURCES, Source
from winslow_tui.logs.logfilter import FilteredLines
from winslow_tui.logs.logscan import Scan, Wanted
from winslow_tui.logs.logtimes import moment
from winslow_tui.program.keymap import rebind
from winslow_tui.program.logfeed import LogFeed
from winslow_tui.screens import logtaking
from winslow_tui.widgets.entry import Entry
from winslow_tui.widgets.frame import Line, Part
from winslow_tui.widgets.logview import LogView, Spans

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp

Question = Literal["search", "filter", "time"]
_ASKS: Mapping[Question, str] = {
    "search": "search: a word or a regular expression",
    "filter": "only lines with: a word or a regular expression; nothing shows all",
    "time": "to a time: 14:05, 14:05:30, 2026-06-12 14:05, -10m, +90s",
}
_SIGNS: Mapping[Question, str] = {"search": "/", "filter": "&", "time": "@"}
_SOURCE_STEPS: tuple[tuple[Source, ...], ...] = (SOURCES, ("stderr",), ("system",))

Spot = tuple[int, int, int]
"""A place in the order of a log: a line of the stage is (its number, 1, 0), an event (the line behind it, 0, its
number)."""


@dataclass(frozen=True)
class Shown:
    """Which log: of attempt `k` of a run, `attempts` so far."""

    project: str
    n: int
    k: int
    attempts: int
    ended: bool

    @property
    def where(self) -> tuple[str, int, int]:
        """What makes it another log."""
        return self.project, self.n, self.k


class LogPane(Vertical):
    """See the module."""

    DEFAULT_CSS = """
    LogPane { height: 1fr; }
    LogPane #ask { display: none; }
    LogPane #ask.shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "ask('search')", "search", key_display="/", id="search"),
        Binding("ampersand", "ask('filter')", "only lines with", key_display="&", id="only"),
        Binding("n", "next(1)", "next found", show=False, id="next-found"),
        Binding("N", "next(-1)", "found before", show=False, id="previous-found"),
        Binding("e", "sources", "stderr, system, all", show=False, id="sources"),
        Binding("at", "ask('time')", "to a time", key_display="@", show=False, id="to-time"),
        Binding("y", "copy", "copy the line", show=False, id="copy"),
        Binding("ctrl+s", "save", "save", show=False, id="save"),
        Binding("v", "pager", "open in $PAGER", show=False, id="pager"),
        Binding(
            "left_curly_bracket",
            "attempt(-1)",
            "attempt before",
            key_display="{",
            show=False,
            id="attempt-before",
        ),
        Binding(
            "right_curly_bracket",
            "attempt(1)",
            "attempt after",
            key_display="}",
            show=False,
            id="attempt-after",
        ),
        Binding("escape", "calm", "end the search, the filter", show=False, id="end-search"),
    ]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: Shown | None = None
        self._newest: Shown | None = None
        self._feed: LogFeed | None = None
        self._filter: Scan | None = None
        self._search: Scan | None = None
        self._sources = SOURCES
        self._pending: tuple[Spot, bool] | None = (
            None  # from where to go to what is found, and whether forward
        )
        self._settling = False
        self._polls = 0
        self._scanned: tuple[int, ...] = ()  # the versions that are drawn
        self._asking: Question = "search"
        self._note = ""

    def compose(self) -> Iterable[Widget]:
        yield LogView(id="lines")
        yield Entry(id="ask", compact=True, disabled=True)
        yield Line(id="below")

    @property
    def view(self) -> LogView:
        """The lines."""
        return self.query_one("#lines", LogView)

    @property
    def winslow(self) -> WinslowApp:
        """The app, as what it is."""
        from winslow_tui.program.app import WinslowApp

        assert isinstance(self.app, WinslowApp)
        return self.app

    def on_mount(self) -> None:
        rebind(self)
        self.draw_below()

    def on_unmount(self) -> None:
        self._close()

    # -- which log

    def show(self, newest: Shown | None) -> None:
        """The newest attempt of a run; called again when something happened to it. Of a run that is read already
        another attempt is shown only to who follows."""
        before, shown = self._newest, self._shown
        self._newest = newest
        same_run = newest and shown and (newest.project, newest.n) == (shown.project, shown.n)
        if newest is not None and shown is not None and same_run:
            stays = shown.k != newest.k and not (
                self.view.following and before is not None and before.k == shown.k
            )
            if stays or shown.k == newest.k:
                ended = newest.ended or shown.k != newest.k
                self._shown = Shown(shown.project, shown.n, shown.k, newest.attempts, ended)
                if self._feed is not None:
                    self._feed.changed(ended=ended)
                self.draw_below()
                return
        self._open(newest)

    def _open(self, shown: Shown | None) -> None:
        self._close()
        self._shown, self._note = shown, ""
        if shown is not None:
            project, n, k = shown.where
            self._feed = LogFeed(self.winslow.client.store, self.winslow.watch_, project=project, n=n, k=k)
            self._feed.changed(ended=shown.ended)
        self.view.show(self._feed.lines if self._feed else None)
        self._look_at_sources()
        self.draw_below()

    def _close(self) -> None:
        for scan in (self._filter, self._search):
            if scan is not None:
                scan.stop()
        if self._feed is not None:
            self._feed.close()
        self._feed = self._filter = self._search = self._pending = None

    def action_attempt(self, by: int) -> None:
        shown = self._shown
        if shown is None or not 1 <= shown.k + by <= shown.attempts:
            self.winslow.told("there is no other attempt" if shown else "there is no log yet")
            return
        k = shown.k + by
        ended = k != shown.attempts or (self._newest is not None and self._newest.ended)
        self._open(Shown(shown.project, shown.n, k, shown.attempts, ended))

    def turn(self) -> None:
        """Draw what came since the turn before."""
        if self._feed is None or not self.display:
            return
        self._go_on()
        if self._settling:  # what a filter finds comes piece by piece, from the middle on
            self._settling = self._filter is not None and not self._filter.complete
            self.view.settle()
        seen = tuple(scan.version for scan in (self._search, self._filter) if scan is not None)
        if seen != self._scanned:
            self._scanned = seen
            self.view.redraw()
        self.view.poll()
        self._polls += 1
        if self.view.following or self._polls % 5 == 0:  # how many lines there are is no news to who reads
            self.draw_below()
        if self._feed.lines.wants:
            self._feed.wake()

    # -- the line below

    @on(LogView.Changed)
    def draw_below(self) -> None:
        """Tell where in the log the screen is, and what comes."""
        view, feed, shown = self.view, self._feed, self._shown
        empty = "no output" if shown is not None and shown.ended else "no output yet"
        if empty != view.empty:
            view.empty = empty
            view.refresh()
        below = self.query_one("#below", Line)
        if feed is None or shown is None:
            below.show([])
            return
        at, count = view.position
        parts = [*self._problems(feed)]
        if view.following:
            parts.append((Part("following", "key"), Part(f" {count:,} lines")))
        else:
            percent = 100 * at // count if count else 100
            parts.append((Part(f"line {at:,} of {count:,}  {percent} %"),))
        parts += [*self._looked_for()]
        if shown.attempts > 1:
            newer = shown.k < shown.attempts
            parts.append(
                (Part(f"attempt {shown.k} of {shown.attempts}", "busy" if newer else ""), Part(" { }", "dim"))
            )
        words = ["wrap"] if view.wrap else []
        words += [f"column {view.left + 1}"] if view.left else []
        words += {"time": [], "date": [], "off": ["no times"]}[view.times]
        if words:
            parts.append((Part(", ".join(words), "dim"),))
        below.show(parts)

    def _problems(self, feed: LogFeed) -> Iterable[tuple[Part, ...]]:
        if feed.problem:
            yield (Part(terminal_text.line(feed.problem), "bad"),)
        if feed.dropped:
            yield (Part(f"{feed.dropped:,} batches came too fast: read from the store", "busy"),)
        if self._note:
            yield (Part(self._note, "busy"),)

    def _looked_for(self) -> Iterable[tuple[Part, ...]]:
        for sign, scan in (("&", self._filter), ("/", self._search)):
            if scan is None:
                continue
            what = terminal_text.line(scan.wanted.pattern)
            if scan is self._filter and scan.wanted.sources != SOURCES:
                what = " ".join(filter(None, (*scan.wanted.sources, what)))
            found = len(scan.found) + len(scan.events)
            told = (
                f" {found:,} found"
                if scan.complete or scan.stopped
                else f" {100 * scan.progress:.0f} % searched"
            )
            yield (Part(f"{sign}{what}", "key"), Part(told, "" if scan.complete else "busy"))
            if scan.problem:
                yield (Part(terminal_text.line(scan.problem), "bad"),)

    # -- asking

    def action_ask(self, question: Question) -> None:
        if self._feed is None:
            return
        self._asking = question
        field = self.query_one("#ask", Entry)
        field.placeholder = f"{_SIGNS[question]}  {_ASKS[question]}"
        field.value = self._filter.wanted.pattern if question == "filter" and self._filter else ""
        field.disabled = False
        field.add_class("shown")
        field.focus()

    @on(Entry.Submitted, "#ask")
    def _answered(self, event: Entry.Submitted) -> None:
        event.stop()
        try:
            if self._asking == "search":
                self._look_for(event.value)
            elif self._asking == "filter":
                self._show_only(Wanted(event.value, self._sources))
            elif event.value.strip():
                self._go_to_time(event.value)
        except UsageError as error:  # the line stays, with what was typed
            self.winslow.told(str(error), hint=error.hint, bad=True)
            return
        self._close_ask()

    def _close_ask(self) -> None:
        field = self.query_one("#ask", Entry)
        field.remove_class("shown")
        field.disabled = True
        self.view.focus()

    def action_calm(self) -> None:
        """End what was asked last: the question, a search, then a filter."""
        if self.query_one("#ask", Entry).has_class("shown"):
            self._close_ask()
        elif self._search is not None:
            self._look_for("")
        elif self._filter is not None:
            self._sources = SOURCES
            self._show_only(Wanted())
        elif self.view.marked is not None:
            self.view.marked = None
            self.view.redraw()
        else:
            raise SkipAction

    # -- searching

    def _look_for(self, pattern: str) -> None:
        wanted = Wanted(pattern)
        if self._search is not None:
            self._search.stop()
        self._search, self._pending, self._note = None, None, ""
        view, feed = self.view, self._feed
        if feed is not None and pattern:
            start = feed.lines.lines if view.following else self._line_at(view.at_top)
            self._search = Scan(feed.lines, wanted, start=start)
            self._pending = ((start, 2, 0), False) if view.following else ((start, -1, 0), True)
        self._light()

    def _line_at(self, key: int | None) -> int:
        """The stage's line of a key; of an event the one behind it."""
        if key is None or self._feed is None:
            return 0
        return self._feed.lines.place_of(~key) if key < 0 else key

    def action_next(self, by: int) -> None:
        if self._search is None:
            self.winslow.told(f"nothing is searched for: {self.winslow.keymap.told('search')} does")
            return
        self._note = ""
        key = self.view.current or 0
        spot = (self._line_at(key), 0, ~key) if key < 0 else (key, 1, 0)
        self._pending = (spot, by > 0)
        self._go_on()

    def _go_on(self) -> None:
        """Go to what is found next, once that is known."""
        search, feed = self._search, self._feed
        if self._pending is None or search is None or feed is None:
            return
        spot, forward = self._pending
        if not search.settled(spot[0], forward=forward):
            return
        self._pending = None
        found = self._next_shown(search, feed, spot, forward=forward)
        if found is None and not search.problem:
            other_end = (-1, 2, 0) if forward else (feed.lines.lines, 2, 0)
            found = self._next_shown(search, feed, other_end, forward=forward)
            self._note = "" if found is None else "on from the other end"
        if found is not None:
            self.view.go_to(found)
        elif not search.problem:
            self._note = f"{terminal_text.line(search.wanted.pattern)} is not found"
        self.draw_below()

    def _next_shown(self, search: Scan, feed: LogFeed, spot: Spot, *, forward: bool) -> int | None:
        """The key of what is found next among the lines that are shown."""
        only, lines = self._filter, feed.lines
        at = spot[0] - (forward and spot[1] < 1)
        while (line := search.next_to(at, forward=forward)) is not None:
            if only is None or only.holds(line):
                break
            at = line
        events = (each for each in search.events if only is None or each in only.events)
        found: list[Spot] = [(lines.place_of(each), 0, each) for each in events]
        found += [(line, 1, 0)] if line is not None else []
        if forward:
            best = min((each for each in found if each > spot), default=None)
        else:
            best = max((each for each in found if each < spot), default=None)
        if best is None:
            return None
        return best[0] if best[1] else ~best[2]

    def _light(self) -> None:
        """Set off on the screen what is searched for, else what is filtered by."""
        search, only = self._search, self._filter
        spans: Callable[[str], Spans] | None = search.spans if search else only.spans if only else None
        self.view.spans = spans
        self.view.redraw()

    # -- leaving lines out

    def action_sources(self) -> None:
        place = _SOURCE_STEPS.index(self._sources) if self._sources in _SOURCE_STEPS else 0
        self._sources = _SOURCE_STEPS[(place + 1) % len(_SOURCE_STEPS)]
        self._look_at_sources()

    def _look_at_sources(self) -> None:
        pattern = self._filter.wanted.pattern if self._filter else ""
        self._show_only(Wanted(pattern, self._sources))

    def _show_only(self, wanted: Wanted) -> None:
        feed, view = self._feed, self.view
        before, self._filter = self._filter, None
        if before is not None:
            before.stop()
        if feed is None:
            return
        if wanted.everything:
            if before is not None:
                view.exchange(feed.lines)
        else:
            start = feed.lines.lines if view.following else self._line_at(view.at_top)
            self._filter = Scan(feed.lines, wanted, start=start)
            self._settling = True
            view.exchange(FilteredLines(feed.lines, self._filter))
        self._light()

    # -- a time

    def _go_to_time(self, text: str) -> None:
        feed, view = self._feed, self.view
        if feed is None:
            return
        key = view.current
        line = feed.lines.line_of(key) if key is not None else None
        time = moment(text, now=line.time if line else "")

        def look() -> None:
            found = feed.lines.first_after(time)
            self.app.call_later(arrived, found)

        def arrived(found: int) -> None:
            if self._feed is feed and feed.lines.count:
                view.go_to(min(found, max(0, feed.lines.lines - 1)))

        feed.ask(look)

    # -- taking away

    def action_copy(self) -> None:
        feed, key = self._feed, self.view.current
        if feed is None or key is None:
            self.winslow.told("there is no line to copy yet")
            return
        self.view.marked = key
        self.view.redraw()
        logtaking.copy_line(self.winslow, feed, key)

    def action_save(self) -> None:
        if self._feed is not None and self._shown is not None:
            project, n, k = self._shown.where
            logtaking.ask_to_save(self.winslow, self._feed.lines, self._filter, name=f"{project}-{n}.{k}.log")

    def action_pager(self) -> None:
        if self._feed is not None:
            logtaking.open_pager(self.winslow, self._feed.lines, self._filter, at=self.view.position[0])
