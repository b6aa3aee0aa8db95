"""How often the store is asked for what runs start with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from node_agent import sources as module
from node_agent.sources import Sources
from winslow import workspace
from winslow.errors import NotFound
from winslow.store.memory import MemoryStore
from winslow.store.port import Blob, ObjectInfo
from winslow.workspace import Manifest

KEY = "projects/p-a/runs/1.1/workspace/manifest.json"


class Asked(MemoryStore):
    """A store that counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def get(self, key: str) -> Blob:
        """See port."""
        self.asked["get"] += 1
        return super().get(key)

    def stat(self, key: str) -> ObjectInfo:
        """See port."""
        self.asked["stat"] += 1
        return super().stat(key)

    def walk(self, prefix: str) -> Iterator[ObjectInfo]:
        """See port."""
        self.asked["walk"] += 1
        return super().walk(prefix)


class Bench:
    """Sources over a store in memory, in time of the test's own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.store = Asked()
        self.sources = Sources(self.store, monotonic=lambda: self.now)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def manifest(run: int = 1) -> Manifest:
    return Manifest(project="p-a", run=run, attempt=1, entries=())


def test_a_manifest_is_read_once_and_one_that_was_written_here_never(bench: Bench) -> None:
    bench.store.put(KEY, workspace.encode(manifest()))
    assert bench.sources.manifest(KEY, project="p-a") == bench.sources.manifest(KEY, project="p-a")
    bench.sources.keep("other", manifest(2))
    assert bench.sources.manifest("other", project="p-a").run == 2
    assert bench.store.asked["get"] == 1


def test_manifests_that_were_not_used_for_long_are_dropped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ENTRIES", 2)
    for name in ("a", "b", "c"):
        bench.sources.keep(name, manifest())
    assert bench.sources.manifest("c", project="p-a") == manifest()
    with pytest.raises(NotFound):
        bench.sources.manifest("a", project="p-a")


def test_a_listing_is_as_old_as_its_reader_allows(bench: Bench) -> None:
    bench.store.put("input/a", b"1")
    assert [info.key for info in bench.sources.below("input/", age=0)] == ["input/a"]
    bench.store.put("input/b", b"2")
    bench.now += 5
    assert len(bench.sources.below("input/", age=10)) == 1
    assert len(bench.sources.below("input/", age=0)) == 2  # a claim has to know
    assert len(bench.sources.below("input/", age=10)) == 2  # and what it learned serves the next price
    bench.now += 10
    bench.sources.below("input/", age=10)
    assert bench.store.asked["walk"] == 3


def test_what_is_not_there_is_asked_for_again(bench: Bench) -> None:
    with pytest.raises(NotFound):
        bench.sources.stat("res", age=10)
    bench.store.put("res", b"1")
    assert bench.sources.stat("res", age=10).size == bench.sources.stat("res", age=10).size == 1
    assert bench.store.asked["stat"] == 2


def test_neither_many_answers_nor_a_long_one_fill_the_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ANSWERS", 2)
    monkeypatch.setattr(module, "MOST_LISTED", 1)
    for name in ("a/1", "b/1", "c/1", "d/1", "d/2"):
        bench.store.put(name, b"")
    for prefix in ("a/", "b/", "c/", "a/", "d/", "d/"):
        bench.sources.below(prefix, age=10)
    assert bench.store.asked["walk"] == 6
    bench.sources.below("a/", age=10)
    assert bench.store.asked["walk"] == 6
