"""The node cache on a real file system: fetched once, verified, never taken from under an attempt."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from node_agent.cache import Cache, DiskFull, Source
from node_agent.tree import Stopped
from winslow.errors import Conflict, InvalidInput, NotFound, WinslowError
from winslow.store.memory import MemoryStore
from winslow.store.port import ObjectInfo


class CountingStore(MemoryStore):
    """Counts downloads by key; each waits at the gate once it has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.downloads: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Semaphore(0)

    def download(self, key: str, path: Path, *, etag: str | None = None) -> ObjectInfo:
        self.downloads.append(key)
        self.begun.release()
        assert self.gate.wait(60)
        return super().download(key, path, etag=etag)

    def get_range(self, key: str, offset: int, length: int, *, etag: str | None = None) -> bytes:
        self.downloads.append(f"{key}@{offset}")
        return super().get_range(key, offset, length, etag=etag)


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


OpenCache = Callable[..., Cache]


@pytest.fixture
def open_cache(tmp_path: Path, store: CountingStore) -> Iterator[OpenCache]:
    opened: list[Cache] = []

    def make(*, limit: int = 1 << 30, keep_free: int = 0) -> Cache:
        opened.append(Cache(tmp_path / "cache", store=store, limit=limit, keep_free=keep_free))
        return opened[-1]

    yield make
    for cache in opened:
        cache.close()


def put(store: MemoryStore, name: str, data: bytes) -> Source:
    key = f"resources/{name}"
    return Source(key=key, size=len(data), etag=store.put(key, data))


def read(cache: Cache, source: Source) -> bytes:
    with cache.use(source) as path:
        return path.read_bytes()


def test_a_file_is_fetched_once_and_found_again_after_a_restart(
    open_cache: OpenCache, store: CountingStore
) -> None:
    cache = open_cache()
    one = put(store, "a", b"hello")
    assert not cache.has(one)
    seen: list[int] = []
    with cache.use(one, progress=seen.append) as path:
        assert path.read_bytes() == b"hello"
        assert path.stat().st_mode & 0o777 == 0o444
    assert sum(seen) == 5
    assert read(cache, one) == b"hello"
    cache.close()
    again = open_cache()
    assert again.has(one)
    assert again.used_bytes() == 5
    assert read(again, one) == b"hello"
    assert store.downloads == ["resources/a"]


def test_a_replaced_object_is_another_file(open_cache: OpenCache, store: CountingStore) -> None:
    cache = open_cache()
    old = put(store, "a", b"old")
    assert read(cache, old) == b"old"
    new = put(store, "a", b"new")
    assert not cache.has(new)
    assert read(cache, new) == b"new"
    assert read(cache, old) == b"old"  # an attempt that began with it goes on with it
    assert cache.cached_bytes([old, new, put(store, "b", b"xxx")]) == 6


def test_eight_threads_that_want_one_object_fetch_it_once(
    open_cache: OpenCache, store: CountingStore
) -> None:
    cache = open_cache()
    one = put(store, "a", b"hello")
    store.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        results = [pool.submit(read, cache, one) for _ in range(8)]
        assert store.begun.acquire(timeout=60)
        store.gate.set()
        assert [result.result() for result in results] == [b"hello"] * 8
    assert store.downloads == ["resources/a"]


def test_who_waited_for_a_fetch_that_failed_fetches_itself(
    open_cache: OpenCache, store: CountingStore
) -> None:
    cache = open_cache()
    one = put(store, "a", b"hello")
    stop = threading.Event()
    store.gate.clear()

    def first() -> None:
        with cache.use(one, cancelled=stop.is_set):
            raise AssertionError("was to be stopped")

    with ThreadPoolExecutor(2) as pool:
        stopped = pool.submit(first)
        assert store.begun.acquire(timeout=60)
        waiting = pool.submit(read, cache, one)
        stop.set()
        store.gate.set()
        with pytest.raises(Stopped):
            stopped.result()
        assert waiting.result() == b"hello"


def test_who_waits_can_be_stopped(open_cache: OpenCache, store: CountingStore) -> None:
    cache = open_cache()
    one = put(store, "a", b"hello")
    store.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(read, cache, one)
        assert store.begun.acquire(timeout=60)
        with pytest.raises(Stopped), cache.use(one, cancelled=lambda: True):
            pass
        store.gate.set()
        assert fetching.result() == b"hello"


def test_the_least_recently_used_goes_first(open_cache: OpenCache, store: CountingStore) -> None:
    cache = open_cache(limit=30)
    a, b, c, d = (put(store, name, bytes([number]) * 10) for number, name in enumerate("abcd"))
    for source in (a, b, c, a):
        read(cache, source)
    cache.close()
    cache = open_cache(limit=30)  # the order survives
    read(cache, d)
    assert [cache.has(source) for source in (a, b, c, d)] == [True, False, True, True]
    assert cache.used_bytes() == 30


def test_what_an_attempt_uses_is_never_evicted(
    open_cache: OpenCache, store: CountingStore, tmp_path: Path
) -> None:
    cache = open_cache(limit=15)
    linked, held, third = (put(store, name, name.encode() * 10) for name in "abc")
    with cache.use(linked) as path:
        os.link(path, tmp_path / "input")
    cache.close()
    cache = open_cache(limit=15)  # the lease is the link: it needs no agent's memory
    with cache.use(held) as path:
        read(cache, third)
        assert path.read_bytes() == b"b" * 10
        assert cache.has(linked)
    (tmp_path / "input").unlink()
    read(cache, put(store, "d", b"d" * 10))
    assert not cache.has(linked)
    assert not cache.has(held)


def test_a_full_disk_is_an_error_before_anything_is_fetched(
    open_cache: OpenCache, store: CountingStore
) -> None:
    cache = open_cache(keep_free=1 << 60)
    one = put(store, "a", b"hello")
    with pytest.raises(DiskFull, match="cache: the disk is full") as caught:
        read(cache, one)
    assert caught.value.kind == "disk_full"
    assert caught.value.hint
    assert store.downloads == []
    with pytest.raises(DiskFull), cache.room(1):
        pass


def test_a_full_disk_first_costs_what_nobody_uses(open_cache: OpenCache, store: CountingStore) -> None:
    cache = open_cache()
    one = put(store, "a", b"hello")
    read(cache, one)
    with pytest.raises(DiskFull), cache.room(1 << 60):
        pass
    assert not cache.has(one)
    with cache.room(1):  # what was promised to the failed copy is free again
        pass


def test_a_damaged_object_is_not_kept(open_cache: OpenCache, store: CountingStore) -> None:
    cache = open_cache()
    store.put("projects/p-abcd/runs/1.1/workspace/x", b"dAmaged")
    true = Source(
        key="projects/p-abcd/runs/1.1/workspace/x", size=7, sha256=hashlib.sha256(b"damaged").hexdigest()
    )
    with pytest.raises(WinslowError):
        read(cache, true)
    assert not cache.has(true)
    store.put(true.key, b"damaged")
    assert read(cache, true) == b"damaged"


def test_another_size_than_expected_is_not_kept(open_cache: OpenCache, store: CountingStore) -> None:
    cache = open_cache()
    one = put(store, "a", b"hello")
    lying = Source(key=one.key, size=4, etag=one.etag)
    with pytest.raises(WinslowError):
        read(cache, lying)
    assert not cache.has(lying)


def test_a_missing_or_replaced_object_is_told_by_its_error(
    open_cache: OpenCache, store: CountingStore
) -> None:
    cache = open_cache()
    with pytest.raises(NotFound):
        read(cache, Source(key="resources/none", size=1, etag="x"))
    old = put(store, "a", b"old")
    put(store, "a", b"new")
    with pytest.raises(Conflict):
        read(cache, old)
    with pytest.raises(InvalidInput, match="neither its ETag nor its sha256"):
        Source(key="resources/a", size=1)
    assert cache.used_bytes() == 0


def test_an_interrupted_large_fetch_goes_on_after_a_restart(
    open_cache: OpenCache, store: CountingStore
) -> None:
    data = os.urandom(1 << 20) * 40  # 16 MiB ranges
    large = put(store, "video", data)
    arrived: list[int] = []
    cache = open_cache()
    with (
        pytest.raises(Stopped),
        cache.use(large, progress=arrived.append, cancelled=lambda: sum(arrived) > 0),
    ):
        pass
    cache.close()
    had = len(store.downloads)
    assert had >= 1
    cache = open_cache()
    arrived.clear()
    with cache.use(large, progress=arrived.append) as path:
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(data).digest()
    assert sum(arrived) == len(data)
    assert len(set(store.downloads)) == 3
    assert len(store.downloads) < had + 3


def test_unfinished_downloads_make_room_when_it_is_needed(
    open_cache: OpenCache, store: CountingStore, tmp_path: Path
) -> None:
    cache = open_cache(limit=8)
    left = tmp_path / "cache/incoming/0123"
    left.mkdir()
    (left / ".x.part").write_bytes(b"1" * 100)
    read(cache, put(store, "a", b"hello"))
    assert left.exists()
    read(cache, put(store, "b", b"hello"))
    assert not left.exists()


def test_files_and_index_are_made_to_agree(
    open_cache: OpenCache, store: CountingStore, tmp_path: Path
) -> None:
    cache = open_cache()
    kept, lost, cut = (put(store, name, b"12345") for name in "abc")
    for source in (kept, lost, cut):
        read(cache, source)
    cache.close()
    objects = tmp_path / "cache/objects"
    next(objects.glob(f"*/{lost.name}")).unlink()
    short = next(objects.glob(f"*/{cut.name}"))
    short.chmod(0o600)
    short.write_bytes(b"1")
    stray = objects / "ab" / ("ab" + "0" * 62)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"?")
    cache = open_cache()
    assert [cache.has(source) for source in (kept, lost, cut)] == [True, False, False]
    assert not stray.exists()
    assert cache.used_bytes() == 5
    next(objects.glob(f"*/{kept.name}")).unlink()
    assert not cache.has(kept)  # taken away while the agent runs
    assert read(cache, kept) == b"12345"


def test_a_torn_index_costs_the_cache_and_nothing_else(
    open_cache: OpenCache, store: CountingStore, tmp_path: Path
) -> None:
    cache = open_cache()
    one = put(store, "a", b"hello")
    read(cache, one)
    cache.close()
    (tmp_path / "cache/index.sqlite").write_bytes(b"SQLite format 3\0" + b"torn" * 2000)
    cache = open_cache()
    assert not cache.has(one)
    assert list((tmp_path / "cache/objects").glob("*/*")) == []
    assert read(cache, one) == b"hello"


def test_a_stages_own_file_is_taken_in_without_a_copy(
    open_cache: OpenCache, store: CountingStore, tmp_path: Path
) -> None:
    cache = open_cache(limit=10)
    written = tmp_path / "result"
    written.write_bytes(b"result")
    source = Source(
        key="projects/p-abcd/runs/1.1/output/x", size=6, sha256=hashlib.sha256(b"result").hexdigest()
    )
    assert cache.adopt(source, written)
    assert cache.adopt(source, written)
    with cache.use(source) as path:
        assert path.samefile(written)
    assert store.downloads == []
    written.unlink()
    read(cache, put(store, "a", b"12345"))  # and is evicted as any other
    assert not cache.has(source)


def test_hostile_keys_stay_inside(open_cache: OpenCache, store: CountingStore, tmp_path: Path) -> None:
    cache = open_cache()
    for name in ("'; DROP TABLE files; --", "\x1b[31m", "../../x", "a" * 1000):
        with pytest.raises(WinslowError):
            read(cache, Source(key=f"resources/{name}", size=1, etag="e"))
    assert read(cache, put(store, "it's", b"1")) == b"1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]
    rows = sqlite3.connect(tmp_path / "cache/index.sqlite")
    assert rows.execute("SELECT count(*) FROM files").fetchone() == (1,)
    rows.close()
