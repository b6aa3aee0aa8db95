"""The lines of a log on the screen. What is being read never moves; following is a choice.

The view keeps the key of its top line, not a scroll position, and draws downwards from there until the screen
is full: so a log may have any size and lines any length, and neither lines that come nor those a filter lets
out move what is read. Text is made harmless as it is drawn; a row that has not changed is not sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Literal, Protocol

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from winslow import terminal_text
from winslow_tui.logs.logblocks import LogLine
from winslow_tui.logs.logtimes import local_time
from winslow_tui.program.keymap import rebind

NARROW = 70
_LABELS = {"stdout": (" " * 7, " " * 4), "stderr": ("stderr ", "err "), "system": ("system ", "sys ")}
SIDEWAYS = 20  # columns that h and l move

Times = Literal["time", "date", "off"]
_NEXT_TIMES: dict[Times, Times] = {"time": "date", "date": "off", "off": "time"}
_TIME_WIDTHS = {"time": 8, "date": 23}
Spans = Sequence[tuple[int, int]]


class Lines(Protocol):
    """What is shown: `LogLines`, or some of its lines."""

    @property
    def count(self) -> int: ...

    @property
    def version(self) -> int: ...

    def line(self, number: int) -> LogLine | None: ...

    def key(self, number: int) -> int: ...

    def number(self, key: int) -> int: ...


Row = tuple[int, int, Strip]
"""A line's key, which of its rows it is, and what is drawn."""


class LogView(Widget, can_focus=True):
    """See the module. `poll` is called by the screen's timer."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "log--time",
        "log--system",
        "log--stderr",
        "log--hit",
        "log--current",
        "log--away",
    }
    DEFAULT_CSS = """
    LogView { height: 1fr; background: $background; color: $foreground; }
    LogView > .log--time { color: $dim; }
    LogView > .log--system { color: $primary; }
    LogView > .log--stderr { color: $warning; }
    LogView > .log--hit { background: $warning; color: $background; text-style: bold; }
    LogView > .log--current { background: $cursor-ground; }
    LogView > .log--away { color: $dim; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_rows(1)", "down", show=False, id="down"),
        Binding("k,up", "scroll_rows(-1)", "up", show=False, id="up"),
        Binding("g,home", "start", "start", show=False, id="first"),
        Binding("G,end", "end", "end, follow", show=False, id="last"),
        Binding("ctrl+f,pagedown,space", "scroll_pages(1)", "page down", show=False, id="page-down"),
        Binding("ctrl+b,pageup", "scroll_pages(-1)", "page up", show=False, id="page-up"),
        Binding("ctrl+d", "scroll_pages(0.5)", "half a page down", show=False, id="half-page-down"),
        Binding("ctrl+u", "scroll_pages(-0.5)", "half a page up", show=False, id="half-page-up"),
        Binding("l,right", "sideways(1)", "right", show=False, id="right"),
        Binding("h,left", "sideways(-1)", "left", show=False, id="left"),
        Binding("J,shift+down", "choose(1)", "choose the next line", show=False, id="next-line"),
        Binding("K,shift+up", "choose(-1)", "choose the line before", show=False, id="previous-line"),
        Binding("f", "follow", "follow", id="follow"),
        Binding("w", "wrap", "wrap", id="wrap"),
        Binding("t", "times", "times", id="times"),
    ]

    class Changed(Message):
        """What the line below the log tells has changed."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, LogView.Changed)

    def __init__(self, *, id: str | None = None, empty: str = "no output yet") -> None:
        super().__init__(id=id)
        self.empty = empty
        self.following = True
        self.wrap = False
        self.times: Times = "time"
        self.left = 0
        self.marked: int | None = None  # the key of the line that was chosen or found
        self.spans: Callable[[str], Spans] | None = None
        """Where a text holds what was searched for."""
        self._lines: Lines | None = None
        self._version = -1
        self._top = 0  # a key
        self._skip = 0  # rows of the top line above the screen
        self._window: list[Row] | None = None

    def on_mount(self) -> None:
        rebind(self)

    # -- what is shown

    def show(self, lines: Lines | None, *, at_end: bool = True) -> None:
        """Another log, from its end or its start."""
        self._lines, self._version = lines, -1
        self.following, self._top, self._skip, self.left, self.marked = at_end, 0, 0, 0, None
        if lines is not None and lines.count:
            self._top = lines.key(0)
        self.redraw()

    def exchange(self, lines: Lines) -> None:
        """More or fewer lines of the same log: what is at the top stays there, if it is among them."""
        if not self.following and (rows := self._shown()):
            self._top = self.marked if self.marked is not None else rows[0][0]
            self._skip = 0
        self._lines, self._version = lines, -1
        self.settle()

    def settle(self) -> None:
        """Fill the screen with lines before, where those from the top on leave room."""
        self._window = None
        room = self.size.height - len(self._shown())
        if not self.following and room > 0 and self._lines is not None and self._lines.count:
            self._scroll(-room)
        self.redraw()

    def poll(self) -> None:
        """Draw again what has changed."""
        if self._lines is None or self._lines.version == self._version:
            return
        self._version = self._lines.version
        self._redraw_rows()

    @property
    def position(self) -> tuple[int, int]:
        """The number of the last line on the screen, counted from 1, and how many there are."""
        rows = self._shown()
        if self._lines is None or not rows:
            return 0, 0
        return self._lines.number(rows[-1][0]) + 1, self._lines.count

    @property
    def current(self) -> int | None:
        """The key of the line a verb is for: the chosen one, else the top one."""
        rows = self._shown()
        return self.marked if self.marked is not None else rows[0][0] if rows else None

    @property
    def at_top(self) -> int | None:
        """The key of the top line; None for an empty log."""
        rows = self._shown()
        return rows[0][0] if rows else None

    def go_to(self, key: int) -> None:
        """Choose a line, and bring it into the middle of the screen where it is not on it."""
        self.marked = key
        if self.following or all(shown != key for shown, _, _ in self._shown()[: self.size.height]):
            assert self._lines is not None
            self._put_top(self._lines.number(key), 0)
            self._scroll(-(self.size.height // 2))
        self.settle()

    # -- keys

    def action_scroll_rows(self, by: int) -> None:
        if self._lines is None or not self._shown():
            return
        if by > 0 and self._at_end:
            self.action_end()
            return
        self._scroll(by)
        self.redraw()

    def action_scroll_pages(self, pages: float) -> None:
        self.action_scroll_rows(round(pages * max(1, self.size.height - 1)))

    def action_start(self) -> None:
        self._put_top(0, 0)
        self.redraw()

    def action_end(self) -> None:
        self.following = True
        self.redraw()

    def action_sideways(self, by: int) -> None:
        if not self.wrap:
            self.left = max(0, self.left + by * SIDEWAYS)
            self.redraw()

    def action_follow(self) -> None:
        if self.following:
            self._stay()
        else:
            self.following = True
        self.redraw()

    def action_wrap(self) -> None:
        self.wrap, self.left, self._skip = not self.wrap, 0, 0
        self.redraw()

    def action_times(self) -> None:
        self.times = _NEXT_TIMES[self.times]
        self.redraw()

    def action_choose(self, by: int) -> None:
        lines, rows = self._lines, self._shown()
        if lines is None or not rows:
            return
        self._stay()
        if self.marked is None:
            self.marked = rows[0][0] if by > 0 else rows[-1][0]
        else:
            number = max(0, min(lines.number(self.marked) + by, lines.count - 1))
            self.marked = lines.key(number)
            if number < lines.number(rows[0][0]) or number > lines.number(rows[-1][0]):
                self._scroll(by)
        self.redraw()

    def on_click(self, event: Click) -> None:
        """A click chooses a line."""
        rows = self._shown()
        if event.y < len(rows):
            self._stay()
            self.marked = rows[event.y][0]
            self.redraw()

    @property
    def _at_end(self) -> bool:
        rows = self._shown()
        assert self._lines is not None
        if self.following or not rows:
            return True
        key, row, _ = rows[-1]
        number = self._lines.number(key)
        last = number >= self._lines.count - 1 and row >= self._height(number) - 1
        return last and len(rows) <= self.size.height

    def _stay(self) -> None:
        """Follow no longer: what is at the top stays there."""
        if self.following and (rows := self._shown()):
            self._top, self._skip = rows[0][0], rows[0][1]
        self.following = False

    def _put_top(self, number: int, skip: int) -> None:
        assert self._lines is not None
        self.following = False
        if self._lines.count:
            self._top = self._lines.key(max(0, min(number, self._lines.count - 1)))
        self._skip = skip

    def _scroll(self, by: int) -> None:
        """Move the top by so many rows."""
        assert self._lines is not None
        self._stay()
        number, skip = self._lines.number(self._top), self._skip + by
        while skip < 0 and number > 0:
            number -= 1
            skip += self._height(number)
        while number < self._lines.count - 1 and skip >= (height := self._height(number)):
            skip -= height
            number += 1
        self._put_top(number, max(0, min(skip, self._height(number) - 1)))

    def _height(self, number: int) -> int:
        return len(self._strips(number)) if self.wrap else 1

    # -- drawing

    def redraw(self) -> None:
        """Draw what has changed since."""
        self._redraw_rows()
        self.post_message(self.Changed())

    def _redraw_rows(self) -> None:
        before, self._window = self._window, None
        rows = self._shown()
        if before is None or not rows or not before:
            self.refresh()
        else:
            for y in range(max(len(before), len(rows))):
                if y >= len(before) or y >= len(rows) or before[y][2] != rows[y][2]:
                    self.refresh(Region(0, y, self.size.width, 1))

    def on_resize(self) -> None:
        self._window = None
        self.redraw()

    def notify_style_update(self) -> None:
        """Other colours: everything is drawn anew."""
        super().notify_style_update()
        self._window = None

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return container.height

    def render_line(self, y: int) -> Strip:
        rows = self._shown()
        if y < len(rows):
            return rows[y][2]
        text = f" {self.empty}" if not rows and y == 0 else ""
        return Strip([Segment(text, self.rich_style + self._style("away"))]).adjust_cell_length(
            self.size.width, self.rich_style
        )

    def _shown(self) -> list[Row]:
        """The rows on the screen."""
        if self._window is None:
            self._window = self._fill()
        return self._window

    def _fill(self) -> list[Row]:
        height, lines = self.size.height, self._lines
        if lines is None or height <= 0:
            return []
        count, found = lines.count, list[Row]()
        if self.following:
            number = count - 1
            while number >= 0 and len(found) < height:
                found[:0] = self._rows(number)
                number -= 1
            return found[-height:]
        if not count:
            return []
        top = max(0, min(lines.number(self._top), count - 1))
        for number in range(top, count):
            found += self._rows(number)[self._skip if number == top else 0 :]
            if len(found) >= height:
                break
        return found[:height]

    def _rows(self, number: int) -> list[Row]:
        assert self._lines is not None
        key = self._lines.key(number)
        return [(key, row, strip) for row, strip in enumerate(self._strips(number))]

    def _strips(self, number: int) -> list[Strip]:
        assert self._lines is not None
        width, base = self.size.width, self.rich_style
        if self.marked is not None and self._lines.key(number) == self.marked:
            base += self._style("current")
        line = self._lines.line(number)
        if line is None:
            return [Strip([Segment(" …", base + self._style("away"))]).adjust_cell_length(width, base)]
        prefix = self._prefix(line, base)
        room = max(1, width - sum(segment.cell_length for segment in prefix))
        text = terminal_text.log_line(line.data).expandtabs(8)
        spans = self.spans(text) if self.spans is not None else ()
        text += "…" if line.more or not line.ended else ""
        style = base + (self._style(line.source) if line.source == "system" else Style.null())
        if not self.wrap:
            begin, pad = _column(text, self.left)
            body = [Segment(" " * pad, style), *self._marked(text, begin, begin + room, spans, style)]
            return [Strip([*prefix, *body]).adjust_cell_length(width, base)]
        found, at = list[Strip](), 0
        blank = [Segment(" " * (width - room), base)]
        for piece in _pieces(text, room):
            body = self._marked(text, at, at + len(piece), spans, style)
            found.append(Strip([*(blank if found else prefix), *body]).adjust_cell_length(width, base))
            at += len(piece)
        return found

    def _prefix(self, line: LogLine, base: Style) -> list[Segment]:
        """The time and where it comes from."""
        head = " "
        if self.times != "off":
            shown = local_time(line.time[:19]) + line.time[19:23] if line.time else ""
            head = f" {shown[11:19] if self.times == 'time' else shown:<{_TIME_WIDTHS[self.times]}} "
        label = _LABELS[line.source][self.size.width < NARROW]
        style = self._style(line.source) if line.source != "stdout" else Style.null()
        return [Segment(head, base + self._style("time")), Segment(label, base + style)]

    def _marked(self, text: str, begin: int, end: int, spans: Spans, style: Style) -> list[Segment]:
        """A part of the text with what was searched for set off."""
        found, at = list[Segment](), begin
        for first, last in spans:
            first, last = max(first, at), min(last, end)
            if first < last:
                found += [
                    Segment(text[at:first], style),
                    Segment(text[first:last], style + self._style("hit")),
                ]
                at = last
        return [*found, Segment(text[at:end], style)]

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"log--{name}", partial=True)


def _pieces(text: str, room: int) -> Iterator[str]:
    """The text cut into rows of at most so many columns, behind a word where one ends in the last third of a row."""
    at = 0
    while True:
        piece = next(filter(None, chop_cells(text[at : at + 2 * room], room)), text[at : at + 1])
        if at + len(piece) < len(text) and (space := piece.rfind(" ", len(piece) * 2 // 3)) >= 0:
            piece = piece[: space + 1]
        yield piece
        at += len(piece)
        if at >= len(text):
            return


def _column(text: str, column: int) -> tuple[int, int]:
    """Which letter stands at a column of the screen, and how many columns of a wide one before it are left."""
    at = 0
    for place, letter in enumerate(text):
        if at >= column:
            return place, at - column
        at += cell_len(letter)
    return len(text), 0
