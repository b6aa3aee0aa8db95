"""A text over the screen, to be read and closed: a file's beginning, a comparison, an explanation; or an image.

It is looked up again when a server that was away is back, and by the key that refreshes; how old it is stands below it
while that cannot be, and from a minute on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len, set_cell_size
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from winslow import terminal_text
from winslow.errors import WinslowError
from winslow_tui.program.keymap import rebind
from winslow_tui.program.projectrows import duration
from winslow_tui.screens import paging
from winslow_tui.screens.over import Over
from winslow_tui.shown.picture import Picture
from winslow_tui.widgets.picture import PictureView
from winslow_tui.widgets.sheet import Sheet

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp

OLD_SECONDS = 60.0
_HIGHEST = 0.9  # of the screen
_AROUND = (
    5  # rows beside text and picture: the frame, the title, the empty lines below that and below the text
)


@dataclass(frozen=True)
class Sight:
    """What stands on a page; `more`: it is only what could be known at once, and worth to be looked up again."""

    text: str
    picture: Picture | None = None
    more: bool = False


class Page(Over[None]):
    """See the module. Whatever the text holds is shown as it stands; long lines are scrolled to. `look`, called in a
    thread, says what it is by now; `whole` opens more than is shown in the person's pager; `sentences` are wrapped."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "close"),
        Binding("v", "pager", "open in $PAGER", show=False, id="pager"),
        Binding("ctrl+r", "look_again", "refresh", show=False, id="refresh"),
    ]
    DEFAULT_CSS = """
    Page { align: center middle; }
    Page #page { width: 95%; height: auto; max-height: 90%; background: $surface; border: round $primary; padding: 0 1;
                 overflow: auto; border-subtitle-color: $dim; }
    Page #page-title { color: $primary; text-style: bold; width: auto; height: auto; margin-bottom: 1; }
    Page #page-text { width: auto; height: auto; }
    Page #page-text.sentences { width: 100%; }
    Page #page-picture { margin-top: 1; display: none; }
    """

    def __init__(
        self,
        title: str,
        sight: str | Sight,
        look: Callable[[], str | Sight],
        *,
        whole: Callable[[], None] | None = None,
        sentences: bool = False,
    ) -> None:
        super().__init__()
        self._sentences = sentences
        self._look = look
        self._looking = False
        self._seen = 0.0  # by the app's clock
        self._whole = whole
        self._title = Content(terminal_text.line(title))
        self._sight = _sight(sight)
        self._text = Content(terminal_text.block(self._sight.text))

    def compose(self) -> Iterable[Widget]:
        with Sheet(id="page"):
            yield Static(self._title, id="page-title", markup=False)
            yield Static(
                self._text, id="page-text", markup=False, classes="sentences" if self._sentences else ""
            )
            yield PictureView(id="page-picture")

    def on_mount(self) -> None:
        rebind(self)
        self._seen = self._winslow.around.clock()
        self.query_one(Sheet).focus()
        self._show_picture()
        self.draw_age()
        if self._sight.more:
            self.action_look_again()

    @property
    def _winslow(self) -> WinslowApp:
        from winslow_tui.program.app import WinslowApp

        assert isinstance(self.app, WinslowApp)
        return self.app

    def draw_age(self) -> None:
        """Say how old it is; called every second."""
        for sheet in self.query("#page"):
            age = self._winslow.around.clock() - self._seen
            told = age >= OLD_SECONDS or not self._winslow.served
            sheet.border_subtitle = f"{duration(age)} old" if told else ""

    def action_look_again(self) -> None:
        """Show what it is by now; until that is known, what it was."""
        if not self._looking:
            self._looking = True
            self._winslow.do(self._look, self._looked, failed=self._not_looked, looks=True)

    def _not_looked(self, _error: WinslowError) -> None:
        self._looking = False

    def _looked(self, found: str | Sight) -> None:
        self._looking = False
        if not self.is_attached:  # it was closed meanwhile
            return
        self._seen = self._winslow.around.clock()
        self._sight = _sight(found)
        self._text = Content(terminal_text.block(self._sight.text))
        self.query_one("#page-text", Static).update(self._text)
        self._show_picture()
        self.draw_age()

    def _show_picture(self) -> None:
        view, picture = self.query_one(PictureView), self._sight.picture
        view.display = picture is not None
        lines = self._text.plain.count("\n") + 1
        view.show(picture, highest=_HIGHEST, beside=_AROUND + lines)

    def action_pager(self) -> None:
        if self._whole is not None:
            self._whole()
        else:
            paging.page_text(self._winslow, f"{self._title.plain}\n\n{self._text.plain}")

    def action_close(self) -> None:
        self.dismiss()


def _sight(found: str | Sight) -> Sight:
    return found if isinstance(found, Sight) else Sight(found)


def open_page(
    app: WinslowApp,
    title: str,
    look: Callable[[], str],
    *,
    whole: Callable[[], None] | None = None,
    sentences: bool = False,
) -> None:
    """Show on a page what `look` says, which is called in a thread."""
    app.do(look, lambda text: app.push_screen(Page(title, text, look, whole=whole, sentences=sentences)))


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
