"""Looking for something in all of a log, and in what is still to come: a thread that gives blocks to a process.

The process (`linesearch`) is what may take long, and can be killed at any moment. Blocks are looked at from
where the person reads: on to the end and whatever follows there, then backwards in groups. What was found is
an ascending array of line numbers, four bytes each.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import threading
import time
from array import array
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from winslow.errors import InvalidInput, Unreachable, UsageError
from winslow.logs import Record, Stream, encode
from winslow_tui.logs.linesearch import (
    BACKWARD,
    COUNTS,
    FORWARD,
    FRAME,
    MOST_SEARCHED,
    SIZE,
    TEXTS,
    finder,
    plain_word,
)
from winslow_tui.logs.logblocks import SOURCES, Source
from winslow_tui.logs.loglines import LogLines

GROUP = 16  # blocks that are looked at in their order when going backwards
SLOW_SECONDS = 10.0
_TURN_SECONDS = 0.05
_RETRY_SECONDS = 1.0
_MOST_TEXTS = 400  # of which the spans are remembered
_ANY_TIME = "1970-01-01T00:00:00.000000000Z"

Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Wanted:
    """What is looked for: a regular expression, in lines of some sources. Without capital letters it finds both
    cases; an empty one is found everywhere. Raises UsageError for what is no expression."""

    pattern: str = ""
    sources: tuple[Source, ...] = SOURCES

    def __post_init__(self) -> None:
        try:
            finder(self.pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise UsageError(f"not a regular expression: {error}") from error

    @property
    def everything(self) -> bool:
        """Whether each line is found."""
        return not self.pattern and self.sources == SOURCES


class Scan:
    """See the module. `found` and `events` hold the stage's lines and Winslow's events that were found, `problem` is
    a sentence once nothing more will come or while the store does not answer."""

    def __init__(self, lines: LogLines, wanted: Wanted, *, start: int) -> None:
        self.wanted = wanted
        self.found = array("I")
        self.events: list[int] = []
        self.problem = ""
        self.complete = False
        """All that was there has been looked at; what comes is still looked at."""
        self.version = 0
        self._lines = lines
        self._forward = self._first = lines.block_of(start)
        self._backward = self._low = self._forward  # groups before are still to be begun, and to be ended
        self._group: list[int] = []
        self._group_found = array("I")
        self._fetched: tuple[int, tuple[int, bytes, bool]] | None = None
        self._offset = 0
        self._counted = 0  # lines of the block that is growing
        self._looked = 0
        self._seen_events = 0
        self._spans: OrderedDict[str, Spans] = OrderedDict()
        self._texts: deque[str] = deque(maxlen=_MOST_TEXTS)
        self._finder = finder(wanted.pattern) if plain_word(wanted.pattern) else None
        self._stopped = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="log search", daemon=True)
        self._thread.start()

    # -- for the screen

    @property
    def progress(self) -> float:
        """How much of what is there was looked at, from 0 to 1."""
        return 1.0 if self.complete else min(1.0, self._looked / max(1, self._lines.blocks))

    def stop(self) -> None:
        """Look no further, at once."""
        self._stopped.set()
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def wait(self) -> None:
        """Return when all that is there has been looked at, or it was stopped. Not for the screen's own thread."""
        while not (self.complete or self.stopped):
            self._stopped.wait(_TURN_SECONDS)

    @property
    def stopped(self) -> bool:
        """Whether it looks no further."""
        return self._stopped.is_set()

    def next_to(self, line: int, *, forward: bool) -> int | None:
        """The found line of the stage behind or before a line, as far as it is known."""
        found = self.found
        place = bisect_left(found, line + 1) if forward else bisect_left(found, line) - 1
        return found[place] if 0 <= place < len(found) else None

    def holds(self, line: int) -> bool:
        """Whether a line of the stage is among the found."""
        place = bisect_left(self.found, line)
        return place < len(self.found) and self.found[place] == line

    def settled(self, line: int, *, forward: bool) -> bool:
        """Whether looking further cannot change what `next_to` says."""
        if self.complete or self.stopped:
            return True
        seen = self._low <= self._lines.block_of(line) <= self._forward
        return seen and self.next_to(line, forward=forward) is not None

    def spans(self, text: str) -> Spans:
        """Where a text of the screen holds what is looked for. What is not known yet comes with another `version`."""
        if not self.wanted.pattern:
            return ()
        if self._finder is not None:
            return self._finder(text)
        found = self._spans.get(text)
        if found is None:
            if text not in self._texts:
                self._texts.append(text)
            return ()
        return found

    # -- the thread

    def _run(self) -> None:
        try:
            self._begin()
            while not self._stopped.is_set():
                try:
                    busy = self._mark_texts() or self._turn()
                    self.problem = ""
                except Unreachable as error:
                    self.problem = str(error)
                    self._stopped.wait(_RETRY_SECONDS)
                    continue
                if not busy:
                    self._stopped.wait(_TURN_SECONDS)
        except InvalidInput as error:
            self.problem = str(error)
            self.version += 1
        except OSError as error:  # killed by `stop`, or the system has no process left
            if not self._stopped.is_set():
                self.problem = f"the search ended: {error.strerror or error}"
        finally:
            self._stopped.set()
            self._end()

    def _begin(self) -> None:
        with self._lock:
            if self._stopped.is_set():
                return
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "winslow_tui.logs.linesearch"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        wanted = {"pattern": self.wanted.pattern, "sources": self.wanted.sources}
        self._write(json.dumps(wanted).encode() + b"\n")

    def _end(self) -> None:
        process = self._process
        if process is None:
            return
        process.kill()
        assert process.stdin is not None and process.stdout is not None
        with suppress(OSError):  # what was not sent is not wanted any more
            process.stdin.close()
        process.stdout.close()
        process.wait()

    def _turn(self) -> bool:
        """Look at the next piece of the log; False when there is none."""
        ahead = self._ahead()
        events = self._look_events()
        behind = (
            not self.complete and (not ahead or self._forward >= self._lines.blocks - 1) and self._behind()
        )
        if not ahead and not behind and not self.complete:
            self.complete = True
            self.version += 1
        return ahead or behind or events

    def _ahead(self) -> bool:
        fresh = self._forward == self._first and not self._offset
        if fresh:
            self._give_begun(FORWARD, self._forward)
        first, data, full = self._piece(self._forward, self._offset)
        if data:
            lines, places = self._ask(FORWARD, data, then=self._forward + 1)
            base = first + self._counted
            self.found.extend(base + place for place in places)
            self._counted += lines
            self._offset += len(data)
            self.version += 1
        if full:
            self._forward, self._offset, self._counted = self._forward + 1, 0, 0
            self._looked += 1
        return bool(data) or full

    def _behind(self) -> bool:
        if not self._group:
            if not self._backward:
                return False
            begin = max(0, self._backward - GROUP)
            self._give_begun(BACKWARD, begin)
            self._group = list(range(begin, self._backward))
            self._backward, self._group_found = begin, array("I")
        first, data, _ = self._piece(self._group[0], 0)
        _, places = self._ask(BACKWARD, data, then=self._group[1] if len(self._group) > 1 else None)
        self._group_found.extend(first + place for place in places)
        del self._group[0]
        self._looked += 1
        if not self._group:
            self.found, self._low = self._group_found + self.found, self._backward
        self.version += 1
        return True

    def _give_begun(self, kind: int, place: int) -> None:
        """Begin somewhere: with what a line is begun with that ends behind it."""
        begun = self._lines.begun_before(place, MOST_SEARCHED)
        records = [_part(stream, text) for stream, text in begun.items()]
        self._ask(kind, b"".join(records), fresh=True)

    def _look_events(self) -> bool:
        events = self._lines.events
        new = range(self._seen_events, len(events))
        if not new:
            return False
        if "system" in self.wanted.sources:
            texts = [events[number].text for number in new]
            hits = self._texts_with(texts) if self.wanted.pattern else [[(0, 0)]] * len(texts)
            self.events += [number for number, spans in zip(new, hits, strict=True) if spans]
        self._seen_events = len(events)
        self.version += 1
        return True

    def _mark_texts(self) -> bool:
        texts = []
        while self._texts:
            texts.append(self._texts.popleft())
        if not texts:
            return False
        for text, spans in zip(texts, self._texts_with(texts), strict=True):
            self._spans[text] = [(begin, end) for begin, end in spans]
        while len(self._spans) > _MOST_TEXTS:
            self._spans.popitem(last=False)
        self.version += 1
        return True

    # -- the process

    def _piece(self, place: int, offset: int) -> tuple[int, bytes, bool]:
        fetched, self._fetched = self._fetched, None
        if fetched is not None and (place, offset) == (fetched[0], 0):
            return fetched[1]
        return self._lines.piece(place, offset)

    def _fetch(self, place: int) -> None:
        """A full block that is wanted next, while the process is busy with another."""
        if place < self._lines.blocks - 1:
            with suppress(Unreachable, InvalidInput):  # it is asked for again, and then that is told
                self._fetched = place, self._lines.piece(place, 0)

    def _ask(
        self, kind: int, data: bytes, *, fresh: bool = False, then: int | None = None
    ) -> tuple[int, array[int]]:
        """What the process finds in it; meanwhile the block `then` is fetched."""
        self._write(FRAME.pack(kind, fresh, len(data)) + data)
        if then is not None:
            self._fetch(then)
        lines, count = COUNTS.unpack(self._receive(COUNTS.size))
        return lines, array("I", self._receive(4 * count))

    def _texts_with(self, texts: list[str]) -> list[list[tuple[int, int]]]:
        data = json.dumps(texts).encode()
        self._write(FRAME.pack(TEXTS, 0, len(data)) + data)
        (size,) = SIZE.unpack(self._receive(SIZE.size))
        found: list[list[tuple[int, int]]] = json.loads(self._receive(size))
        return found

    def _write(self, data: bytes) -> None:
        """It is always ready to read: it has answered everything before."""
        assert self._process is not None and self._process.stdin is not None
        pipe, left = self._process.stdin.fileno(), memoryview(data)
        while left:
            left = left[os.write(pipe, left) :]

    def _receive(self, size: int) -> bytes:
        assert self._process is not None and self._process.stdout is not None
        pipe, deadline = self._process.stdout.fileno(), time.monotonic() + SLOW_SECONDS
        data = b""
        while len(data) < size:
            if select.select([pipe], [], [], _TURN_SECONDS)[0]:
                more = os.read(pipe, size - len(data))
                if not more:
                    raise OSError("its process is gone")
                data += more
            elif time.monotonic() > deadline:
                raise InvalidInput("this expression takes too long on the lines of this log")
        return data


def _part(stream: Stream, text: bytes) -> bytes:
    return encode(Record(time=_ANY_TIME, stream=stream, complete=False, data=text))
