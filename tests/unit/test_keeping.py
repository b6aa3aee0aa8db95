"""`node_agent.keeping` over a store in memory: who goes on with a lost attempt's container, and who gives way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from node_agent.clock import Clock
from node_agent.held import Held
from node_agent.journal import AttemptJournal, ClaimedNumber, Journals, Step
from node_agent.keeping import Keeping
from node_agent.mirror import Mirror
from node_agent.runtime.port import ContainerStatus, Labels
from node_agent.standing import Holding, Standing
from node_agent.tools import Tools
from node_agent.vault import Vault
from winslow import lifecycle
from winslow.errors import StoreUnreachable
from winslow.events import AbortRequested, Claimed, Deleted, Event, Lost, RunQueued
from winslow.pipeline import PipelineDefinition, Retry, StageDefinition
from winslow.project import Project
from winslow.store import layout
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore

PROJECT = "p-abcd"
new_id = Clock().new_id


class Engine:
    """Knows one container, until it is gone."""

    gone = False

    async def status(self, container: str) -> ContainerStatus | None:
        labels = Labels(site="s", node_uuid="u", project=PROJECT, run=1, attempt=1, claim="c")
        return None if self.gone else ContainerStatus(id=container, labels=labels, state="running")


class Node:
    """A node that has claimed an attempt, and its view of the document."""

    def __init__(self, name: str, folder: Path, store: MemoryStore, executor: ThreadPoolExecutor) -> None:
        self.name, self.store = name, store
        self.engine, self.rested = Engine(), 0
        self.journals = Journals(folder / name / "attempts")
        self.mirror = Mirror(documents=Documents(store), executor=executor, on_change=self._changed)
        self.tools = Tools(
            site="s",
            node=name,
            node_uuid=name,
            boot_id="b1",
            clock=Clock(),
            executor=executor,
            store=store,
            mirror=self.mirror,
            journals=self.journals,
            spools=folder / name / "spool",
            runtime=cast(Any, self.engine),
            placer=cast(Any, None),
            cache=cast(Any, None),
            sources=cast(Any, None),
            publish=lambda topic, payload: None,
            log_limit=1 << 20,
            images=("*",),
            allow_user=False,
            allow_host_network=False,
            vault=Vault(None, room=None),
            jitter=lambda: 0.0,
            gpus=tuple,
        )
        self.held: Held | None = None

    def _changed(self, project_id: str, old: object, new: Any, *, own: bool) -> None:
        if self.held is not None:
            self.held.document(new)

    def claimed(self, k: int) -> Event:
        return Claimed(id=new_id(), n=1, k=k, claim=f"{self.name}-{k}", node=self.name, node_uuid=self.name)

    def lost(self, k: int) -> Event:
        return Lost(id=new_id(), n=1, k=k, claim=f"{self.name}-{k}")

    def journal(self, k: int, step: Step = Step.STARTED) -> AttemptJournal:
        made = AttemptJournal(
            project=PROJECT,
            run=1,
            attempt=k,
            claim=f"{self.name}-{k}",
            step=step,
            node_uuid=self.name,
            boot_id="b1",
            container="c1",
        )
        self.journals.write(made)
        self.store.put(self.stored(k), b"the beginning of a log", content_type="text/plain")
        return made

    @staticmethod
    def stored(k: int) -> str:
        return layout.log_segment(PROJECT, 1, k, first_byte=0, first_line=0)

    def keep(self, journal: AttemptJournal) -> Keeping:
        self.held = Held(journal=journal, tools=self.tools, changed=lambda: None)
        return Keeping(self.held, rests=self._rests)

    def _rests(self) -> None:
        self.rested += 1


class Site:
    """A document with one run, and nodes."""

    def __init__(self, folder: Path, executor: ThreadPoolExecutor) -> None:
        self.store = MemoryStore()
        self.documents = Documents(self.store)
        self._folder, self._executor = folder, executor
        stage = StageDefinition(name="one", image="i", retry=Retry(max=9))
        self.documents.create(
            lifecycle.create(
                id=PROJECT,
                event_id="e0",
                name="P",
                pipeline=PipelineDefinition(name="p", stages=(stage,)),
                source_revision=1,
            )
        )
        self.tell(RunQueued(id=new_id()))

    def tell(self, *events: Event) -> None:
        for event in events:
            self.documents.update(PROJECT, event, apply=lifecycle.apply)

    def node(self, name: str = "ws1") -> Node:
        return Node(name, self._folder, self.store, self._executor)

    def claims(self) -> list[tuple[int, str, int | None]]:
        document = self.documents.read(PROJECT).document
        assert isinstance(document, Project)
        return [(each.k, each.node, each.adopted_from) for each in document.runs[0].attempts]

    def keys(self) -> set[str]:
        return {each.key for each in self.store.walk(layout.project(PROJECT))}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ThreadPoolExecutor(4) as executor:
        yield Site(tmp_path, executor)


async def resting(node: Node, keeping: Keeping) -> asyncio.Task[AttemptJournal | None]:
    """Its rest, once it has come to one."""
    assert keeping.holding is Holding.NO or not node.rested
    task = asyncio.create_task(keeping.rest())
    async with asyncio.timeout(60.0):
        while not node.rested:  # noqa: ASYNC110 - `rests` is called from within
            await asyncio.sleep(0.001)
    assert keeping.holding is Holding.YES
    return task


async def test_the_container_goes_on_under_the_next_number(site: Site) -> None:
    node = site.node()
    site.tell(node.claimed(1), node.lost(1))
    keeping = node.keep(node.journal(1))
    assert not await keeping.claim(2, ()), "nobody has looked at its container yet"
    rest = await resting(node, keeping)

    assert await keeping.claim(2, ())
    journal = await rest
    assert journal is not None
    assert (journal.attempt, journal.made_as) == (2, ClaimedNumber(attempt=1, claim="ws1-1"))
    assert node.journals.load().journals == (journal,)
    assert site.claims() == [(1, "ws1", None), (2, "ws1", 1)]
    assert site.keys() == set(), "what the lost number stored is gone"
    assert keeping.holding is Holding.NO
    assert not await keeping.claim(3, ())


async def test_an_agent_that_died_after_its_claim_goes_on_under_it(site: Site) -> None:
    node = site.node()
    wanting = node.journal(1).wanting(2, "ws1-2")
    node.journals.write(wanting)
    site.tell(node.claimed(1), node.lost(1), node.claimed(2))
    keeping = node.keep(wanting)
    node.engine.gone = True  # whether it still runs is for the new number to find out
    journal = await keeping.rest()
    assert journal is not None and (journal.attempt, journal.wanted) == (2, None)
    assert node.rested == 0
    assert site.keys() == set()


async def test_an_agent_that_died_before_its_claim_asks_again(site: Site) -> None:
    node = site.node()
    site.tell(node.claimed(1), node.lost(1))
    keeping = node.keep(node.journal(1).wanting(2, "never written"))
    rest = await resting(node, keeping)
    assert await keeping.claim(2, ())
    journal = await rest
    assert journal is not None and journal.claim != "never written"


async def test_it_gives_way_where_another_node_was_first(site: Site) -> None:
    """The other's claim is in the store, and this node has not heard of it."""
    node, other = site.node(), site.node("ws2")
    site.tell(node.claimed(1), node.lost(1))
    keeping = node.keep(node.journal(1))
    rest = await resting(node, keeping)
    site.tell(other.claimed(2))
    assert not await keeping.claim(2, ())
    await node.mirror.refresh(PROJECT)
    assert await rest is None
    assert site.claims() == [(1, "ws1", None), (2, "ws2", None)]
    assert site.keys() == {node.stored(1)}, "giving way deletes that"


async def test_of_two_nodes_that_hold_a_container_one_goes_on(site: Site) -> None:
    first, second = site.node("ws1"), site.node("ws2")
    site.tell(first.claimed(1), first.lost(1), second.claimed(2), second.lost(2))
    keepings = [first.keep(first.journal(1)), second.keep(second.journal(2))]
    nodes = [first, second]
    rests = [await resting(node, keeping) for node, keeping in zip(nodes, keepings, strict=True)]
    won = await asyncio.gather(*(keeping.claim(3, ()) for keeping in keepings))
    assert sorted(won) == [False, True]
    for node in nodes:
        await node.mirror.refresh(PROJECT)
    journals = [await rest for rest in rests]
    assert [journal is not None for journal in journals] == won
    winner = won.index(True)
    assert site.claims()[2] == (3, f"ws{winner + 1}", winner + 1)
    assert site.keys() == {nodes[1 - winner].stored(2 - winner)}


@pytest.mark.parametrize("event", [AbortRequested(id="a"), Deleted(id="d")])
async def test_it_gives_way_where_nobody_wants_the_run_any_more(site: Site, event: Event) -> None:
    node = site.node()
    site.tell(node.claimed(1), node.lost(1))
    keeping = node.keep(node.journal(1))
    rest = await resting(node, keeping)
    site.tell(event)
    await node.mirror.refresh(PROJECT)
    assert await rest is None
    assert keeping.holding is Holding.NO


async def test_a_container_that_is_gone_or_was_cut_by_a_reboot_is_not_bid_for(site: Site) -> None:
    gone, rebooted = site.node("ws1"), site.node("ws2")
    site.tell(gone.claimed(1), gone.lost(1), rebooted.claimed(2), rebooted.lost(2))
    gone.engine.gone = True
    for node, journal in (
        (gone, gone.journal(1)),
        (rebooted, rebooted.journal(2).model_copy(update={"boot_id": "b0"})),
    ):
        keeping = node.keep(journal)
        async with asyncio.timeout(60.0):
            assert await keeping.rest() is None
        assert node.held is not None and node.held.standing is Standing.LOST
        assert (node.rested, keeping.holding) == (0, Holding.PERHAPS)


async def test_what_ended_meanwhile_needs_no_container(site: Site) -> None:
    node = site.node()
    site.tell(node.claimed(1), node.lost(1))
    node.engine.gone = True
    keeping = node.keep(node.journal(1, Step.COLLECTED).model_copy(update={"boot_id": "b0"}))
    rest = await resting(node, keeping)
    assert await keeping.claim(2, ())
    journal = await rest
    assert journal is not None and journal.step is Step.EXITED


async def test_what_waits_for_the_store_tries_again_when_a_document_was_read(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node whose link is back learns at once that it was given up, not when its longest pause is over."""
    monkeypatch.setattr("node_agent.held._RETRY_FIRST", 1000.0)
    node = site.node()
    site.tell(node.claimed(1))
    node.keep(node.journal(1))
    tried = 0

    async def work() -> None:
        nonlocal tried
        tried += 1
        if tried == 1:
            asyncio.get_running_loop().call_soon(reading.set)
            raise StoreUnreachable("no answer")

    reading = asyncio.Event()
    assert node.held is not None
    waiting = asyncio.create_task(node.held.patiently(work))
    await reading.wait()
    await node.mirror.refresh(PROJECT)
    async with asyncio.timeout(60.0):
        await waiting
    assert tried == 2
