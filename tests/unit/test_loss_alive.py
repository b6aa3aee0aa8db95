"""`node_agent.alive` over the store in memory: what is written, what is read, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from node_agent.alive import Alive, Lookout
from node_agent.clock import Clock
from node_agent.mirror import Mirror
from winslow import events, lifecycle
from winslow.errors import StoreUnreachable
from winslow.events import Claimed, RunQueued
from winslow.loss import Mark
from winslow.node import NodeState, Presence
from winslow.pipeline import PipelineDefinition, Retry, StageDefinition
from winslow.project import Project, RunState
from winslow.quantities import LostAfter
from winslow.store import layout
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore
from winslow.store.port import Blob

KEY = layout.alive("ws1")


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@asynccontextmanager
async def running(work: Alive | Lookout) -> AsyncIterator[None]:
    task = asyncio.create_task(work.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60.0):
        while not true():  # noqa: ASYNC110 - most conditions are about a store, which tells nobody
            await asyncio.sleep(0.002)


class MuteStore(MemoryStore):
    """Answers nothing while `mute`."""

    mute = False

    def get(self, key: str) -> Blob:
        if self.mute:
            raise StoreUnreachable("no answer")
        return super().get(key)

    def put(self, *args: object, **more: object) -> str:
        if self.mute:
            raise StoreUnreachable("no answer")
        return super().put(*args, **more)  # type: ignore[arg-type]

    def mark(self) -> Mark | None:
        if KEY not in {each.key for each in self.walk(layout.ALIVE)}:
            return None
        return Mark.decode(super().get(KEY).data, key=KEY)

    def counter(self) -> int:
        found = self.mark()
        return found.counter if found else 0


@dataclass
class Owner:
    """A node and its attempts."""

    executor: ThreadPoolExecutor
    store: MuteStore = field(default_factory=MuteStore)
    attempts: list[LostAfter] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def alive(self) -> Alive:
        return Alive(
            node="ws1",
            node_uuid="u",
            instance="i",
            store=self.store,
            executor=self.executor,
            held=lambda: self.attempts,
            say=self.said.append,
        )


async def test_a_node_writes_while_it_has_attempts(executor: ThreadPoolExecutor) -> None:
    owner = Owner(executor)
    alive = owner.alive()
    async with running(alive):
        await until(lambda: owner.store.counter() == 1)  # at the start: an earlier clean stop is over
        owner.attempts.append(5.0)
        alive.wake()
        await until(lambda: owner.store.counter() >= 3)
    assert owner.store.mark() == Mark(node_uuid="u", instance="i", counter=owner.store.counter())


async def test_a_clean_stop_is_marked_where_containers_go_on(executor: ThreadPoolExecutor) -> None:
    owner = Owner(executor, attempts=[None])
    alive = owner.alive()
    async with running(alive):
        await until(lambda: owner.store.counter() == 1)
    await alive.stop()
    assert owner.store.mark() == Mark(node_uuid="u", instance="i", counter=2, stopped=True)


@pytest.mark.parametrize("started", [True, False])
async def test_a_stop_without_attempts_leaves_no_mark(executor: ThreadPoolExecutor, started: bool) -> None:
    """Above all not one of an agent that was refused its name before it took part."""
    owner = Owner(executor)
    alive = owner.alive()
    if started:
        async with running(alive):
            await until(lambda: owner.store.counter() == 1)
    await alive.stop()
    assert owner.store.counter() == started


async def test_a_store_that_is_away_ends_nothing(executor: ThreadPoolExecutor) -> None:
    owner = Owner(executor, attempts=[5.0])
    owner.store.mute = True
    async with running(owner.alive()):
        await until(lambda: "no answer" in owner.said)
        owner.store.mute = False
        await until(lambda: owner.store.counter() > 0)


class SetClock(Clock):
    """Moves when told; the wall's date is wrong."""

    def __init__(self, date: str) -> None:
        self.date = date
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> str:
        return self.date


class Observer:
    """A lookout and a project whose run #1 is on `ws1`, with 50 s of the clock's time until it is lost."""

    lookout: Lookout

    def __init__(self, executor: ThreadPoolExecutor, date: str) -> None:
        self.store = MuteStore()
        self.said: list[str] = []
        self.clock = SetClock(date)
        self.documents = Documents(self.store)
        stage = StageDefinition(name="one", image="i", lost_after=50.0, retry=Retry(max=1))
        project = lifecycle.create(
            id="p",
            event_id="e0",
            name="p",
            pipeline=PipelineDefinition(name="x", stages=(stage,)),
            source_revision=1,
        )
        self.documents.create(project)
        self.change(RunQueued(id="e1"))
        self.change(Claimed(id="e2", n=1, k=1, claim="c", node="ws1", node_uuid="u"))
        self.mirror = Mirror(
            documents=self.documents,
            executor=executor,
            on_change=lambda project_id, _old, new, *, own: self.lookout.document(project_id, new),
        )
        self.lookout = Lookout(
            node="ws2",
            store=self.store,
            executor=executor,
            mirror=self.mirror,
            clock=self.clock,
            random=lambda: 0.5,
            say=self.said.append,
        )

    def change(self, event: events.Event) -> None:
        self.documents.update("p", event, apply=lifecycle.apply)

    def document(self) -> Project:
        found = self.documents.read("p").document
        assert isinstance(found, Project)
        return found

    async def live_until(self, true: Callable[[], bool]) -> None:
        """Let the clock go on, slowly enough for the reads, until something is true."""
        state = NodeState(node="ws1", node_uuid="u", instance="i", presence=Presence.OFFLINE)

        def forward() -> bool:
            self.clock.now += 0.25
            self.lookout.presence("ws1", state)  # wakes it
            return true()

        async with running(self.lookout):
            self.lookout.broker(True)
            await until(forward)


@pytest.mark.parametrize("date", ["1970-01-01T00:00:00.000Z", "2999-12-31T23:59:59.999Z", "nonsense"])
async def test_a_silent_node_loses_its_attempt_whatever_the_wall_clocks_say(
    executor: ThreadPoolExecutor, date: str
) -> None:
    observer = Observer(executor, date)
    await observer.mirror.refresh("p")
    await observer.live_until(lambda: observer.document().runs[0].state is RunState.QUEUED)
    assert observer.clock.now >= 50.0
    (attempt,) = observer.document().runs[0].attempts
    assert (attempt.outcome, attempt.ended_at) == ("lost", date)
    assert attempt.detail.startswith("node ws1 gave no sign of life for 5")
    assert observer.document().runs[0].retries_used == 1
    assert observer.said == []


async def test_what_is_no_mark_is_told_and_proves_no_silence(executor: ThreadPoolExecutor) -> None:
    observer = Observer(executor, "")
    observer.store.put(KEY, b"\x1b[2Jgarbage")
    await observer.mirror.refresh("p")
    await observer.live_until(lambda: observer.clock.now > 120.0 and len(observer.said) > 5)
    assert observer.document().runs[0].state is RunState.PREPARING
    assert all(KEY in sentence and "\x1b" not in sentence for sentence in observer.said)


async def test_a_run_that_went_on_meanwhile_is_left_alone(executor: ThreadPoolExecutor) -> None:
    """The observer has not heard that the attempt was given back and claimed anew; refused, it reads."""
    observer = Observer(executor, "")
    await observer.mirror.refresh("p")
    observer.change(events.Disowned(id="e3", n=1, k=1, claim="c"))
    observer.change(Claimed(id="e4", n=1, k=2, claim="d", node="ws3", node_uuid="v"))
    newest = observer.document()
    await observer.live_until(lambda: observer.mirror.get("p") == newest)
    await observer.mirror.close()
    assert observer.clock.now >= 50.0
    assert observer.document() == newest
