"""The past of each core: what is kept of it, how small it is, and how it is drawn."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from broker import codec, topics
from broker.codec import Payload
from node_agent.hardware import Sampler
from node_agent.sampling import sampling
from tests import screens
from winslow.core_past import CorePast
from winslow.metrics import CORE_POINTS, MOST_CORES, HistoryPoint, NodeHistory, NodeSample, thin
from winslow_tui.program import noderows

TOPIC = topics.NodeHistory(node="ws1")


def test_each_core_has_one_mean_for_ten_seconds() -> None:
    past = CorePast()
    assert past.told() == ()
    for at, cpus in [(0.0, (10.0, 0.0)), (4.0, (20.0, 0.0)), (9.9, (33.0, 1.0)), (10.0, (100.0, 50.0))]:
        past.add(at, cpus)
    assert past.told() == ((21, 100), (0, 50))
    past.add(12.0, (0.0, 50.0))
    assert past.told() == ((21, 50), (0, 50))


def test_ten_minutes_are_kept_and_of_many_cores_the_first() -> None:
    past = CorePast()
    for at in range(0, 3600, 2):
        past.add(float(at), [float(core % 101) for core in range(100)])
    told = past.told()
    assert len(told) == MOST_CORES
    assert {len(levels) for levels in told} == {CORE_POINTS}
    assert [levels[0] for levels in told] == list(range(MOST_CORES))


def test_another_number_of_cores_begins_anew() -> None:
    past = CorePast()
    past.add(0.0, (1.0, 2.0))
    past.add(30.0, (3.0, 4.0, 5.0))
    assert past.told() == ((3,), (4,), (5,))


def test_the_past_of_the_most_cores_adds_four_kib_to_a_message() -> None:
    points = [HistoryPoint(at=2.0 * place, cpu=33.3, memory=2**40) for place in range(300)]
    past = CorePast()
    for place in range(300):
        past.add(2.0 * place, [99.9] * MOST_CORES)
    without = NodeHistory(points=thin(points))
    history = without.model_copy(update={"cores": past.told()})
    sent = codec.encode(TOPIC, history).data
    assert codec.decode(TOPIC, sent) == history
    assert len(sent) - len(codec.encode(TOPIC, without).data) <= 4 << 10


async def test_an_agent_tells_the_past_of_this_machines_cores(tmp_path: Path) -> None:
    told: dict[type[Payload], Payload] = {}
    both = asyncio.Event()

    def publish(_topic: topics.Topic, payload: Payload | None) -> None:
        assert payload is not None
        told[type(payload)] = payload
        if len(told) == 2:
            both.set()

    with ThreadPoolExecutor(1) as executor:
        working = asyncio.create_task(
            sampling(
                node="ws1",
                sampler=Sampler(tmp_path, clock=time.monotonic),
                publish=publish,
                executor=executor,
                monotonic=time.monotonic,
            )
        )
        async with asyncio.timeout(60.0):
            await both.wait()
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
    sample, history = told[NodeSample], told[NodeHistory]
    assert isinstance(sample, NodeSample) and isinstance(history, NodeHistory)
    assert history.cores == tuple((round(cpu),) for cpu in sample.cpus[:MOST_CORES])
    assert history.cores


def test_a_history_of_an_older_agent_has_no_cores() -> None:
    history = NodeHistory.model_validate({"points": [{"at": 1.0}]})
    assert history.cores == ()
    assert noderows.core_curves(history, 74) == []


@pytest.mark.parametrize(("width", "columns"), [(5, 1), (44, 2), (74, 3), (134, 4), (1000, 16)])
def test_cores_stand_in_as_many_columns_as_there_is_room_for(width: int, columns: int) -> None:
    lines = noderows.core_curves(screens.history(), width)
    assert max(len(line) for line in lines) == columns
    assert sorted(int(name) for line in lines for name, _, _ in line) == list(range(16))
    assert [int(line[0][0]) for line in lines] == list(range(len(lines)))  # numbered downwards
    wide = [len("  ".join(name + drawn + words for name, drawn, words in line)) for line in lines]
    assert max(wide) <= max(width, 21)
