"""An attempt's output on its way: container -> spool on disk -> live batches and segments in the store (design 7).

The spool is the truth on the node; the broker and the store get copies, each at its own pace, and neither
can slow the stage. Whoever resumes reads the engine's output from its first byte and skips what the spool
has, by count and per stream, so that each byte stands once in the archive (invariant I6).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from node_agent.runtime.port import OutputChunk, RuntimeFailure
from node_agent.spool import SegmentCopy, Spool, event_copy_keys, log_copy_keys
from winslow import logs
from winslow.logs import Record, RecordParser, RunEvent, Scan, Skip, Stream
from winslow.project import MAX_RESULT_BYTES, MAX_RESULTS
from winslow.store.port import ObjectStore

BATCH_BYTES = 64 << 10
BATCH_SECONDS = 0.05
FULL_DISK_SECONDS = 1.0
_WAITING_BYTES = 4 << 20  # with this much unwritten (the disk is full) the engine keeps the rest
_YIELD = 200  # chunks between two looks at other work
_STREAMS: tuple[Stream, ...] = ("stdout", "stderr")
_CUT_ROOM = 256  # bytes kept free below the cap for the mark


class LogShipper:
    """One attempt's log and events, for one life of an agent; `async with` it.

    `directory` holds the spools. `publish(offset, bytes)` gets live batches, each of whole records; it must
    not block and may drop. `told` is called, at most once per batch, after `percent` or `results` changed, `grew`
    when the log on disk has more bytes: so many in all.
    `now` is RFC 3339 UTC, for people; `limit` the cap in bytes of the archive."""

    def __init__(
        self,
        *,
        project: str,
        run: int,
        attempt: int,
        directory: Path,
        store: ObjectStore,
        executor: Executor,
        publish: Callable[[int, bytes], None],
        now: Callable[[], str],
        monotonic: Callable[[], float],
        limit: int = 1 << 30,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._publish = publish
        self._now = now
        self._limit = limit
        self._told = told
        self.grew: Callable[[int], None] = lambda _: None
        self._executor = executor
        self._scan = Scan(max_results=MAX_RESULTS, max_bytes=MAX_RESULT_BYTES)
        self._had: dict[Stream, int] = dict.fromkeys(_STREAMS, 0)
        self._digests = {stream: hashlib.sha256() for stream in _STREAMS}
        self._cut = False
        self._heard = 0
        self._news = False
        self._pending: list[tuple[bytes, bool]] = []
        self._pending_bytes = 0
        self._pending_events: list[tuple[bytes, bool]] = []
        self._flushed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._log = Spool(directory / "output.log")
        self._events = Spool(directory / "events.jsonl")
        prefix, key = log_copy_keys(project, run, attempt)
        self._log_copy = SegmentCopy(
            self._log, store=store, executor=executor, prefix=prefix, key=key, monotonic=monotonic
        )
        prefix, key = event_copy_keys(project, run, attempt)
        self._event_copy = SegmentCopy(
            self._events, store=store, executor=executor, prefix=prefix, key=key, monotonic=monotonic
        )
        self._copying: list[asyncio.Task[None]] = []

    @property
    def percent(self) -> float | None:
        """The stage's progress by its last `NN %`."""
        return self._scan.percent

    @property
    def results(self) -> dict[str, str]:
        """The stage's results so far."""
        return dict(self._scan.results)

    @property
    def path(self) -> Path:
        """The archive on disk."""
        return self._log.path

    @property
    def size(self) -> int:
        """Bytes of the archive on disk."""
        return self._log.size

    @property
    def heard(self) -> int | None:
        """Bytes that this object took from the engine; None while a full disk holds the rest back, and past the
        cap, after which a runtime may drop output."""
        return None if self._cut or self._pending_bytes >= BATCH_BYTES else self._heard

    async def __aenter__(self) -> LogShipper:
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._recover)
        except BaseException:
            self._close()
            raise
        self._copying = [
            asyncio.create_task(self._keep(copy), name=f"segments of {spool.path.name}")
            for copy, spool in ((self._log_copy, self._log), (self._event_copy, self._events))
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what a full disk does not take is read again from the engine
            self._flush()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._copying:
            task.cancel()
        await asyncio.gather(*self._copying, return_exceptions=True)
        if kind is None:  # an agent that stops does not wait for the store: its threads end with it
            await self._log_copy.settle()
            await self._event_copy.settle()
        self._close()

    def event(self, kind: str, text: str, data: dict[str, Any] | None = None) -> None:
        """Add one of our own events (`kind` as `RunEvent.event`). On a full disk it waits in memory."""
        event = RunEvent(time=logs.exact_time(self._now()), event=kind, text=text, data=data or {})
        self._pending_events.append((logs.encode_event(event), True))
        self._flush_or_wait()

    async def ship(self, output: AsyncIterator[OutputChunk]) -> None:
        """Take a container's output, from its first byte, to its end. Ends when all is on the node's disk.
        It can be called again with the output from its first byte, after a failure or a restart."""
        skip = Skip(self._had)
        again = {stream: hashlib.sha256() for stream in _STREAMS}
        count = 0
        async for chunk in output:
            count += 1
            if not chunk.data and not chunk.complete:
                continue  # no bytes: after a restart nobody could tell whether it is archived already
            before = skip.left.get(chunk.stream, 0)
            rest = skip.rest(chunk.stream, chunk.data, chunk.complete)
            if before:
                again[chunk.stream].update((chunk.data + b"\n" * chunk.complete)[:before])
                if (
                    not skip.left[chunk.stream]
                    and again[chunk.stream].digest() != self._digests[chunk.stream].digest()
                ):
                    self._gap(chunk)
            if rest is not None:
                self._take(Record(time=chunk.time, stream=chunk.stream, complete=chunk.complete, data=rest))
            if count % _YIELD == 0:
                await asyncio.sleep(0)
            if self._pending_bytes >= _WAITING_BYTES:
                await self._written()
        await self._written()
        self._tell()
        if self._scan.refused:
            self.event(
                "results_refused",
                f"{self._scan.refused} results were not kept: at most {MAX_RESULTS} keys of up to 128 characters,"
                f" with values of up to {MAX_RESULT_BYTES} bytes",
            )

    async def finish(self) -> None:
        """Return when log and events are in the store, whole and looked at. Raises StoreUnreachable and the
        store's other errors, and RuntimeFailure on a full disk; it can be called again."""
        try:
            self._flush()
        except OSError as error:
            raise RuntimeFailure(
                f"{self._log.path.parent}: {error.strerror}",
                kind="disk_full",
                hint="free space there",
                retryable=True,
            ) from error
        await self._log_copy.verify_all()
        await self._event_copy.verify_all()

    # --- inside ---------------------------------------------------------------------------------

    def _close(self) -> None:
        self._log.close()
        self._events.close()

    def _recover(self) -> None:
        parser = RecordParser()

        def take(line: bytes) -> bool:
            (record,) = parser.feed(line)
            self._cut = self._cut or record.mark == "cut"
            self._remember(record)
            self._scan.feed(record)
            return record.complete

        self._log.recover(take)
        self._events.recover(lambda _: True)
        self._scan.refused = 0

    async def _keep(self, copy: SegmentCopy) -> None:
        await copy.adopt()
        copy.grew()
        await copy.run()

    def _gap(self, chunk: OutputChunk) -> None:
        text = "the engine's output has changed since the agent's restart: bytes may be missing here"
        self._add(Record(time=chunk.time, stream=chunk.stream, complete=True, data=text.encode(), mark="gap"))

    def _take(self, record: Record) -> None:
        self._heard += len(record.written)
        self._news = self._scan.feed(record) or self._news
        if self._cut:
            self._later(BATCH_SECONDS)  # progress goes on being told
            return
        if self._log.size + self._pending_bytes + len(record.data) + _CUT_ROOM > self._limit:
            self._cut = True
            text = f"the log reached its cap of {self._limit} bytes; the rest was read and dropped"
            self.event("log_cut", text)
            record = Record(
                time=record.time, stream=record.stream, complete=True, data=text.encode(), mark="cut"
            )
        self._add(record)

    def _remember(self, record: Record) -> None:
        self._had[record.stream] += len(record.written)
        self._digests[record.stream].update(record.written)

    def _add(self, record: Record) -> None:
        encoded = logs.encode(record)
        self._remember(record)
        self._pending.append((encoded, record.complete))
        self._pending_bytes += len(encoded)
        if self._pending_bytes >= BATCH_BYTES:
            self._flush_or_wait()
        else:
            self._later(BATCH_SECONDS)

    def _later(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._flush_or_wait()
        self._tell()

    def _flush_or_wait(self) -> None:
        try:
            self._flush()
        except OSError:  # the disk is full: all waits here and at the engine until it is not
            self._later(FULL_DISK_SECONDS)

    async def _written(self) -> None:
        """Return when nothing waits for the disk."""
        self._flush_or_wait()
        if self._pending:
            self._flushed.clear()
            await self._flushed.wait()

    def _flush(self) -> None:
        if self._pending_events:
            self._events.append(self._pending_events)
            self._pending_events = []
            self._event_copy.grew()
        if not self._pending:
            return
        offset = self._log.size
        self._log.append(self._pending)
        data = b"".join(encoded for encoded, _ in self._pending)
        self._pending, self._pending_bytes = [], 0
        self._flushed.set()
        self._log_copy.grew()
        self.grew(self._log.size)
        for start in _batches(data):
            self._publish(offset + start[0], data[start[0] : start[1]])

    def _tell(self) -> None:
        if self._news:
            self._news = False
            self._told()


def _batches(data: bytes) -> list[tuple[int, int]]:
    """(start, end) of pieces of whole records, of about 64 KiB where records allow."""
    cuts, start = [], 0
    while len(data) - start > BATCH_BYTES:
        end = data.rfind(b"\n", start, start + BATCH_BYTES) + 1
        end = end or data.index(b"\n", start + BATCH_BYTES) + 1
        cuts.append((start, end))
        start = end
    return [*cuts, (start, len(data))] if start < len(data) else cuts
