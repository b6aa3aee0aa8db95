"""The port over plain S3: minio-py for listings, removals and links, signed requests for the rest.

minio-py has no argument for conditional headers, nor for an upload that is gone on with, so those
calls (and the reads and writes that want exact error handling) go through `wire.Wire`; both share one
connection pool. Path-style addresses, no admin call, nothing beyond the basics but conditional PUT.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.sax.saxutils import escape

from minio import Minio
from minio.datatypes import Object
from minio.deleteobjects import DeleteObject
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3.exceptions import HTTPError

from winslow.errors import Conflict, NotFound, StoreUnreachable, WinslowError
from winslow.store import layout
from winslow.store.address import StoreConfig
from winslow.store.layout import check_key
from winslow.store.pool import in_parallel
from winslow.store.port import Blob, ObjectInfo, Part
from winslow.store.signature import encoded_path
from winslow.store.wire import Answer, Wire, refusal

_META = "x-amz-meta-sha256"
_CHUNK = 1 << 20
_OCTETS = "application/octet-stream"
_COPIES = 4  # parts of one object that are copied at once
COPY_PART = 512 << 20
"""What one request copies: within a time-out on slow disks, and 10,000 of them are S3's largest object."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class S3Store:
    """One bucket of an S3 server. Safe for threads; a forked process makes its own.

    Time-outs in seconds. Reads are tried up to four times, writes once (port.py says why). `now` is what
    requests are signed with, nothing else. Objects over `copy_part` bytes are copied in parts.
    """

    def __init__(
        self,
        config: StoreConfig,
        *,
        connect_timeout: float = 5.0,
        read_timeout: float = 60.0,
        copy_part: int = COPY_PART,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._now = now
        self._copy_part = copy_part
        self._hides_uploads: bool | None = None  # not known before the first upload
        self._wire = Wire(config, connect_timeout=connect_timeout, read_timeout=read_timeout, now=now)
        self._bucket = self._wire.address.bucket
        self._minio = Minio(
            self._wire.address.host,
            access_key=config.access_key or None,
            secret_key=config.secret_key or None,
            secure=self._wire.address.secure,
            region=config.region,
            http_client=self._wire.http,
        )

    def __str__(self) -> str:
        return str(self._wire)

    def __repr__(self) -> str:
        return f"S3Store({str(self._wire.address)!r})"

    def close(self) -> None:
        """Close the pooled connections."""
        self._wire.http.clear()

    def skew(self) -> int | None:
        """Whole seconds that this machine's clock is ahead of the store's, by its last answer; None before one.

        An answer tells whole seconds and takes its time: one or two mean nothing."""
        off = self._wire.skew
        return round(off.total_seconds()) if off is not None else None

    def ensure_bucket(self) -> None:
        """Create the bucket where it is missing (for an embedded site; elsewhere the operator makes it)."""
        answer = self._wire.call("PUT")
        # BucketAlreadyOwnedByYou answers 409, and 200 in Amazon's oldest region.
        if answer.status not in (200, 409):
            raise self._wire.refuse(answer, "PUT", "")

    def get(self, key: str) -> Blob:
        """See port."""
        answer = self._expect("GET", key, (200,))
        return Blob(data=answer.data, etag=answer.etag)

    def get_range(self, key: str, offset: int, length: int, *, etag: str | None = None) -> bytes:
        """See port."""
        if length <= 0:
            return b""
        headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
        if etag is not None:
            headers["If-Match"] = f'"{etag}"'
        answer = self._expect("GET", key, (200, 206, 416), headers=headers)
        if answer.status == 416:
            return b""
        return answer.data if answer.status == 206 else answer.data[offset : offset + length]

    def stat(self, key: str) -> ObjectInfo:
        """See port."""
        return _info(key, self._expect("HEAD", key, (200,)))

    def age(self, key: str) -> float:
        """See port."""
        headers = self._expect("HEAD", key, (200,)).headers
        written, now = _http_time(headers.get("Last-Modified", "")), _http_time(headers.get("Date", ""))
        return max(0.0, (now - written).total_seconds()) if written and now else 0.0

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        content_type: str = _OCTETS,
        sha256: str = "",
    ) -> str:
        """See port."""
        headers = {"Content-Type": content_type}
        if sha256:
            headers[_META] = sha256
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        if if_none_match:
            headers["If-None-Match"] = "*"
        answer = self._wire.call("PUT", check_key(key), headers=headers, body=data)
        if answer.status == 404 and if_match is not None and answer.code != "NoSuchBucket":
            raise Conflict(f"{self}: PUT {key}: it is gone (HTTP 404 {answer.code})")
        return self._accept(answer, "PUT", key, (200,)).etag

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See port."""
        headers = {}
        if if_match is not None:
            try:
                held = self.stat(key)
            except NotFound:
                return
            if held.etag != if_match:
                raise Conflict(f"{self}: DELETE {key}: changed meanwhile")
            headers["If-Match"] = f'"{if_match}"'
        answer = self._wire.call("DELETE", check_key(key), headers=headers)
        if answer.status != 404 or answer.code == "NoSuchBucket":
            self._accept(answer, "DELETE", key, (200, 204))

    def copy(self, source: str, target: str) -> str:
        """See port."""
        head = self._expect("HEAD", source, (200,))
        # Between the parts of a large object, and between HEAD and copy, somebody may replace it.
        headers = {
            "x-amz-copy-source": encoded_path(f"/{self._bucket}/{source}"),
            "x-amz-copy-source-if-match": f'"{head.etag}"',
        }
        info = _info(source, head)
        if info.size <= self._copy_part:
            return self._copied(source, target, headers, {})
        upload_id = self.create_upload(
            target, sha256=info.sha256, content_type=head.headers.get("Content-Type", _OCTETS)
        )

        def part(number: int) -> Part:
            first = (number - 1) * self._copy_part
            last = min(first + self._copy_part, info.size) - 1
            bounds = headers | {"x-amz-copy-source-range": f"bytes={first}-{last}"}
            query = {"partNumber": str(number), "uploadId": upload_id}
            return Part(
                number=number, etag=self._copied(source, target, bounds, query), size=last - first + 1
            )

        try:
            numbers = range(1, -(-info.size // self._copy_part) + 1)
            return self.complete_upload(target, upload_id, in_parallel(_COPIES, "copy", part, numbers))
        except WinslowError:
            with suppress(StoreUnreachable):  # then it goes with whatever removes the prefix
                self.abort_upload(target, upload_id)
            raise

    def _copied(self, source: str, target: str, headers: dict[str, str], query: dict[str, str]) -> str:
        """The ETag of an object or a part, once the store has copied it."""
        answer = self._wire.call("PUT", check_key(target), query=query, headers=headers)
        self._accept(answer, "copying", source, (200,))
        root = _xml(answer.data, target)
        if root.tag.endswith("Error"):  # as for joined parts
            raise StoreUnreachable(f"{self}: copying {source}: it failed ({_text(root, 'Code')})")
        return _text(root, "ETag").strip('"')

    def walk(self, prefix: str) -> Iterator[ObjectInfo]:
        """See port."""
        with self._minio_errors(f"LIST {prefix}"):
            for found in self._minio.list_objects(self._bucket, prefix=prefix, recursive=True):
                yield _listed(found)

    def list_folder(self, prefix: str) -> Iterator[ObjectInfo | str]:
        """See port."""
        with self._minio_errors(f"LIST {prefix}"):
            for found in self._minio.list_objects(self._bucket, prefix=prefix, recursive=False):
                if found.is_dir:
                    yield found.object_name or ""
                else:
                    yield _listed(found)

    def delete_prefix(self, prefix: str) -> int:
        """See port."""
        marks = [info.key for info in self.walk(layout.UPLOADS + prefix)]
        marked = [key.removeprefix(layout.UPLOADS) for key in marks]
        for found in (prefix, *marked):
            for key, upload_id in self.list_uploads(found):
                self._abort(key, upload_id)
        removed = 0

        def doomed() -> Iterator[DeleteObject]:
            nonlocal removed
            yield from map(DeleteObject, marks)
            for info in self.walk(prefix):
                removed += 1
                yield DeleteObject(info.key)

        with self._minio_errors(f"DELETE {prefix}"):
            for error in self._minio.remove_objects(self._bucket, doomed()):
                raise WinslowError(f"{self}: DELETE {error.name}: {error.code}: {error.message}")
        return removed

    def create_upload(self, key: str, *, sha256: str = "", content_type: str = _OCTETS) -> str:
        """See port."""
        headers = {"Content-Type": content_type} | ({_META: sha256} if sha256 else {})
        answer = self._wire.call("POST", check_key(key), query={"uploads": ""}, headers=headers)
        upload_id = _text(_xml(self._accept(answer, "POST", key, (200,)).data, key), "UploadId")
        try:
            self._mark(key, upload_id)
        except WinslowError:
            with suppress(StoreUnreachable):
                self._abort(key, upload_id)
            raise
        return upload_id

    def _mark(self, key: str, upload_id: str) -> None:
        """Where the server lists open uploads by their whole keys only, leave a sign that `delete_prefix` finds."""
        folder = key[: key.rfind("/") + 1]
        if self._hides_uploads is None and folder:
            self._hides_uploads = (key, upload_id) not in self.list_uploads(folder)
        mark = layout.UPLOADS + key
        if self._hides_uploads and len(mark.encode()) <= layout.MAX_KEY_BYTES:
            self.put(mark, b"")

    def _unmark(self, key: str) -> None:
        """Take the sign away when no upload of the key is open any more; one too many does no harm."""
        if self._hides_uploads is not False:
            with suppress(StoreUnreachable):
                if not self.list_uploads(key):
                    self.delete(layout.UPLOADS + key)

    def upload_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        data: bytes,
        *,
        sent: Callable[[int], None] = lambda _: None,
    ) -> Part:
        """See port."""
        query = {"partNumber": str(number), "uploadId": upload_id}
        answer = self._wire.call("PUT", check_key(key), query=query, body=data, md5=True, sent=sent)
        return Part(number=number, etag=self._accept(answer, "PUT", key, (200,)).etag, size=len(data))

    def list_parts(self, key: str, upload_id: str) -> list[Part]:
        """See port."""
        parts: list[Part] = []
        marker = ""
        while True:
            query = {"uploadId": upload_id} | ({"part-number-marker": marker} if marker else {})
            root = _xml(self._expect("GET", key, (200,), query=query).data, key)
            parts += [
                Part(
                    number=int(_text(part, "PartNumber")),
                    etag=_text(part, "ETag").strip('"'),
                    size=int(_text(part, "Size")),
                )
                for part in root.findall("{*}Part")
            ]
            marker = _text(root, "NextPartNumberMarker")
            if _text(root, "IsTruncated") != "true" or not marker:
                return sorted(parts, key=lambda part: part.number)

    def list_uploads(self, prefix: str) -> list[tuple[str, str]]:
        """See port."""
        found: list[tuple[str, str]] = []
        markers: dict[str, str] = {}
        while True:
            answer = self._wire.call("GET", query={"uploads": "", "prefix": prefix} | markers, read_only=True)
            root = _xml(self._accept(answer, "GET", prefix, (200,)).data, prefix)
            found += [(_text(up, "Key"), _text(up, "UploadId")) for up in root.findall("{*}Upload")]
            markers = {
                "key-marker": _text(root, "NextKeyMarker"),
                "upload-id-marker": _text(root, "NextUploadIdMarker"),
            }
            if _text(root, "IsTruncated") != "true" or not markers["key-marker"]:
                # Not every server takes the prefix as a plain string prefix.
                return sorted(upload for upload in found if upload[0].startswith(prefix))

    def complete_upload(self, key: str, upload_id: str, parts: list[Part]) -> str:
        """See port."""
        listed = "".join(
            f'<Part><PartNumber>{part.number}</PartNumber><ETag>"{escape(part.etag)}"</ETag></Part>'
            for part in parts
        )
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        headers = {"Content-Type": "application/xml"}
        answer = self._wire.call(
            "POST", check_key(key), query={"uploadId": upload_id}, headers=headers, body=body
        )
        root = _xml(self._accept(answer, "POST", key, (200,)).data, key)
        if root.tag.endswith("Error"):  # S3 may begin a 200 answer before it knows the outcome
            raise StoreUnreachable(f"{self}: POST {key}: joining the parts failed ({_text(root, 'Code')})")
        self._unmark(key)
        return _text(root, "ETag").strip('"')

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See port."""
        self._abort(key, upload_id)
        self._unmark(key)

    def _abort(self, key: str, upload_id: str) -> None:
        answer = self._wire.call("DELETE", check_key(key), query={"uploadId": upload_id})
        if answer.status != 404:
            self._accept(answer, "DELETE", key, (200, 204))

    def download(self, key: str, path: Path, *, etag: str | None = None) -> ObjectInfo:
        """See port. An error half-way leaves what has come so far in `path`."""
        headers = {"If-Match": f'"{etag}"'} if etag is not None else {}
        with self._wire.open("GET", check_key(key), headers=headers) as response:
            if response.status != 200:
                answer = Answer(status=response.status, headers=response.headers, data=response.read())
                self._wire.check(answer, "GET", key)
                raise self._wire.refuse(answer, "GET", key)
            with path.open("wb", buffering=0) as file:
                for chunk in response.stream(_CHUNK):
                    file.write(chunk)
            return _info(key, Answer(status=200, headers=response.headers))

    def presigned_get(self, key: str, *, seconds: int) -> str:
        """See port."""
        with self._minio_errors(f"GET {key}"):
            return self._minio.presigned_get_object(
                self._bucket, check_key(key), expires=timedelta(seconds=seconds)
            )

    def _expect(
        self,
        method: str,
        key: str,
        statuses: tuple[int, ...],
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        answer = self._wire.call(method, check_key(key), query=query, headers=headers, read_only=True)
        return self._accept(answer, method, key, statuses)

    def _accept(self, answer: Answer, method: str, key: str, statuses: tuple[int, ...]) -> Answer:
        if answer.status not in statuses:
            raise self._wire.refuse(answer, method, key)
        return answer

    @contextmanager
    def _minio_errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except HTTPError as error:
            raise self._wire.unreachable(error, doing) from error
        except S3Error as error:
            response = error.response
            if response.status >= 500:
                raise StoreUnreachable(f"{self}: {doing}: HTTP {response.status} ({error.code})") from error
            raise refusal(
                str(self),
                status=response.status,
                code=error.code or "",
                message=error.message or "",
                date=response.headers.get("Date", ""),
                doing=doing,
                bucket=self._bucket,
                now=self._now(),
            ) from error
        except (ServerError, InvalidResponseError) as error:
            raise StoreUnreachable(f"{self}: {doing}: no clear answer ({type(error).__name__})") from error


def _info(key: str, answer: Answer) -> ObjectInfo:
    return ObjectInfo(
        key=key,
        etag=answer.etag,
        size=int(answer.headers.get("Content-Length", "0")),
        modified=_rfc3339(answer.headers.get("Last-Modified", "")),
        sha256=answer.headers.get(_META, ""),
    )


def _rfc3339(http_date: str) -> str:
    time = _http_time(http_date)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ") if time else ""


def _http_time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return None


def _listed(found: Object) -> ObjectInfo:
    modified = (
        found.last_modified.astimezone(UTC).isoformat().replace("+00:00", "Z") if found.last_modified else ""
    )
    return ObjectInfo(
        key=found.object_name or "",
        etag=(found.etag or "").strip('"'),
        size=found.size or 0,
        modified=modified,
    )


def _xml(data: bytes, key: str) -> ET.Element:
    try:
        return ET.fromstring(data)  # noqa: S314  from the store one trusts with everything; expat bounds expansion
    except ET.ParseError as error:
        raise StoreUnreachable(f"the store's answer about {key} is not XML") from error


def _text(element: ET.Element, name: str) -> str:
    return element.findtext(f"{{*}}{name}") or element.findtext(name) or ""
