"""The program that looks for a stage's own patterns in its log: one process beside the agent.

    python -I -S patterns.py

A regular expression can take for ever on a line, and Python's hold on to the interpreter while they do: in
the agent itself one of them would stop its sign of life. Here a search that takes too long is cut off by a
timer, and after some of these its pattern is given up. stdin gets one JSON line {spool, fail_on, progress},
then sizes of the spool, one a line; each is answered on stdout by one JSON line:

    upto     the size that was looked at
    found    null, or [which of fail_on, the line's first bytes as latin-1]: the first line that one is found in
    percent  null, or the last percentage that `progress` has found
    slow     for each of fail_on, and then progress: how many lines took too long
    dropped  for each: whether it was given up

Lines are bytes without their newline (nor a carriage return before it); of a line over 16 KiB each 16 KiB
part counts as a line. It imports nothing but the standard library and ends when its stdin does.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
from dataclasses import dataclass, field
from types import FrameType

LINE_PART = 16 << 10
TICK_SECONDS = 0.05  # of CPU time; a search is cut off at its second tick
MOST_SLOW = 8  # lines
MOST_SHOWN = 1024  # bytes of a line
_READ = 1 << 20
_MEMORY = 512 << 20


class Slow(Exception):
    """A search took too long."""


class Ticker:
    """Raises Slow inside a search that sees two ticks of the process's CPU time."""

    def __init__(self) -> None:
        self._now = 0
        self._search = 0  # the one that runs, 0: none
        self._seen = 0

    def start(self) -> None:
        """Begin to tick; needs the main thread."""
        signal.signal(signal.SIGVTALRM, self._tick)
        signal.setitimer(signal.ITIMER_VIRTUAL, TICK_SECONDS, TICK_SECONDS)

    def stop(self) -> None:
        """Tick no more."""
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _tick(self, _number: int, _frame: FrameType | None) -> None:
        if self._search and self._search == self._seen:
            self._search = 0
            raise Slow
        self._seen = self._search

    def match(self, pattern: re.Pattern[bytes], line: bytes, *, first: bool) -> re.Match[bytes] | None:
        """The first or the last match in a line. Raises Slow, and MemoryError."""
        self._now += 1
        self._search = self._now
        try:
            if first:
                return pattern.search(line)
            last = None
            for match in pattern.finditer(line):
                last = match
            return last
        finally:
            self._search = 0


@dataclass
class Search:
    """Sans-I/O: pieces of whole records in; what was found stands in the attributes."""

    fail_on: list[re.Pattern[bytes]]
    progress: re.Pattern[bytes] | None
    ticker: Ticker
    found: tuple[int, bytes] | None = None
    percent: float | None = None
    slow: list[int] = field(default_factory=list)
    _parts: dict[bytes, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.slow = [0] * (len(self.fail_on) + 1)

    @property
    def dropped(self) -> list[bool]:
        """For each of `fail_on`, and then `progress`: whether it was given up."""
        return [count >= MOST_SLOW for count in self.slow]

    def feed(self, records: bytes) -> None:
        """Take records of the archive (`<time> <stream> <tag> <bytes>`, a newline); marks are no output."""
        for record in records.split(b"\n")[:-1]:
            _, stream, tag, data = record.split(b" ", 3)
            if tag not in (b"F", b"P"):
                continue
            line = self._parts.pop(stream, b"") + data
            while len(line) > LINE_PART:
                self._look(line[:LINE_PART])
                line = line[LINE_PART:]
            if tag == b"F":
                self._look(line.removesuffix(b"\r"))
            elif line:
                self._parts[stream] = line

    def end(self) -> None:
        """Look at lines that have no newline yet; what follows them counts as a line of its own."""
        for line in self._parts.values():
            self._look(line)
        self._parts.clear()

    def _look(self, line: bytes) -> None:
        for number, pattern in enumerate(self.fail_on):
            if self.found is None and self._match(number, pattern, line, first=True):
                self.found = (number, line[:MOST_SHOWN])
        if self.progress is not None:
            match = self._match(len(self.fail_on), self.progress, line, first=False)
            percent = _percent(match[1]) if match else None
            self.percent = self.percent if percent is None else percent

    def _match(
        self, number: int, pattern: re.Pattern[bytes], line: bytes, *, first: bool
    ) -> re.Match[bytes] | None:
        if self.slow[number] >= MOST_SLOW:
            return None
        try:
            return self.ticker.match(pattern, line, first=first)
        except (Slow, MemoryError, RecursionError):
            self.slow[number] += 1
            return None


def _percent(text: bytes | None) -> float | None:
    try:
        value = float(text or b"")
    except ValueError:
        return None
    return value if 0 <= value <= 100 else None


def main() -> None:
    """Answer sizes until stdin ends."""
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    wanted = json.loads(sys.stdin.readline())
    ticker = Ticker()
    search = Search(
        fail_on=[re.compile(pattern.encode()) for pattern in wanted["fail_on"]],
        progress=re.compile(wanted["progress"].encode()) if wanted["progress"] else None,
        ticker=ticker,
    )
    offset = 0
    ticker.start()
    with open(wanted["spool"], "rb") as spool:  # noqa: PTH123  # pathlib is not worth its import here
        for command in sys.stdin:
            size, last = int(command.split()[0]), command.split()[1:] == ["last"]
            rest = b""
            while offset < size:
                piece = os.pread(spool.fileno(), min(_READ, size - offset), offset)
                if not piece:
                    return  # the spool is shorter than was said: whoever asks begins again
                offset += len(piece)
                whole, newline, rest = (rest + piece).rpartition(b"\n")
                search.feed(whole + newline)
            if last:
                search.end()
            found = [search.found[0], search.found[1].decode("latin-1")] if search.found else None
            answer = {
                "upto": offset,
                "found": found,
                "percent": search.percent,
                "slow": search.slow,
                "dropped": search.dropped,
            }
            print(json.dumps(answer), flush=True)
    ticker.stop()


if __name__ == "__main__":
    main()
