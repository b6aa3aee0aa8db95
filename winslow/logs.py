"""Log records, offsets, segments, and the way back to the bytes a stage wrote (design 7).

An archive is a sequence of records, each
`<RFC 3339 nanoseconds, UTC> <stdout|stderr> <F|P> <bytes>` and a newline: the log format of container
runtimes. `F` stands for the bytes and a newline, `P` for the bytes alone. The format allows further
tags after a colon; Winslow has two, which stand for no bytes of the stage: `F:cut` (the attempt's cap
was reached, the rest was dropped) and `F:gap` (bytes are missing here), each with a sentence.

The archive is cut at record boundaries into segments and live batches, both addressed by the byte
offset of their first byte, so that a reader can join them in any order (`LogJoiner`). Our own events
about a run are `RunEvent`s, one JSON line each, in a stream of their own; `merge` shows both by time.
"""

from __future__ import annotations

import heapq
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from winslow.errors import InvalidInput

Stream = Literal["stdout", "stderr"]
Mark = Literal["", "gap", "cut"]
TIME_PATTERN = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$"
LINE_PART = 16 << 10  # longer lines come in parts of this many bytes
STREAM_AT, TAG_AT, DATA_AT = 31, 38, 40
"""Where a record's stream, tag and bytes begin; those of a mark begin later, at MARK_DATA_AT."""
MARK_DATA_AT = DATA_AT + len(":gap")
_PART = re.compile(rb"Z std(?:out|err) P ")

_TIME = re.compile(TIME_PATTERN[1:-1])
_LOOSE_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)")
_HEADER = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (stdout|stderr) (F|P|F:gap|F:cut) ")
_TAGS: dict[tuple[bool, Mark], str] = {
    (True, ""): "F",
    (False, ""): "P",
    (True, "gap"): "F:gap",
    (True, "cut"): "F:cut",
}
_MEANINGS = {tag.encode(): meaning for meaning, tag in _TAGS.items()}
_STREAMS: dict[bytes, Stream] = {b"stdout": "stdout", b"stderr": "stderr"}


def stamp(nanoseconds: int) -> str:
    """RFC 3339 with nine digits and `Z` from nanoseconds since 1970 (UTC)."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def exact_time(text: str) -> str:
    """An RFC 3339 time in UTC with its fraction padded to nine digits, so that text order is time order.

    Raises InvalidInput for anything else."""
    match = _LOOSE_TIME.fullmatch(text)
    if match is None:
        raise InvalidInput(f"'{text[:40]}' is not an RFC 3339 time in UTC")
    return f"{match[1]}.{(match[2] or '').ljust(9, '0')}Z"


@dataclass(frozen=True)
class Record:
    """One record. `data` holds no newline; `complete` says that one follows in what the stage wrote.

    A record with a `mark` is Winslow's own: its `data` is a sentence and stands for no bytes of the stage."""

    time: str
    stream: Stream
    complete: bool
    data: bytes
    mark: Mark = ""

    @property
    def written(self) -> bytes:
        """The bytes the stage wrote, its newline included."""
        if self.mark:
            return b""
        return self.data + b"\n" if self.complete else self.data


def encode(record: Record) -> bytes:
    """The record's bytes in the archive. Raises InvalidInput where the format cannot hold it."""
    tag = _TAGS.get((record.complete, record.mark))
    if tag is None or not _TIME.fullmatch(record.time) or b"\n" in record.data:
        raise InvalidInput(f"not a log record: time {record.time[:40]!r}, {len(record.data)} bytes")
    return f"{record.time} {record.stream} {tag} ".encode("ascii") + record.data + b"\n"


def _decode(line: bytes, offset: int) -> Record:
    match = _HEADER.match(line)
    if match is None:
        raise InvalidInput(f"log byte {offset}: not a log record", hint="read the log again from its start")
    complete, mark = _MEANINGS[match[3]]
    return Record(match[1].decode("ascii"), _STREAMS[match[2]], complete, line[match.end() :], mark)


T = TypeVar("T")


class _LineParser(ABC, Generic[T]):
    """Whole lines from pieces of any size. `offset` is that of the first byte not yet part of a whole one."""

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self._rest: list[bytes] = []

    def feed(self, data: bytes) -> list[T]:
        """The items that end in `data`. Raises InvalidInput naming the offset."""
        if b"\n" not in data:
            if data:
                self._rest.append(data)
            return []
        *lines, rest = b"".join([*self._rest, data]).split(b"\n")
        self._rest = [rest] if rest else []
        items = []
        for line in lines:
            items.append(self._item(line, self.offset))
            self.offset += len(line) + 1
        return items

    @abstractmethod
    def _item(self, line: bytes, offset: int) -> T:
        """What one line is."""


class RecordParser(_LineParser[Record]):
    """Records from pieces of an archive, in order, from a record's first byte on."""

    def _item(self, line: bytes, offset: int) -> Record:
        return _decode(line, offset)


def has_parts(archive: bytes) -> bool:
    """Whether some of the records may be parts of longer lines; False is certain."""
    return b" P " in archive and _PART.search(archive) is not None


def parse(archive: bytes) -> list[Record]:
    """All whole records of an archive; a torn last one is left out. Raises InvalidInput naming the offset."""
    return RecordParser().feed(archive)


def inverse(archive: bytes, stream: Stream) -> bytes:
    """What the stage wrote to `stream`, except at a mark."""
    return b"".join(record.written for record in parse(archive) if record.stream == stream)


class Skip:
    """Drops what a reader that starts over has already had: so many bytes of each stream.

    The engine's own offsets cannot be trusted (its `since` goes by timestamps), so whoever resumes
    reads from the first byte and skips by count."""

    def __init__(self, had: dict[Stream, int]) -> None:
        self.left: dict[Stream, int] = dict(had)

    def rest(self, stream: Stream, data: bytes, complete: bool) -> bytes | None:
        """The part of `data` not had yet; None where nothing of it, its newline included, is new."""
        left = self.left.get(stream, 0)
        if not left:
            return data
        size = len(data) + complete
        self.left[stream] = max(0, left - size)
        return None if left >= size else data[left:]


# --- segments and joining ---------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Segment:
    """A piece of an archive as the store holds it: the offset of its first byte, and how many lines
    (of all streams) ended before it. `winslow.store.layout` makes its key and reads it back."""

    first_byte: int
    first_line: int


def holding(segments: Iterable[Segment], position: int) -> list[Segment]:
    """Those that may hold bytes from `position` on, in order: the one it falls into and all later ones."""
    ordered = sorted(segments)
    before = [number for number, segment in enumerate(ordered) if segment.first_byte <= position]
    return ordered[before[-1] :] if before else ordered


class LogJoiner:
    """Joins segments and live batches, in any order and overlapping, into the archive's bytes.

    Pieces ahead of a hole are kept up to `limit` bytes; beyond it the furthest are dropped and counted
    (`dropped`, bytes): they come again as segments."""

    def __init__(self, position: int = 0, *, limit: int = 8 << 20) -> None:
        self.position = position
        self.dropped = 0
        self._limit = limit
        self._ahead: dict[int, bytes] = {}

    def feed(self, offset: int, data: bytes) -> bytes:
        """Take a piece; what is now contiguous from the old `position` on (often empty)."""
        if offset > self.position:
            if len(data) > len(self._ahead.get(offset, b"")):
                self._ahead[offset] = data
                self._shed()
            return b""
        joined = [data[self.position - offset :]]
        self.position += len(joined[0])
        for start in sorted(self._ahead):
            if start > self.position:
                break
            more = self._ahead.pop(start)[self.position - start :]
            joined.append(more)
            self.position += len(more)
        return b"".join(joined)

    @property
    def hole(self) -> tuple[int, int] | None:
        """The bytes (from, to) that must come before anything more can be shown; None when none is known."""
        return (self.position, min(self._ahead)) if self._ahead else None

    def _shed(self) -> None:
        total = sum(map(len, self._ahead.values()))
        while total > self._limit:
            lost = len(self._ahead.pop(max(self._ahead)))
            total -= lost
            self.dropped += lost


# --- our own events ---------------------------------------------------------------------------------


class RunEvent(BaseModel):
    """Something Winslow did or saw for a run: the stream `system`. `text` is a sentence for people,
    `data` what a program wants to know of it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    time: Annotated[str, Field(pattern=TIME_PATTERN)]
    event: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    text: str = ""
    data: dict[str, Any] = {}


def encode_event(event: RunEvent) -> bytes:
    """One JSON line."""
    return event.model_dump_json().encode() + b"\n"


class EventParser(_LineParser[RunEvent]):
    """Events from pieces of the event archive, in order, from an event's first byte on."""

    def _item(self, line: bytes, offset: int) -> RunEvent:
        try:
            return RunEvent.model_validate_json(line)
        except ValidationError as error:
            raise InvalidInput(f"events byte {offset}: not an event of a run") from error


def merge(records: Iterable[Record], events: Iterable[RunEvent]) -> Iterator[Record | RunEvent]:
    """Both by time, each in its own order (also where a clock stepped back); at one time events first."""
    sources: tuple[Iterable[Record | RunEvent], ...] = (events, records)
    yield from heapq.merge(*sources, key=lambda item: item.time)


# --- progress and results ---------------------------------------------------------------------------

_PERCENT = re.compile(rb"(?<![\w.,-])(\d{1,3}(?:\.\d{1,9})?)[ \t]{0,4}%(?!\w)")
_RESULT = re.compile(rb"\s*WINSLOW_RESULT:\s*([^=]*)=(.*)", re.DOTALL)
_KEY = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]{0,126}[^\s\x00-\x1f\x7f-\x9f])?")
_CARRY = 64


def percent_in(text: bytes) -> float | None:
    """The last `NN %` from 0 to 100 in a line; None where there is none."""
    values = [float(match) for match in _PERCENT.findall(text)] if b"%" in text else []
    return next((value for value in reversed(values) if value <= 100), None)


def result_in(line: bytes) -> tuple[str, str] | None:
    """Key and value of a line `WINSLOW_RESULT: key=value`; None for any other line.

    Invalid UTF-8 becomes U+FFFD. Limits are the caller's to check (`Scan`)."""
    match = _RESULT.match(line)
    return (_text(match[1]), _text(match[2])) if match else None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip()


class Scan:
    """What a stage tells by its lines: progress, and results (requirements, last section).

    Lines over 16 KiB carry no results. `refused` counts results that break a limit: more than
    `max_results` keys, a value over `max_bytes`, or a key that is empty, over 128 characters or holds
    control characters."""

    def __init__(self, *, max_results: int, max_bytes: int) -> None:
        self.percent: float | None = None
        self.results: dict[str, str] = {}
        self.refused = 0
        self._max_results = max_results
        self._max_bytes = max_bytes
        self._parts: dict[Stream, bytes] = {}
        self._overlong: set[Stream] = set()

    def feed(self, record: Record) -> bool:
        """Take the next record; True when `percent` or `results` changed."""
        if record.mark:
            return False
        line = self._parts.pop(record.stream, b"") + record.data
        found = percent_in(line)
        changed = found is not None and found != self.percent
        self.percent = found if found is not None else self.percent
        if not record.complete:
            if len(line) > LINE_PART:
                self._overlong.add(record.stream)
                line = line[-_CARRY:]
            self._parts[record.stream] = line
            return changed
        if record.stream in self._overlong:
            self._overlong.discard(record.stream)
            return changed
        result = result_in(line) if b"WINSLOW_RESULT:" in line else None
        return (result is not None and self._keep(*result)) or changed

    def _keep(self, key: str, value: str) -> bool:
        full = len(self.results) >= self._max_results and key not in self.results
        if full or not _KEY.fullmatch(key) or len(value.encode()) > self._max_bytes:
            self.refused += 1
            return False
        changed = self.results.get(key) != value
        self.results[key] = value
        return changed
