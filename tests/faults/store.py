"""A bad link to a store, in memory and without a clock: requests and answers get lost, late or doubled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TypeVar

from winslow.errors import Conflict, NotFound, StoreUnreachable, WinslowError
from winslow.store.port import Blob, ObjectInfo, ObjectStore, Part

T = TypeVar("T")


class Fault(StrEnum):
    """What happens to one request."""

    NONE = "none"
    REQUEST_LOST = "request_lost"  # never arrives
    ANSWER_LOST = "answer_lost"  # done, but nobody hears of it
    TWICE = "twice"  # a proxy sends it again and passes on the second answer
    LATE = "late"  # the sender has given up when it arrives: before some later request, or at `flush`


Plan = Callable[[str, str], Fault]


class FaultyStore:
    """One client's way to `inner`. `plan(operation, key)` is asked before every request, and `arrives` whether the
    oldest late one comes in ahead of it.

    `before`, if given, runs ahead of every request: the place where somebody else does something.
    """

    def __init__(
        self,
        inner: ObjectStore,
        plan: Plan,
        *,
        before: Callable[[], None] | None = None,
        arrives: Callable[[], bool] = lambda: True,
    ) -> None:
        self.inner = inner
        self.plan = plan
        self.before = before
        self.arrives = arrives
        self.late: list[Callable[[], object]] = []
        self.seen: list[tuple[str, str, Fault]] = []

    def __str__(self) -> str:
        return f"{self.inner} over a bad link"

    def flush(self) -> None:
        """Let everything arrive that is still on its way."""
        while self.late:
            self._arrive(self.late.pop(0))

    def _arrive(self, request: Callable[[], object]) -> None:
        try:
            request()
        except (Conflict, NotFound):
            pass  # the store said no; nobody was listening
        except WinslowError as error:
            raise AssertionError("the inner store has failed by itself") from error

    def _send(self, operation: str, key: str, call: Callable[[], T]) -> T:
        if self.before is not None:
            self.before()
        fault = self.plan(operation, key)
        self.seen.append((operation, key, fault))
        if self.late and fault is not Fault.LATE and self.arrives():
            self._arrive(self.late.pop(0))
        match fault:
            case Fault.NONE:
                return call()
            case Fault.TWICE:
                self._arrive(call)
                return call()
            case Fault.REQUEST_LOST:
                pass
            case Fault.ANSWER_LOST:
                self._arrive(call)
            case Fault.LATE:
                self.late.append(call)
        raise StoreUnreachable(f"{self}: {operation} {key}: {fault}")

    def get(self, key: str) -> Blob:
        return self._send("get", key, partial(self.inner.get, key))

    def get_range(self, key: str, offset: int, length: int, *, etag: str | None = None) -> bytes:
        return self._send("get_range", key, partial(self.inner.get_range, key, offset, length, etag=etag))

    def stat(self, key: str) -> ObjectInfo:
        return self._send("stat", key, partial(self.inner.stat, key))

    def age(self, key: str) -> float:
        return self._send("age", key, partial(self.inner.age, key))

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        content_type: str = "application/octet-stream",
        sha256: str = "",
    ) -> str:
        call = partial(
            self.inner.put,
            key,
            data,
            if_match=if_match,
            if_none_match=if_none_match,
            content_type=content_type,
            sha256=sha256,
        )
        return self._send("put", key, call)

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        self._send("delete", key, partial(self.inner.delete, key, if_match=if_match))

    def copy(self, source: str, target: str) -> str:
        return self._send("copy", target, partial(self.inner.copy, source, target))

    def walk(self, prefix: str) -> Iterator[ObjectInfo]:
        yield from self._send("walk", prefix, lambda: list(self.inner.walk(prefix)))

    def list_folder(self, prefix: str) -> Iterator[ObjectInfo | str]:
        yield from self._send("list_folder", prefix, lambda: list(self.inner.list_folder(prefix)))

    def delete_prefix(self, prefix: str) -> int:
        return self._send("delete_prefix", prefix, partial(self.inner.delete_prefix, prefix))

    def create_upload(
        self, key: str, *, sha256: str = "", content_type: str = "application/octet-stream"
    ) -> str:
        call = partial(self.inner.create_upload, key, sha256=sha256, content_type=content_type)
        return self._send("create_upload", key, call)

    def upload_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        data: bytes,
        *,
        sent: Callable[[int], None] = lambda _: None,
    ) -> Part:
        call = partial(self.inner.upload_part, key, upload_id, number, data, sent=sent)
        return self._send("upload_part", key, call)

    def list_parts(self, key: str, upload_id: str) -> list[Part]:
        return self._send("list_parts", key, partial(self.inner.list_parts, key, upload_id))

    def list_uploads(self, prefix: str) -> list[tuple[str, str]]:
        return self._send("list_uploads", prefix, partial(self.inner.list_uploads, prefix))

    def complete_upload(self, key: str, upload_id: str, parts: list[Part]) -> str:
        return self._send("complete_upload", key, partial(self.inner.complete_upload, key, upload_id, parts))

    def abort_upload(self, key: str, upload_id: str) -> None:
        self._send("abort_upload", key, partial(self.inner.abort_upload, key, upload_id))

    def download(self, key: str, path: Path, *, etag: str | None = None) -> ObjectInfo:
        return self._send("download", key, partial(self.inner.download, key, path, etag=etag))

    def presigned_get(self, key: str, *, seconds: int) -> str:
        return self.inner.presigned_get(key, seconds=seconds)
