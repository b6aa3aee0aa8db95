"""One signed HTTP request to an S3 store, and what its answers mean as errors."""

from __future__ import annotations

import base64
import hashlib
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from html import unescape

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from winslow.errors import Conflict, NotFound, StoreRefused, StoreUnreachable, WinslowError
from winslow.store.address import StoreAddress, StoreConfig
from winslow.store.signature import UNSIGNED_PAYLOAD, authorization, encoded_path, encoded_query

POOL_SIZE = 32
PIECE = 64 << 10
"""Bytes that are handed to the network at a time: a time-out counts for each piece, and a whole part at once would
have to be away within one, which a slow link never manages."""
SKEW_NAMED = timedelta(
    minutes=5
)  # a refusal is put down to the clock from here on; stores tolerate 15 minutes
_HALF_A_SECOND = timedelta(seconds=0.5)  # what a Date, in whole seconds, leaves out on average
RETRIES = 3  # of a read, beyond the first try
_NO_ANSWER = frozenset({408, 429, 500, 502, 503, 504})
_CLOCK_CODES = frozenset({"RequestTimeTooSkewed", "RequestExpired", "ExpiredToken"})
_CODE = re.compile(r"<Code>([^<]{1,100})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")


@dataclass(frozen=True)
class Answer:
    """A whole answer; `headers` names are case-insensitive."""

    status: int
    headers: Mapping[str, str]
    data: bytes = field(repr=False, default=b"")

    @property
    def etag(self) -> str:
        """The ETag without quotes; empty where there is none."""
        return self.headers.get("ETag", "").strip('"')

    @property
    def code(self) -> str:
        """S3's word for what went wrong; empty where the body says none (answers to HEAD have no body)."""
        match = _CODE.search(self.data.decode(errors="replace"))
        return match[1] if match else ""

    @property
    def message(self) -> str:
        """S3's sentence for what went wrong."""
        match = _MESSAGE.search(self.data.decode(errors="replace"))
        return unescape(match[1]) if match else ""


def _nothing(_count: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class _Pieces:
    """A payload as it is sent; `sent` gets the bytes of each piece that has left."""

    data: bytes
    sent: Callable[[int], None]

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self.data), PIECE):
            piece = self.data[start : start + PIECE]
            yield piece
            self.sent(len(piece))


class Wire:
    """Requests to one bucket over pooled connections, none of them sent twice unless it is a read."""

    def __init__(
        self,
        config: StoreConfig,
        *,
        connect_timeout: float,
        read_timeout: float,
        now: Callable[[], datetime],
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.address: StoreAddress = config.address
        self.http = urllib3.PoolManager(
            num_pools=2,
            maxsize=POOL_SIZE,
            retries=False,
            timeout=urllib3.Timeout(connect=connect_timeout, read=read_timeout),
        )
        self._config = config
        self._now = now
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311  spreads retries, keeps no secret
        self._heard: tuple[str, datetime] | None = None  # the last answer's Date, and when it came

    def __str__(self) -> str:
        return f"store {self.address}"

    @property
    def skew(self) -> timedelta | None:
        """How far this machine's clock is ahead of the store's, to a second or so, by the last answer; None where none
        told the time."""
        if self._heard is None:
            return None
        off = _skew(*self._heard)
        return off - _HALF_A_SECOND if off is not None else None

    def call(
        self,
        method: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        md5: bool = False,
        sent: Callable[[int], None] = _nothing,
        read_only: bool = False,
    ) -> Answer:
        """Send one request for `key` (or the bucket); the whole answer, whatever its status below 500.

        The payload is covered by the signature, or by Content-MD5 with `md5`; `sent` gets the number of its bytes as
        they leave. Raises StoreUnreachable when
        no clear answer came; only a `read_only` request is then tried again a few times.
        """
        for left in range(RETRIES if read_only else 0, -1, -1):
            try:
                with self.open(
                    method, key, query=query, headers=headers, body=body, md5=md5, sent=sent
                ) as response:
                    answer = Answer(status=response.status, headers=response.headers, data=response.read())
                self.check(answer, method, key)
                return answer
            except StoreUnreachable:
                if not left:
                    raise
                self._sleep(self._rng.uniform(0.1, 0.3) * 2 ** (RETRIES - left))
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def open(
        self,
        method: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        md5: bool = False,
        sent: Callable[[int], None] = _nothing,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """The response with its body still to be read; errors while reading it are mapped as well."""
        query = query or {}
        path = f"/{self.address.bucket}/{key}"
        signed = self._signed(method, path, query, headers or {}, body, md5=md5)
        target = f"{'https' if self.address.secure else 'http'}://{self.address.host}{encoded_path(path)}"
        has_body = bool(body) or method in ("PUT", "POST")
        if has_body:
            signed["content-length"] = str(len(body))  # which urllib3 does not see of pieces
        response = None
        read = False
        try:
            response = self.http.request(
                method,
                f"{target}?{encoded_query(query)}" if query else target,
                headers=signed,
                body=_Pieces(body, sent) if has_body else None,
                preload_content=False,
                redirect=False,
            )
            self._heard = response.headers.get("Date", ""), self._now()
            yield response
            response.drain_conn()
            read = True
        except HTTPError as error:
            raise self.unreachable(error, f"{method} {key}") from error
        finally:
            if response is not None:
                # A connection with unread bytes on it must not serve the next request.
                response.release_conn() if read else response.close()

    def _signed(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        *,
        md5: bool,
    ) -> dict[str, str]:
        moment = self._now()
        signed = {name.lower(): value for name, value in headers.items()}
        signed["host"] = self.address.host
        signed["x-amz-date"] = moment.strftime("%Y%m%dT%H%M%SZ")
        if md5:
            digest = hashlib.md5(body, usedforsecurity=False).digest()
            signed["content-md5"] = base64.b64encode(digest).decode()
            signed["x-amz-content-sha256"] = UNSIGNED_PAYLOAD
        else:
            signed["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
        signed["authorization"] = authorization(
            method=method,
            path=path,
            query=query,
            headers=signed,
            access_key=self._config.access_key,
            secret_key=self._config.secret_key,
            region=self._config.region,
            moment=moment,
        )
        return signed

    def unreachable(self, error: HTTPError, doing: str) -> StoreUnreachable:
        """The error for a request without an answer; its text holds no part of a URL's query."""
        match error:
            case NewConnectionError():
                why = "connection refused" if "refused" in str(error) else "no connection"
            case ConnectTimeoutError():
                why = "no connection within the time-out"
            case ReadTimeoutError():
                why = "no answer within the time-out"
            case SSLError():
                why = "the TLS certificate was not accepted"
            case _:
                why = f"the connection broke ({type(error).__name__})"
        return StoreUnreachable(
            f"{self}: {doing.strip()}: {why}",
            hint="check that the store runs and that this machine reaches it",
        )

    def check(self, answer: Answer, method: str, key: str) -> None:
        """Raises StoreUnreachable for an answer that leaves the outcome open (HTTP 5xx, 429, 408)."""
        if answer.status in _NO_ANSWER or answer.status >= 500:
            said = f" ({answer.code})" if answer.code else ""
            raise StoreUnreachable(
                f"{self}: {method} {key}: HTTP {answer.status}{said}", hint="look at the store's own log"
            )

    def refuse(self, answer: Answer, method: str, key: str) -> WinslowError:
        """The error for an answer that says no: NotFound, Conflict, StoreRefused, or WinslowError."""
        return refusal(
            str(self),
            status=answer.status,
            code=answer.code,
            message=answer.message,
            date=answer.headers.get("Date", ""),
            doing=f"{method} {key}".strip(),
            bucket=self.address.bucket,
            now=self._now(),
        )


def refusal(
    store: str, *, status: int, code: str, message: str, date: str, doing: str, bucket: str, now: datetime
) -> WinslowError:
    """What an HTTP answer of 300 to 499 means; `date` is its Date header, `now` this machine's time."""
    said = f"HTTP {status}" + (f" {code}" if code else "")
    if code == "NoSuchBucket":
        return StoreRefused(
            f"{store}: there is no bucket '{bucket}'", hint="create the bucket, or correct the store URL"
        )
    if status == 404:
        return NotFound(f"{store}: {doing}: not found ({said})")
    if status in (409, 412):
        return Conflict(f"{store}: {doing}: changed meanwhile ({said})")
    if status in (400, 401, 403):
        off = _skew(date, now)
        if code in _CLOCK_CODES or (off is not None and abs(off) >= SKEW_NAMED):
            return StoreRefused(
                f"{store}: {doing}: refused because this machine's clock is {_describe(off)} ({said})",
                hint="set this machine's clock (NTP); stores refuse requests more than 15 minutes off",
            )
        if status != 400:
            return StoreRefused(
                f"{store}: {doing}: access refused ({said})",
                hint="check the access key, the secret key, and the key's rights on the bucket",
            )
    if status in (301, 307, 308):
        return StoreRefused(
            f"{store}: {doing}: the bucket lies elsewhere ({said})", hint="correct the store's URL and region"
        )
    return WinslowError(f"{store}: {doing}: {said}" + (f": {message}" if message else ""))


def _skew(date: str, now: datetime) -> timedelta | None:
    try:
        return now - parsedate_to_datetime(date).astimezone(UTC)
    except (ValueError, TypeError):
        return None


def _describe(off: timedelta | None) -> str:
    if off is None:
        return "too far off"
    side = "ahead of" if off > timedelta(0) else "behind"
    return f"{timedelta(seconds=round(abs(off).total_seconds()))} {side} the store's"
