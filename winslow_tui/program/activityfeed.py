"""A thread that follows the site's activity while a screen shows it: first what was, then what happens."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from winslow.config import Config
from winslow.errors import WinslowError
from winslow_tui.facade.activity import Entry, SiteActivity, Subject, Wanted
from winslow_tui.facade.activity_stream import Stream
from winslow_tui.facade.client import Client

BEFORE = 500  # entries that are shown at the beginning
MOST = 20_000  # entries that wait for the screen; older ones are dropped: the store has them
AGAIN_SECONDS = 3.0


class ActivityFeed:
    """See the module. `problem` is a sentence while something is away."""

    def __init__(self, config: Config, client: Client) -> None:
        self.problem = ""
        self._config = config
        self._client = client
        self._lock = threading.Lock()
        self._found: deque[Entry] = deque(maxlen=MOST)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="activity", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        if self._loop is not None and self._task is not None and self._loop.is_running():
            self._loop.call_soon_threadsafe(self._task.cancel)

    def take(self) -> list[Entry]:
        """What is new since the last call, oldest first."""
        with self._lock:
            found = list(self._found)
            self._found.clear()
        return found

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._follow(), name="activity")
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        before = True
        while True:
            try:
                stream = Stream(
                    self._config,
                    SiteActivity(self._client.store, say=self._say),
                    show=self._show,
                    say=self._say,
                    wall=lambda: datetime.now(UTC).isoformat(),
                )
                await stream.run(self._before if before else None)
            except WinslowError as error:
                self._say(str(error))
                await asyncio.sleep(AGAIN_SECONDS)

    def _before(self, _places: Mapping[Subject, int]) -> Sequence[Entry]:
        return SiteActivity(self._client.store, say=self._say).newest(BEFORE, Wanted())

    def _show(self, entry: Entry) -> None:
        with self._lock:
            self._found.append(entry)

    def _say(self, text: str) -> None:
        self.problem = text
