"""An archive on a node's disk and its copy in the store (design 7).

A `Spool` is an append-only file of whole lines, cut at line boundaries into segments of about 1 MiB; the
cuts depend on the lines alone, so an agent that starts over finds the same ones. A `SegmentCopy` keeps the
store's copy: sealed segments are written once, the open one again and again, each time conditionally on
its last ETag, so a write that lands late can never hide a newer one. Blocking work runs in the executor
that is passed in; nothing here waits for the store before a line is taken.
"""

from __future__ import annotations

import asyncio
import bisect
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from winslow.errors import NotFound, WinslowError
from winslow.logs import Segment
from winslow.store import layout
from winslow.store.port import Conflict, ObjectStore, StoreUnreachable

SEGMENT_BYTES = 1 << 20
OPEN_SECONDS = 30.0  # the open segment is written again at the latest after this
SETTLE_SECONDS = 1.0  # and at the earliest after this
GROWTH = 1.5
_READ = 1 << 20
_TRIES = 4
_BACKOFF = (1.0, 2.0, 5.0, 10.0, 30.0)

_T = TypeVar("_T")


class Spool:
    """Lines on disk. `size` in bytes; used from one thread at a time but for `read`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.lines = 0
        self.segments: list[Segment] = [Segment(0, 0)]  # the last one is open
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def recover(self, take: Callable[[bytes], bool]) -> None:
        """Read the whole file once, after a restart. `take` gets each record and says whether a line ends with
        it; what it raises comes through. A torn last record, which nobody has acted on, is cut off."""
        offset, rest = 0, b""
        while data := os.pread(self._file, _READ, offset):
            offset += len(data)
            *records, rest = (rest + data).split(b"\n")
            for record in records:
                self._count(len(record) + 1, take(record + b"\n"))
        os.ftruncate(self._file, self.size)

    def append(self, records: Sequence[tuple[bytes, bool]]) -> None:
        """Write whole records, each with whether a line ends with it. All or nothing: raises OSError (disk full)
        with the file as it was."""
        data = b"".join(record for record, _ in records)
        try:
            written = os.pwrite(self._file, data, self.size)
            while written < len(data):
                written += os.pwrite(self._file, data[written:], self.size + written)
        except OSError:
            os.ftruncate(self._file, self.size)
            raise
        for record, ends_line in records:
            self._count(len(record), ends_line)

    def end_of(self, segment: Segment) -> int:
        """The offset after its last byte so far."""
        after = bisect.bisect_right(self.segments, segment)
        return self.segments[after].first_byte if after < len(self.segments) else self.size

    def read(self, start: int, end: int) -> bytes:
        """The bytes of a range; from any thread."""
        return os.pread(self._file, end - start, start)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _count(self, size: int, ends_line: bool) -> None:
        self.size += size
        self.lines += ends_line
        if self.size - self.segments[-1].first_byte >= SEGMENT_BYTES:
            self.segments.append(Segment(self.size, self.lines))


class SegmentCopy:
    """The store's copy of a spool, under keys that `key` makes of a segment; `prefix` is what they share."""

    def __init__(
        self,
        spool: Spool,
        *,
        store: ObjectStore,
        executor: Executor,
        prefix: str,
        key: Callable[[Segment], str],
        monotonic: Callable[[], float],
    ) -> None:
        self._spool = spool
        self._store = store
        self._executor = executor
        self._prefix = prefix
        self._key = key
        self._monotonic = monotonic
        self._grown = asyncio.Event()
        self._turn = asyncio.Lock()
        self._stored: dict[Segment, tuple[int, str]] = {}  # segment -> size and ETag of what the store has
        self._foreign: dict[Segment, str] = {}  # segment -> ETag of an object that this process did not write
        self._under_way: asyncio.Future[Any] | None = None
        self._sealed = 0  # so many segments from the first on are stored whole

    def grew(self) -> None:
        """Tell that the spool has more."""
        self._grown.set()

    async def run(self) -> None:
        """Copy for ever, in time; a store that is away is asked again with growing pauses."""
        written = self._monotonic()
        failures = 0
        while True:
            await self._grown.wait()
            self._grown.clear()
            while (wait := self._due(written)) > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._grown.wait()
                        self._grown.clear()
                        await asyncio.sleep(SETTLE_SECONDS)
            try:
                await self.copy()
                failures = 0
            except WinslowError:  # `verify_all` raises it to whoever needs the log stored
                await asyncio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
                failures += 1
                self._grown.set()
            written = self._monotonic()

    async def copy(self) -> None:
        """Bring the store's copy up to date. Raises StoreUnreachable and the store's other errors."""
        async with self._turn:
            segments = list(self._spool.segments)
            for segment in segments[self._sealed :]:
                end = self._spool.end_of(segment)
                if (
                    end > segment.first_byte
                    and self._stored.get(segment, (0, ""))[0] < end - segment.first_byte
                ):
                    await self._blocking(lambda segment=segment, end=end: self._put(segment, end))  # type: ignore[misc]
            self._sealed = len(segments) - 1

    async def verify_all(self) -> None:
        """Return when a listing shows every byte of the spool in the store. Raises StoreUnreachable and the
        store's other errors; call it again later then."""
        for _ in range(_TRIES):
            await self.copy()
            async with self._turn:
                wrong = await self._blocking(self._differing)
                for segment in wrong:
                    self._stored.pop(segment, None)
                if not wrong:
                    return
                self._sealed = 0
        raise StoreUnreachable(
            f"{self._prefix}: the store does not keep what is written there", hint="run winslow doctor"
        )

    async def adopt(self) -> None:
        """Learn what an earlier agent stored, so that it is not sent again. Without an answer all is sent again."""
        async with self._turn:
            try:
                known = await self._blocking(self._listing)
            except WinslowError:
                return
            for segment in self._spool.segments:
                size, etag = known.get(self._key(segment), (0, ""))
                if etag and segment not in self._stored:
                    self._foreign[segment] = etag
                    if size == self._spool.end_of(segment) - segment.first_byte:
                        self._stored[segment] = (size, etag)

    async def settle(self) -> None:
        """Return when nothing is under way any more that a cancelled call has begun: what is deleted then stays so."""
        if self._under_way is not None:
            await asyncio.wait({self._under_way})

    async def _blocking(self, work: Callable[[], _T]) -> _T:
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        self._under_way = future
        return await asyncio.shield(future)

    def _due(self, written: float) -> float:
        """Seconds until the next copy should be made; 0: now."""
        if len(self._spool.segments) - 1 > self._sealed:
            return 0.0
        now = self._monotonic()
        segment = self._spool.segments[-1]
        grown = self._spool.size - segment.first_byte
        stored = self._stored.get(segment, (0, ""))[0]
        if grown == stored:
            return 0.0
        pause = SETTLE_SECONDS if grown >= GROWTH * stored else OPEN_SECONDS
        return max(0.0, written + pause - now)

    def _put(self, segment: Segment, end: int) -> None:
        data = self._spool.read(segment.first_byte, end)
        key = self._key(segment)
        last = self._stored[segment][1] if segment in self._stored else self._foreign.get(segment, "")
        for _ in range(_TRIES):
            try:
                etag = self._store.put(
                    key, data, if_match=last or None, if_none_match=not last, content_type="text/plain"
                )
            except Conflict:
                # our own earlier write, whose answer was lost: nobody else writes under this attempt's number
                try:
                    last = self._store.stat(key).etag
                except NotFound:
                    last = ""
                continue
            self._stored[segment] = (len(data), etag)
            self._foreign.pop(segment, None)
            return
        raise StoreUnreachable(
            f"{key}: somebody else writes it", hint="is a second agent running for this attempt?"
        )

    def _listing(self) -> dict[str, tuple[int, str]]:
        if not self._spool.size:
            return {}
        return {found.key: (found.size, found.etag) for found in self._store.walk(self._prefix)}

    def _differing(self) -> list[Segment]:
        """Segments that the store does not have as they are here; those an earlier agent wrote are read back."""
        known = self._listing()
        wrong = []
        for segment in self._spool.segments:
            end = self._spool.end_of(segment)
            size = end - segment.first_byte
            if not size:
                continue
            stored = self._stored.get(segment)
            etag = known.get(self._key(segment), (0, ""))[1]
            if stored is None or stored[0] != size or stored[1] != etag:
                wrong.append(segment)
            elif segment in self._foreign:
                if self._store.get(self._key(segment)).data == self._spool.read(segment.first_byte, end):
                    del self._foreign[segment]
                else:
                    wrong.append(segment)
        return wrong


def log_copy_keys(project: str, run: int, attempt: int) -> tuple[str, Callable[[Segment], str]]:
    """Prefix and keys of an attempt's log."""
    return layout.logs(project, run, attempt), lambda segment: layout.log_segment(
        project, run, attempt, first_byte=segment.first_byte, first_line=segment.first_line
    )


def event_copy_keys(project: str, run: int, attempt: int) -> tuple[str, Callable[[Segment], str]]:
    """Prefix and keys of an attempt's events."""
    return layout.events(project, run, attempt), lambda segment: layout.event_segment(
        project, run, attempt, first_byte=segment.first_byte, first_line=segment.first_line
    )
