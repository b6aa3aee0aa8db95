"""`winslow` without a command: the full-screen program. What Textual reads when it is imported is set before."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from winslow.config import Config, state_folder
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
    logging.basicConfig(handlers=[keep_log(state_folder())], level=logging.WARNING)
    from winslow_tui.app import WinslowApp

    gc.freeze()  # what is imported stays; going through all of it now and then would stop the screen for a moment
    WinslowApp(load, readonly=readonly).run(mouse=False)


def keep_log(folder: Path) -> logging.Handler:
    """Where the words of libraries go, which would stand in the middle of the screen: a file of at most 1 MiB."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return logging.NullHandler()
    handler = RotatingFileHandler(folder / "screen.log", maxBytes=1 << 20, backupCount=1, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    return handler
