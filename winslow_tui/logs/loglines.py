"""An attempt's log as numbered lines, from either end, of any size: what the log view shows.

A segment's name in the store says which byte and which line of the archive (design 7) it begins with, so
the last page of a log of any size is there after one request, and any other after one more. What the first
look finds, but for its last segment, are blocks that are fetched when somebody looks at them; from there
on the archive is only appended to, by live batches and by later looks. Every byte that came is kept in a
sparse file at its own offset, while the disk has room for it; the blocks looked at last are kept in memory.

Winslow's own events stand between the lines by time. An event may arrive when later lines are already
shown, so a number is only a place: `key` is what stays with a line. `line` never blocks: what is not here
yet is None and is fetched by `work`, which a thread of the caller's runs.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from winslow.errors import InvalidInput, NotFound, Unreachable
from winslow.logs import STREAM_AT, EventParser, LogJoiner, RunEvent, Segment, Stream, holding
from winslow.store import layout
from winslow.store.port import ObjectStore
from winslow_tui.logs.logblocks import Block, LogLine, open_streams

IN_MEMORY = 24
"""Blocks (of about 1 MiB) whose bytes stay in memory."""

BLOCK_BYTES = 1 << 20
_RANGE = 4 << 20
_PEEK = 40 << 10  # holds a whole record of either stream, but for rare cases
_REACH = 4  # blocks back in which the beginning of a long line is looked for


@dataclass(frozen=True)
class _Stored:
    """A block that is fetched when it is looked at."""

    first: Segment
    end: int


class LogLines:
    """See the module. `line`, `key`, `number`, `count` and `version` for the screen, `piece` for any thread, the rest
    for one thread at a time."""

    def __init__(
        self, store: ObjectStore, project: str, n: int, k: int, *, folder: Path | None = None
    ) -> None:
        self._store = store
        self._prefix = layout.logs(project, n, k)
        self._event_prefix = layout.events(project, n, k)
        self._file, name = tempfile.mkstemp(dir=folder or _on_disk(), prefix="winslow-log-")
        Path(name).unlink()
        weakref.finalize(self, os.close, self._file)  # a search or a save may still read from it
        self._lock = threading.Lock()
        self._segments: list[tuple[Segment, str]] = []
        self._blocks: list[_Stored] = []  # all but the last
        self._kept: set[int] = set()  # those that the file has whole
        self._tail_kept = True
        self._memory: OrderedDict[int, Block] = OrderedDict()
        self._begins: dict[int, bytes] = {}
        self._tail = Block(Segment(0, 0))
        self._joiner = LogJoiner()
        self._events: list[RunEvent] = []
        self._places: list[int] = []  # before which line each event stands
        self._event_joiner = LogJoiner()
        self._event_parser = EventParser()
        self._wanted: OrderedDict[int, None] = OrderedDict()
        self._looked = False
        self._open: list[LogLine] = []
        self.version = 0

    # -- for the screen

    @property
    def lines(self) -> int:
        """Lines of the stage known to have ended."""
        tail = self._tail
        return tail.first.first_line + len(tail)

    @property
    def count(self) -> int:
        """Lines known to exist: those, Winslow's events, and what has no newline yet."""
        return self.lines + len(self._places) + len(self._open)

    @property
    def events(self) -> list[RunEvent]:
        """Winslow's own words so far; only added to."""
        return self._events[: len(self._places)]

    def place_of(self, event: int) -> int:
        """Before which of the stage's lines an event stands."""
        return self._places[event]

    def line(self, number: int) -> LogLine | None:
        """Line `number`, from 0; None where it is not here yet: `work` fetches it then."""
        return self.line_of(self.key(number))

    def line_of(self, key: int) -> LogLine | None:
        """The line that a key stands for."""
        if key < 0:
            event = self._events[~key]
            return LogLine(event.time, "system", event.text.encode())
        block, number = self._tail, key - self._tail.first.first_line
        if number >= len(block):
            return self._open[min(number - len(block), len(self._open) - 1)] if self._open else None
        if number < 0:
            place = self._place_of(key)
            found = self._memory.get(place)
            if found is None:
                with self._lock:
                    self._wanted[place] = None
                    self._wanted.move_to_end(place)
                return None
            block, number = found, key - found.first.first_line
        return block.line(number) if number < len(block) else None

    def key(self, number: int) -> int:
        """What stays with the line that is now at `number`: of an event a negative one."""
        places = self._places
        low, high = 0, len(places)
        while low < high:  # the first event whose place is at or behind `number`
            middle = (low + high) // 2
            if places[middle] + middle < number:
                low = middle + 1
            else:
                high = middle
        if low < len(places) and places[low] + low == number:
            return ~low
        return number - low

    def number(self, key: int) -> int:
        """Where a line is now."""
        return self._places[~key] + ~key if key < 0 else key + bisect_right(self._places, key)

    @property
    def wants(self) -> bool:
        """Whether `work` has something to fetch that is being looked at."""
        return bool(self._wanted)

    def _place_of(self, line: int) -> int:
        return bisect_right(self._blocks, line, key=_first_line) - 1

    # -- for a thread

    def look(self) -> None:
        """Ask the store for what is new: records, and Winslow's own events. Raises StoreUnreachable."""
        self._look_events()
        found = ((layout.segment_start(info.key), info.key) for info in self._store.walk(self._prefix))
        self._segments = sorted((Segment(*start), key) for start, key in found if start is not None)
        if not self._looked and self._segments:
            self._looked = True
            if self._segments[-1][0].first_byte >= self._joiner.position:
                self._begin()
        keys = dict(self._segments)
        for segment in holding(keys, self._joiner.position):
            self._pull(segment, keys[segment])
        self._place_events()
        self.version += 1

    def _begin(self) -> None:
        """The first look: all but the last segment are fetched when they are looked at."""
        segments = [segment for segment, _ in self._segments]
        self._blocks = [_Stored(segment, after.first_byte) for segment, after in pairwise(segments)]
        self._tail = Block(segments[-1])
        self._tail.begun = self._begun(len(self._blocks))
        self._joiner = LogJoiner(segments[-1].first_byte)

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
            self.version += 1

    @property
    def hole(self) -> bool:
        """Whether live bytes wait for some before them, which the store will have."""
        return self._joiner.hole is not None

    def _append(self, data: bytes) -> None:
        if not data:
            return
        self._tail_kept = self._keep(self._joiner.position - len(data), data) and self._tail_kept
        tail = self._tail
        tail.append(data)
        if tail.whole >= BLOCK_BYTES:
            place, first = len(self._blocks), tail.first
            after = Segment(first.first_byte + tail.whole, first.first_line + len(tail))
            if self._tail_kept:
                self._kept.add(place)
            self._remember(place, tail)
            self._blocks.append(_Stored(first, after.first_byte))
            self._tail = Block(after, bytes(tail.data[tail.whole :]), begun=tail.after())
            self._tail_kept = True
        self._open = self._tail.open_lines()

    def work(self) -> bool:
        """Fetch what was looked at last; False when nothing is wanted. Raises StoreUnreachable."""
        with self._lock:
            if not self._wanted:
                return False
            place, _ = self._wanted.popitem()
        try:
            self._remember(place, self._block(place))
        except Unreachable:
            with self._lock:
                self._wanted.setdefault(place)
            raise
        self.version += 1
        return True

    def _remember(self, place: int, block: Block) -> None:
        self._memory[place] = block
        self._memory.move_to_end(place)
        while len(self._memory) > IN_MEMORY:
            self._memory.popitem(last=False)

    def whole(self, key: int, limit: int) -> bytes | None:
        """All bytes of a line of the stage, which may have come in any number of records; None where they are more
        than `limit`. Raises StoreUnreachable, and InvalidInput for one that is not there."""
        place = self.block_of(key)
        block = self._block(place)
        number = key - block.first.first_line
        line = block.line(number) if 0 <= number < len(block) else self.line_of(key)
        if line is None or line.source == "system":
            raise InvalidInput("this line is not there any more")
        pieces, begun = block.tail_of(line.source, number if number < len(block) else None)
        text = b"".join(pieces)
        if begun and len(text) <= limit:
            text = self._begun_whole(place, line.source, limit) + text
        return text if len(text) <= limit else None

    def _begun_whole(self, place: int, stream: Stream, limit: int) -> bytes:
        """All that was begun before a block, or its end, a little more than `limit` bytes."""
        pieces, begun = list[bytes](), True
        while begun and place > 0 and sum(map(len, pieces)) <= limit:
            place -= 1
            earlier, begun = self._block(place).tail_of(stream, None)
            pieces = [*earlier, *pieces]
        return b"".join(pieces)

    # -- blocks

    def piece(self, place: int, offset: int) -> tuple[int, bytes, bool]:
        """The first line of a block, its whole records from a byte of it on, and whether no more can follow in it.
        Raises StoreUnreachable, InvalidInput for one that is not there any more."""
        tail = self._tail  # before the blocks: one that becomes full meanwhile is among them then
        if place < len(self._blocks):
            return self._blocks[place].first.first_line, self._read(place)[offset:], True
        return tail.first.first_line, bytes(tail.data[offset : tail.whole]), False

    def begun_before(self, place: int, limit: int) -> dict[Stream, bytes]:
        """What was begun, and not ended, before a block: as much as about `limit` bytes. Raises as `piece`."""
        return {stream: self._begun_whole(place, stream, limit) for stream in self._begun(place)}

    @property
    def blocks(self) -> int:
        """How many blocks there are, the growing one included."""
        return len(self._blocks) + 1

    def block_of(self, key: int) -> int:
        """The block in which a line of the stage ends."""
        return len(self._blocks) if key >= self._tail.first.first_line else self._place_of(key)

    def _block(self, place: int) -> Block:
        if place >= len(self._blocks):
            return self._tail
        found = self._memory.get(place)
        return found or Block(self._blocks[place].first, self._read(place), begun=self._begun(place))

    def _read(self, place: int) -> bytes:
        stored = self._blocks[place]
        begin, end = stored.first.first_byte, stored.end
        if place in self._kept:
            return os.pread(self._file, end - begin, begin)
        data = self._fetch(begin, end)
        if self._keep(begin, data):
            self._kept.add(place)
        return data

    def _bytes(self, place: int, begin: int, end: int) -> bytes:
        """Some bytes of a block."""
        return os.pread(self._file, end - begin, begin) if place in self._kept else self._fetch(begin, end)

    def _keep(self, offset: int, data: bytes) -> bool:
        """Into the copy on disk; a full disk only means that the store is asked again."""
        try:
            while data:
                written = os.pwrite(self._file, data, offset)
                offset, data = offset + written, data[written:]
        except OSError:
            return False
        return True

    def _fetch(self, begin: int, end: int) -> bytes:
        """Bytes of the archive from the store."""
        segments, pieces, at = self._segments, list[bytes](), begin
        first = bisect_right(segments, begin, key=lambda each: each[0].first_byte) - 1
        for segment, key in segments[max(0, first) :]:
            if at >= end or segment.first_byte > at:
                break
            try:
                data = self._store.get_range(key, at - segment.first_byte, end - at)
            except NotFound:
                break
            pieces.append(data)
            at += len(data)
        if at < end:
            raise InvalidInput(f"{self._prefix}: the bytes {at} to {end} of the log are gone")
        return b"".join(pieces)

    def _begun(self, place: int, reach: int = _REACH) -> dict[Stream, bytes]:
        if place == 0 or not reach:
            return {}
        before = place - 1
        found = self._memory.get(before)
        if found is not None:
            return found.after()
        stored = self._blocks[before]
        begin, end = max(stored.first.first_byte, stored.end - _PEEK), stored.end
        peek = self._bytes(before, begin, end)
        if not open_streams(b"\n" * (begin == stored.first.first_byte) + peek):
            return {}
        line = (self._blocks[place] if place < len(self._blocks) else self._tail).first.first_line
        if line == stored.first.first_line:  # no line ends in it: the beginning is where the number does
            before = bisect_left(self._blocks, line, key=_first_line)
        return Block(
            self._blocks[before].first, self._read(before), begun=self._begun(before, reach - 1)
        ).after()

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
        """Put new events before the first line that is later. Only the block an event falls into is read."""
        for event in self._events[len(self._places) :]:
            line = self.first_after(event.time)
            self._places.append(max(line, self._places[-1] if self._places else 0))

    def first_after(self, time: str) -> int:
        """The first of the stage's lines that is later. Raises StoreUnreachable."""
        wanted = time.encode()
        low, high = 0, self.blocks
        for end in (high - 1, 0):  # most events stand at one
            later = self._begin_of(end)[: len(wanted)] > wanted
            low, high = (low, end) if later else (max(low, end + 1), high)
        while low < high:  # how many blocks begin no later
            middle = (low + high) // 2
            if self._begin_of(middle)[: len(wanted)] <= wanted:
                low = middle + 1
            else:
                high = middle
        if low == 0:
            return 0
        block = self._block(low - 1)
        return block.first.first_line + block.first_after(wanted)

    def _begin_of(self, place: int) -> bytes:
        """The time of a block's first record; later than all for one that has none."""
        found = self._begins.get(place, b"")
        if found:
            return found
        if place == len(self._blocks):
            found = bytes(self._tail.data[: STREAM_AT - 1]) if self._tail.whole else b""
        elif place in self._memory:
            found = self._memory[place].raw(0)[: STREAM_AT - 1]
        else:
            begin = self._blocks[place].first.first_byte
            found = self._bytes(place, begin, begin + STREAM_AT - 1)
        if not found:
            return b"\xff"
        self._begins[place] = found
        return found


def _first_line(block: _Stored) -> int:
    return block.first.first_line


def _on_disk() -> str:
    """For temporary files that may be large: /tmp is often a part of the memory, /var/tmp is not."""
    usual = Path(tempfile.gettempdir())
    better = usual.parent / "var" / usual.name
    return str(better if os.access(better, os.W_OK) else usual)
