"""Copying what something is called, for a command line or a message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from winslow import terminal_text
from winslow_tui.program.verbs import Kind, verb

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp


def _copy(app: WinslowApp, keys: Sequence[str]) -> None:
    names = " ".join(terminal_text.line(key) for key in keys)
    if app.copy(names):
        app.told(f"copied {names if len(keys) == 1 else f'{len(keys)} names'}")


_NAMED: tuple[Kind, ...] = ("project", "run", "node", "pipeline")
for _kind in _NAMED:
    verb("copy", _kind, "copy its name", key="y", bulk=True, changes=False)(_copy)
