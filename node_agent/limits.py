"""How long a stage may run and be silent, counted by the agent that watches it; no wall clock is read.

Running time is the machine's monotonic clock since the start, which the journal has: an agent's restart
neither stops nor begins it anew, and after a reboot the attempt is lost anyway. Silence is counted in
intervals that the agent saw both ends of: time in which agent or engine are away, or a full disk holds the
output back, does not count, and a new agent begins at nothing. Past the log's cap silence is not counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from node_agent import outcome
from node_agent.held import Held
from node_agent.runtime.port import RuntimeFailure
from winslow.project import Reason

LOOK_SECONDS = 2.0
_LOOKS = 4  # at least so many in a stall time-out


@dataclass(frozen=True)
class Limit:
    """A limit that was reached: why the stage is stopped."""

    reason: Reason
    detail: str


class Silence:
    """Sans-IO: looks in, seconds of silence out. An interval over `longest` seconds counts as that long."""

    def __init__(self, *, longest: float) -> None:
        self.seconds = 0.0
        self._longest = longest
        self._last: float | None = None
        self._heard: int | None = None

    def look(self, now: float, heard: int | None) -> float:
        """Take a look at `now` (monotonic): so many bytes were heard in all; None where nobody could have
        heard any. The seconds of silence so far."""
        if heard is None:
            self._last = None
            return self.seconds
        if heard != self._heard:
            self.seconds = 0.0
        elif self._last is not None:
            self.seconds += min(max(0.0, now - self._last), self._longest)
        self._last, self._heard = now, heard
        return self.seconds


async def reached(held: Held) -> Limit:
    """Return when the stage has reached one of its limits; never where it has none."""
    stage = held.run.stage
    limits: list[Coroutine[Any, Any, Limit]] = []
    if stage.timeout is not None:
        limits.append(_ran(held, stage.timeout))
    if stage.stall_timeout is not None:
        limits.append(_was_silent(held, stage.stall_timeout))
    if not limits:
        await asyncio.Event().wait()
    tasks = [asyncio.create_task(limit) for limit in limits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ran(held: Held, limit: float) -> Limit:
    now = held.tools.clock.monotonic()
    started = held.journal.started or now  # an agent before this one may not have known to write it
    await asyncio.sleep(max(0.0, started + limit - now))
    return Limit(Reason.TIMEOUT, outcome.timeout_sentence(limit))


async def _was_silent(held: Held, limit: float) -> Limit:
    pause = min(LOOK_SECONDS, limit / _LOOKS)
    silence = Silence(longest=2 * pause)
    while True:
        if silence.look(held.tools.clock.monotonic(), await _heard(held)) >= limit:
            return Limit(Reason.STALLED, outcome.stall_sentence(limit))
        await asyncio.sleep(pause)


async def _heard(held: Held) -> int | None:
    try:
        status = await held.tools.runtime.status(held.journal.container)
    except RuntimeFailure:
        return None
    there = status is not None and status.state == "running"
    return held.telling.shipper.heard if there else None
