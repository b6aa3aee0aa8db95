"""What only a real server can show: refusals that are named, links, outages, and no secret in any text."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import StoreFactory
from tests.faults.proxy import ProxyFault, faulty_proxy
from tests.services.servers import StoreService
from tests.stores import config_of, connected
from winslow.errors import NotFound, StoreUnreachable, WinslowError
from winslow.store.s3 import S3Store
from winslow.store.site import ensure_site, read_site

Calls = list[Callable[[], object]]


@pytest.fixture
def service(s3_server: StoreService) -> StoreService:
    return s3_server.with_new_bucket()


@pytest.fixture
def store(service: StoreService) -> Iterator[S3Store]:
    with connected(service) as connection:
        yield connection


def every_kind_of_call(store: S3Store) -> Calls:
    """One that signs by itself, one with a body, one without an answer's body, and minio-py's own."""
    return [
        lambda: store.get("resources/a"),
        lambda: store.put("resources/a", b"a", if_none_match=True),
        lambda: store.stat("resources/a"),
        lambda: list(store.walk("resources/")),
        lambda: store.list_uploads("resources/"),
        lambda: store.delete_prefix("resources/"),
    ]


def test_a_wrong_key_is_named_and_no_secret_is_shown(service: StoreService) -> None:
    wrong = replace(service, secret_key="not-the-secret-at-all")
    with connected(wrong) as store:
        for call in every_kind_of_call(store):
            with pytest.raises(WinslowError, match="access refused") as raised:
                call()
            assert "access key" in raised.value.hint
            shown = f"{raised.value} {raised.value!r} {raised.value.hint} {store!r} {config_of(wrong)!r}"
            assert wrong.secret_key not in shown and "Signature=" not in shown


@pytest.mark.parametrize("days", [3, -3])
def test_a_clock_that_is_off_is_named_with_its_skew(service: StoreService, days: int) -> None:
    store = S3Store(config_of(service), now=lambda: datetime.now(UTC) + timedelta(days=days))
    side = "ahead of" if days > 0 else "behind"
    for call in (lambda: store.get("a"), lambda: store.put("a", b""), lambda: store.stat("a")):
        with pytest.raises(
            WinslowError, match=rf"clock is (3 days|2 days, 23:59).* {side} the store's"
        ) as raised:
            call()
        assert "NTP" in raised.value.hint
    store.close()


def test_a_missing_bucket_is_named(service: StoreService) -> None:
    with connected(replace(service, bucket="nobody-made-this")) as store:
        for call in (lambda: store.get("resources/a"), lambda: store.list_parts("resources/a", "none")):
            with pytest.raises(WinslowError, match=r"'nobody-made-this'|not found") as raised:
                call()
        with pytest.raises(WinslowError, match="no bucket 'nobody-made-this'") as raised:
            store.get("resources/a")
        assert not isinstance(raised.value, NotFound)
        assert "bucket" in raised.value.hint


def test_a_bucket_is_made_once(service: StoreService) -> None:
    with connected(replace(service, bucket=f"{service.bucket}-new")) as store:
        store.ensure_bucket()
        store.put("resources/a", b"a")
        store.ensure_bucket()
        assert store.get("resources/a").data == b"a"


def test_a_link_opens_one_object_without_keys(store: S3Store) -> None:
    store.put("resources/ü b.txt", b"for everybody")
    with urllib.request.urlopen(store.presigned_get("resources/ü b.txt", seconds=60), timeout=60) as answer:
        assert answer.read() == b"for everybody"


def test_nobody_listening_is_an_unreachable_store(service: StoreService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with connected(service, endpoint=endpoint) as store:
        for call in every_kind_of_call(store):
            with pytest.raises(StoreUnreachable, match="connection refused") as raised:
                call()
            assert raised.value.retryable and raised.value.hint


def test_silence_ends_with_the_time_out(service: StoreService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            connected(service, endpoint=endpoint, read_timeout=0.1) as store,
            pytest.raises(StoreUnreachable, match="no answer within the time-out"),
        ):
            store.put("resources/a", b"a")


def test_reads_are_tried_again_and_writes_are_not(service: StoreService, store: S3Store) -> None:
    store.put("resources/a", b"a")
    faults = [ProxyFault.ANSWER_DROPPED, ProxyFault.ANSWER_REPLACED, ProxyFault.REQUEST_DROPPED]
    left = list(faults)
    with (
        faulty_proxy(service.endpoint, lambda *_: left.pop() if left else ProxyFault.NONE) as proxy,
        connected(service, endpoint=proxy.url) as behind,
    ):
        assert behind.get("resources/a").data == b"a"
        assert sum(proxy.counts.values()) == 4
        for fault in faults:
            left.append(fault)
            with pytest.raises(StoreUnreachable):
                behind.put("resources/a", b"b")
            assert left == []
        assert sum(proxy.counts.values()) == 4 + len(faults)


def test_a_server_that_comes_back_is_used_again_with_all_it_had(store_factory: StoreFactory) -> None:
    service = store_factory("seaweedfs")
    with connected(service) as store:
        etag = store.put("documents/projects/a.json", b"a", if_none_match=True)
        service.kill()
        with pytest.raises(StoreUnreachable):
            store.put("documents/projects/a.json", b"b", if_match=etag)
        service.start()
        assert store.get("documents/projects/a.json").data == b"a"
        store.put("documents/projects/a.json", b"b", if_match=etag)


def test_a_site_is_made_once_and_keeps_its_id(store: S3Store) -> None:
    with pytest.raises(NotFound):
        read_site(store)
    first = ensure_site(store, new_id="first-random-id")
    assert ensure_site(store, new_id="second-random-id") == first == read_site(store)
