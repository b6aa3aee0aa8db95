"""What a node sets aside and what its cache holds, as its presence tells both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from node_agent.cache import Cache, Source
from node_agent.fill import Fill
from node_agent.reservations import Reservations
from winslow.node import ActiveRun, FreeResources, Gpu, Hardware, NodeState, Presence
from winslow.pipeline import GpuRequirement, Requirements
from winslow.store.memory import MemoryStore
from winslow_tui.program import noderows

GIB = 1 << 30
HARDWARE = Hardware(cpus=8, memory=32 * GIB, gpus=tuple(Gpu(uuid=f"GPU-{place}") for place in "abc"))


def state(reservations: Reservations, *runs: ActiveRun) -> NodeState:
    return NodeState(
        node="ws1",
        node_uuid="u",
        instance="i",
        presence=Presence.ONLINE,
        hardware=HARDWARE,
        free=reservations.free(),
        runs=runs,
        reserved=reservations.all(),
    )


def test_what_is_told_as_reserved_is_what_is_missing_of_the_whole() -> None:
    reservations = Reservations(HARDWARE)
    needs = Requirements(cpus=3, memory=4 * GIB, gpus=GpuRequirement(count=2))
    assert reservations.reserve(("ulm", 2, 1), needs, state(reservations))
    assert reservations.reserve(("a8", 1, 1), Requirements(cpus=1, memory=GIB), state(reservations))
    told = reservations.all()
    assert [each.key for each in told] == [("a8", 1, 1), ("ulm", 2, 1)]
    assert reservations.free() == FreeResources(
        cpus=HARDWARE.cpus - sum(each.cpus for each in told),
        memory=HARDWARE.memory - sum(each.memory for each in told),
        gpus=tuple(gpu.uuid for gpu in HARDWARE.gpus if not any(gpu.uuid in each.gpus for each in told)),
    )
    reservations.release(("ulm", 2, 1))
    assert [each.key for each in reservations.all()] == [("a8", 1, 1)]


def test_a_run_stands_with_what_is_set_aside_for_it_and_a_claim_behind() -> None:
    reservations = Reservations(HARDWARE)
    reservations.restore(("ulm", 2, 1), Requirements(cpus=3, memory=4 * GIB), gpus=("GPU-b", "GPU-c"))
    reservations.restore(("a8", 1, 1), Requirements(cpus=1, memory=GIB), gpus=())
    running = ActiveRun(project="ulm", run=2, attempt=1, stage="track", phase="run")
    spent = ActiveRun(project="b10", run=1, attempt=1, stage="clean", phase="held")
    shown = [text for name, text in noderows.facts(state(reservations, spent, running)) if name == "runs"]
    assert shown == [
        "b10#1 clean · held",
        "ulm#2 track · running · 3 cores · 4 GiB · gpu 1, 2",
        "a8#1 · claim · 1 core · 1 GiB",
    ]


def test_a_state_of_an_older_agent_says_nothing_of_cache_and_reservations() -> None:
    old = state(Reservations(HARDWARE)).model_dump(exclude={"reserved", "cached"})
    known = NodeState.model_validate(old)
    assert (known.reserved, known.cached) == ((), None)
    assert not {"cache", "runs"} & {name for name, _ in noderows.facts(known)}


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60.0):
        while not true():  # noqa: ASYNC110 - a thread answers, which tells nobody
            await asyncio.sleep(0.002)


async def test_the_cache_is_looked_at_when_attempts_come_and_go(
    tmp_path: Path, executor: ThreadPoolExecutor
) -> None:
    cache = Cache(tmp_path / "cache", store=MemoryStore(), limit=GIB)
    told: list[int | None] = []
    said: list[str] = []
    fill = Fill(
        cache=cache,
        executor=executor,
        busy=lambda: False,
        changed=lambda: told.append(fill.bytes),
        say=said.append,
    )
    working = asyncio.create_task(fill.run())
    try:
        await until(lambda: told == [0])
        (tmp_path / "video").write_bytes(b"12345")
        assert cache.adopt(Source(key="video", size=5, etag="e"), tmp_path / "video")
        fill.wake()
        await until(lambda: told == [0, 5])
        looked = len(said)
        fill.wake()
        await until(lambda: len(said) > looked)
        assert told == [0, 5]  # nothing is told again
        assert not any(said)

        cache.close()
        fill.wake()
        await until(lambda: told == [0, 5, None])
        assert said[-1].startswith("the cache's index cannot be read: ")
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
