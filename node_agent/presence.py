"""What this node says of itself: published when something has changed, and every 30 s."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from winslow.node import NodeState

PRESENCE_SECONDS = 30.0
PRESENCE_PAUSE = 0.1
MOST_NOTE = 400  # characters of a sentence


class OwnPresence:
    """`publish` takes the state that `state` tells at that moment."""

    def __init__(self, *, state: Callable[[], NodeState], publish: Callable[[NodeState], None]) -> None:
        self._state = state
        self._publish = publish
        self._notes: dict[str, str] = {}
        self._due = asyncio.Event()
        self._later: asyncio.TimerHandle | None = None

    @property
    def note(self) -> str:
        """The sentences that hold now."""
        return "; ".join(self._notes.values())

    def say(self, note: str, *, about: str = "store") -> None:
        """Show a sentence until there is another one, or none, about the same thing."""
        note = " ".join(note.split())[:MOST_NOTE]  # of others' making, and it goes into every presence
        if note != self._notes.get(about, ""):
            self._notes.pop(about, None)
            if note:
                self._notes[about] = note
            self._due.set()

    def changed(self) -> None:
        """Tell of it now."""
        self._due.set()

    def soon(self) -> None:
        """Tell of a change with what else changes in the next moment: nobody waits for it, as they do for resources
        that became free."""
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(PRESENCE_PAUSE, self._due.set)

    async def keep(self) -> None:
        """Publish until cancelled."""
        while True:
            self._due.clear()
            if self._later is not None:
                self._later.cancel()
                self._later = None
            self._publish(self._state())
            with suppress(TimeoutError):
                async with asyncio.timeout(PRESENCE_SECONDS):
                    await self._due.wait()
