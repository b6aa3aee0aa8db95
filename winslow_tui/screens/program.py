"""What a person sets of the program itself, from any screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from winslow_tui.program.verbs import verb

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp


@verb("theme", "site", "colours", changes=False)
def theme(app: WinslowApp, _keys: Sequence[str]) -> None:
    """The next set of colours."""
    app.action_next_theme()


@verb("mouse", "site", "mouse on, off", changes=False)
def mouse(app: WinslowApp, _keys: Sequence[str]) -> None:
    """Let the terminal report presses and the wheel, or select text again."""
    app.action_mouse()


@verb("notices", "site", "notices on, off", changes=False)
def notices(app: WinslowApp, _keys: Sequence[str]) -> None:
    """Call the person through the terminal (bell, OSC 9 and 777), or not."""
    app.notices = app.remembered.notices = not app.notices
    app.told(f"notices {'on: the terminal is called for your own projects' if app.notices else 'off'}")


@verb("transfers", "site", "files on their way", key="T", changes=False)
def transfers(app: WinslowApp, _keys: Sequence[str]) -> None:
    """Show what is under way."""
    from winslow_tui.screens.files import TransfersScreen

    if not isinstance(app.screen, TransfersScreen):
        app.push_screen(TransfersScreen())
