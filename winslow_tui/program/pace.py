"""How often a person's terminal is painted: over a network, ten times in any second at most."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop, TimerHandle
from collections import deque
from collections.abc import Callable

MOST = 10
"""Paints in any second over SSH (terminal program, Rules)."""
SPAN_SECONDS = 1.02
"""In which there are no more than that: a paint may be 20 ms longer on its way than another."""
AT_ONCE = 3
"""Paints after a rest that need not wait: a key and what it brings with it."""
TURN_SECONDS = 0.1
TURN_SECONDS_OVER_SSH = 0.125
"""Between two turns that bring what came meanwhile: eight a second leave room for keys."""
PAINT_BEGINS, PAINT_ENDS = "\x1b[?2026h", "\x1b[?2026l"
"""Around a paint, where a terminal says that it then shows it all at once (synchronized output)."""


def over_ssh() -> bool:
    """Whether the person's terminal is on another machine."""
    return bool(os.environ.get("SSH_CONNECTION"))


class Pace:
    """Says when the next paint may go, in seconds of one clock. What a second has left after the first few is spread
    over it, so that a key that is held moves evenly instead of in bursts."""

    def __init__(self) -> None:
        self._gone: deque[float] = deque(maxlen=MOST)

    def due(self, now: float) -> float:
        """The moment from which on a paint may go; `now` or before: at once."""
        last = [at for at in self._gone if now < at + SPAN_SECONDS]
        if len(last) < AT_ONCE:
            return now
        free_again = last[0] + SPAN_SECONDS
        return last[-1] + (free_again - last[-1]) / (MOST - len(last) + 1)

    def went(self, now: float) -> None:
        """A paint has gone."""
        self._gone.append(now)


class PacedOutput:
    """Writes at once, or a little later, in order: a paint that comes too early waits, and what follows it goes with it
    as one. To be used in the loop's thread."""

    def __init__(self, write: Callable[[str], object], loop: AbstractEventLoop) -> None:
        self._write = write
        self._loop = loop
        self._pace = Pace()
        self._waiting: list[str] = []
        self._timer: TimerHandle | None = None

    def write(self, text: str) -> None:
        """A paint, a part of one, or something else for the terminal."""
        now = self._loop.time()
        due = self._pace.due(now)
        if self._timer is None and due <= now:
            self._write(text)
            return
        self._waiting.append(text)
        if self._timer is None:
            self._timer = self._loop.call_at(due, self.let_go)

    def painted(self) -> None:
        """A paint is whole."""
        if self._timer is None:
            self._pace.went(self._loop.time())

    def let_go(self) -> None:
        """Write what waits."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        together, self._waiting = "".join(self._waiting), []
        self._write(together.replace(PAINT_ENDS + PAINT_BEGINS, ""))
        self.painted()
