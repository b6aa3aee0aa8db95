"""Output on its way from container to disk, viewers and store, with everything going wrong that can."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from node_agent import logship, spool
from node_agent.logship import LogShipper
from node_agent.runtime.port import OutputChunk, RuntimeFailure
from node_agent.spool import Spool
from winslow import logs
from winslow.errors import InvalidInput
from winslow.logs import Segment, Stream
from winslow.store import layout
from winslow.store.memory import MemoryStore
from winslow.store.port import Conflict, StoreUnreachable

DEADLINE = 60.0
NOW = "2026-03-01T10:00:00.000Z"
_time = itertools.count(1_772_359_200_000_000_000)


def chunk(data: bytes, *, stream: Stream = "stdout", complete: bool = True) -> OutputChunk:
    return OutputChunk(stream=stream, data=data, complete=complete, time=logs.stamp(next(_time)))


def lines(count: int, *, size: int = 8) -> list[OutputChunk]:
    return [chunk(b"%d " % number + b"x" * size) for number in range(count)]


async def given(chunks: list[OutputChunk]) -> AsyncIterator[OutputChunk]:
    for each in chunks:
        yield each


class Store(MemoryStore):
    """A store that can be slow, away, or lose its answers."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.lose_answers = 0
        self.gate = threading.Event()
        self.gate.set()
        self.at_gate = threading.Event()
        self.puts: list[str] = []

    def put(self, key: str, data: bytes, **how: object) -> str:
        self.at_gate.set()
        assert self.gate.wait(DEADLINE)
        if self.away:
            raise StoreUnreachable("away")
        self.puts.append(key)
        etag = super().put(key, data, **how)  # type: ignore[arg-type]
        if self.lose_answers:
            self.lose_answers -= 1
            raise StoreUnreachable("no answer")
        return etag

    def archive(self, prefix: str) -> bytes:
        joined = b""
        for info in self.walk(prefix):
            start = layout.segment_start(info.key)
            assert start is not None
            assert start == (len(joined), joined.count(b" F ") + joined.count(b" F:"))
            joined += self.get(info.key).data
        return joined


@dataclass
class Bench:
    """One attempt whose agent may start over again and again."""

    directory: Path
    executor: ThreadPoolExecutor
    store: Store = field(default_factory=Store)
    live: list[tuple[int, bytes]] = field(default_factory=list)
    told: int = 0

    def shipper(self, **changes: int) -> LogShipper:
        def tell() -> None:
            self.told += 1

        return LogShipper(
            project="demo",
            run=3,
            attempt=1,
            directory=self.directory,
            store=self.store,
            executor=self.executor,
            publish=lambda offset, data: self.live.append((offset, data)),
            now=lambda: NOW,
            monotonic=asyncio.get_running_loop().time,
            told=tell,
            **changes,
        )

    @property
    def spooled(self) -> bytes:
        return (self.directory / "output.log").read_bytes()

    @property
    def stored(self) -> bytes:
        return self.store.archive(layout.logs("demo", 3, 1))

    @property
    def events(self) -> list[logs.RunEvent]:
        joined = b"".join(
            self.store.get(info.key).data for info in self.store.walk(layout.events("demo", 3, 1))
        )
        return logs.EventParser().feed(joined)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():  # noqa: ASYNC110  # a condition of another thread, with a deadline
                await asyncio.sleep(0.005)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(spool, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(spool, "_BACKOFF", (0.01,))
    executor = ThreadPoolExecutor(4)
    yield Bench(directory=tmp_path / "log", executor=executor)
    executor.shutdown()


async def test_output_reaches_disk_viewers_and_store(bench: Bench) -> None:
    chunks = [
        chunk(b"out"),
        chunk(b"\xff err", stream="stderr"),
        chunk(b"", stream="stderr"),
        chunk(b"end", complete=False),
    ]
    async with bench.shipper() as shipper:
        await shipper.ship(given(chunks))
        await shipper.finish()
    assert logs.inverse(bench.stored, "stdout") == b"out\nend"
    assert logs.inverse(bench.stored, "stderr") == b"\xff err\n\n"
    assert bench.stored == bench.spooled
    joiner = logs.LogJoiner()
    assert b"".join(joiner.feed(offset, data) for offset, data in bench.live) == bench.spooled


async def test_live_batches_are_whole_records_of_about_64_kib(bench: Bench) -> None:
    async with bench.shipper() as shipper:
        await shipper.ship(given(lines(20_000, size=60)))
    assert len(bench.live) > 20
    assert max(len(data) for _, data in bench.live) < logship.BATCH_BYTES + 1000
    for offset, data in bench.live:
        assert logs.RecordParser(offset).feed(data)
        assert data.endswith(b"\n")


async def test_a_line_is_seen_soon_though_the_stage_goes_on(bench: Bench) -> None:
    hold = asyncio.Event()

    async def output() -> AsyncIterator[OutputChunk]:
        yield chunk(b"first")
        await hold.wait()
        yield chunk(b"second")

    async with bench.shipper() as shipper:
        shipping = asyncio.create_task(shipper.ship(output()))
        await bench.until(lambda: bool(bench.live))
        await bench.until(lambda: bench.stored != b"")  # and is in the store while the stage runs
        assert logs.inverse(bench.stored, "stdout") == b"first\n"
        hold.set()
        await shipping
        await shipper.finish()
    assert logs.inverse(bench.stored, "stdout") == b"first\nsecond\n"


async def test_segments_are_sealed_at_1_mib_and_cut_the_same_way_after_a_restart(bench: Bench) -> None:
    chunks = lines(30_000, size=100)
    async with bench.shipper() as shipper:
        await shipper.ship(given(chunks))
        await shipper.finish()
    keys = [info.key for info in bench.store.walk(layout.logs("demo", 3, 1))]
    assert len(keys) == 5
    assert all((1 << 20) <= bench.store.stat(key).size < (1 << 20) + 200 for key in keys[:-1])
    assert bench.stored == bench.spooled
    puts = len(bench.store.puts)
    async with bench.shipper() as again:
        await again.ship(given([*chunks, chunk(b"more")]))
        await again.finish()
    assert [info.key for info in bench.store.walk(layout.logs("demo", 3, 1))] == keys
    assert bench.stored == bench.spooled
    assert set(bench.store.puts[puts:]) == {keys[-1]}  # sealed segments are not sent again
    assert logs.inverse(bench.spooled, "stdout").endswith(b"\nmore\n")


@pytest.mark.parametrize("torn", [0, 1, 30, 45, 200, 1000])
async def test_an_agent_that_died_goes_on_where_its_spool_ends(bench: Bench, torn: int) -> None:
    chunks = [chunk(b"line %d" % number, stream=("stdout", "stderr")[number % 2]) for number in range(40)]
    async with bench.shipper() as shipper:
        await shipper.ship(given(chunks[:25]))
    os.truncate(bench.directory / "output.log", len(bench.spooled) - torn)
    async with bench.shipper() as shipper:
        await shipper.ship(given(chunks))
        await shipper.finish()
    for number, stream in enumerate(("stdout", "stderr")):
        expected = b"".join(b"line %d\n" % each for each in range(number, 40, 2))
        assert logs.inverse(bench.stored, stream) == expected  # type: ignore[arg-type]
    assert b":gap" not in bench.stored


async def test_an_engine_that_went_away_in_the_middle_is_read_again(bench: Bench) -> None:
    chunks = lines(1000)

    async def broken() -> AsyncIterator[OutputChunk]:
        for each in chunks[:700]:
            yield each
        raise RuntimeFailure("the engine does not answer", retryable=True)

    async with bench.shipper() as shipper:
        with pytest.raises(RuntimeFailure):
            await shipper.ship(broken())
        await shipper.ship(given(chunks))
        await shipper.finish()
    assert logs.inverse(bench.stored, "stdout") == b"".join(each.data + b"\n" for each in chunks)
    assert b":gap" not in bench.stored


async def test_output_that_does_not_continue_the_spool_is_marked(bench: Bench) -> None:
    async with bench.shipper() as shipper:
        await shipper.ship(given([chunk(b"one"), chunk(b"two")]))
    async with bench.shipper() as shipper:  # the engine rotated its log: other bytes come first now
        await shipper.ship(given([chunk(b"six"), chunk(b"ten"), chunk(b"new")]))
    records = logs.parse(bench.spooled)
    assert [record.mark for record in records] == ["", "", "gap", ""]
    assert logs.inverse(bench.spooled, "stdout") == b"one\ntwo\nnew\n"


async def test_a_slow_store_does_not_hold_the_output(bench: Bench) -> None:
    bench.store.gate.clear()
    async with bench.shipper() as shipper:
        shipper.event("started", "started")
        async with asyncio.timeout(DEADLINE):
            await shipper.ship(given(lines(20_000)))
        assert len(logs.parse(bench.spooled)) == 20_000
        bench.store.gate.set()
        await shipper.finish()
    assert bench.stored == bench.spooled


async def _ship_up_to_the_gate(bench: Bench, *, left: asyncio.Event, for_ever: bool) -> None:
    async with bench.shipper() as shipper:
        await shipper.ship(given(lines(5)))
        await bench.until(bench.store.at_gate.is_set)
        left.set()
        if for_ever:
            await asyncio.Event().wait()


async def test_nothing_is_written_behind_a_deletion_that_follows(bench: Bench) -> None:
    bench.store.gate.clear()
    left = asyncio.Event()
    shipping = asyncio.create_task(_ship_up_to_the_gate(bench, left=left, for_ever=False))
    await left.wait()
    done, _ = await asyncio.wait({shipping}, timeout=0.05)
    assert not done, "a write is under way"
    bench.store.gate.set()
    await shipping
    before = len(bench.store.puts)
    bench.store.delete_prefix(layout.attempt("demo", 3, 1))
    bench.executor.shutdown()  # all its threads have ended
    assert (len(bench.store.puts), bench.stored) == (before, b"")


async def test_an_agent_that_stops_does_not_wait_for_a_slow_store(bench: Bench) -> None:
    bench.store.gate.clear()
    left = asyncio.Event()
    shipping = asyncio.create_task(_ship_up_to_the_gate(bench, left=left, for_ever=True))
    await left.wait()
    shipping.cancel()
    done, _ = await asyncio.wait({shipping}, timeout=DEADLINE / 2)
    bench.store.gate.set()
    assert done


async def test_a_store_that_is_away_is_named_and_later_gets_everything(bench: Bench) -> None:
    bench.store.away = True
    async with bench.shipper() as shipper:
        await shipper.ship(given(lines(100)))
        with pytest.raises(StoreUnreachable):
            await shipper.finish()
        bench.store.away = False
        await bench.until(lambda: bench.stored == bench.spooled)  # by itself
        await shipper.finish()


async def test_a_lost_answer_neither_doubles_nor_loses(bench: Bench) -> None:
    bench.store.lose_answers = 3
    async with bench.shipper() as shipper:
        await shipper.ship(given(lines(50)))
        for _ in range(4):
            try:
                await shipper.finish()
            except StoreUnreachable:
                continue
        await shipper.finish()
    assert bench.stored == bench.spooled


async def test_a_write_that_lands_late_hides_nothing(bench: Bench) -> None:
    async with bench.shipper() as shipper:
        chunks = lines(5)
        await shipper.ship(given(chunks))
        await shipper.finish()
        (info,) = bench.store.walk(layout.logs("demo", 3, 1))
        early = bench.stored
        await shipper.ship(given([*chunks, chunk(b"late")]))
        await shipper.finish()
    with pytest.raises(Conflict):  # what the network held back comes now
        bench.store.put(info.key, early, if_match=info.etag)
    with pytest.raises(Conflict):
        bench.store.put(info.key, early, if_none_match=True)
    assert bench.stored == bench.spooled


@pytest.mark.parametrize("damage", ["gone", "other bytes", "other bytes before the restart"])
async def test_what_the_store_lost_is_written_again_before_the_commit(bench: Bench, damage: str) -> None:
    chunks = lines(100)
    async with bench.shipper() as shipper:
        await shipper.ship(given(chunks))
        await shipper.finish()
        (info,) = bench.store.walk(layout.logs("demo", 3, 1))
        if damage == "gone":
            bench.store.delete(info.key)
        else:
            bench.store.put(info.key, b"?" * info.size)
        if damage != "other bytes before the restart":
            await shipper.finish()
    if damage == "other bytes before the restart":
        async with bench.shipper() as shipper:
            await shipper.ship(given(chunks))
            await shipper.finish()
    assert bench.stored == bench.spooled


async def test_a_store_that_keeps_nothing_is_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench.shipper() as shipper:
        await shipper.ship(given(lines(3)))
        monkeypatch.setattr(bench.store, "walk", lambda prefix: iter(()))
        with pytest.raises(StoreUnreachable, match="does not keep"):
            await shipper.finish()


async def test_the_cap_cuts_marks_and_drains(bench: Bench) -> None:
    chunks = [*lines(1000), chunk(b"99 %"), chunk(b"WINSLOW_RESULT: cars=12")]
    async with bench.shipper(limit=10_000) as shipper:
        await shipper.ship(given(chunks))
        await shipper.finish()
        assert shipper.results == {"cars": "12"}
        assert shipper.percent == 99.0
    assert 9_000 < len(bench.stored) <= 10_000
    *kept, last = logs.parse(bench.stored)
    assert last.mark == "cut"
    assert b"10000 bytes" in last.data
    written = b"".join(each.data + b"\n" for each in chunks)
    assert written.startswith(logs.inverse(bench.stored, "stdout"))
    assert len(kept) > 100
    assert [event.event for event in bench.events] == ["log_cut"]
    size = len(bench.spooled)
    async with bench.shipper(limit=10_000) as shipper:  # the next agent knows
        await shipper.ship(given(chunks))
        await shipper.finish()
        assert shipper.results == {"cars": "12"}
    assert len(bench.spooled) == size
    assert len(bench.events) == 1


async def test_progress_and_results_are_told_and_survive_a_restart(bench: Bench) -> None:
    chunks = [chunk(b"10 %"), chunk(b"WINSLOW_RESULT: speed=12.5 m/s"), chunk(b"20 %", stream="stderr")]
    async with bench.shipper() as shipper:
        await shipper.ship(given(chunks))
        assert (shipper.percent, shipper.results) == (20.0, {"speed": "12.5 m/s"})
        assert 1 <= bench.told <= 3
    async with bench.shipper() as shipper:
        assert (shipper.percent, shipper.results) == (20.0, {"speed": "12.5 m/s"})


async def test_results_beyond_the_limits_are_told_once(bench: Bench) -> None:
    async with bench.shipper() as shipper:
        await shipper.ship(given([chunk(b"WINSLOW_RESULT: k%d=v" % number) for number in range(120)]))
        await shipper.finish()
        assert len(shipper.results) == 100
    (event,) = bench.events
    assert (event.event, event.text.split()[0]) == ("results_refused", "20")


async def test_events_are_kept_in_order_over_restarts(bench: Bench) -> None:
    async with bench.shipper() as shipper:
        shipper.event("claimed", "claimed by ws1", {"bids": [1.5]})
        await bench.until(lambda: len(bench.events) == 1)  # soon, by itself
        shipper.event("pull", "pulling\nimage")
    with (bench.directory / "events.jsonl").open("ab") as file:
        file.write(b'{"time": "torn')
    async with bench.shipper() as shipper:
        shipper.event("started", "started")
        await shipper.finish()
    assert [event.event for event in bench.events] == ["claimed", "pull", "started"]
    assert bench.events[0].time == "2026-03-01T10:00:00.000000000Z"
    assert bench.events[0].data == {"bids": [1.5]}


async def test_a_full_disk_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logship, "FULL_DISK_SECONDS", 0.01)
    real, full = os.pwrite, threading.Event()
    full.set()
    refused = []

    def pwrite(file: int, data: bytes, offset: int) -> int:
        if full.is_set():
            refused.append(real(file, data[:10], offset))  # a part was written, then there was no room
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    chunks = lines(100_000, size=40)
    async with bench.shipper() as shipper:
        shipper.event("started", "on a full disk")
        shipping = asyncio.create_task(shipper.ship(given(chunks)))
        await bench.until(lambda: len(refused) > 5)
        assert bench.spooled == b""
        with pytest.raises(RuntimeFailure, match="No space left"):
            await shipper.finish()
        full.clear()
        await shipping
        await shipper.finish()
    assert logs.inverse(bench.spooled, "stdout") == b"".join(each.data + b"\n" for each in chunks)
    assert bench.stored == bench.spooled
    joiner = logs.LogJoiner()
    assert b"".join(joiner.feed(offset, data) for offset, data in bench.live) == bench.spooled
    assert [event.event for event in bench.events] == ["started"]


async def test_a_damaged_spool_is_named(bench: Bench) -> None:
    bench.directory.mkdir()
    (bench.directory / "output.log").write_bytes(b"not a record\n")
    with pytest.raises(InvalidInput, match="log byte 0"):
        await bench.shipper().__aenter__()


async def test_other_work_goes_on_beside_much_output(bench: Bench) -> None:
    """A stage that writes a lot must not keep the agent from its heartbeats."""
    beats = 0

    async def heart() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    beating = asyncio.create_task(heart())
    async with bench.shipper() as shipper:
        before = beats
        await shipper.ship(given(lines(30_000)))
        assert beats - before >= 100
    beating.cancel()


def test_a_spool_knows_its_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 10)
    first = Spool(tmp_path / "spool")
    first.append([(b"12345\n", True), (b"6789\n", False), (b"ab\n", True)])
    assert first.segments == [Segment(0, 0), Segment(11, 1)]
    assert (first.end_of(Segment(0, 0)), first.end_of(Segment(11, 1)), first.size, first.lines) == (
        11,
        14,
        14,
        2,
    )
    assert first.read(11, 14) == b"ab\n"
    first.close()
    with (tmp_path / "spool").open("ab") as file:
        file.write(b"torn")
    again = Spool(tmp_path / "spool")
    seen: list[bytes] = []

    def take(record: bytes) -> bool:
        seen.append(record)
        return record != b"6789\n"

    again.recover(take)
    assert seen == [b"12345\n", b"6789\n", b"ab\n"]
    assert (again.segments, again.size, again.lines) == (first.segments, 14, 2)
    assert (tmp_path / "spool").stat().st_size == 14
    again.close()
