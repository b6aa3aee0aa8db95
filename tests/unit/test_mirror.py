"""How often an agent reads a document for what it is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from node_agent import replica
from node_agent.mirror import Document, Mirror
from tests.faults.counter import PIPELINE
from winslow import lifecycle
from winslow.events import RunQueued
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore
from winslow.store.port import Blob

DEADLINE = 60.0
PROJECT = "p-a"


class Gate(MemoryStore):
    """A store that counts reads and answers one when `open` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.open = threading.Event()
        self.open.set()

    def get(self, key: str) -> Blob:
        """See port."""
        blob = super().get(key)
        self.reads += 1
        assert self.open.wait(DEADLINE)
        return blob


class Bench:
    """A mirror over one document, and the revisions it came to know."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.store = Gate()
        self.documents = Documents(self.store)
        self.seen: list[int] = []
        self.news = asyncio.Event()
        self.mirror = Mirror(documents=self.documents, executor=pool, on_change=self.changed)
        self.documents.create(
            lifecycle.create(id=PROJECT, event_id="made", name="P", pipeline=PIPELINE, source_revision=1)
        )

    def changed(self, project_id: str, old: Document | None, new: Document | None, *, own: bool) -> None:
        assert new is not None
        self.seen.append(new.revision)
        self.news.set()

    def write(self) -> None:
        """Revision 2."""
        reads = self.store.reads
        self.documents.update(PROJECT, RunQueued(id="queued"), apply=lifecycle.apply)
        self.store.reads = reads

    async def know(self, revision: int) -> None:
        async with asyncio.timeout(DEADLINE):
            while revision not in self.seen:
                self.news.clear()
                await self.news.wait()

    async def settle(self) -> None:
        """Return when no read runs and none is due."""
        async with asyncio.timeout(DEADLINE):
            while self.mirror._reading or self.mirror._later:  # noqa: ASYNC110  reads have no event
                await asyncio.sleep(0.005)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    with ThreadPoolExecutor(2) as pool:
        bench = Bench(pool)
        yield bench
        bench.store.open.set()
        await bench.mirror.close()


async def test_hints_of_one_revision_are_one_read(bench: Bench) -> None:
    bench.store.open.clear()
    for _ in range(3):  # an offer, the project's state, and what the broker sends twice
        bench.mirror.hint(PROJECT, 1)
    bench.store.open.set()
    await bench.know(1)
    await bench.settle()
    assert bench.store.reads == 1


async def test_a_newer_revision_told_during_a_read_is_read_after_it(bench: Bench) -> None:
    bench.store.open.clear()
    bench.mirror.hint(PROJECT, 1)
    async with asyncio.timeout(DEADLINE):
        while not bench.store.reads:  # noqa: ASYNC110  a read in a thread has no event
            await asyncio.sleep(0.005)
    bench.store.open.set()
    bench.write()
    bench.mirror.hint(PROJECT, 2)
    await bench.know(2)
    await bench.settle()
    assert bench.store.reads == 2


async def test_hints_without_hurry_are_read_once_for_the_newest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "LATER", 0.05)
    bench.mirror.hint(PROJECT, 1, hurry=False)
    bench.write()
    bench.mirror.hint(PROJECT, 2, hurry=False)
    await bench.know(2)
    await bench.settle()
    assert (bench.seen, bench.store.reads) == ([2], 1)


async def test_a_hint_without_hurry_is_not_read_for_what_is_known_by_then(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "LATER", 0.05)
    bench.mirror.hint(PROJECT, 1, hurry=False)
    bench.mirror.hint(PROJECT, 1)
    await bench.know(1)
    await bench.settle()
    assert bench.store.reads == 1
