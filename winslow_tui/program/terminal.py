"""The person's terminal, which may go at any moment: a laptop is shut, a connection breaks, a window is closed.

Textual's thread that writes ends with the first error, and the event loop then waits for ever for room in the
thread's queue; the one that reads turns in a circle at the end of the input. Here what is written to a terminal
that is gone is dropped, and `lost` is called.

Over SSH paints keep a pace: one that comes too early waits, and what follows it goes with it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from typing import IO, TYPE_CHECKING, Protocol, cast

from textual.drivers.linux_driver import LinuxDriver

from winslow_tui.program.pace import PacedOutput, over_ssh

if TYPE_CHECKING:
    from textual.app import App


class Losing(Protocol):
    """An app that wants to know."""

    def lost(self) -> None:
        """Nobody sits there any more; may be called more than once."""


class Outlet:
    """A file to write to until it is gone: then everything is taken, and `lost` is called (in the writer's thread)."""

    def __init__(self, file: IO[str], lost: Callable[[], None]) -> None:
        self._file = file
        self._lost = lost
        self._gone = False

    def write(self, text: str) -> int:
        """All of it, or nothing of it any more."""
        self._try(lambda: self._file.write(text))
        return len(text)

    def flush(self) -> None:
        """As a file's."""
        self._try(self._file.flush)

    def fileno(self) -> int:
        """As a file's."""
        return self._file.fileno()

    def isatty(self) -> bool:
        """As a file's."""
        return self._file.isatty()

    def _try(self, call: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            call()
        except OSError:  # EIO of a terminal that hung up, EPIPE
            self._gone = True
            self._lost()


class TerminalDriver(LinuxDriver):
    """See the module; for apps that are `Losing`."""

    def __init__(
        self,
        app: App[object],
        *,
        debug: bool = False,
        mouse: bool = True,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        loop = asyncio.get_running_loop()

        def lost() -> None:
            with suppress(RuntimeError):  # the app has ended
                loop.call_soon_threadsafe(cast("Losing", app).lost)

        self._lost = lost
        self._file = cast("TextIOWrapper", Outlet(cast("IO[str]", self._file), lost))
        self._loop = loop
        self._paced: PacedOutput | None = None  # only while the screen is ours

    @property
    def there(self) -> bool:
        """Whether the terminal still is one."""
        return os.isatty(self.fileno)

    def start_application_mode(self) -> None:
        """As the driver's; from then on at a pace."""
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if over_ssh():
            self._paced = PacedOutput(super().write, self._loop)

    def stop_application_mode(self) -> None:
        """As the driver's, after what waits."""
        if self._paced is not None:
            self._paced.let_go()
            self._paced = None
        super().stop_application_mode()

    def write(self, data: str) -> None:
        """As the driver's, or a little later."""
        if self._paced is None:
            super().write(data)
        else:
            self._paced.write(data)

    def flush(self) -> None:
        """As the driver's: a paint is whole."""
        if self._paced is not None:
            self._paced.painted()
        super().flush()

    def run_input_thread(self) -> None:
        """As the driver's, which passes the end of a terminal through as an error of the program."""
        try:
            super().run_input_thread()
        except OSError:
            self._lost()
