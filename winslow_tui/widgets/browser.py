"""Files at addresses as a tree in a table: folders unfold in place, each is looked at when it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Resize
from textual.message import Message

from winslow import terminal_text
from winslow.errors import WinslowError
from winslow.placement import size_text
from winslow_tui.facade.filing import File
from winslow_tui.program import filetree, filtering, sorting
from winslow_tui.program.filetree import FileTree, Kind, Level, Place, Row
from winslow_tui.program.keymap import rebind
from winslow_tui.program.sorting import Sorting
from winslow_tui.shown.wording import time_here
from winslow_tui.widgets.frame import Line, Part
from winslow_tui.widgets.table import Cell, Column, VirtualTable

COLUMNS = (
    Column("NAME", 20, grow=5, rank=9),
    Column("SIZE", 10, align="right", rank=8),
    Column("MODIFIED", 16, rank=5),
)
MADE = (*COLUMNS, Column("BY", 5, rank=4))
"""Where runs made what is there: a file may be of an earlier one."""
FOLDED, UNFOLDED = "▸", "▾"
Ask = Callable[[Callable[[], Level], Callable[[Level], None], Callable[[WinslowError], None]], None]
"""Called with work for a thread, and with what takes its result, or its error, in the app."""


class Browser(Vertical):
    """`look(address)` lists one level, and blocks: it is called in a thread, by `ask`. `runs`: runs made some of it."""

    DEFAULT_CSS = """
    Browser { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right", "unfold", "unfold, into it", show=False, id="unfold"),
        Binding("left,backspace", "fold", "fold", id="fold"),
        *(
            replace(each, action=f"screen.{each.action}")
            for each in sorting.bindings({"N": "NAME", "S": "SIZE", "M": "MODIFIED"})
        ),
    ]

    class Opened(Message):
        """Enter was pressed on a file."""

        def __init__(self, browser: Browser, where: str, file: File) -> None:
            super().__init__()
            self.browser, self.where, self.file = browser, where, file

    def __init__(
        self,
        look: Callable[[str], list[File]],
        ask: Ask,
        *,
        runs: bool = False,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._look = look
        self._ask = ask
        self._columns = MADE if runs else COLUMNS
        self._tree = FileTree()
        self._places: tuple[Place, ...] = ()
        self._rows: dict[str, Row] = {}
        self._filter = ""
        self._widest = 0  # of the places' names
        self._looking: dict[str, bool] = {}  # the folders that are being looked at: whether once more then
        self._opening = ""  # the folder that was unfolded last, until what is in it is there

    def compose(self) -> ComposeResult:
        yield Line(id="place")
        yield VirtualTable(self._columns, self._cells, id="entries")

    def on_mount(self) -> None:
        rebind(self)
        self._show()
        self.refresh_files()

    @property
    def table(self) -> VirtualTable:
        return self.query_one("#entries", VirtualTable)

    @property
    def row(self) -> Row | None:
        """What is under the cursor."""
        return self._rows.get(self.table.current or "")

    @property
    def chosen(self) -> list[str]:
        """Addresses of the marked entries, else of the one under the cursor."""
        return filetree.things(self._rows[key] for key in self.table.chosen)

    @property
    def folder(self) -> str:
        """The address of the folder where the cursor is; empty where there is nothing at all."""
        return self.row.folder if self.row is not None else ""

    # -- what is there

    def set_places(self, places: Sequence[Place], *, unfolded: Sequence[str] = ()) -> None:
        """What is at the top."""
        if tuple(places) == self._places:
            return
        self._places = tuple(places)
        for key in unfolded:
            self._tree.unfold(key)
        new = self._tree.put_places(places)
        if self.is_mounted and self.is_attached:
            self._show()
            for key in new:
                self._look_at(key)

    def refresh_files(self) -> None:
        """Look again at all that is unfolded, from the top: a folder that is gone is not asked for. While the tree is
        hidden nothing is: whoever shows it calls this."""
        for key in self._tree.unfolded_places if self.display else ():
            self._look_at(key)

    def _look_at(self, key: str) -> None:
        """One look at a folder at a time: what is asked for meanwhile is asked once it has come."""
        if key in self._looking:
            self._looking[key] = True
            return
        self._looking[key] = False

        def got(level: Level) -> None:
            if self.is_attached:
                for each in self._tree.found(key, level):
                    self._look_at(each)
                self._show()
                if self._opening == key == self.table.current:
                    self.table.reveal(len(level.rows))
            over()

        def failed(error: WinslowError) -> None:
            if self.is_attached:
                self._tree.missed(key, str(error))
                self._show()
            over()

        def over() -> None:
            self._opening = self._opening if self._opening != key else ""
            if self._looking.pop(key) and self.is_attached:
                self._look_at(key)

        self._ask(lambda: filetree.level(key, self._look(key)), got, failed)

    # -- what of it is shown

    def narrow(self, text: str) -> None:
        """Show what passes a filter, as a person typed it, and the way to that."""
        if text == self._filter:
            return
        self._filter = text
        wanted = filtering.parse(text, fields=())
        self._tree.narrow((lambda path: wanted.holds({"name": (path,)})) if wanted.conditions else None)
        self._show()

    def sort(self, by: Sorting) -> None:
        """Show what is in each folder in another order."""
        if by == self.table.sorting:
            return
        self._tree.sort(by)
        self.table.sorting = by
        self.table.refresh()
        self._show()

    def _show(self) -> None:
        rows = self._tree.rows()
        self._rows = {row.key: row for row in rows}
        self._widest = max((len(row.text) for row in rows if row.kind is Kind.PLACE), default=0)
        self.table.show([row.key for row in rows])
        self.table.aged()
        self._tell()

    def _tell(self) -> None:
        """Say where the cursor is, and what is known of that."""
        row = self.row
        if row is None:
            self.query_one("#place", Line).show([])
            return
        told: list[str] = []
        if row.kind is Kind.FILE and row.file is not None:  # what a narrow table has no room for
            told = [f"made by run #{row.file.run}" if row.file.run else "", _time(row.file)]
        elif (level := self._tree.known(row.folder)) is not None:
            told = [f"{len(level.rows)} here, {size_text(level.size)}"]
        where = _end(terminal_text.line(row.thing), self.size.width - 2)
        self.query_one("#place", Line).show(
            [(Part(where, "title"),), *((Part(each, "dim"),) for each in told if each)]
        )

    def _cells(self, key: str) -> tuple[Cell, ...]:
        row = self._rows[key]
        indent, name = "  " * row.depth, terminal_text.line(row.text)
        if row.kind is Kind.WORDS:
            return (Cell(f"{indent}  {name}", dim=True, wide=True),)
        sign = UNFOLDED if self._tree.unfolded(key) else FOLDED
        if row.kind is Kind.PLACE:
            note = terminal_text.line(row.note)
            return (Cell(f"{sign} {name:<{self._widest}}", note=f"  {note}", state="running", wide=True),)
        if row.kind is Kind.FOLDER or row.file is None:
            return (Cell(f"{indent}{sign} {name}/", state="running"), *[Cell("")] * (len(self._columns) - 1))
        target = f" -> {terminal_text.line(row.file.target)}" if row.file.target else ""
        run = f"#{row.file.run}" if row.file.run else ""
        return (
            Cell(f"{indent}  {name}", note=target),
            Cell(size_text(row.file.size)),
            Cell(_time(row.file), dim=True),
            *[Cell(run, dim=True)] * (len(self._columns) - 3),
        )

    # -- keys

    @on(VirtualTable.Moved, "#entries")
    def _moved(self) -> None:
        self._tell()

    def on_resize(self, _event: Resize) -> None:
        self._tell()

    @on(VirtualTable.Chosen, "#entries")
    def _enter(self, event: VirtualTable.Chosen) -> None:
        event.stop()
        row = self._rows[event.key]
        if row.kind is Kind.WORDS:
            self._look_at(row.within)
        elif row.kind is Kind.FILE and row.file is not None:
            self.post_message(self.Opened(self, row.key, row.file))
        elif self._tree.unfolded(row.key):
            self._fold(row)
        else:
            self._unfold(row)

    def action_unfold(self) -> None:
        """Unfold what is under the cursor; if it is, to the first thing in it."""
        row = self.row
        if row is not None and row.folds:
            if self._tree.unfolded(row.key):
                self.table.action_move(1)
            else:
                self._unfold(row)

    def action_fold(self) -> None:
        """Fold what is under the cursor; if it is, to the folder that it stands in."""
        row = self.row
        if row is not None and self._tree.unfolded(row.key):
            self._fold(row)
        elif row is not None and row.within:
            self.table.put_cursor(row.within)

    def _unfold(self, row: Row) -> None:
        self._tree.unfold(row.key)
        self._opening = row.key
        self._show()
        self._look_at(row.key)

    def _fold(self, row: Row) -> None:
        self._tree.fold(row.key)
        self._show()


def _time(file: File) -> str:
    return terminal_text.line(time_here(file.modified))


def _end(text: str, width: int) -> str:
    """As much of the end of a text as has room in so many cells."""
    if cell_len(text) <= width:
        return text
    text = text[-max(1, width - 1) :]
    while cell_len(text) > width - 1 and text:
        text = text[1:]
    return f"…{text}"
