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
from winslow.errors import WinslowError
from winslow_tui.widgets.sheet import Sheet

if TYPE_CHECKING:
    from winslow_tui.app import WinslowApp

LOOK_SECONDS = 2.0


class FirstRun(Screen[None]):
    """See the module."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,escape", "leave", "quit")]
    DEFAULT_CSS = """
    FirstRun { align: center middle; }
    FirstRun #welcome { width: 76; max-width: 96%; height: auto; max-height: 100%; padding: 0 1;
                        border: round $primary; }
    """

    def compose(self) -> Iterable[Widget]:
        text = f"""Winslow runs a team's long computations on the workstations it has.

Nothing says yet where your site is. To have one on this machine, run
    winslow up
in another terminal, then leave this with q and come back with
    export WINSLOW_CONFIG=~/.local/share/winslow/site/config.toml

To join your team's, write into (chmod 600)
    {_from_home(user_file())}:
    [broker]
    url = "mqtt://HOST:1883"
    [store]
    url = "http://HOST:9000/BUCKET"
    access_key = "…"
    secret_key = "…"

WINSLOW_BROKER_URL, WINSLOW_STORE_URL, WINSLOW_STORE_ACCESS_KEY and
WINSLOW_STORE_SECRET_KEY do the same.

This goes on by itself as soon as the file is there. q leaves."""
        with Sheet(id="welcome"):
            yield Static(Content(terminal_text.block(text)))

    def on_mount(self) -> None:
        self.set_interval(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        from winslow_tui.app import WinslowApp

        app: WinslowApp | object = self.app
        assert isinstance(app, WinslowApp)
        try:
            app.try_again()
        except WinslowError as error:
            app.told(str(error), hint=error.hint, bad=True)

    def action_leave(self) -> None:
        self.app.exit()


def _from_home(path: Path) -> str:
    """As people write it: `~/.config/…` where it is below their home."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
