"""What listings heal on the broker, and when nothing may be touched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from broker.codec import Payload
from broker.topics import Offer, ProjectState, Topic
from node_agent.entropy import Entropy, sweepers
from node_agent.mirror import Document, Mirror
from tests.faults.counter import PIPELINE
from winslow import lifecycle
from winslow.errors import Refused
from winslow.events import Deleted, RunQueued
from winslow.store import layout
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore


class Bench:
    """A mirror over a store in memory, and what was published."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.store = MemoryStore()
        self.documents = Documents(self.store)
        self.pool = pool
        self.told: list[tuple[Topic, bool]] = []
        self.mirror = Mirror(documents=self.documents, executor=pool, on_change=self.changed)
        self.entropy = Entropy(
            mirror=self.mirror, publish=self.publish, wall=lambda: "", new_id=lambda: "0123456789abcdef"
        )

    def changed(self, project_id: str, old: Document | None, new: Document | None, *, own: bool) -> None:
        """Nobody else listens."""

    def publish(self, topic: Topic, payload: Payload | None) -> None:
        self.told.append((topic, payload is not None))

    def project(self, project_id: str) -> None:
        self.documents.create(
            lifecycle.create(
                id=project_id, event_id=f"made-{project_id}", name="P", pipeline=PIPELINE, source_revision=1
            )
        )

    def heal(self) -> list[tuple[Topic, bool]]:
        async def run() -> None:
            await self.mirror.sweep()
            await self.entropy.heal(self.store, self.pool)

        self.told.clear()
        asyncio.run(run())
        return list(self.told)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ThreadPoolExecutor(2) as pool:
        yield Bench(pool)


def test_what_the_broker_lacks_is_published_and_what_it_has_is_not(bench: Bench) -> None:
    bench.project("p-a")
    bench.documents.update("p-a", RunQueued(id="q"), apply=lifecycle.apply)
    offer = Offer(project="p-a", run=1, attempt=1)
    assert bench.heal() == [(ProjectState(project="p-a"), True), (offer, True)]
    bench.entropy.saw_state("p-a", 2)
    bench.entropy.saw_offer(offer, present=True)
    assert bench.heal() == []
    bench.entropy.forget()
    assert len(bench.heal()) == 2


def test_an_offer_that_no_longer_stands_is_cleared(bench: Bench) -> None:
    bench.project("p-a")
    bench.entropy.saw_state("p-a", 1)
    stale = Offer(project="p-a", run=7, attempt=1)
    bench.entropy.saw_offer(stale, present=True)
    assert bench.heal() == [(stale, False)]


def test_a_deletion_is_finished_and_touches_no_other_project(bench: Bench) -> None:
    for each in ("p-a", "p-ab"):
        bench.project(each)
        bench.store.put(f"projects/{each}/input/x", b"x")
    bench.entropy.saw_state("p-a", 1)
    bench.documents.update("p-a", Deleted(id="d"), apply=lifecycle.apply)
    assert (ProjectState(project="p-a"), False) in bench.heal()
    assert [info.key for info in bench.store.walk("projects/")] == ["projects/p-ab/input/x"]


def test_topics_of_a_project_that_a_read_does_not_find_are_cleared(bench: Bench) -> None:
    bench.entropy.saw_state("p-gone", 3)
    assert bench.heal() == [(ProjectState(project="p-gone"), False)]


@pytest.mark.parametrize("wreck", ["emptied", "exchanged"])
def test_nothing_is_cleared_while_the_store_is_not_ours(bench: Bench, wreck: str) -> None:
    bench.project("p-a")
    bench.heal()
    bench.entropy.saw_state("p-gone", 1)
    bench.store.delete(layout.SITE)
    if wreck == "exchanged":
        bench.store.put(layout.SITE, b'{"schema": 1, "id": "fedcba9876543210"}')
    with pytest.raises(Refused, match=r"nothing on the broker is cleared"):
        bench.heal()
    assert bench.told == []


def test_three_nodes_sweep_often_whoever_asks() -> None:
    nodes = [f"ws{number}" for number in range(20)]
    assert sweepers(nodes) == sweepers(list(reversed(nodes)))
    assert len(sweepers(nodes)) == 3
