"""What every adapter of the store port does, over memory and over every S3 server on this machine."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.servers import StoreService
from tests.stores import connected
from winslow.errors import Conflict, InvalidInput, NotFound, WinslowError
from winslow.store.memory import MemoryStore
from winslow.store.port import ObjectInfo, ObjectStore, Part
from winslow.store.probe import check_conditional_writes
from winslow.store.s3 import S3Store
from winslow.store.wire import PIECE

MIB = 1 << 20
ODD_KEYS = [
    "resources/a b+c.mp4",
    "resources/ü/日本語/é.bin",
    "resources/%41%2F&=?#'\"<>;:@$,[]{}|^`~!*().txt",
    "resources/" + "n" * 200,
]


@pytest.fixture(params=["memory", "seaweedfs_store", "minio_store"])
def store(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    service = request.getfixturevalue(request.param)
    assert isinstance(service, StoreService)
    with connected(service.with_new_bucket(), copy_part=5 * MIB) as real:
        yield real


def test_what_was_put_is_read_whole_in_ranges_and_from_its_head(store: ObjectStore) -> None:
    data = bytes(range(256)) * 40
    etag = store.put("projects/p/input/a", data, sha256="ab" * 32)
    blob = store.get("projects/p/input/a")
    assert (blob.data, blob.etag) == (data, etag)
    info = store.stat("projects/p/input/a")
    assert (info.key, info.etag, info.size, info.sha256) == ("projects/p/input/a", etag, len(data), "ab" * 32)
    assert info.modified.endswith("Z")
    assert store.get_range("projects/p/input/a", 250, 20) == data[250:270]
    assert store.get_range("projects/p/input/a", len(data) - 3, 20) == data[-3:]
    assert store.get_range("projects/p/input/a", len(data), 20) == b""
    assert store.get_range("projects/p/input/a", 5, 0) == b""
    assert store.get_range("projects/p/input/a", 0, 1, etag=etag) == data[:1]
    with pytest.raises(Conflict):
        store.get_range("projects/p/input/a", 0, 1, etag="0" * 32)


def test_an_object_is_as_old_as_the_server_says(store: ObjectStore) -> None:
    store.put("projects/p/input/a", b"x")
    assert 0 <= store.age("projects/p/input/a") < 60
    with pytest.raises(NotFound):
        store.age("projects/p/input/b")


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    etag = store.put("projects/p/input/empty", b"")
    assert store.get("projects/p/input/empty").data == b""
    assert store.get_range("projects/p/input/empty", 0, 10) == b""
    assert store.stat("projects/p/input/empty").etag == etag
    assert [info.size for info in store.walk("projects/p/")] == [0]


def test_a_missing_object_is_not_found(store: ObjectStore, tmp_path: Path) -> None:
    for read in (
        lambda: store.get("projects/none"),
        lambda: store.get_range("projects/none", 0, 1),
        lambda: store.stat("projects/none"),
        lambda: store.download("projects/none", tmp_path / "x"),
    ):
        with pytest.raises(NotFound, match="projects/none"):
            read()
    assert not (tmp_path / "x").exists()


def test_a_conditional_create_happens_once(store: ObjectStore) -> None:
    etag = store.put("documents/projects/a.json", b"first", if_none_match=True)
    with pytest.raises(Conflict):
        store.put("documents/projects/a.json", b"second", if_none_match=True)
    blob = store.get("documents/projects/a.json")
    assert (blob.data, blob.etag) == (b"first", etag)


def test_a_conditional_replace_needs_the_etag_that_stands(store: ObjectStore) -> None:
    first = store.put("documents/projects/a.json", b"first")
    second = store.put("documents/projects/a.json", b"second", if_match=first)
    assert second != first
    with pytest.raises(Conflict):
        store.put("documents/projects/a.json", b"third", if_match=first)
    with pytest.raises(Conflict):
        store.put("documents/projects/none.json", b"x", if_match=first)
    assert store.get("documents/projects/a.json").data == b"second"
    with pytest.raises(NotFound):
        store.get("documents/projects/none.json")


def test_of_many_writers_one_wins_and_the_probe_leaves_nothing(store: ObjectStore) -> None:
    check_conditional_writes([store], token="contract", rounds=2)
    assert list(store.walk("probe/")) == []


def test_delete_with_and_without_a_condition(store: ObjectStore) -> None:
    store.delete("projects/none")
    store.delete("projects/none", if_match="0" * 32)
    etag = store.put("projects/a", b"a")
    with pytest.raises(Conflict):
        store.delete("projects/a", if_match="0" * 32)
    assert store.get("projects/a").data == b"a"
    store.delete("projects/a", if_match=etag)
    with pytest.raises(NotFound):
        store.get("projects/a")


def test_odd_keys_come_back_as_they_were(store: ObjectStore, tmp_path: Path) -> None:
    for key in ODD_KEYS:
        store.put(key, key.encode())
    assert [info.key for info in store.walk("resources/")] == sorted(ODD_KEYS, key=str.encode)
    for key in ODD_KEYS:
        assert store.get(key).data == key.encode()
        assert store.download(key, tmp_path / "x").size == len(key.encode())
    assert store.delete_prefix("resources/") == len(ODD_KEYS)


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a/../b", "./a", "a\nb", "a\\b", "k" * 1025])
def test_a_key_that_would_reach_another_place_is_refused_before_anything_is_sent(
    store: ObjectStore, key: str
) -> None:
    with pytest.raises(InvalidInput):
        store.put(key, b"x")
    with pytest.raises(InvalidInput):
        store.get(key)
    with pytest.raises(InvalidInput):
        store.delete(key)


@pytest.mark.parametrize("size", [0, 1000, 11 * MIB])  # the last one is copied in parts
def test_a_copy_is_the_same_object_in_another_place(store: ObjectStore, size: int) -> None:
    data = os.urandom(size)
    sha256 = hashlib.sha256(data).hexdigest()
    first = store.put("projects/p/input/a", data, sha256=sha256, content_type="video/mp4")
    store.put("projects/q/input/a", b"what was there")
    etag = store.copy("projects/p/input/a", "projects/q/input/a")
    copied = store.stat("projects/q/input/a")
    assert (copied.etag, copied.size, copied.sha256) == (etag, size, sha256)
    assert store.get("projects/q/input/a").data == data
    assert store.stat("projects/p/input/a").etag == first
    assert store.list_uploads("projects/q/input/a") == []
    store.delete("projects/p/input/a")
    assert store.get("projects/q/input/a").data == data


def test_an_object_that_was_uploaded_in_parts_is_copied_whole(store: ObjectStore) -> None:
    data = os.urandom(5 * MIB) + b"the end"
    upload = store.create_upload("resources/big", sha256="cd" * 32)
    parts = [
        store.upload_part("resources/big", upload, number, data[(number - 1) * 5 * MIB :][: 5 * MIB])
        for number in (1, 2)
    ]
    store.complete_upload("resources/big", upload, parts)
    store.copy("resources/big", "resources/copy")
    assert store.get("resources/copy").data == data
    assert store.stat("resources/copy").sha256 == "cd" * 32


def test_a_part_tells_of_its_bytes_as_they_leave(store: ObjectStore) -> None:
    data, counts = os.urandom(5 * MIB + 1), list[int]()
    upload = store.create_upload("resources/big")
    part = store.upload_part("resources/big", upload, 1, data, sent=counts.append)
    assert sum(counts) == len(data)
    if isinstance(store, S3Store):  # a time-out counts for each: the whole part at once needs a fast link
        assert max(counts) <= PIECE
    store.complete_upload("resources/big", upload, [part])
    assert store.get("resources/big").data == data


def test_a_copy_of_nothing_is_not_found_and_odd_keys_are_copied(store: ObjectStore) -> None:
    with pytest.raises(NotFound, match="projects/none"):
        store.copy("projects/none", "projects/copy")
    with pytest.raises(NotFound):
        store.stat("projects/copy")
    for number, key in enumerate(ODD_KEYS):
        store.put(key, key.encode())
        store.copy(key, f"{key}.{number}")
        assert store.get(f"{key}.{number}").data == key.encode()
    with pytest.raises(InvalidInput):
        store.copy(ODD_KEYS[0], "resources/../a")


def test_a_walk_gives_every_object_below_a_prefix_with_its_etag(store: ObjectStore) -> None:
    etags = {f"documents/projects/p{number:04}.json": "" for number in range(1_050)}  # more than a page
    for key in etags:
        etags[key] = store.put(key, key.encode())
    store.put("documents/pipelines/p.json", b"")
    assert {info.key: info.etag for info in store.walk("documents/projects/")} == etags
    assert [info.key for info in store.walk("documents/projects/p00")] == list(etags)[:100]
    assert list(store.walk("nothing/")) == []
    assert store.delete_prefix("documents/projects/") == len(etags)
    assert [info.key for info in store.walk("documents/")] == ["documents/pipelines/p.json"]


def test_a_folder_shows_one_level(store: ObjectStore) -> None:
    for key in ("resources/a.txt", "resources/ulm/1.mp4", "resources/ulm/2.mp4", "resources/ulm/x/3.mp4"):
        store.put(key, b"data")

    def shown(prefix: str) -> set[str]:
        return {each if isinstance(each, str) else each.key for each in store.list_folder(prefix)}

    assert shown("resources/") == {"resources/a.txt", "resources/ulm/"}
    assert shown("resources/ulm/") == {"resources/ulm/1.mp4", "resources/ulm/2.mp4", "resources/ulm/x/"}
    assert shown("resources/none/") == set()


def test_a_multipart_upload_from_begin_to_end(store: ObjectStore, tmp_path: Path) -> None:
    key, data = "resources/big", bytes(5 * MIB) + b"the end"
    upload = store.create_upload(key, sha256=hashlib.sha256(data).hexdigest())
    second = store.upload_part(key, upload, 2, data[5 * MIB :])
    first = store.upload_part(key, upload, 1, data[: 5 * MIB])
    assert first.etag == hashlib.md5(data[: 5 * MIB]).hexdigest()
    assert store.list_parts(key, upload) == [first, second]
    assert store.list_uploads(key) == [(key, upload)]
    with pytest.raises(NotFound):
        store.stat(key)
    etag = store.complete_upload(key, upload, [first, second])
    expected = ObjectInfo(key=key, etag=etag, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    held = store.stat(key)
    assert (held.etag, held.size, held.sha256) == (expected.etag, expected.size, expected.sha256)
    assert store.list_uploads(key) == []
    with pytest.raises(NotFound):
        store.list_parts(key, upload)
    assert store.download(key, tmp_path / "big", etag=etag).sha256 == expected.sha256
    assert (tmp_path / "big").read_bytes() == data
    assert store.get_range(key, 5 * MIB - 2, 4, etag=etag) == b"\0\0th"


def test_a_part_that_was_never_sent_cannot_be_joined(store: ObjectStore) -> None:
    upload = store.create_upload("resources/big")
    part = store.upload_part("resources/big", upload, 1, b"one")
    with pytest.raises(WinslowError):
        store.complete_upload("resources/big", upload, [part, Part(number=2, etag="0" * 32, size=3)])
    with pytest.raises(NotFound):
        store.stat("resources/big")
    store.abort_upload("resources/big", upload)


def test_an_aborted_upload_is_gone_and_can_be_aborted_again(store: ObjectStore) -> None:
    upload = store.create_upload("resources/big")
    store.upload_part("resources/big", upload, 1, b"one")
    store.abort_upload("resources/big", upload)
    store.abort_upload("resources/big", upload)
    assert store.list_uploads("resources/big") == []
    with pytest.raises(NotFound):
        store.upload_part("resources/big", upload, 2, b"two")


def test_removing_a_prefix_takes_open_uploads_along_and_leaves_its_neighbours(store: ObjectStore) -> None:
    keys = ["projects/p/input/big", "projects/p/input/odd ü+%", "projects/p/runs/1.1/workspace/0f"]
    uploads = {key: store.create_upload(key) for key in [*keys, "projects/p-2/input/big"]}
    for key, upload in uploads.items():
        store.upload_part(key, upload, 1, b"one")
    store.create_upload(keys[0])  # one more of the same key
    store.put("projects/p/input/a", b"")
    store.put("projects/p-2/input/a", b"")
    assert store.delete_prefix("projects/p/") == 1
    assert [info.key for info in store.walk("projects/")] == ["projects/p-2/input/a"]
    for key in keys:
        assert store.list_uploads(key) == []
        with pytest.raises(NotFound):
            store.upload_part(key, uploads[key], 2, b"two")
    neighbour = "projects/p-2/input/big"
    assert store.list_uploads(neighbour) == [(neighbour, uploads[neighbour])]
    assert store.delete_prefix("projects/p-2/") == 1
    assert store.list_uploads(neighbour) == []
    assert list(store.walk("")) == []


def test_an_upload_that_is_over_leaves_no_sign(store: ObjectStore) -> None:
    first, second = store.create_upload("resources/big"), store.create_upload("resources/big")
    part = store.upload_part("resources/big", first, 1, b"one")
    store.complete_upload("resources/big", first, [part])
    store.abort_upload("resources/big", second)
    assert [info.key for info in store.walk("")] == ["resources/big"]


def test_a_download_is_refused_when_the_object_is_another(store: ObjectStore, tmp_path: Path) -> None:
    old = store.put("resources/a", b"old")
    store.put("resources/a", b"new")
    with pytest.raises(Conflict):
        store.download("resources/a", tmp_path / "a", etag=old)
    assert not (tmp_path / "a").exists()


def test_many_threads_share_one_store(store: ObjectStore) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                key = f"resources/{number}/{turn}"
                store.put(key, key.encode())
                assert store.get(key).data == key.encode()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(1 for _ in store.walk("resources/")) == 160
