"""`winslow` without a command: the full-screen program. What Textual reads when it is imported is set before."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from winslow.config import Config
from winslow.errors import UsageError

PAINTS_OVER_SSH = "10"
"""At most so many paints a second where every byte crosses a network."""


def screen(load: Callable[[], Config], *, readonly: bool) -> None:
    """Open it until the person leaves; `load` reads the configuration, again where there is none yet.

    Raises UsageError where there is no terminal, InvalidInput for a configuration that cannot be read."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the full-screen program needs a terminal", hint="winslow --help shows the commands")
    os.environ["TEXTUAL_ANIMATIONS"] = "none"
    if os.environ.get("SSH_CONNECTION"):
        os.environ.setdefault("TEXTUAL_FPS", PAINTS_OVER_SSH)
    from winslow_tui.app import WinslowApp

    WinslowApp(load, readonly=readonly).run(mouse=False)
