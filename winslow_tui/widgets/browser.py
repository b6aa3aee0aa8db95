"""Files at addresses as a table that one walks through: folders in and out, sizes, dates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message

from winslow import address, terminal_text
from winslow.address import Address
from winslow.errors import WinslowError
from winslow.placement import size_text
from winslow.workspace import EntryType
from winslow_tui.facade.filing import File
from winslow_tui.program.keymap import rebind
from winslow_tui.program.sorting import Sorting
from winslow_tui.widgets.frame import Line, Part
from winslow_tui.widgets.table import Cell, Column, VirtualTable

COLUMNS = (
    Column("NAME", 20, grow=5, rank=9),
    Column("SIZE", 10, align="right", rank=8),
    Column("MODIFIED", 16, rank=5),
)
MADE = (*COLUMNS, Column("BY", 5, rank=4))
"""Where runs made what is there: a file may be of an earlier one."""
PLACES = (Column("PLACE", 9, grow=1, rank=9), Column("WHAT IT IS", 30, grow=3, rank=8))
Root = tuple[str, str]
"""A place to begin with: its address, and what is said beside it."""


class Browser(Vertical):
    """`look(address)` lists one level, in a thread of the screen's making: `ask(work, done, failed)` runs it there."""

    DEFAULT_CSS = """
    Browser { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("backspace,left", "up", "up", key_display="⌫", id="folder-up"),
    ]

    class Opened(Message):
        """Enter was pressed on a file."""

        def __init__(self, browser: Browser, where: str, file: File) -> None:
            super().__init__()
            self.browser, self.where, self.file = browser, where, file

    def __init__(
        self,
        look: Callable[[str], list[File]],
        ask: Callable[
            [Callable[[], list[File]], Callable[[list[File]], None], Callable[[WinslowError], None]], None
        ],
        *,
        roots: Sequence[Root] = (),
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._look = look
        self._ask = ask
        self._roots = tuple(roots)
        self._files: dict[str, File] = {}
        self._sorting = Sorting()
        self._filter: Callable[[str], bool] = lambda _name: True
        self.at: str | None = None  # the address that is shown; None: the roots

    def compose(self) -> ComposeResult:
        yield Line(id="place")
        yield VirtualTable(COLUMNS, self._row, id="entries")

    def on_mount(self) -> None:
        rebind(self)
        self.go(self.at)

    @property
    def table(self) -> VirtualTable:
        return self.query_one("#entries", VirtualTable)

    @property
    def chosen(self) -> list[str]:
        """Addresses of the marked entries, else of the one under the cursor."""
        if self.at is None:
            return list(self.table.chosen)
        return [self.address_of(key) for key in self.table.chosen]

    def address_of(self, key: str) -> str:
        """An entry's whole address."""
        assert self.at is not None
        where = address.parse(self.at)
        folder = self._files[key].kind is EntryType.DIR
        return address.text(replace(where, path=self._files[key].path, folder=folder))

    def set_roots(self, roots: Sequence[Root]) -> None:
        """Other places to begin with."""
        self._roots = tuple(roots)
        if self.at is None and self.is_mounted and self.is_attached:
            self._show()

    def go(self, where: str | None, *, select: str = "") -> None:
        """Show a folder, or the roots."""
        self.at = where
        self._files = {}
        self._show()
        if where is None:
            return

        def got(files: list[File]) -> None:
            if self.at == where and self.is_attached:
                self.table.empty = "nothing here"
                self._files = {each.path: each for each in files}
                self._show()
                if select:
                    self.table.put_cursor(select)

        def failed(_error: WinslowError) -> None:
            if self.at == where and self.is_attached:
                self.table.empty = "it could not be looked at"
                self._show()

        self._ask(lambda: self._look(where), got, failed)

    def refresh_files(self) -> None:
        """Look again at what is shown."""
        self.go(self.at, select=self.table.current or "")

    def narrow(self, holds: Callable[[str], bool]) -> None:
        """Show names for which `holds` is true."""
        self._filter = holds
        self._show()

    def sort(self, sorting: Sorting) -> None:
        """Show entries in another order."""
        self._sorting = self.table.sorting = sorting
        self._show()

    def _show(self) -> None:
        made = any(file.run for file in self._files.values())
        self.table.columns = PLACES if self.at is None else MADE if made else COLUMNS
        if self.at is None:
            keys: Iterable[str] = [root for root, _ in self._roots]
        else:
            order = sorted(self._files.values(), key=lambda file: (file.kind is not EntryType.DIR, file.path))
            names = [file.path for file in order if self._filter(file.path)]
            files = self._files
            keys = self._sorting.order(
                names,
                {
                    "NAME": lambda name: name,
                    "SIZE": lambda name: files[name].size,
                    "MODIFIED": lambda name: files[name].modified,
                },
            )
        self.table.show(list(keys))
        self.table.refresh()
        total = sum(file.size for file in self._files.values())
        told = f"{len(self._files)} here, {size_text(total)}" if self.at is not None else ""
        self.query_one("#place", Line).show(
            [(Part(terminal_text.line(self.at or "places"), "title"),), (Part(told, "dim"),)]
        )

    def _row(self, key: str) -> tuple[Cell, ...]:
        if self.at is None:
            words = dict(self._roots).get(key, "")
            name = key.removeprefix(address.parse(key).project or "").strip(":")
            return Cell(terminal_text.line(name)), Cell(terminal_text.line(words), dim=True)
        file = self._files[key]
        name = terminal_text.line(file.path.rpartition("/")[2])
        if file.kind is EntryType.DIR:
            return Cell(name + "/", state="running"), Cell(""), Cell("", dim=True), Cell("")
        if file.target:
            name += f" -> {terminal_text.line(file.target)}"
        when = terminal_text.line(file.modified[:16].replace("T", " "))
        run = f"#{file.run}" if file.run else ""
        return Cell(name), Cell(size_text(file.size)), Cell(when, dim=True), Cell(run, dim=True)

    @on(VirtualTable.Chosen, "#entries")
    def _enter(self, event: VirtualTable.Chosen) -> None:
        event.stop()
        if self.at is None:
            self.go(event.key)
        elif self._files[event.key].kind is EntryType.DIR:
            self.go(self.address_of(event.key))
        else:
            self.post_message(self.Opened(self, self.address_of(event.key), self._files[event.key]))

    def action_up(self) -> None:
        """To the folder above; from a place's top to the places."""
        if self.at is None:
            return
        where: Address = address.parse(self.at)
        if not where.path:
            if self._roots:
                self.go(None)
            return
        self.go(
            address.text(replace(where, path=where.path.rpartition("/")[0], folder=True)), select=where.path
        )
