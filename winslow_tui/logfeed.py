"""A thread that keeps one attempt's `LogLines` fed while a screen shows it: what is looked at first, then what is
live, and now and then what only the store has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from broker import messages, topics
from winslow.errors import InvalidInput, Unreachable
from winslow.store.port import ObjectStore
from winslow_tui.loglines import LogLines
from winslow_tui.sitewatch import SiteWatch

TURN_SECONDS = 0.05
LOOK_SECONDS = 2.0
REST_SECONDS = 15.0  # between two looks while live batches bring everything
MOST_RETRY = 10.0


class LogFeed:
    """See the module. `problem` is a sentence while the store does not answer; `dropped` counts live batches that
    came faster than they were taken (the store has them)."""

    def __init__(self, store: ObjectStore, watch: SiteWatch, *, project: str, n: int, k: int) -> None:
        self.lines = LogLines(store, project, n, k)
        self.problem = ""
        self.ended = False  # said by the screen: nothing more is written
        self._watch = watch
        self._stream = watch.stream(topics.Log(project=project, run=n, attempt=k).path)
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._asked: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"log {project} {n}.{k}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Live batches that nobody took in time."""
        return self._stream.dropped

    def close(self) -> None:
        """Stop; the thread ends soon and gives its copy back."""
        self._stop.set()
        self._wake.set()
        self._watch.end(self._stream)

    def wake(self) -> None:
        """Something is looked at that is not here."""
        self._wake.set()

    def ask(self, work: Callable[[], None]) -> None:
        """Do something with the lines in the thread, such as a search. It may raise Unreachable."""
        with self._lock:
            self._asked.append(work)
        self._wake.set()

    def _run(self) -> None:
        looked, dropped, retry = 0.0, 0, 0.5
        due = True
        while not self._stop.is_set():
            try:
                busy = self.lines.work() or self._answer() or self._live()
                resting = REST_SECONDS if self._watch.broker_up and not self.lines.hole else LOOK_SECONDS
                if self.dropped != dropped:
                    dropped, due = self.dropped, True
                if due or (not self.ended and time.monotonic() - looked > resting):
                    self.lines.look()
                    looked, due, busy = time.monotonic(), False, True
                self.problem, retry = "", 0.5
            except Unreachable as error:
                self.problem = str(error)
                self._stop.wait(retry)
                retry = min(retry * 2, MOST_RETRY)
                continue
            except InvalidInput as error:  # what came is no log, or a part is gone: go on with the rest
                self.problem = str(error)
                busy = False
            if not busy:
                self._wake.wait(TURN_SECONDS)
                self._wake.clear()
        self.lines.close()

    def _answer(self) -> bool:
        with self._lock:
            work = self._asked.pop(0) if self._asked else None
        if work is None:
            return False
        work()
        return True

    def _live(self) -> bool:
        found = self._stream.take()
        for received in found:
            if isinstance(received.payload, messages.LogChunk):
                self.lines.feed(received.payload.offset, received.payload.data)
        return bool(found)
