"""A thread that keeps one attempt's `LogLines` fed while a screen shows it: what is looked at first, then what is
live, and now and then what only the store has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from broker import messages, topics
from winslow.errors import InvalidInput, Unreachable
from winslow.store.port import ObjectStore
from winslow_tui.logs.loglines import LogLines
from winslow_tui.program.sitewatch import SiteWatch

TURN_SECONDS = 0.05
LOOK_SECONDS = 2.0
REST_SECONDS = 15.0  # between two looks while live batches bring everything
RETRY_SECONDS = (0.5, 10.0)  # between two tries while the store is away: at first, and at most


class LogFeed:
    """See the module. `problem` is a sentence while the store does not answer; `dropped` counts live batches that
    came faster than they were taken (the store has them)."""

    def __init__(self, store: ObjectStore, watch: SiteWatch, *, project: str, n: int, k: int) -> None:
        self.lines = LogLines(store, project, n, k)
        self.problem = ""
        self._ended = False
        self._watch = watch
        self._stream = watch.stream(topics.Log(project=project, run=n, attempt=k).path)
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._due = True
        self._looked = 0.0
        self._retry, self._away_until = RETRY_SECONDS[0], 0.0
        self._dropped = 0
        self._asked: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"log {project} {n}.{k}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Live batches that nobody took in time."""
        return self._stream.dropped

    def close(self) -> None:
        """Stop; the thread ends soon."""
        self._stop.set()
        self._wake.set()
        self._watch.end(self._stream)

    def wake(self) -> None:
        """Something is looked at that is not here."""
        self._wake.set()

    def changed(self, *, ended: bool) -> None:
        """Something happened to the run: what the store has of it is looked at soon. Once it has `ended` and that
        was done, nothing more will be written."""
        self._ended = ended
        self._due = True
        self._wake.set()

    def ask(self, work: Callable[[], None]) -> None:
        """Do something with the lines in the thread. It may raise Unreachable: then it is done again later."""
        with self._lock:
            self._asked.append(work)
        self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            busy = self._live()
            try:
                if time.monotonic() >= self._away_until:
                    busy = self._stored() or busy
            except Unreachable as error:
                self.problem = str(error)
                self.lines.version += 1
                self._away_until = time.monotonic() + self._retry
                self._retry = min(self._retry * 2, RETRY_SECONDS[1])
            if not busy:
                self._wake.wait(TURN_SECONDS)
                self._wake.clear()

    def _stored(self) -> bool:
        """What needs the store: what is looked at first. Raises Unreachable."""
        try:
            busy = self.lines.work() or self._answer() or self._look()
        except InvalidInput as error:  # a part is gone, or is no log: the rest is shown
            self.problem = str(error)
            return False
        if busy or self._away_until:
            self.problem, self._retry, self._away_until = "", RETRY_SECONDS[0], 0.0
        return busy

    def _look(self) -> bool:
        resting = REST_SECONDS if self._watch.broker_up and not self.lines.hole else LOOK_SECONDS
        if self.dropped != self._dropped:
            self._dropped, self._due = self.dropped, True
        if not self._due and (self._ended or time.monotonic() - self._looked < resting):
            return False
        self._due = False
        try:
            self.lines.look()
        except Unreachable:
            self._due = True
            raise
        self._looked = time.monotonic()
        return True

    def _answer(self) -> bool:
        with self._lock:
            if not self._asked:
                return False
            work = self._asked.pop(0)
        try:
            work()
        except Unreachable:
            with self._lock:
                self._asked.insert(0, work)
            raise
        return True

    def _live(self) -> bool:
        found = self._stream.take()
        for received in found:
            if isinstance(received.payload, messages.LogChunk):
                self.lines.feed(received.payload.offset, received.payload.data)
        return bool(found)
