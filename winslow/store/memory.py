"""A store in this process's memory: for tests, and the yardstick for what an adapter must do."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from winslow.errors import WinslowError
from winslow.store.layout import check_key
from winslow.store.port import Blob, Conflict, NotFound, ObjectInfo, Part

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class _Object:
    data: bytes
    info: ObjectInfo
    content_type: str


@dataclass
class _Upload:
    key: str
    sha256: str
    content_type: str
    parts: dict[int, tuple[Part, bytes]] = field(default_factory=dict)


class MemoryStore:
    """The whole port over a dictionary, safe for threads; each call is one atomic step.

    Its clock is `now`; without one, time is the count of writes as seconds after 2000-01-01, which orders them.
    Parts may be of any size (real stores want 5 MiB and more of all but the last).
    """

    def __init__(self, *, now: Callable[[], datetime] | None = None) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._objects: dict[str, _Object] = {}
        self._uploads: dict[str, _Upload] = {}
        self._count = 0

    def __str__(self) -> str:
        return "store in memory"

    def get(self, key: str) -> Blob:
        """See port."""
        found = self._find(key)
        return Blob(data=found.data, etag=found.info.etag)

    def get_range(self, key: str, offset: int, length: int, *, etag: str | None = None) -> bytes:
        """See port."""
        found = self._find(key)
        if etag is not None and found.info.etag != etag:
            raise Conflict(f"{self}: {key} was replaced meanwhile")
        return found.data[offset : offset + length]

    def stat(self, key: str) -> ObjectInfo:
        """See port."""
        return self._find(key).info

    def age(self, key: str) -> float:
        """See port."""
        return (self._time() - datetime.fromisoformat(self._find(key).info.modified)).total_seconds()

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
        """See port."""
        check_key(key)
        with self._lock:
            held = self._objects.get(key)
            if if_none_match and held is not None:
                raise Conflict(f"{self}: {key} exists")
            if if_match is not None and (held is None or held.info.etag != if_match):
                raise Conflict(f"{self}: {key} was changed meanwhile")
            return self._keep(
                key, bytes(data), hashlib.md5(data, usedforsecurity=False).hexdigest(), sha256, content_type
            )

    def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See port."""
        check_key(key)
        with self._lock:
            held = self._objects.get(key)
            if if_match is not None and held is not None and held.info.etag != if_match:
                raise Conflict(f"{self}: {key} was changed meanwhile")
            self._objects.pop(key, None)

    def copy(self, source: str, target: str) -> str:
        """See port."""
        check_key(target)
        found = self._find(source)
        etag = hashlib.md5(found.data, usedforsecurity=False).hexdigest()
        with self._lock:
            return self._keep(target, found.data, etag, found.info.sha256, found.content_type)

    def walk(self, prefix: str) -> Iterator[ObjectInfo]:
        """See port; what it shows is the state at the first step."""
        with self._lock:
            found = [held.info for key, held in self._objects.items() if key.startswith(prefix)]
        # A real listing knows no user metadata.
        yield from (
            ObjectInfo(key=info.key, etag=info.etag, size=info.size, modified=info.modified)
            for info in sorted(found, key=lambda info: info.key.encode())
        )

    def list_folder(self, prefix: str) -> Iterator[ObjectInfo | str]:
        """See port."""
        folders: set[str] = set()
        for info in self.walk(prefix):
            name, slash, _ = info.key[len(prefix) :].partition("/")
            if not slash:
                yield info
            elif name not in folders:
                folders.add(name)
                yield f"{prefix}{name}/"

    def delete_prefix(self, prefix: str) -> int:
        """See port."""
        with self._lock:
            keys = [key for key in self._objects if key.startswith(prefix)]
            for key in keys:
                del self._objects[key]
            for upload_id in [
                name for name, upload in self._uploads.items() if upload.key.startswith(prefix)
            ]:
                del self._uploads[upload_id]
        return len(keys)

    def create_upload(
        self, key: str, *, sha256: str = "", content_type: str = "application/octet-stream"
    ) -> str:
        """See port."""
        check_key(key)
        with self._lock:
            self._count += 1
            upload_id = f"upload-{self._count}"
            self._uploads[upload_id] = _Upload(key=key, sha256=sha256, content_type=content_type)
        return upload_id

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
        part = Part(number=number, etag=hashlib.md5(data, usedforsecurity=False).hexdigest(), size=len(data))
        with self._lock:
            self._upload(key, upload_id).parts[number] = (part, bytes(data))
        sent(len(data))
        return part

    def list_parts(self, key: str, upload_id: str) -> list[Part]:
        """See port."""
        with self._lock:
            parts = self._upload(key, upload_id).parts
            return [parts[number][0] for number in sorted(parts)]

    def list_uploads(self, prefix: str) -> list[tuple[str, str]]:
        """See port."""
        with self._lock:
            return sorted((up.key, name) for name, up in self._uploads.items() if up.key.startswith(prefix))

    def complete_upload(self, key: str, upload_id: str, parts: list[Part]) -> str:
        """See port."""
        with self._lock:
            upload = self._upload(key, upload_id)
            held = [upload.parts.get(part.number) for part in parts]
            if not parts or any(
                have is None or have[0].etag != part.etag for have, part in zip(held, parts, strict=True)
            ):
                raise WinslowError(f"{self}: {key}: the upload's parts are not those that were named")
            digests = b"".join(bytes.fromhex(part.etag) for part in parts)
            etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
            data = b"".join(have[1] for have in held if have is not None)
            del self._uploads[upload_id]
            return self._keep(key, data, etag, upload.sha256, upload.content_type)

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See port."""
        check_key(key)
        with self._lock:
            self._uploads.pop(upload_id, None)

    def download(self, key: str, path: Path, *, etag: str | None = None) -> ObjectInfo:
        """See port."""
        found = self._find(key)
        if etag is not None and found.info.etag != etag:
            raise Conflict(f"{self}: {key} was replaced meanwhile")
        path.write_bytes(found.data)
        return found.info

    def presigned_get(self, key: str, *, seconds: int) -> str:
        """A link that nothing can open; it shows which key was asked for."""
        return f"memory:///{quote(check_key(key))}?seconds={seconds}"

    def _find(self, key: str) -> _Object:
        check_key(key)
        with self._lock:
            held = self._objects.get(key)
        if held is None:
            raise NotFound(f"{self}: there is no {key}")
        return held

    def _upload(self, key: str, upload_id: str) -> _Upload:
        upload = self._uploads.get(upload_id)
        if upload is None or upload.key != check_key(key):
            raise NotFound(f"{self}: {key}: the upload is gone")
        return upload

    def _keep(self, key: str, data: bytes, etag: str, sha256: str, content_type: str) -> str:
        self._count += 1
        modified = self._time().strftime("%Y-%m-%dT%H:%M:%SZ")
        info = ObjectInfo(key=key, etag=etag, size=len(data), modified=modified, sha256=sha256)
        self._objects[key] = _Object(data=data, info=info, content_type=content_type)
        return etag

    def _time(self) -> datetime:
        return self._now() if self._now is not None else _EPOCH + timedelta(seconds=self._count)
