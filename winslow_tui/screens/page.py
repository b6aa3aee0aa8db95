"""A text over the screen, to be read and closed: a file's beginning, a comparison, an explanation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from winslow import terminal_text
from winslow_tui.program.keymap import rebind
from winslow_tui.screens import paging
from winslow_tui.widgets.sheet import Sheet


class Page(ModalScreen[None]):
    """See the module. Whatever the text holds is shown as it stands; long lines are scrolled to. `whole` opens more
    than is shown in the person's pager."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "close"),
        Binding("v", "pager", "open in $PAGER", show=False, id="pager"),
    ]
    DEFAULT_CSS = """
    Page { align: center middle; }
    Page #page { width: 95%; height: auto; max-height: 90%; background: $surface; border: round $primary; padding: 0 1;
                 overflow: auto; }
    Page #page-title { color: $primary; text-style: bold; width: auto; height: auto; margin-bottom: 1; }
    Page #page-text { width: auto; height: auto; }
    """

    def __init__(self, title: str, text: str | Content, *, whole: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._whole = whole
        self._title = Content(terminal_text.line(title))
        self._text = text if isinstance(text, Content) else Content(terminal_text.block(text))

    def compose(self) -> Iterable[Widget]:
        with Sheet(id="page"):
            yield Static(self._title, id="page-title", markup=False)
            yield Static(self._text, id="page-text", markup=False)

    def on_mount(self) -> None:
        rebind(self)
        self.query_one(Sheet).focus()

    def action_pager(self) -> None:
        from winslow_tui.program.app import WinslowApp

        assert isinstance(self.app, WinslowApp)
        if self._whole is not None:
            self._whole()
        else:
            paging.page_text(self.app, f"{self._title.plain}\n\n{self._text.plain}")

    def action_close(self) -> None:
        self.dismiss()


def aligned(rows: Sequence[Sequence[str]], *, widest: int = 40) -> str:
    """Rows as columns; all but the last are at most `widest` wide, what is longer is cut with an ellipsis."""
    shown = [[terminal_text.line(cell) for cell in row] for row in rows]
    if not shown:
        return ""
    last = len(shown[0]) - 1
    widths = [min(widest, max(cell_len(row[place]) for row in shown)) for place in range(last)]
    return "\n".join(
        "  ".join([*(_fit(row[place], widths[place]) for place in range(last)), row[last]]).rstrip()
        for row in shown
    )


def _fit(text: str, width: int) -> str:
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    return set_cell_size(text, width)
