"""How much the node's cache holds, as its presence tells it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress

from node_agent.cache import Cache

LOOK_SECONDS = 30.0  # between two looks while attempts are here; nothing else fills the cache


class Fill:
    """`busy` says whether attempts are here, `changed` is called when `bytes` did; `say` gets what keeps the cache
    from being asked, and nothing once it answers."""

    def __init__(
        self,
        *,
        cache: Cache,
        executor: Executor,
        busy: Callable[[], bool],
        changed: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self.bytes: int | None = None  # not known before the first look
        self._cache = cache
        self._executor = executor
        self._busy = busy
        self._changed = changed
        self._say = say
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """An attempt came or went."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled. The cache is asked in a thread: it may be making room at that moment."""
        loop = asyncio.get_running_loop()
        while True:
            self._woken.clear()
            found: int | None = None
            try:
                found = await loop.run_in_executor(self._executor, self._cache.used_bytes)
            except sqlite3.Error as error:
                self._say(f"the cache's index cannot be read: {error}")
            else:
                self._say("")
            if found != self.bytes:
                self.bytes = found
                self._changed()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS if self._busy() else None):
                    await self._woken.wait()
