"""A table for any number of rows: only what is on the screen is drawn, and a changed row is one line.

Rows have keys; the cursor stays on its key when rows move, and so do marks. Cells are plain text that was
made harmless where it came in (`winslow.terminal_text`); nothing in them is read as markup.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from winslow_tui.program.keymap import rebind
from winslow_tui.program.sorting import Sorting
from winslow_tui.program.themes import STATES

GAP = 2


@dataclass(frozen=True)
class Column:
    """`width` in cells; with `grow` it takes its share of what is left. Where the screen is too narrow, columns of
    the lowest `rank` are left out first."""

    label: str
    width: int
    grow: int = 0
    align: Literal["left", "right"] = "left"
    rank: int = 0


@dataclass(frozen=True)
class Cell:
    """Text and, for a state, the name of its style (`themes.style_of`); `note` stands dim behind it, as far as it has
    room. A `wide` one is the last of its row, and has the room of the columns behind it."""

    text: str
    state: str = ""
    dim: bool = False
    note: str = ""
    wide: bool = False


class VirtualTable(ScrollView, can_focus=True, inherit_bindings=False):
    """`row(key)` gives the cells of a row, one per column but for those behind a wide one; it is asked for what is on
    the screen only. Of what is gone since the rows were shown it says None: its line is empty until they are shown
    anew."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--header",
        "table--cursor",
        "table--mark",
        "table--dim",
        *(f"table--{state}" for state in STATES),
    }
    DEFAULT_CSS = """
    VirtualTable { height: 1fr; background: $background; color: $foreground; scrollbar-size-vertical: 1; }
    VirtualTable > .table--header { color: $dim; text-style: bold; }
    VirtualTable > .table--cursor { background: $cursor-idle; text-style: bold; }
    VirtualTable:focus > .table--cursor { background: $cursor-ground; text-style: bold; }
    VirtualTable > .table--mark { color: $accent; text-style: bold; }
    VirtualTable > .table--dim { color: $dim; }
    """ + "\n".join(f"VirtualTable > .table--{state} {{ color: $state-{state}; }}" for state in STATES)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "down", show=False, id="down"),
        Binding("k,up", "move(-1)", "up", show=False, id="up"),
        Binding("g,home", "edge(-1)", "first", show=False, id="first"),
        Binding("G,end", "edge(1)", "last", show=False, id="last"),
        Binding("ctrl+f,pagedown", "page(1)", "page down", show=False, id="page-down"),
        Binding("ctrl+b,pageup", "page(-1)", "page up", show=False, id="page-up"),
        Binding("ctrl+d", "page(0.5)", "half a page down", show=False, id="half-page-down"),
        Binding("ctrl+u", "page(-0.5)", "half a page up", show=False, id="half-page-up"),
        Binding("enter", "choose", "open", id="open"),
        Binding("space", "mark", "mark", show=False, id="mark"),
    ]
    cursor: reactive[int] = reactive(0, repaint=False)
    empty: reactive[str] = reactive("")  # what stands there where there are no rows

    class Chosen(Message):
        """Enter was pressed on a row."""

        def __init__(self, table: VirtualTable, key: str) -> None:
            super().__init__()
            self.table, self.key = table, key

        @property
        def control(self) -> VirtualTable:
            return self.table

    class Moved(Message):
        """The cursor is on another key, or on none."""

        def __init__(self, table: VirtualTable, key: str | None) -> None:
            super().__init__()
            self.table, self.key = table, key

        @property
        def control(self) -> VirtualTable:
            return self.table

        def can_replace(self, message: Message) -> bool:
            """Of several only the last counts."""
            return isinstance(message, VirtualTable.Moved) and message.table is self.table

    def __init__(
        self,
        columns: Sequence[Column],
        row: Callable[[str], Sequence[Cell] | None],
        *,
        empty: str = "",
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.columns = tuple(columns)
        self.set_reactive(VirtualTable.empty, empty)
        self.marks: set[str] = set()
        self.sorting = Sorting()
        self._row = row
        self._keys: list[str] = []
        self._places: dict[str, int] = {}
        self._told: str | None = None
        self._drawn: dict[str, Sequence[Cell] | None] = {}  # what was drawn last of the rows on the screen

    def on_mount(self) -> None:
        rebind(self)

    # -- rows

    @property
    def keys(self) -> Sequence[str]:
        """The rows in their order."""
        return self._keys

    @property
    def current(self) -> str | None:
        """The key under the cursor."""
        return self._keys[self.cursor] if self.cursor < len(self._keys) else None

    @property
    def chosen(self) -> list[str]:
        """What a verb is for: the marked rows in their order, else the one under the cursor."""
        marked = [key for key in self._keys if key in self.marks]
        return marked or ([self.current] if self.current is not None else [])

    def show(self, keys: Sequence[str]) -> None:
        """Other rows, or another order; the cursor stays on its key, else near its place."""
        held = self.current
        if list(keys) == self._keys:
            return
        at = self.cursor - int(self.scroll_offset.y)
        self._keys = list(keys)
        self._places = {key: place for place, key in enumerate(self._keys)}
        self.marks &= self._places.keys()
        place = self._places.get(held, min(self.cursor, len(self._keys) - 1)) if held is not None else 0
        self.virtual_size = Size(0, len(self._keys) + 1)
        self.cursor = max(0, place)
        if self.is_mounted:
            self.scroll_to(y=max(0, self.cursor - at), animate=False, immediate=True)
        self.refresh()
        self._tell()

    def changed(self, *keys: str) -> None:
        """Draw those rows anew that are on the screen."""
        top = int(self.scroll_offset.y)
        places = {self._places.get(key) for key in keys}
        for place in range(top, top + self.size.height):
            if place in places:
                self.refresh_line(place + 1)

    def aged(self) -> None:
        """Draw the rows on the screen anew whose cells have become others."""
        top = int(self.scroll_offset.y)
        shown = self._keys[top : top + self.size.height]
        self.changed(*(key for key in shown if self._drawn.get(key) != self._row(key)))

    def refresh_line(self, y: int) -> None:
        """Draw the virtual line `y` anew; 0 is the header, which does not scroll."""
        shown = y - int(self.scroll_offset.y) if y else 0
        if y == 0 or 0 < shown < self.size.height:
            self.refresh(Region(0, shown, self.size.width, 1))

    def put_cursor(self, key: str) -> None:
        """Move the cursor to a row, if it is there."""
        if key in self._places:
            self._move_to(self._places[key])

    def reveal(self, rows: int) -> None:
        """Scroll so that so many of the rows below the cursor are on the screen, as far as the cursor stays there."""
        seen = max(1, self.size.height - 1)
        top = min(self.cursor, self.cursor + rows - seen + 1)
        if top > int(self.scroll_offset.y):
            self.scroll_to(y=top, animate=False, immediate=True)

    # -- keys

    def action_move(self, by: int) -> None:
        self._move_to(self.cursor + by)

    def action_edge(self, side: int) -> None:
        self._move_to(len(self._keys) if side > 0 else 0)

    def action_page(self, pages: float) -> None:
        self._move_to(self.cursor + int(pages * max(1, self.size.height - 2)))

    def action_choose(self) -> None:
        if self.current is not None:
            self.post_message(self.Chosen(self, self.current))

    def action_mark(self) -> None:
        if self.current is not None:
            self.marks ^= {self.current}
            self.changed(self.current)
            self._move_to(self.cursor + 1)

    def _move_to(self, place: int) -> None:
        before, self.cursor = self.cursor, max(0, min(place, len(self._keys) - 1))
        if before != self.cursor:
            self.refresh_line(before + 1)
            self.refresh_line(self.cursor + 1)
        top, rows = int(self.scroll_offset.y), max(1, self.size.height - 1)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= top + rows:
            self.scroll_to(y=self.cursor - rows + 1, animate=False, immediate=True)
        self._tell()

    def _tell(self) -> None:
        if self.current != self._told:
            self._told = self.current
            self.post_message(self.Moved(self, self.current))

    def on_click(self, event: Click) -> None:
        """A click moves the cursor, a second one opens."""
        place = event.y - 1 + int(self.scroll_offset.y)
        if event.y > 0 and place < len(self._keys):
            again = place == self.cursor
            self._move_to(place)
            if again:
                self.action_choose()

    # -- drawing

    def plan(self, width: int) -> list[tuple[Column, int]]:
        """The columns that have room, each with its width."""
        shown = list(self.columns)
        while len(shown) > 1 and sum(each.width + GAP for each in shown) > width - 1:
            shown.remove(min(reversed(shown), key=lambda each: each.rank))
        left = max(0, width - 1 - sum(each.width + GAP for each in shown))
        shares = sum(each.grow for each in shown)
        return [(each, each.width + (left * each.grow // shares if shares else 0)) for each in shown]

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        plan = self.plan(width)
        base = self.rich_style
        if y == 0:
            style = base + self._style("header")
            return self._strip([Segment(" " * 2, style), *self._cells(plan, None, style)], width, style)
        place = y - 1 + int(self.scroll_offset.y)
        if place >= len(self._keys):
            told = self.empty if not self._keys and y == 2 else ""
            return self._strip([Segment("  " + told, base + self._style("dim"))], width, base)
        key = self._keys[place]
        style = base + self._style("cursor") if place == self.cursor else base
        sign = "▶" if place == self.cursor else " "
        mark = "*" if key in self.marks else " "
        head = [Segment(sign, style), Segment(mark, style + self._style("mark") if mark != " " else style)]
        cells = self._row(key)
        if len(self._drawn) > 4 * self.size.height:
            self._drawn.clear()
        self._drawn[key] = cells
        drawn = [] if cells is None else self._cells(plan, cells, style)
        return self._strip([*head, *drawn], width, style)

    def _cells(
        self, plan: list[tuple[Column, int]], cells: Sequence[Cell] | None, style: Style
    ) -> list[Segment]:
        found = []
        for place, (column, width) in enumerate(plan):
            cell = Cell(self._label(column)) if cells is None else cells[self.columns.index(column)]
            if cell.wide:
                width = sum(each + GAP for _, each in plan[place:]) - GAP
            text = _fitted(cell.text, width)
            note = _fitted(cell.note, width - cell_len(text))
            pad = " " * (width - cell_len(text) - cell_len(note))
            if column.align == "right":
                text = pad + text
            elif note:
                note += pad
            else:
                text += pad
            own = style
            if cells is not None and cell.state:
                own += self._style(cell.state)
            elif cells is not None and cell.dim:
                own += self._style("dim")
            found.append(Segment(text, own))
            if note:
                found.append(Segment(note, style + self._style("dim")))
            found.append(Segment(" " * GAP, style))
            if cell.wide:
                break
        return found

    def _label(self, column: Column) -> str:
        if column.label != self.sorting.column or not column.label:
            return column.label
        return f"{column.label[: column.width - 1]}{'▾' if self.sorting.backwards else '▴'}"

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"table--{name}", partial=True)

    @staticmethod
    def _strip(segments: list[Segment], width: int, style: Style) -> Strip:
        return Strip(segments).adjust_cell_length(width, style)


def _fitted(text: str, width: int) -> str:
    """What of a text has room in so many cells."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1) + "…" if width > 1 else ""
