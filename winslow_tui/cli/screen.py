"""`winslow` without a command: the full-screen program. What Textual reads when it is imported is set before."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from winslow.config import Config, state_folder
from winslow.errors import UsageError
from winslow_tui.cli.output import say
from winslow_tui.program import leaving
from winslow_tui.program.pace import over_ssh

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp
    from winslow_tui.program.surroundings import Surroundings

COMMANDS = "command"  # what the threads are named after that call the facade
PAINTS_OVER_SSH = "30"
"""Drawn a second at most over SSH, where ten go to the terminal (`program.pace`): a key does not wait for the next."""


def screen(load: Callable[[], Config], *, readonly: bool, around: Surroundings | None = None) -> NoReturn:
    """Open it until the person leaves, then end the process; `load` reads the configuration, again where there is
    none yet.

    Raises UsageError where there is no terminal, InvalidInput for a configuration that cannot be read."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the full-screen program needs a terminal", hint="winslow --help shows the commands")
    profile()
    logging.basicConfig(handlers=[keep_log(state_folder())], level=logging.WARNING)
    gc.disable()  # what is imported stays: going through it again and again would delay the first paint, and later
    from winslow_tui.program.app import WinslowApp  # stop the screen for a moment

    gc.freeze()
    gc.enable()
    app = WinslowApp(load, readonly=readonly, around=around)
    loop = asyncio.new_event_loop()  # asyncio.run would wait for every thread
    loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix=COMMANDS))
    app.run(mouse=False, loop=loop)
    loop.close()
    try:
        _part(app)
    finally:
        leaving.end(app.return_code or 0)


def profile() -> None:
    """Set what Textual reads when it is imported: nothing moves by itself, and less is painted over a network."""
    os.environ["TEXTUAL_ANIMATIONS"] = "none"
    if over_ssh():
        os.environ.setdefault("TEXTUAL_FPS", PAINTS_OVER_SSH)


def _part(app: WinslowApp) -> None:
    """Give what is under way a moment, and say what is left of it."""
    from winslow_tui.program.transfers import State

    waits = app.abandoned and app.transfers.running
    seconds = leaving.PART_SECONDS if waits else leaving.MOMENT_SECONDS
    cut = leaving.awaited(leaving.busy, seconds=seconds)
    if app.abandoned:
        return
    left = [each for each in app.transfers.all.values() if each.state is not State.DONE]
    if left:
        number = "a transfer is" if len(left) == 1 else f"{len(left)} transfers are"
        show, go_on = app.keymap.told("transfers"), app.keymap.told("go-on")
        say(f"{number} not done: at the next start {show} shows what is left, and {go_on} goes on")
    if any(thread.name.startswith(COMMANDS) for thread in cut):
        say("the site has not answered yet: look whether what you did last was done")


def keep_log(folder: Path) -> logging.Handler:
    """Where the words of libraries go, which would stand in the middle of the screen: a file of at most 1 MiB."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return logging.NullHandler()
    handler = RotatingFileHandler(folder / "screen.log", maxBytes=1 << 20, backupCount=1, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    return handler
