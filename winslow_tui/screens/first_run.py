"""What a person sees who has no site yet: how to get one. It goes on by itself once there is one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from winslow import terminal_text
from winslow.config import user_file
from winslow_tui.widgets.sheet import Sheet

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp


class FirstRun(Screen[None]):
    """See the module; it fits into 80x24."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,escape", "leave", "quit")]
    DEFAULT_CSS = """
    FirstRun { align: center middle; }
    FirstRun #welcome { width: 78; max-width: 100%; height: auto; max-height: 100%; padding: 0 1;
                        border: round $primary; display: none; }
    FirstRun #welcome.shown { display: block; }
    FirstRun #problem { color: $state-failed; }
    """

    def compose(self) -> Iterable[Widget]:
        with Sheet(id="welcome"):
            yield Static(id="problem", markup=False)
            yield Static(id="how", markup=False)

    def on_mount(self) -> None:
        self.draw_frame()

    @property
    def there(self) -> bool:
        """Whether it can be drawn."""
        return self.is_attached and any(child.id == "welcome" for child in self.children)

    @property
    def winslow(self) -> WinslowApp:
        """The app, as what it is."""
        from winslow_tui.program.app import WinslowApp

        assert isinstance(self.app, WinslowApp)
        return self.app

    def draw_frame(self) -> None:
        """Say what is missing now, and what is wrong with the file; the app looks whether there is one."""
        broker, store = self.winslow.config.settings.broker.url, self.winslow.config.settings.store.url
        names = [name for name, url in (("broker", broker), ("store", store)) if not url]
        missing = " and ".join(names) + (" are" if len(names) > 1 else " is") if names else ""
        self.query_one("#welcome").set_class(bool(missing), "shown")
        file = _from_home(self.winslow.config.path or user_file())
        self.query_one("#how", Static).update(Content(terminal_text.block(_how(missing, file))))
        self.query_one("#problem", Static).update(Content(terminal_text.block(self.winslow.unread)))

    def action_leave(self) -> None:
        self.app.exit()


def _from_home(path: Path) -> str:
    """As people write it: `~/.config/…` where it is below their home."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _how(missing: str, file: str) -> str:
    return f"""Winslow runs a team's long computations on the workstations it has.

Nothing says yet where your site's {missing}.
Start a site here, in another terminal, then leave with q and come back:
   winslow up
   export WINSLOW_CONFIG=~/.local/share/winslow/site/config.toml
or connect to your team's, by a file (chmod 600)
   {file}
   [broker]
   url = "mqtt://HOST:1883"
   username = "…"
   password = "…"
   [store]
   url = "http://HOST:9000/BUCKET"
   access_key = "…"
   secret_key = "…"
or by WINSLOW_BROKER_URL, WINSLOW_STORE_URL, WINSLOW_STORE_ACCESS_KEY and
WINSLOW_STORE_SECRET_KEY.
This goes on by itself as soon as the file says it. q leaves."""
