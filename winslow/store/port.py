"""What Winslow needs from an object store: plain S3 with conditional PUT (design 3 and 8).

All methods block; asyncio code calls them in a bounded executor. Adapters: `s3.S3Store`
(minio-py) and `memory.MemoryStore`. Both pass `tests/integration/test_store_contract.py`.
No adapter retries a conditional write by itself: after an unknown outcome `documents.py` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from winslow.errors import Conflict, NotFound, StoreUnreachable

__all__ = ["Blob", "Conflict", "NotFound", "ObjectInfo", "ObjectStore", "Part", "StoreUnreachable"]


@dataclass(frozen=True)
class ObjectInfo:
    """One object as a listing or a HEAD shows it; `etag` without quotes, `size` in bytes.

    `modified` is the server's own time (RFC 3339 UTC): for people, never for a decision.
    `sha256` is set only where the uploader stored it as user metadata and a HEAD or GET was made.
    """

    key: str
    etag: str
    size: int
    modified: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class Blob:
    """A small object read whole, with the ETag that a conditional write needs."""

    data: bytes
    etag: str


@dataclass(frozen=True)
class Part:
    """One uploaded part of a multipart upload; `number` counts from 1."""

    number: int
    etag: str
    size: int


class ObjectStore(Protocol):
    """Keys are `/`-separated UTF-8 strings inside one bucket.

    Every method raises `StoreUnreachable` when no clear answer came (connection refused or cut,
    time-out, HTTP 5xx) and `WinslowError` with a hint for refused credentials, a missing bucket or a
    clock that is off (named as such, with the skew from the `Date` header).
    """

    def get(self, key: str) -> Blob:
        """Read an object whole. Raises NotFound."""

    def get_range(self, key: str, offset: int, length: int, *, etag: str | None = None) -> bytes:
        """Up to `length` bytes from `offset`; shorter at the end, empty past it.

        Raises NotFound, or Conflict when the object's ETag is no longer `etag`."""

    def stat(self, key: str) -> ObjectInfo:
        """Raises NotFound."""

    def age(self, key: str) -> float:
        """Seconds since the object was written, by the server's own clock alone: it tells both times in one answer.

        0 where it tells none. Raises NotFound."""

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
        """Write an object whole and return its ETag; `sha256` (hex), if given, is kept as user metadata.

        With `if_match` (an ETag) or `if_none_match` the write is conditional and raises Conflict when
        the store answers 412 (or 404 for `if_match` on a missing key, or 409 on a race).
        """

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """Remove an object; a missing one is fine. Raises Conflict when `if_match` does not hold.

        MinIO ignores the condition: there it is looked at just before, which is no decision to build on."""

    def copy(self, source: str, target: str) -> str:
        """Let the store copy an object, none of its bytes passing through here; the copy's ETag.

        Content type and sha256 stay; an object of several parts gets another ETag, and so may a large one.
        What `target` held is replaced in one step. Raises NotFound without `source`, Conflict when it was
        replaced while a large one was copied."""

    def walk(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object below `prefix`, in key order, fetched in pages of 1,000."""

    def list_folder(self, prefix: str) -> Iterator[ObjectInfo | str]:
        """One level below `prefix` (ending in `/`): objects, and sub-prefixes as strings ending in `/`."""

    def delete_prefix(self, prefix: str) -> int:
        """Remove every object and open multipart upload below `prefix`; the number of objects removed."""

    def create_upload(
        self, key: str, *, sha256: str = "", content_type: str = "application/octet-stream"
    ) -> str:
        """Begin a multipart upload, keeping `sha256` (hex) as user metadata; its upload id."""

    def upload_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        data: bytes,
        *,
        sent: Callable[[int], None] = lambda _: None,
    ) -> Part:
        """Send one part, verified by the server (Content-MD5); `sent` gets the number of its bytes as they leave."""

    def list_parts(self, key: str, upload_id: str) -> list[Part]:
        """Parts the server already has. Raises NotFound when the upload is gone."""

    def list_uploads(self, prefix: str) -> list[tuple[str, str]]:
        """Open multipart uploads as (key, upload id).

        MinIO shows them only for a `prefix` that is a whole key; `delete_prefix` finds them there, too."""

    def complete_upload(self, key: str, upload_id: str, parts: list[Part]) -> str:
        """Join the parts; the object's ETag."""

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts; a missing one is fine."""

    def download(self, key: str, path: Path, *, etag: str | None = None) -> ObjectInfo:
        """Stream an object into `path` (created or truncated).

        Raises NotFound, or Conflict when the object's ETag is no longer `etag`."""

    def presigned_get(self, key: str, *, seconds: int) -> str:
        """A link that lets anybody read the object for that long."""
