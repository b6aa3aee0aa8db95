"""An acknowledged upload is there, whole (I7); interrupted transfers go on where they stopped."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.counter import VirtualTime
from tests.faults.store import Fault, FaultyStore
from tests.services.servers import StoreService
from tests.stores import connected
from winslow.errors import Conflict, InvalidInput, NotFound, StoreUnreachable, WinslowError
from winslow.store import disk
from winslow.store.files import Download, Upload, download_file, download_many, upload_file, upload_many
from winslow.store.memory import MemoryStore
from winslow.store.patience import Patience
from winslow.store.port import ObjectStore, Part
from winslow.store.uploads import AsRead, upload_as_read

MIB = 1 << 20
PART = 5 * MIB  # the least that S3 takes for any part but the last
KEY = "resources/video.mp4"


@pytest.fixture(params=["memory", "seaweedfs_store", "minio_store"])
def store(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    service = request.getfixturevalue(request.param)
    assert isinstance(service, StoreService)
    with connected(service.with_new_bucket()) as real:
        yield real


class Told:
    """A progress function that remembers, and can pull the plug."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        self.bytes = 0
        self.stop_after = stop_after

    def __call__(self, count: int) -> None:
        self.bytes += count
        if self.stop_after is not None and self.bytes >= self.stop_after:
            raise InterruptedError("the plug was pulled")


def a_file(folder: Path, size: int, *, seed: int = 1, name: str = "video.mp4") -> Path:
    path = folder / name
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def uploads_of(store: ObjectStore) -> list[str]:
    return [upload_id for _, upload_id in store.list_uploads(KEY)]


def send(store: ObjectStore, path: Path, told: Told | None = None, patience: Patience | None = None) -> str:
    return upload_file(
        store, path, KEY, progress=told, part_size=PART, single_put=MIB, patience=patience
    ).sha256


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, PART, 3 * PART + 17])
def test_a_file_comes_back_as_it_was(store: ObjectStore, tmp_path: Path, size: int) -> None:
    path, told = a_file(tmp_path, size), Told()
    sent = upload_file(store, path, KEY, progress=told, part_size=PART, single_put=MIB)
    assert told.bytes == size
    held = store.stat(KEY)
    assert (held.etag, held.size, held.sha256) == (sent.etag, size, sha256(path))
    assert uploads_of(store) == []
    back, told = tmp_path / "back" / ("n" * 255), Told()
    back.parent.mkdir()
    got = download_file(store, KEY, back, progress=told, range_size=MIB)
    assert (got.etag, got.size, got.sha256) == (sent.etag, size, sent.sha256)
    assert told.bytes == size
    assert back.read_bytes() == path.read_bytes()
    assert names(back.parent) == [back.name]


def test_an_interrupted_upload_goes_on_with_the_parts_that_are_missing(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = a_file(tmp_path, 10 * PART + 3)
    with pytest.raises(InterruptedError):
        send(store, path, Told(stop_after=2 * PART))
    with pytest.raises(NotFound):
        store.stat(KEY)
    [begun] = uploads_of(store)
    there = store.list_parts(KEY, begun)
    assert 2 <= len(there) < 11
    link = FaultyStore(store, lambda *_: Fault.NONE)
    told = Told()
    assert send(link, path, told) == sha256(path)
    assert told.bytes == 10 * PART + 3
    sent = sum(operation == "upload_part" for operation, _, _ in link.seen)
    assert sent == 11 - len(there)
    assert "create_upload" not in [operation for operation, _, _ in link.seen]
    assert store.stat(KEY).sha256 == sha256(path)


def test_another_files_open_upload_is_left_alone_and_then_cleared_away(
    store: ObjectStore, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedError):
        send(store, a_file(tmp_path, 3 * PART, seed=1), Told(stop_after=PART))
    [stale] = uploads_of(store)
    path = a_file(tmp_path, 3 * PART, seed=2)
    assert send(store, path) == sha256(path)
    assert stale not in uploads_of(store)
    assert store.stat(KEY).sha256 == sha256(path)


def test_a_file_that_begins_alike_does_not_get_the_others_sha256(store: ObjectStore, tmp_path: Path) -> None:
    first = a_file(tmp_path, 4 * PART)
    with pytest.raises(InterruptedError):
        send(store, first, Told(stop_after=PART))
    [begun] = uploads_of(store)
    for part in store.list_parts(KEY, begun):
        assert part.size == PART
    data = bytearray(first.read_bytes())
    data[-1] ^= 1
    second = tmp_path / "second.mp4"
    second.write_bytes(data)
    told = Told()
    assert send(store, second, told) == sha256(second)
    assert told.bytes == 4 * PART
    held = download_file(store, KEY, tmp_path / "back", range_size=MIB)
    assert held.sha256 == sha256(second) == sha256(tmp_path / "back")


def test_an_upload_taken_away_half_way_is_begun_anew_once(store: ObjectStore, tmp_path: Path) -> None:
    path = a_file(tmp_path, 3 * PART)
    taken: list[str] = []

    def take_away(operation: str, key: str) -> Fault:
        if operation == "complete_upload" and not taken:
            taken.append(uploads_of(store)[0])
            store.abort_upload(KEY, taken[0])
        return Fault.NONE

    told = Told()
    assert send(FaultyStore(store, take_away), path, told) == sha256(path)
    assert len(taken) == 1 and told.bytes == 3 * PART


class Halting(MemoryStore):
    """A link that breaks in the middle of every part's first try, after three quarters of it."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: set[int] = set()

    def upload_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        data: bytes,
        *,
        sent: Callable[[int], None] = lambda _: None,
    ) -> Part:
        sent(len(data) // 2)
        if number not in self.broken:
            self.broken.add(number)
            sent(len(data) // 4)
            raise StoreUnreachable("the link broke")
        return super().upload_part(key, upload_id, number, data)


def test_bytes_count_once_whatever_try_they_arrive_with(tmp_path: Path) -> None:
    path, counts = a_file(tmp_path, 3 * PART), list[int]()
    patience = Patience(first=0.0, longest=0.0)
    upload_file(
        Halting(), path, KEY, progress=counts.append, part_size=PART, single_put=MIB, patience=patience
    )
    assert sum(counts) == 3 * PART and min(counts) > 0
    assert len(counts) == 3 * 3, "a half, a quarter, and with the second try the rest"


def test_a_part_that_is_under_way_is_not_lost_when_the_transfer_is_stopped(tmp_path: Path) -> None:
    store = Halting()
    store.broken.update(range(1, 4))
    with pytest.raises(InterruptedError):
        send(store, a_file(tmp_path, 3 * PART), Told(stop_after=1))
    [begun] = uploads_of(store)
    assert store.list_parts(KEY, begun)


def test_a_file_that_is_written_to_meanwhile_is_not_acknowledged(store: ObjectStore, tmp_path: Path) -> None:
    path = a_file(tmp_path, 3 * PART)

    def write_to_it(count: int) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    with pytest.raises(Conflict, match=r"video\.mp4 was changed") as raised:
        upload_file(store, path, KEY, progress=write_to_it, part_size=PART, single_put=MIB)
    assert raised.value.hint
    with pytest.raises(NotFound):
        store.stat(KEY)


def test_a_file_that_shrinks_meanwhile_is_not_acknowledged(tmp_path: Path) -> None:
    store, path = MemoryStore(), a_file(tmp_path, 10 * PART)
    with pytest.raises(Conflict, match=r"video\.mp4"):
        upload_file(store, path, KEY, progress=lambda _: os.truncate(path, 1), part_size=PART, single_put=MIB)
    with pytest.raises(NotFound):
        store.stat(KEY)


def test_links_and_special_files_are_not_followed(tmp_path: Path) -> None:
    store, path = MemoryStore(), a_file(tmp_path, 10)
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="symbolic"):
        upload_file(store, tmp_path / "link", KEY)
    for special in (tmp_path / "pipe", tmp_path):
        with pytest.raises(InvalidInput, match="not a regular file"):
            upload_file(store, special, KEY)
    assert list(store.walk("")) == []
    store.put(KEY, b"new")
    download_file(store, KEY, tmp_path / "link")
    assert (tmp_path / "link").read_bytes() == b"new" and not (tmp_path / "link").is_symlink()
    assert path.stat().st_size == 10


def test_an_interrupted_download_goes_on_with_the_ranges_that_are_missing(
    store: ObjectStore, tmp_path: Path
) -> None:
    path = a_file(tmp_path, 10 * MIB + 5)
    upload_file(store, path, KEY)
    back = tmp_path / "back"
    back.write_bytes(b"what stood there before")
    with pytest.raises(InterruptedError):
        download_file(store, KEY, back, progress=Told(stop_after=4 * MIB), range_size=MIB)
    assert back.read_bytes() == b"what stood there before"
    link, told = FaultyStore(store, lambda *_: Fault.NONE), Told()
    download_file(link, KEY, back, progress=told, range_size=MIB)
    assert sum(operation == "get_range" for operation, _, _ in link.seen) <= 7
    assert told.bytes == 10 * MIB + 5
    assert back.read_bytes() == path.read_bytes()
    assert sorted(names(tmp_path)) == ["back", "video.mp4"]


def test_a_download_begins_anew_when_the_object_is_another(store: ObjectStore, tmp_path: Path) -> None:
    upload_file(store, a_file(tmp_path, 8 * MIB, seed=1), KEY)
    with pytest.raises(InterruptedError):
        download_file(store, KEY, tmp_path / "back", progress=Told(stop_after=2 * MIB), range_size=MIB)
    path = a_file(tmp_path, 8 * MIB, seed=2)
    upload_file(store, path, KEY)
    download_file(store, KEY, tmp_path / "back", range_size=MIB)
    assert sha256(tmp_path / "back") == sha256(path)


def test_an_object_replaced_in_the_middle_of_a_download_is_noticed(
    store: ObjectStore, tmp_path: Path
) -> None:
    old = upload_file(store, a_file(tmp_path, 8 * MIB, seed=1), KEY)

    def replace(count: int) -> None:
        store.put(KEY, b"another")

    with pytest.raises(Conflict):
        download_file(store, KEY, tmp_path / "back", progress=replace, range_size=MIB)
    with pytest.raises(Conflict, match="replaced"):
        download_file(store, KEY, tmp_path / "back", etag=old.etag)
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("size", [100, 4 * MIB])
def test_a_damaged_object_never_reaches_its_place(store: ObjectStore, tmp_path: Path, size: int) -> None:
    path = a_file(tmp_path, size)
    store.put(KEY, path.read_bytes(), sha256="0" * 64)
    back = tmp_path / "back"
    with pytest.raises(WinslowError, match="not what was uploaded") as raised:
        download_file(store, KEY, back, range_size=MIB)
    assert raised.value.hint
    assert names(tmp_path) == ["video.mp4"]
    download_file(store, KEY, back, sha256=sha256(path), range_size=MIB)
    assert sha256(back) == sha256(path)


def test_two_downloads_to_one_place_do_not_mix(tmp_path: Path) -> None:
    store = MemoryStore()
    store.put(KEY, bytes(4 * MIB))
    refused = []

    def second(count: int) -> None:
        with pytest.raises(Conflict, match="already being downloaded"):
            download_file(store, KEY, tmp_path / "back", range_size=MIB)
        refused.append(count)

    download_file(store, KEY, tmp_path / "back", progress=second, range_size=MIB)
    assert len(refused) == 4
    assert names(tmp_path) == ["back"]


def test_short_outages_are_sat_out_and_long_ones_named(tmp_path: Path) -> None:
    path, inner, rng = a_file(tmp_path, 4 * PART), MemoryStore(), random.Random(3)
    faults = [Fault.NONE, Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.TWICE]
    link = FaultyStore(inner, lambda *_: rng.choice(faults))
    patience = VirtualTime().patience(rng, deadline=120.0)
    assert send(link, path, patience=patience) == sha256(path)
    download_file(link, KEY, tmp_path / "back", range_size=MIB, patience=patience)
    assert sha256(tmp_path / "back") == sha256(path)
    dead = FaultyStore(inner, lambda *_: Fault.REQUEST_LOST)
    time = VirtualTime()
    with pytest.raises(StoreUnreachable):
        send(dead, path, patience=time.patience(rng, deadline=30.0))
    assert 30.0 <= time.now < 32.0


def test_many_files_up_and_down_in_the_order_given(store: ObjectStore, tmp_path: Path) -> None:
    paths = [a_file(tmp_path, 1_000 * number, seed=number, name=f"f{number}") for number in range(30)]
    paths.insert(3, a_file(tmp_path, 17 * MIB, name="large"))
    told = Told()
    sent = upload_many(store, [Upload(path, f"resources/{path.name}") for path in paths], progress=told)
    assert [info.key for info in sent] == [f"resources/{path.name}" for path in paths]
    assert told.bytes == sum(path.stat().st_size for path in paths)
    back = tmp_path / "back"
    back.mkdir()
    link = FaultyStore(store, lambda *_: Fault.NONE)
    wanted = [
        Download(info.key, back / path.name, etag=info.etag, size=info.size, sha256=info.sha256)
        for info, path in zip(sent, paths, strict=True)
    ]
    got = download_many(link, wanted)
    assert [(info.key, info.etag, info.sha256) for info in got] == [(i.key, i.etag, i.sha256) for i in sent]
    assert all(sha256(path) == sha256(back / path.name) for path in paths)
    # One request for each small file, and nothing but ranges for the large one.
    assert sorted({operation for operation, _, _ in link.seen}) == ["download", "get_range"]
    assert len(link.seen) == 30 + 2


def test_the_first_error_of_many_ends_them_all(tmp_path: Path) -> None:
    store = MemoryStore()
    for number in range(200):
        store.put(f"resources/{number}", b"x")
    wanted = [Download(f"resources/{number}", tmp_path / str(number)) for number in range(200)]
    wanted.insert(20, Download("resources/none", tmp_path / "none"))
    with pytest.raises(NotFound, match="resources/none"):
        download_many(store, wanted)
    assert not [name for name in names(tmp_path) if name.startswith(".")]
    assert len(names(tmp_path)) < 200


class HugeStore(MemoryStore):
    """Counts parts instead of keeping them."""

    def upload_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        data: bytes,
        *,
        sent: Callable[[int], None] = lambda _: None,
    ) -> Part:
        self.numbers = max(getattr(self, "numbers", 0), number)
        return super().upload_part(key, upload_id, number, b"", sent=sent)


def test_no_file_needs_more_parts_than_s3_takes(tmp_path: Path) -> None:
    path = tmp_path / "many parts"
    with path.open("wb") as file:
        file.truncate(20_005)
    store = HugeStore()
    with pytest.raises(Conflict):  # its parts are empty, so what is joined is never our file
        upload_file(store, path, KEY, part_size=1, single_put=1)
    assert store.numbers == -(-20_005 // 3)


# -- a file that nobody holds still


def send_as_read(store: ObjectStore, path: Path, told: Told) -> AsRead:
    with disk.source(path) as source:
        return upload_as_read(store, source, KEY, progress=told, part_size=PART)


@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, 2 * PART + 17])
def test_a_file_that_lies_still_is_sent_as_it_is(store: ObjectStore, tmp_path: Path, size: int) -> None:
    path, told = a_file(tmp_path, size), Told()
    sent = send_as_read(store, path, told)
    assert sent == AsRead(size=size, sha256=sha256(path), changed=False)
    assert store.get(KEY).data == path.read_bytes()
    assert told.bytes == size


@pytest.mark.parametrize("change", [b"and more", b""])  # grows, is emptied
def test_a_file_that_changes_is_sent_as_it_was_read(tmp_path: Path, change: bytes) -> None:
    store, path = MemoryStore(), a_file(tmp_path, 2 * PART)
    before = path.read_bytes()

    class Changing(Told):
        def __call__(self, count: int) -> None:
            super().__call__(count)
            if change:
                with path.open("ab") as file:
                    file.write(change)
            else:
                path.write_bytes(b"")

    sent = send_as_read(store, path, Changing())
    whole = store.get(KEY).data
    assert sent == AsRead(size=len(whole), sha256=hashlib.sha256(whole).hexdigest(), changed=True)
    assert whole == (before if change else before[:PART])


def test_a_stopped_copy_leaves_nothing(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        send_as_read(store, a_file(tmp_path, 3 * PART), Told(stop_after=PART))
    assert uploads_of(store) == []
    with pytest.raises(NotFound):
        store.stat(KEY)
