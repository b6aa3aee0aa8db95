"""Pieces of a log's archive (design 7) as lines. Pure.

A line is what ends with a newline of the stage, however many records it came in: so segments' names count
them, and a line keeps its number for good. Of a long one the beginning is at hand, which may lie in an
earlier block.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from winslow.errors import InvalidInput
from winslow.logs import DATA_AT, STREAM_AT, TAG_AT, RecordParser, Segment, Stream, has_parts

HEAD_BYTES = 16 << 10
"""So much of a line is at hand for the screen."""

Source = Literal["stdout", "stderr", "system"]
SOURCES: tuple[Source, ...] = ("stdout", "stderr", "system")
_STREAMS: tuple[Stream, ...] = ("stdout", "stderr")
_PART = ord("P")
_NEWLINE = re.compile(b"\n")


@dataclass(frozen=True)
class LogLine:
    """One line. `data` holds its first HEAD_BYTES and no newline; `more`: it is longer; `ended` is False where its
    newline is still to come."""

    time: str
    source: Source
    data: bytes
    more: bool = False
    ended: bool = True


class Block:
    """Consecutive whole records, and perhaps the beginning of the next. `begun` is what earlier blocks hold of the
    lines that were not ended before it: their first HEAD_BYTES, and a byte more where they are longer."""

    def __init__(
        self, first: Segment, data: bytes = b"", *, begun: Mapping[Stream, bytes] | None = None
    ) -> None:
        self.first = first
        self.begun = dict(begun or {})
        self.data = bytearray()
        self._ends = array("I")  # behind each record
        self._lines = array("I")  # the record that ends each line
        self._parts: dict[int, tuple[int, ...]] = {}  # the records of a line before its last
        self._open: dict[Stream, list[int]] = {}  # records of lines that have no end yet
        self._firsts: dict[Stream, int] = {}  # the first line of each stream
        self.append(data)

    def append(self, data: bytes) -> None:
        """Bytes that follow."""
        at, begin = len(self.data), self.whole
        self.data += data
        if self._open or self.begun.keys() - self._firsts.keys() or has_parts(bytes(self.data[begin:])):
            self._append_parts(at, begin)
            return
        ends = [at + match.end() for match in _NEWLINE.finditer(data)]
        self._lines.extend(range(len(self._ends), len(self._ends) + len(ends)))
        self._ends.extend(ends)

    def _append_parts(self, at: int, begin: int) -> None:
        """The same, record by record: where lines may consist of several."""
        whole = self.data
        end = whole.find(b"\n", at)
        while end >= 0:
            if end - begin >= DATA_AT and whole[TAG_AT + begin] == _PART:
                self._open.setdefault(self._stream(begin), []).append(len(self._ends))
            else:
                self._end_line(self._stream(begin))
            self._ends.append(end + 1)
            begin = end + 1
            end = whole.find(b"\n", begin)

    def _end_line(self, stream: Stream) -> None:
        line = len(self._lines)
        if parts := self._open.pop(stream, None):
            self._parts[line] = tuple(parts)
        self._firsts.setdefault(stream, line)
        self._lines.append(len(self._ends))

    def _stream(self, begin: int) -> Stream:
        return "stderr" if self.data[begin + STREAM_AT : begin + STREAM_AT + 6] == b"stderr" else "stdout"

    def __len__(self) -> int:
        """Lines that end here."""
        return len(self._lines)

    @property
    def whole(self) -> int:
        """Bytes of whole records."""
        return self._ends[-1] if self._ends else 0

    def raw(self, record: int) -> bytes:
        """A record's bytes with its newline."""
        begin = self._ends[record - 1] if record else 0
        return bytes(self.data[begin : self._ends[record]])

    def line(self, number: int) -> LogLine:
        """The line that ends here as the `number`th, from 0."""
        record = self._lines[number]
        raw = self.raw(record)
        try:
            last = RecordParser().feed(raw)[0]
        except InvalidInput:
            return LogLine("", "system", b"(not a log record) " + raw[:200].rstrip(b"\n"))
        if last.mark:
            return LogLine(last.time, "system", last.data)
        begun = self.begun.get(last.stream, b"") if self._firsts.get(last.stream) == number else b""
        text = self._joined(begun, self._parts.get(number, ())) + last.data
        return LogLine(last.time, last.stream, text[:HEAD_BYTES], len(text) > HEAD_BYTES)

    def open_lines(self) -> list[LogLine]:
        """What has no newline yet, as a line of each stream."""
        found = []
        for stream, text in self.after().items():
            parts = self._open.get(stream)
            time = self.raw(parts[-1])[: STREAM_AT - 1].decode("ascii", "replace") if parts else ""
            found.append(LogLine(time, stream, text[:HEAD_BYTES], len(text) > HEAD_BYTES, ended=False))
        return found

    def after(self) -> dict[Stream, bytes]:
        """What is begun at its end: the next block's `begun`."""
        found = {}
        for stream in _STREAMS:
            begun = self.begun.get(stream, b"") if stream not in self._firsts else b""
            text = self._joined(begun, tuple(self._open.get(stream, ())))
            if text:
                found[stream] = text[: HEAD_BYTES + 1]
        return found

    def _joined(self, text: bytes, records: tuple[int, ...]) -> bytes:
        for record in records:
            if len(text) > HEAD_BYTES:
                break
            text += self.raw(record)[DATA_AT:-1]
        return text

    def tail_of(self, stream: Stream, number: int | None) -> tuple[list[bytes], bool]:
        """The bytes of a line as far as they are here, in pieces, and whether it was begun before. Without a number:
        of the one that has no end yet."""
        if number is None:
            records, first = tuple(self._open.get(stream, ())), stream not in self._firsts
        else:
            records = (*self._parts.get(number, ()), self._lines[number])
            first = self._firsts.get(stream) == number
        return [self.raw(record)[DATA_AT:-1] for record in records], first and stream in self.begun

    def first_after(self, time: bytes) -> int:
        """How many lines ended here before the first record that is later."""
        low, high = 0, len(self._ends)
        while low < high:
            middle = (low + high) // 2
            if self.raw(middle)[: len(time)] <= time:
                low = middle + 1
            else:
                high = middle
        return bisect_left(self._lines, low)


def open_streams(records: bytes) -> set[Stream]:
    """Of the end of an archive: the streams whose last record there does not end its line. What is before the first
    newline is not looked at."""
    last: dict[Stream, bool] = {}
    for record in reversed(records.split(b"\n")[1:-1]):
        for stream in _STREAMS:
            if record[STREAM_AT : STREAM_AT + 6] == stream.encode():
                last.setdefault(stream, record[TAG_AT : TAG_AT + 1] == b"P")
    return {stream for stream, is_open in last.items() if is_open}
