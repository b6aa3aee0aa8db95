"""Another program in the foreground: it has the terminal and ctrl+c until it ends, as a person's editor or pager."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from winslow.errors import WinslowError

GRACE_SECONDS = 5.0
"""How long it may take to end after the terminal has gone."""
_ENDING = (signal.SIGHUP, signal.SIGTERM)


class Interrupted(WinslowError):
    """The terminal went away, or somebody ended this program, while the other was open."""


def run(command: Sequence[str]) -> int | None:
    """Returns when it has ended: its exit code. Raises OSError where it cannot be started, Interrupted for SIGHUP and
    SIGTERM, which it is sent on."""
    with _signals() as ending:
        code = ending.wait(subprocess.Popen(command))
    if ending.by is not None:
        raise Interrupted(f"interrupted by {ending.by.name} while {command[0]} was open")
    return code


class _Now(BaseException):
    """Ends a wait from within a signal's handler."""


class _Ending:
    """What ends the program while another has the terminal: `by` is the first signal that asked for it."""

    def __init__(self) -> None:
        self.by: signal.Signals | None = None
        self._waits = False

    def wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """The process's exit code; None where it has not ended some seconds after it was sent the signal."""
        try:
            self._waits = True
            if self.by is None:
                return process.wait()
        except _Now:
            pass
        finally:
            self._waits = False
        if self.by is not None:
            process.send_signal(self.by)
        with suppress(subprocess.TimeoutExpired):  # it saves what it can, with or without a terminal
            return process.wait(timeout=GRACE_SECONDS)
        return None

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """The first signal ends the wait; more of them say nothing new."""
        first, self.by = self.by is None, self.by or signal.Signals(number)
        if first and self._waits:
            raise _Now


@contextmanager
def _signals() -> Iterator[_Ending]:
    """While another program has the terminal, ctrl+c is that one's, and what ends this one is told to it.

    Handlers do not outlive an exec, so it starts with its own. Only the main thread can set them."""
    ending = _Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    heard = [
        number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN
    ]  # as nohup sets it
    before = {number: signal.signal(number, ending.handle) for number in heard}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
