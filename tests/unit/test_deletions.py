"""Deleted projects: what came late goes, too, and the tombstone itself when the store says that it is old."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from node_agent.deletions import DAILY, SOON, Deletions
from tests.faults.counter import PIPELINE
from tests.faults.store import Fault, FaultyStore
from winslow import lifecycle
from winslow.errors import NotFound, StoreUnreachable
from winslow.events import Deleted
from winslow.project import Project, Tombstone
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore

PROJECT = "p-a"


class Bench:
    """A store with a clock of its own, and an agent with another one, which begins anywhere."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.servers = datetime(2026, 1, 1, tzinfo=UTC)
        self.agents = 12345.0
        self.store = MemoryStore(now=lambda: self.servers)
        self.fault = Fault.NONE
        self.link = FaultyStore(self.store, lambda *_: self.fault)
        self.documents = Documents(self.store)
        self.pool = pool
        self.begin()

    def begin(self) -> None:
        """Another agent."""
        self.deletions = Deletions(
            store=self.link, documents=Documents(self.link), executor=self.pool, clock=lambda: self.agents
        )

    def create(self, project: str) -> None:
        self.documents.create(
            lifecycle.create(id=project, event_id=project, name="P", pipeline=PIPELINE, source_revision=1)
        )

    def delete(self, project: str) -> None:
        self.documents.update(project, Deleted(id=f"d-{project}"), apply=lifecycle.apply)

    def put(self, key: str) -> str:
        self.store.put(key, b"x")
        return key

    def finish(self) -> None:
        asyncio.run(self.deletions.finish(self.all()))

    def all(self) -> list[Project | Tombstone]:
        return [self.documents.read(project).document for project in self.documents.project_etags()]

    @property
    def left(self) -> list[str]:
        return [info.key for info in self.store.walk("projects/")]


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ThreadPoolExecutor(1) as pool:
        made = Bench(pool)
        for project in (PROJECT, "p-ab"):
            made.create(project)
        made.delete(PROJECT)
        yield made


def test_everything_of_a_deleted_project_goes_and_nothing_else(bench: Bench) -> None:
    bench.put("projects/p-a/input/x")
    bench.put("projects/p-a/activity/000000001-000000032.jsonl")
    kept = bench.put("projects/p-ab/input/x")
    bench.store.create_upload("projects/p-a/input/big")
    bench.finish()
    assert bench.left == [kept]
    assert bench.store.list_uploads("projects/") == []
    assert isinstance(bench.documents.read(PROJECT).document, Tombstone)


@pytest.mark.parametrize("late", [[SOON], [SOON, DAILY], [SOON, DAILY, DAILY]])
def test_what_lands_after_the_deletion_goes_with_the_next_sweep(bench: Bench, late: list[float]) -> None:
    bench.finish()
    for seconds in late:
        bench.put("projects/p-a/input/late")
        bench.finish()
        assert bench.left  # not yet due: a sweep costs requests
        bench.agents += seconds
        bench.finish()
        assert bench.left == []


def test_a_sweep_that_failed_is_made_again_at_once(bench: Bench) -> None:
    bench.put("projects/p-a/input/x")
    bench.fault = Fault.REQUEST_LOST
    with pytest.raises(StoreUnreachable):
        bench.finish()
    bench.fault = Fault.NONE
    bench.finish()
    assert bench.left == []


def test_an_old_tombstone_goes_with_what_is_left(bench: Bench) -> None:
    bench.servers += timedelta(days=30)
    bench.put("projects/p-a/input/very-late")
    bench.finish()
    assert bench.left == []
    with pytest.raises(NotFound):
        bench.documents.read(PROJECT)
    assert isinstance(bench.documents.read("p-ab").document, Project)
    bench.finish()


def test_only_the_stores_clock_makes_a_tombstone_old(bench: Bench) -> None:
    bench.agents += 400 * DAILY
    bench.servers += timedelta(days=30, seconds=-1)
    bench.finish()
    bench.agents += 400 * DAILY
    bench.begin()
    bench.finish()
    assert isinstance(bench.documents.read(PROJECT).document, Tombstone)


def test_an_agent_that_remembers_a_tombstone_harms_no_new_project_of_that_id(bench: Bench) -> None:
    remembered = bench.all()
    bench.store.delete(f"documents/projects/{PROJECT}.json")
    bench.create(PROJECT)
    kept = bench.put("projects/p-a/input/new")
    asyncio.run(bench.deletions.finish(remembered))
    assert bench.left == [kept]
