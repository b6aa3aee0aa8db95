"""What listings heal on the broker, and when nothing may be touched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from broker.codec import Payload
from broker.messages import ProjectSummary
from broker.topics import NodeHistory, NodeState, NodeWish, Offer, ProjectState, Topic
from node_agent.entropy import Entropy, sweepers
from node_agent.mirror import Document, Mirror
from node_agent.wishes import WishMirror
from tests.faults.counter import PIPELINE
from winslow import lifecycle
from winslow.errors import Refused
from winslow.events import Deleted, RunQueued
from winslow.node import Hardware, Presence
from winslow.node import NodeState as State
from winslow.node_wish import DrainWished, Forgotten, Labelled, Returned
from winslow.node_wish import NodeWish as Wish
from winslow.store import layout
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore
from winslow.store.wishes import Wishes


class Bench:
    """A mirror over a store in memory, and what was published."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.store = MemoryStore()
        self.documents = Documents(self.store)
        self.pool = pool
        self.told: list[tuple[Topic, bool]] = []
        self.mirror = Mirror(documents=self.documents, executor=pool, on_change=self.changed)
        self.wishes = Wishes(self.store)
        self.wish_mirror = WishMirror(
            node="me", wishes=self.wishes, executor=pool, on_change=self.wish_changed
        )
        self.nodes: dict[str, State] = {}
        self.entropy = Entropy(
            mirror=self.mirror,
            wishes=self.wish_mirror,
            nodes=lambda: self.nodes,
            publish=self.publish,
            wall=lambda: "",
            new_id=lambda: "0123456789abcdef",
        )

    def changed(self, project_id: str, old: Document | None, new: Document | None, *, own: bool) -> None:
        """Nobody else listens."""

    def wish_changed(self, node: str, old: Wish | None, new: Wish | None, *, own: bool) -> None:
        """Nobody else listens."""

    def publish(self, topic: Topic, payload: Payload | None) -> None:
        self.told.append((topic, payload is not None))

    def saw(self, project_id: str, revision: int, *, reason: str = "no node is known") -> None:
        summary = ProjectSummary(id=project_id, revision=revision, name="P", state="waiting", reason=reason)
        self.entropy.saw_state(project_id, summary)

    def project(self, project_id: str) -> None:
        self.documents.create(
            lifecycle.create(
                id=project_id, event_id=f"made-{project_id}", name="P", pipeline=PIPELINE, source_revision=1
            )
        )

    def heal(self) -> list[tuple[Topic, bool]]:
        async def run() -> None:
            listing = await self.mirror.sweep()
            await self.wish_mirror.compare(listing.nodes)
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
    bench.saw("p-a", 2)
    bench.entropy.saw_offer(offer, present=True)
    assert bench.heal() == []
    bench.entropy.forget()
    assert len(bench.heal()) == 2


def test_an_offer_that_no_longer_stands_is_cleared(bench: Bench) -> None:
    bench.project("p-a")
    bench.saw("p-a", 1)
    stale = Offer(project="p-a", run=7, attempt=1)
    bench.entropy.saw_offer(stale, present=True)
    assert bench.heal() == [(stale, False)]


def test_topics_of_a_deleted_project_are_cleared(bench: Bench) -> None:
    bench.project("p-a")
    bench.saw("p-a", 1)
    bench.documents.update("p-a", Deleted(id="d"), apply=lifecycle.apply)
    assert (ProjectState(project="p-a"), False) in bench.heal()


def test_topics_of_a_project_that_a_read_does_not_find_are_cleared(bench: Bench) -> None:
    bench.saw("p-gone", 3)
    assert bench.heal() == [(ProjectState(project="p-gone"), False)]


@pytest.mark.parametrize("wreck", ["emptied", "exchanged"])
def test_nothing_is_cleared_while_the_store_is_not_ours(bench: Bench, wreck: str) -> None:
    bench.project("p-a")
    bench.heal()
    bench.saw("p-gone", 1)
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


def test_a_wish_that_the_broker_lacks_is_published_and_one_that_never_was_is_cleared(bench: Bench) -> None:
    bench.wishes.update("ws3", DrainWished(id="d"))
    assert bench.heal() == [(NodeWish(node="ws3"), True)]
    bench.entropy.saw_wish("ws3", 1)
    bench.entropy.saw_wish("ws9", 4)
    assert bench.heal() == [(NodeWish(node="ws9"), False)]
    bench.entropy.saw_wish("ws9", None)
    bench.wishes.update("ws3", Labelled(id="l", add=("quiet",)))
    assert bench.heal() == [(NodeWish(node="ws3"), True)]


def test_what_a_forgotten_node_left_on_the_broker_is_cleared_but_not_while_it_is_there(bench: Bench) -> None:
    everything = [
        (topic, False) for topic in (NodeState(node="ws3"), NodeHistory(node="ws3"), NodeWish(node="ws3"))
    ]
    away = State(node="ws3", node_uuid="u", instance="i", presence=Presence.OFFLINE)
    bench.wishes.update("ws3", Forgotten(id="f"))
    assert bench.heal() == []
    bench.nodes["ws3"] = away
    assert bench.heal() == everything
    bench.nodes["ws3"] = away.model_copy(update={"presence": Presence.ONLINE})
    assert bench.heal() == []
    bench.wishes.update("ws3", Returned(id="r"))
    bench.nodes["ws3"] = away
    assert bench.heal() == [(NodeWish(node="ws3"), True)]


def test_a_node_that_was_forgotten_says_once_that_it_is_back(bench: Bench) -> None:
    bench.wishes.update("me", Labelled(id="l", add=("quiet",)))
    bench.wishes.update("me", Forgotten(id="f"))

    async def start() -> None:
        for number in range(2):
            await bench.wish_mirror.read_own()
            await bench.wish_mirror.come_back(event_id=f"r{number}", at="")

    asyncio.run(start())
    wish = bench.wishes.read("me").document
    ids = [record.id for record in wish.recent_events]
    assert (wish.forgotten, wish.labels, ids) == (False, (), ["l", "f", "r0"])
    assert bench.wish_mirror.own == wish


def test_a_wish_that_cannot_be_read_is_a_problem_and_no_end(bench: Bench) -> None:
    bench.store.put("documents/nodes/me.json", b"{")
    asyncio.run(bench.wish_mirror.read_own())
    assert bench.wish_mirror.own is None
    assert "documents/nodes/me.json" in bench.wish_mirror.problem


def test_what_a_run_waits_for_is_told_anew_when_the_nodes_are_others(bench: Bench) -> None:
    bench.project("p-a")
    bench.documents.update("p-a", RunQueued(id="q"), apply=lifecycle.apply)
    bench.heal()
    bench.entropy.saw_offer(Offer(project="p-a", run=1, attempt=1), present=True)
    bench.saw("p-a", 2)
    assert bench.heal() == []
    bench.nodes["ws1"] = State(
        node="ws1",
        node_uuid="u",
        instance="i",
        presence=Presence.ONLINE,
        hardware=Hardware(cpus=8, memory=8 << 30),
    )
    assert bench.heal() == [(ProjectState(project="p-a"), True)]
    bench.saw("p-a", 2, reason="")
    assert bench.heal() == []
