"""An image drawn with half blocks: each cell is two of its points, the upper one in the colour of the letter, the lower
one in that of the ground. So it needs nothing of a terminal but colours, and goes through SSH and tmux as text does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from winslow_tui.program.themes import MONOCHROME
from winslow_tui.shown.picture import Picture

WITHOUT_COLOURS = "the picture is drawn in colours only"
FEWEST_ROWS = 4
COLOURFUL = ("256", "truecolor")
_POINT = 3  # bytes
_SHADES = bytes(shade & 0xFC | shade >> 6 for shade in range(256))
"""64 of each colour: no eye sees it, and many cells are alike."""


class PictureView(Widget):
    """As large as there is room for without scrolling."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"picture--dim"}
    DEFAULT_CSS = """
    PictureView { width: auto; height: auto; }
    PictureView > .picture--dim { color: $dim; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._picture: Picture | None = None
        self._highest, self._beside = 1.0, 0
        self._drawn: tuple[tuple[int, int, tuple[int, int, int]], bytes] | None = (
            None  # at a size, on a ground
        )

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.refresh(layout=True))

    def show(self, picture: Picture | None, *, highest: float, beside: int) -> None:
        """Another picture, or none. What it is shown in is at most `highest` of the screen high, and `beside` rows of
        that are something else's."""
        self._picture, self._highest, self._beside, self._drawn = picture, highest, beside, None
        self.refresh(layout=True)

    @property
    def _colourful(self) -> bool:
        console = self.app.console
        return (
            self.app.theme != MONOCHROME.name and not console.no_color and console.color_system in COLOURFUL
        )

    def _fitted(self, columns: int, viewport: Size) -> tuple[int, int]:
        assert self._picture is not None
        rows = int(viewport.height * self._highest) - self._beside
        return self._picture.fitted(max(1, columns), max(FEWEST_ROWS, rows))

    def get_content_width(self, container: Size, viewport: Size) -> int:
        if self._picture is None:
            return 0
        return self._fitted(container.width, viewport)[0] if self._colourful else len(WITHOUT_COLOURS)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        if self._picture is None:
            return 0
        return (self._fitted(container.width, viewport)[1] + 1) // 2 if self._colourful else 1

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        if self._picture is None:
            return Strip.blank(width, base)
        if not self._colourful:
            style = base + self.get_component_rich_style("picture--dim", partial=True)
            return Strip([Segment(WITHOUT_COLOURS, style)]).adjust_cell_length(width, base)
        height = 2 * self.size.height
        points, row = self._points(self._picture, width, height), 2 * _POINT * width
        upper, lower = points[y * row : y * row + row // 2], points[y * row + row // 2 : (y + 1) * row]
        cells = [
            Segment("▀", _style(upper[x : x + _POINT], lower[x : x + _POINT]))
            for x in range(0, len(lower), _POINT)
        ]
        return Strip(cells).adjust_cell_length(width, base)

    def _points(self, picture: Picture, width: int, height: int) -> bytes:
        """All of it at this size: the small copy is scaled, which takes a millisecond."""
        ground = self.background_colors[1].rgb
        at = (width, height, ground)
        if self._drawn is None or self._drawn[0] != at:
            self._drawn = (at, picture.scaled(width, height, ground).translate(_SHADES))
        return self._drawn[1]


@lru_cache(maxsize=8192)
def _style(upper: bytes, lower: bytes) -> Style:
    return Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower))
