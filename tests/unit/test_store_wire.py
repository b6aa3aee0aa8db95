"""Addresses, signatures against Amazon's published examples, and what answers mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from winslow.errors import Conflict, InvalidInput, NotFound, StoreRefused, StoreUnreachable, WinslowError
from winslow.store.address import StoreConfig
from winslow.store.s3 import S3Store
from winslow.store.signature import authorization, encoded_path, encoded_query
from winslow.store.wire import refusal

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "signature"),
    [
        (
            "GET",
            "/test.txt",
            {},
            {"range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test$file.text",
            {},
            {
                "date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
            },
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/",
            {"lifecycle": ""},
            {},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/",
            {"prefix": "J", "max-keys": "2"},
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_signatures_are_those_of_amazons_examples(
    method: str, path: str, query: dict[str, str], headers: dict[str, str], signature: str
) -> None:
    signed = authorization(
        method=method,
        path=path,
        query=query,
        headers={
            "host": "examplebucket.s3.amazonaws.com",
            "x-amz-content-sha256": EMPTY,
            "x-amz-date": "20130524T000000Z",
            **headers,
        },
        access_key="AKIAIOSFODNN7EXAMPLE",
        secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region="us-east-1",
        moment=datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert signed.endswith(f"Signature={signature}")
    assert "wJalr" not in signed


def test_paths_and_queries_are_escaped_once() -> None:
    assert encoded_path("/b/ü +%~/x") == "/b/%C3%BC%20%2B%25~/x"
    assert encoded_query({"uploads": "", "prefix": "a/b c"}) == "prefix=a%2Fb%20c&uploads="


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:9000/winslow", "http://127.0.0.1:9000/winslow"),
        ("http://store.example:80/winslow/", "http://store.example/winslow"),
        ("https://store.example:443/winslow", "https://store.example/winslow"),
        ("https://store.example:8443/win.slow-1", "https://store.example:8443/win.slow-1"),
        ("http://[::1]:9000/winslow", "http://[::1]:9000/winslow"),
        ("s3://winslow", "https://s3.eu-central-1.amazonaws.com/winslow"),
    ],
)
def test_a_store_url_is_taken_apart(url: str, shown: str) -> None:
    assert str(StoreConfig(url=url, region="eu-central-1").address) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "winslow",
        "ftp://host/bucket",
        "http://host",
        "http:///bucket",
        "http://host/bucket/deeper",
        "http://host/bucket?x=1",
        "http://host/B",
        "http://host:notaport/bucket",
        "s3://",
    ],
)
def test_anything_else_is_refused_with_the_form_to_write(url: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        _ = StoreConfig(url=url).address
    assert "BUCKET" in raised.value.hint


def test_keys_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidInput) as raised:
        _ = StoreConfig(url="http://me:hunter2@host/bucket").address
    assert "hunter2" not in f"{raised.value} {raised.value.hint}"


def test_neither_configuration_nor_store_shows_its_keys() -> None:
    config = StoreConfig(url="http://host/bucket", access_key="the-access-key", secret_key="the-secret-key")
    store = S3Store(config)
    for shown in (repr(config), repr(store), str(store)):
        assert "the-secret-key" not in shown and "the-access-key" not in shown
    store.close()


def answer(status: int, code: str = "", *, off: timedelta = timedelta(0)) -> WinslowError:
    return refusal(
        "store http://host/bucket",
        status=status,
        code=code,
        message="the store's own words",
        date=(NOW - off).strftime("%a, %d %b %Y %H:%M:%S GMT"),
        doing="PUT a",
        bucket="bucket",
        now=NOW,
    )


def test_an_answer_becomes_the_error_that_it_means() -> None:
    assert isinstance(answer(404, "NoSuchKey"), NotFound)
    assert isinstance(answer(412, "PreconditionFailed"), Conflict)
    assert isinstance(answer(409, "ConditionalRequestConflict"), Conflict)
    for status, code in ((404, "NoSuchBucket"), (403, "AccessDenied"), (301, "PermanentRedirect")):
        error = answer(status, code)
        assert isinstance(error, StoreRefused) and error.hint and not error.retryable
        assert not isinstance(error, StoreUnreachable) and error.exit_code == 5
    assert type(answer(400, "InvalidPart")) is WinslowError
    assert "the store's own words" in str(answer(400, "InvalidPart"))


def test_a_refusal_is_put_down_to_the_clock_only_where_the_clock_is_off() -> None:
    assert "clock" not in str(answer(403, "AccessDenied", off=timedelta(minutes=4)))
    assert "0:20:00 ahead of the store's" in str(answer(403, "AccessDenied", off=timedelta(minutes=20)))
    assert "0:20:00 behind the store's" in str(answer(403, "AccessDenied", off=timedelta(minutes=-20)))
    assert "clock" in str(answer(403, "RequestTimeTooSkewed"))
    assert "clock" not in str(answer(404, "NoSuchKey", off=timedelta(days=3)))
    unknown = refusal(
        "s", status=403, code="AccessDenied", message="", date="yesterday", doing="GET a", bucket="b", now=NOW
    )
    assert "access refused" in str(unknown)
