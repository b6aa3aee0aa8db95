"""The lines of a log on the screen. What is being read never moves; following is a choice.

The view keeps the number of its top line, not a scroll position: it draws downwards from there until the
screen is full, so a log may have any size and lines any length. Text is made harmless as it is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar, Protocol

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from winslow import terminal_text
from winslow_tui.loglines import LogLine

DRAWN = 16 << 10
"""Bytes of a line that are drawn; copying takes the whole line."""

SIDEWAYS = 20  # columns that h and l move


class Lines(Protocol):
    """What is shown: `LogLines`, or some of its lines."""

    @property
    def count(self) -> int: ...

    @property
    def version(self) -> int: ...

    def line(self, number: int) -> LogLine | None: ...


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
    LogView > .log--hit { background: $warning; color: $background; }
    LogView > .log--current { background: $cursor-ground; }
    LogView > .log--away { color: $dim; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "scroll_lines(1)", "down", show=False),
        Binding("k,up", "scroll_lines(-1)", "up", show=False),
        Binding("g,home", "start", "start", show=False),
        Binding("G,end", "end", "end", show=False),
        Binding("ctrl+f,pagedown,space", "scroll_pages(1)", "page down", show=False),
        Binding("ctrl+b,pageup", "scroll_pages(-1)", "page up", show=False),
        Binding("ctrl+d", "scroll_pages(0.5)", "half a page down", show=False),
        Binding("ctrl+u", "scroll_pages(-0.5)", "half a page up", show=False),
        Binding("l,right", "sideways(1)", "right", show=False),
        Binding("h,left", "sideways(-1)", "left", show=False),
        Binding("f", "follow", "follow"),
        Binding("w", "wrap", "wrap"),
        Binding("t", "times", "times"),
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
        self.times = True
        self.top = 0
        self.left = 0
        self.marked: int | None = None  # the line a search has found
        self._lines: Lines | None = None
        self._version = -1
        self._window: list[tuple[int, Strip]] | None = None
        self._hits: Callable[[str], list[tuple[int, int]]] | None = None

    # -- what is shown

    def show(self, lines: Lines | None, *, at_end: bool = True) -> None:
        """Another log, from its end or its start."""
        self._lines, self._version = lines, -1
        self.following, self.top, self.left, self.marked = at_end, 0, 0, None
        self._draw()

    def poll(self) -> None:
        """Draw again if something new can be shown."""
        if self._lines is None or self._lines.version == self._version:
            return
        self._version = self._lines.version
        incomplete = self._window is None or len(self._window) < self.size.height or self._waiting
        if self.following or incomplete:
            self._draw()
        self.post_message(self.Changed())

    @property
    def position(self) -> tuple[int, int]:
        """The number of the last line on the screen, counted from 1, and how many there are."""
        window = self._shown()
        return (window[-1][0] + 1 if window else 0), self._lines.count if self._lines else 0

    @property
    def current(self) -> int | None:
        """The line a verb is for: what a search has found, else the top one."""
        if self._lines is None or not self._lines.count:
            return None
        return self.marked if self.marked is not None else self._shown()[0][0]

    def highlight(self, pattern: re.Pattern[str] | None) -> None:
        """Show where a pattern stands; None: nowhere."""
        if pattern is None:
            self._hits = None
        else:
            self._hits = lambda text: [match.span() for match in pattern.finditer(text) if match[0]]
        self._draw()

    def go_to(self, number: int) -> None:
        """Bring a line into the middle of the screen."""
        self.marked = number
        self.following = False
        self.top = max(0, number - self.size.height // 2)
        self._draw()

    # -- keys

    def action_scroll_lines(self, by: int) -> None:
        window = self._shown()
        count = self._lines.count if self._lines else 0
        if by > 0 and window and window[-1][0] >= count - 1 and len(window) >= self.size.height:
            self.action_end()
            return
        self.following = False
        self.top = max(0, min((window[0][0] if window else 0) + by, max(0, count - 1)))
        self._draw()

    def action_scroll_pages(self, pages: float) -> None:
        window = self._shown()
        shown = len({number for number, _ in window}) or 1
        self.action_scroll_lines(int(pages * shown) or (1 if pages > 0 else -1))

    def action_start(self) -> None:
        self.following, self.top = False, 0
        self._draw()

    def action_end(self) -> None:
        self.following = True
        self._draw()

    def action_sideways(self, by: int) -> None:
        if not self.wrap:
            self.left = max(0, self.left + by * SIDEWAYS)
            self._draw()

    def action_follow(self) -> None:
        window = self._shown()
        self.following = not self.following
        if not self.following and window:
            self.top = window[0][0]
        self._draw()

    def action_wrap(self) -> None:
        self.wrap, self.left = not self.wrap, 0
        self._draw()

    def action_times(self) -> None:
        self.times = not self.times
        self._draw()

    # -- drawing

    def _draw(self) -> None:
        self._window = None
        self.refresh()
        self.post_message(self.Changed())

    def on_resize(self) -> None:
        self._draw()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return container.height

    def render_line(self, y: int) -> Strip:
        window = self._shown()
        if y < len(window):
            return window[y][1]
        text = f" {self.empty}" if not window and y == 0 else ""
        return Strip([Segment(text, self.rich_style + self._style("away"))]).adjust_cell_length(
            self.size.width, self.rich_style
        )

    @property
    def _waiting(self) -> bool:
        """Whether a line on the screen is still to come."""
        return self._lines is not None and any(
            self._lines.line(number) is None for number, _ in self._shown()
        )

    def _shown(self) -> list[tuple[int, Strip]]:
        """The lines on the screen, each with its number; a wrapped one more than once."""
        if self._window is None:
            self._window = self._fill()
        return self._window

    def _fill(self) -> list[tuple[int, Strip]]:
        height = self.size.height
        if self._lines is None or height <= 0:
            return []
        count, found = self._lines.count, list[tuple[int, Strip]]()
        if self.following:
            number = count - 1
            while number >= 0 and len(found) < height:
                found[:0] = [(number, strip) for strip in self._strips(number)]
                number -= 1
            return found[-height:]
        self.top = max(0, min(self.top, count - 1))
        for number in range(self.top, count):
            found += [(number, strip) for strip in self._strips(number)]
            if len(found) >= height:
                break
        return found[:height]

    def _strips(self, number: int) -> list[Strip]:
        assert self._lines is not None
        width, base = self.size.width, self.rich_style
        if number == self.marked:
            base += self._style("current")
        line = self._lines.line(number)
        if line is None:
            return [Strip([Segment(" …", base + self._style("away"))]).adjust_cell_length(width, base)]
        head = f" {line.time[11:19]} " if self.times and line.time else " "
        label = f"{line.source:<6} " if line.source != "stdout" else " " * 7
        prefix = [
            Segment(head, base + self._style("time")),
            Segment(label, base + (self._style(line.source) if line.source != "stdout" else Style.null())),
        ]
        room = max(1, width - sum(segment.cell_length for segment in prefix))
        text = terminal_text.log_line(line.data[:DRAWN]).expandtabs(8)
        more = "…" if len(line.data) > DRAWN or not line.complete else ""
        style = base + (self._style(line.source) if line.source == "system" else Style.null())
        if not self.wrap:
            body = self._marked(_from_column(text, self.left) + more, style)
            return [Strip([*prefix, *body]).adjust_cell_length(width, base)]
        pieces = chop_cells(text + more, room) or [""]
        blank = [Segment(" " * (width - room), base)]
        return [
            Strip([*(prefix if place == 0 else blank), *self._marked(piece, style)]).adjust_cell_length(
                width, base
            )
            for place, piece in enumerate(pieces)
        ]

    def _marked(self, text: str, style: Style) -> list[Segment]:
        """The text with what was searched for set off."""
        hits = self._hits(text) if self._hits else []
        found, at = [], 0
        for begin, end in hits:
            found += [Segment(text[at:begin], style), Segment(text[begin:end], style + self._style("hit"))]
            at = end
        return [*found, Segment(text[at:], style)]

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"log--{name}", partial=True)


def _from_column(text: str, column: int) -> str:
    """The text from a screen column on; a wide character that is cut in half becomes a space."""
    if not column:
        return text
    head = set_cell_size(text, column)
    return text[len(head.rstrip()) if cell_len(head.rstrip()) == column else len(head) :]
