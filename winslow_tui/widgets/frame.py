"""The two lines above every screen and the one below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

GAP = 2


@dataclass(frozen=True)
class Part:
    """Some text in a line, with the name of its style (`frame--…`)."""

    text: str
    style: str = ""


class Line(Widget):
    """One line of parts, some at the left and some at the right; where it is too narrow parts of the left are left
    out from the end, whole, never cut in the middle of a word. Two columns are between the groups at the left; in a
    `tight` line only one where that lets all of them in."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "frame--title",
        "frame--dim",
        "frame--good",
        "frame--bad",
        "frame--busy",
        "frame--on",
        "frame--key",
    }
    DEFAULT_CSS = """
    Line { height: 1; background: $surface; color: $foreground; }
    Line > .frame--title { text-style: bold; color: $primary; }
    Line > .frame--dim { color: $dim; }
    Line > .frame--good { color: $state-succeeded; }
    Line > .frame--bad { color: $state-failed; text-style: bold; }
    Line > .frame--busy { color: $state-waiting; }
    Line > .frame--on { background: $cursor-ground; text-style: bold; }
    Line > .frame--key { color: $primary; text-style: bold; }
    """

    def __init__(self, *, tight: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._tight = tight
        self._left: tuple[Sequence[Part], ...] = ()
        self._right: tuple[Part, ...] = ()

    def show(self, left: Iterable[Sequence[Part]], right: Iterable[Part] = ()) -> None:
        """Groups of parts at the left, the most important first, and parts at the right."""
        shown = (tuple(left), tuple(right))
        if shown != (self._left, self._right):
            self._left, self._right = shown
            self.refresh()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return 1

    def render_line(self, y: int) -> Strip:
        return self.drawn(self.size.width, self.rich_style)

    def drawn(self, width: int, base: Style) -> Strip:
        """The line as it is at a width."""
        room = width - 1 - sum(cell_len(part.text) for part in self._right) - (2 if self._right else 0)
        lengths = [sum(cell_len(part.text) for part in group) for group in self._left]
        gap = 1 if self._tight and sum(lengths) + GAP * (len(lengths) - 1) > room - 1 else GAP
        segments, used = [Segment(" ", base)], 1
        for group, length in zip(self._left, lengths, strict=True):
            if used + length > room:
                break
            segments += [Segment(part.text, base + self._style(part)) for part in group]
            segments.append(Segment(" " * gap, base))
            used += length + gap
        strip = Strip(segments)
        if self._right:
            tail = [Segment(part.text, base + self._style(part)) for part in self._right]
            free = max(0, width - strip.cell_length - sum(segment.cell_length for segment in tail) - 1)
            strip = Strip([*segments, Segment(" " * free, base), *tail])
        return strip.adjust_cell_length(width, base)

    def _style(self, part: Part) -> Style:
        return (
            self.get_component_rich_style(f"frame--{part.style}", partial=True)
            if part.style
            else Style.null()
        )
