"""An attempt's log as numbered lines, from either end, of any size: what the log view shows.

A segment's name in the store says which byte and which line of the archive (design 7) it begins with, so
the last page of a log of any size is there after one request, and any other after one more. What the first
look finds, but for its last segment, are blocks that are fetched when somebody looks at them; from there
on the archive is only appended to, by live batches and by later looks. Every byte that came is kept in a
sparse file at its own offset; the blocks looked at last are kept in memory.

A line is a record of the archive: a long one comes as parts that say so. Winslow's own events stand
between the records by time. `line` never blocks: what is not here yet is None and is fetched by `work`,
which a thread of the caller's runs.
"""

from __future__ import annotations

import tempfile
import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Literal

from winslow.errors import InvalidInput, NotFound
from winslow.logs import EventParser, LogJoiner, RecordParser, RunEvent, Segment, holding
from winslow.store import layout
from winslow.store.port import ObjectStore

IN_MEMORY = 24
"""Blocks (of about 1 MiB) whose bytes stay in memory."""

BLOCK_BYTES = 1 << 20
_RANGE = 4 << 20

Source = Literal["stdout", "stderr", "system"]


@dataclass(frozen=True)
class LogLine:
    """One line. `data` holds no newline; `complete` is False for a part of a longer one."""

    time: str
    source: Source
    data: bytes
    complete: bool = True
    mark: str = ""


class Block:
    """Consecutive whole records, and perhaps the beginning of the next."""

    def __init__(self, first: Segment, data: bytes = b"") -> None:
        self.first = first
        self.data = bytearray()
        self._ends = array("I")
        self.append(data)

    def append(self, data: bytes) -> None:
        """Bytes that follow."""
        at = len(self.data)
        self.data += data
        end = self.data.find(b"\n", at)
        while end >= 0:
            self._ends.append(end + 1)
            end = self.data.find(b"\n", end + 1)

    def __len__(self) -> int:
        """Whole records."""
        return len(self._ends)

    @property
    def whole(self) -> int:
        """Bytes of whole records."""
        return self._ends[-1] if self._ends else 0

    def raw(self, number: int) -> bytes:
        """A record's bytes with its newline."""
        begin = self._ends[number - 1] if number else 0
        return bytes(self.data[begin : self._ends[number]])

    def number_at(self, byte: int) -> int:
        """The record in which a byte of `data` lies."""
        return bisect_right(self._ends, byte)


@dataclass(frozen=True)
class _Stored:
    """A block that is fetched when it is looked at."""

    first: Segment
    end: int
    key: str = ""


class LogLines:
    """See the module. `line`, `count` and `version` for the screen, the rest for one thread at a time."""

    def __init__(
        self, store: ObjectStore, project: str, n: int, k: int, *, folder: Path | None = None
    ) -> None:
        self._store = store
        self._prefix = layout.logs(project, n, k)
        self._event_prefix = layout.events(project, n, k)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, prefix="winslow-log-")  # noqa: SIM115  closed by close
        self._lock = threading.Lock()
        self._blocks: list[_Stored] = []  # all but the last
        self._in_file: set[int] = set()
        self._memory: OrderedDict[int, Block] = OrderedDict()
        self._tail = Block(Segment(0, 0))
        self._joiner = LogJoiner()
        self._events: list[RunEvent] = []
        self._places: list[int] = []  # before which record each event stands
        self._event_joiner = LogJoiner()
        self._event_parser = EventParser()
        self._wanted: OrderedDict[int, None] = OrderedDict()
        self._looked = False
        self.version = 0

    def close(self) -> None:
        """Give the copy on disk back."""
        self._file.close()

    # -- for the screen

    @property
    def records(self) -> int:
        """Records known to exist."""
        return self._tail.first.first_line + len(self._tail)

    @property
    def count(self) -> int:
        """Lines known to exist: records and events."""
        return self.records + len(self._events)

    def line(self, number: int) -> LogLine | None:
        """Line `number`, from 0; None where it is not here yet: `work` fetches it then."""
        low, high = 0, len(self._places)
        while low < high:  # the first event whose line is at or behind `number`
            middle = (low + high) // 2
            if self._places[middle] + middle < number:
                low = middle + 1
            else:
                high = middle
        if low < len(self._places) and self._places[low] + low == number:
            event = self._events[low]
            return LogLine(event.time, "system", event.text.encode())
        return self._record(number - low)

    def number_of(self, record: int) -> int:
        """The line at which a record stands."""
        return record + bisect_right(self._places, record)

    @property
    def wants(self) -> bool:
        """Whether `work` has something to fetch that is being looked at."""
        return bool(self._wanted)

    def _record(self, record: int) -> LogLine | None:
        block, number = self._tail, record - self._tail.first.first_line
        if number < 0:
            place = self._place_of(record)
            found = self._memory.get(place)
            if found is None:
                with self._lock:
                    self._wanted[place] = None
                    self._wanted.move_to_end(place)
                return None
            block, number = found, record - found.first.first_line
        return _decoded(block.raw(number)) if number < len(block) else None

    def _place_of(self, record: int) -> int:
        return bisect_right(self._blocks, record, key=lambda block: block.first.first_line) - 1

    # -- for a thread

    def look(self) -> None:
        """Ask the store for what is new: records, and Winslow's own events. Raises StoreUnreachable."""
        self._look_events()
        segments: dict[Segment, str] = {}
        for info in self._store.walk(self._prefix):
            start = layout.segment_start(info.key)
            if start is not None:
                segments[Segment(*start)] = info.key
        if not self._looked and segments:
            self._looked = True
            ordered = sorted(segments)
            if ordered[-1].first_byte >= self._joiner.position:
                self._begin_at(ordered, segments)
        for segment in holding(segments, self._joiner.position):
            self._pull(segment, segments[segment])
        self._place_events()
        self.version += 1

    def _begin_at(self, ordered: list[Segment], keys: dict[Segment, str]) -> None:
        """The first look: all but the last segment are fetched when they are looked at."""
        self._blocks = [
            _Stored(segment, after.first_byte, keys[segment]) for segment, after in pairwise(ordered)
        ]
        self._tail = Block(ordered[-1])
        self._joiner = LogJoiner(ordered[-1].first_byte)

    def _pull(self, segment: Segment, key: str) -> None:
        while True:
            skip = max(0, self._joiner.position - segment.first_byte)
            try:
                data = self._store.get_range(key, skip, _RANGE)
            except NotFound:
                return  # deleted meanwhile
            self._append(self._joiner.feed(segment.first_byte + skip, data))
            if len(data) < _RANGE:
                return

    def feed(self, offset: int, data: bytes) -> None:
        """A live batch: bytes of the archive from `offset` on. Before the first look nothing can be told of it."""
        if self._looked or offset == 0:
            self._looked = True
            self._append(self._joiner.feed(offset, data))
            self._place_events()
            self.version += 1

    @property
    def hole(self) -> bool:
        """Whether live bytes wait for some before them, which the store will have."""
        return self._joiner.hole is not None

    def _append(self, data: bytes) -> None:
        if not data:
            return
        self._file.seek(self._joiner.position - len(data))
        self._file.write(data)
        self._tail.append(data)
        if self._tail.whole >= BLOCK_BYTES:
            full, first = self._tail, self._tail.first
            after = Segment(first.first_byte + full.whole, first.first_line + len(full))
            self._in_file.add(len(self._blocks))
            self._blocks.append(_Stored(first, after.first_byte))
            self._tail = Block(after, bytes(full.data[full.whole :]))

    def work(self) -> bool:
        """Fetch what was looked at last; False when nothing is wanted. Raises StoreUnreachable."""
        with self._lock:
            if not self._wanted:
                return False
            place, _ = self._wanted.popitem()
        self._memory[place] = self.block(place)
        self._memory.move_to_end(place)
        while len(self._memory) > IN_MEMORY:
            self._memory.popitem(last=False)
        self.version += 1
        return True

    @property
    def blocks(self) -> int:
        """How many blocks there are, the growing one included."""
        return len(self._blocks) + 1

    def block(self, place: int) -> Block:
        """One block, from memory, the copy on disk or the store. Raises StoreUnreachable, InvalidInput for one that
        is not there any more."""
        if place >= len(self._blocks):
            return self._tail
        if place in self._memory:
            return self._memory[place]
        stored = self._blocks[place]
        size = stored.end - stored.first.first_byte
        if place in self._in_file:
            self._file.seek(stored.first.first_byte)
            return Block(stored.first, self._file.read(size))
        try:
            data = self._store.get_range(stored.key, 0, size)
        except NotFound as error:
            raise InvalidInput(f"{stored.key}: this part of the log is gone") from error
        self._file.seek(stored.first.first_byte)
        self._file.write(data)
        self._in_file.add(place)
        return Block(stored.first, data)

    def search(
        self, found: Callable[[bytes], int], *, start: int, forward: bool, cancelled: Callable[[], bool]
    ) -> int | None:
        """The next record, from record `start` on (or before it), in whose block `found` (the offset of a match in
        bytes, or -1) finds something that lies in its text; None when there is none, or it was cancelled."""
        place = self._place_of(start) if start < self._tail.first.first_line else len(self._blocks)
        order = range(place, self.blocks) if forward else range(place, -1, -1)
        for each in order:
            if cancelled():
                return None
            block = self.block(each)
            hits = _hits(block, found)
            numbers = [block.first.first_line + hit for hit in hits]
            fit = [number for number in numbers if (number >= start if forward else number <= start)]
            if fit:
                return fit[0] if forward else fit[-1]
        return None

    # -- events

    def _look_events(self) -> None:
        segments = {}
        for info in self._store.walk(self._event_prefix):
            start = layout.segment_start(info.key)
            if start is not None:
                segments[Segment(*start)] = info.key
        for segment in holding(segments, self._event_joiner.position):
            skip = max(0, self._event_joiner.position - segment.first_byte)
            try:
                data = self._store.get_range(segments[segment], skip, _RANGE)
            except NotFound:
                continue
            self._events += self._event_parser.feed(self._event_joiner.feed(segment.first_byte + skip, data))

    def _place_events(self) -> None:
        """Put new events before the first record that is later. Only the block an event falls into is read."""
        for event in self._events[len(self._places) :]:
            record = self._first_after(event.time)
            self._places.append(max(record, self._places[-1] if self._places else 0))

    def _first_after(self, time: str) -> int:
        wanted = time.encode()
        if not len(self._tail) and not self._blocks:
            return 0
        if len(self._tail) and self._tail.raw(0)[: len(wanted)] <= wanted:
            block = self._tail
        else:
            low, high = 0, len(self._blocks)
            while low < high:  # the last block that begins no later
                middle = (low + high) // 2
                first = self.block(middle)
                if len(first) and first.raw(0)[: len(wanted)] <= wanted:
                    low = middle + 1
                else:
                    high = middle
            if low == 0:
                return 0
            block = self.block(low - 1)
        low, high = 0, len(block)
        while low < high:
            middle = (low + high) // 2
            if block.raw(middle)[: len(wanted)] <= wanted:
                low = middle + 1
            else:
                high = middle
        return block.first.first_line + low


def _hits(block: Block, found: Callable[[bytes], int]) -> list[int]:
    """Numbers of the records in which something is found: once for the block, then record by record."""
    if found(bytes(block.data[: block.whole])) < 0:
        return []
    return [number for number in range(len(block)) if found(_text(block.raw(number))) >= 0]


def _text(raw: bytes) -> bytes:
    """What the stage wrote, of a record's bytes: behind time, stream and tag."""
    return raw.split(b" ", 3)[3][:-1]


def _decoded(raw: bytes) -> LogLine:
    try:
        record = RecordParser().feed(raw)[0]
    except InvalidInput:
        return LogLine("", "system", b"(not a log record) " + raw[:200].rstrip(b"\n"))
    source: Source = "system" if record.mark else record.stream
    return LogLine(record.time, source, record.data, record.complete or bool(record.mark), record.mark)
