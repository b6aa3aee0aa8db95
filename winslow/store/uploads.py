"""One file on its way into the store (`files.py` says what is promised)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from winslow.errors import Conflict, NotFound, Refused, WinslowError
from winslow.store import disk
from winslow.store.patience import Patience
from winslow.store.pool import Counter, Progress, T, in_parallel
from winslow.store.port import ObjectInfo, ObjectStore, Part

PART_SIZE = 64 << 20
SINGLE_PUT = 16 << 20
MOVING_PART = 16 << 20  # of a file that is sent as it is read: all of a part is in memory
PARALLEL = 4
_MAX_PARTS = 10_000  # S3's limit


def upload_file(
    store: ObjectStore,
    path: Path,
    key: str,
    *,
    progress: Progress | None = None,
    part_size: int = PART_SIZE,
    single_put: int = SINGLE_PUT,
    patience: Patience | None = None,
) -> ObjectInfo:
    """Send a regular file and return the object with its sha256.

    `progress` gets the number of bytes that have newly arrived (parts that an earlier try left count at
    once; a negative number takes back what was lost); raising in it stops the transfer, which can be gone
    on with. Raises Conflict when the file was changed while it was read or somebody else's upload of the
    same key came between twice, InvalidInput for anything but a regular file, StoreUnreachable, OSError.
    """
    patience = patience or Patience()
    counter = Counter(progress)
    with disk.source(path) as source:
        size = source.mark.size
        if size <= single_put:
            data = source.read(0, size)
            source.check_unchanged()
            digest = hashlib.sha256(data).hexdigest()
            etag = patience.ask(lambda: store.put(key, data, sha256=digest))
            counter.add(size)
            return ObjectInfo(key=key, etag=etag, size=size, sha256=digest)
        parts = _Parts(source=source, size=max(part_size, -(-size // _MAX_PARTS)))
        sender = _Sender(store, key, parts, disk.digest(source.fd), patience)
        for resume in (True, False):
            done = sender.run(counter, resume=resume)
            if done is not None:
                return done
    raise Conflict(
        f"{store}: {key}: somebody else is uploading to the same place", hint="try again when that is done"
    )


@dataclass(frozen=True)
class AsRead:
    """What was sent of a file that nobody held still: `size` bytes; `changed` says that it was written to."""

    size: int
    sha256: str
    changed: bool


def upload_as_read(
    store: ObjectStore,
    source: disk.Source,
    key: str,
    *,
    progress: Progress = lambda _: None,
    part_size: int = MOVING_PART,
    patience: Patience | None = None,
) -> AsRead:
    """Send a file that may change meanwhile, once through and not further than it was long at the beginning.

    Raising in `progress` (bytes that have newly arrived) stops it; nothing is gone on with, and no part stays.
    Raises Refused for more than 10,000 parts (160 GiB), StoreUnreachable, OSError.
    """
    if source.mark.size > part_size * _MAX_PARTS:
        raise Refused(
            f"{source.path} is too large to be sent while it may change",
            hint="fetch it when the run has ended",
        )
    patience = patience or Patience()
    digest, sent = hashlib.sha256(), 0

    def take(length: int) -> bytes:
        nonlocal sent
        data = source.read_up_to(sent, min(length, source.mark.size - sent))
        digest.update(data)
        sent += len(data)
        return data

    first = take(part_size)
    if sent == source.mark.size or len(first) < part_size:
        patience.ask(lambda: store.put(key, first, sha256=digest.hexdigest()))
        progress(sent)
        return AsRead(size=sent, sha256=digest.hexdigest(), changed=source.changed)
    upload_id = patience.ask(lambda: store.create_upload(key))
    parts: list[Part] = []
    try:
        data = first
        while data:
            send = partial(store.upload_part, key, upload_id, len(parts) + 1, data)
            parts.append(patience.ask(send))
            progress(len(data))
            data = take(part_size)
        patience.ask(lambda: _joined(store, key, upload_id, parts))
    except BaseException:
        with suppress(WinslowError):  # what cannot be dropped now goes with the prefix it lies in
            store.abort_upload(key, upload_id)
        raise
    return AsRead(size=sent, sha256=digest.hexdigest(), changed=source.changed)


def _joined(store: ObjectStore, key: str, upload_id: str, parts: list[Part]) -> ObjectInfo:
    # Not found: joined by a try whose answer was lost, or taken away. The object tells which.
    with suppress(NotFound):
        store.complete_upload(key, upload_id, parts)
    return store.stat(key)


@dataclass(frozen=True)
class _Parts:
    """A file cut into parts of `size` bytes, numbered from 1."""

    source: disk.Source
    size: int

    @property
    def count(self) -> int:
        return -(-self.source.mark.size // self.size)

    def data(self, number: int) -> bytes:
        return self.source.read((number - 1) * self.size, self.length(number))

    def length(self, number: int) -> int:
        return min(self.size, self.source.mark.size - (number - 1) * self.size)

    def holds(self, part: Part) -> bool:
        """Whether an uploaded part is this file's."""
        if not 1 <= part.number <= self.count or part.size != self.length(part.number):
            return False
        return hashlib.md5(self.data(part.number), usedforsecurity=False).hexdigest() == part.etag


class _Told:
    """What was told of one part. Its bytes count as they leave, once whatever try they arrive with; what the
    progress raises meanwhile is kept for the part's end, which a transfer can be gone on from."""

    def __init__(self, counter: Counter, size: int) -> None:
        self.count = 0  # bytes that were told
        self._counter = counter
        self._size = size
        self._tried = 0
        self._raised: Exception | None = None

    def anew(self) -> Callable[[int], None]:
        """For a try: to be called with bytes that have left."""
        self._tried = 0
        return self._left

    def arrived(self) -> None:
        """All of it is there. Raises what the progress raised."""
        self._left(self._size - self._tried)
        if self._raised is not None:
            raise self._raised

    def _left(self, count: int) -> None:
        self._tried += count
        more = self._tried - self.count
        if more > 0 and self._raised is None:
            try:
                self._counter.add(more)
            except Exception as error:
                self._raised = error
            else:
                self.count = self._tried


@dataclass(frozen=True)
class _Sender:
    """One file's way through a multipart upload."""

    store: ObjectStore
    key: str
    parts: _Parts
    digest: str
    patience: Patience

    def run(self, counter: Counter, *, resume: bool) -> ObjectInfo | None:
        """The object; None when the upload was taken away or turned out to be another file's."""
        listed = self._ask(lambda: self.store.list_uploads(self.key))
        uploads = [upload_id for key, upload_id in listed if key == self.key]
        upload_id, have = self._find(uploads) if resume else ("", [])
        if not upload_id:
            upload_id = self._ask(lambda: self.store.create_upload(self.key, sha256=self.digest))
        counted = sum(part.size for part in have)
        counter.add(counted)
        telling: list[_Told] = []

        def send(number: int) -> Part:
            data = self.parts.data(number)
            told = _Told(counter, len(data))
            telling.append(told)
            part = self._ask(
                lambda: self.store.upload_part(self.key, upload_id, number, data, sent=told.anew())
            )
            told.arrived()
            return part

        there = {part.number for part in have}
        missing = [number for number in range(1, self.parts.count + 1) if number not in there]
        try:
            sent = in_parallel(PARALLEL, "upload", send, missing)
        except NotFound:
            done = None
        else:
            self.parts.source.check_unchanged()
            done = self._complete(upload_id, sorted([*have, *sent], key=lambda part: part.number))
        if done is None:
            counter.add(-counted - sum(told.count for told in telling))
            return None
        for other in uploads:
            # What it would have become is superseded, and its parts take up the store's disk.
            if other != upload_id:
                self._ask(partial(self.store.abort_upload, self.key, other))
        return done

    def _find(self, uploads: Sequence[str]) -> tuple[str, list[Part]]:
        """An open upload all of whose parts (one at least) are this file's, and these; empty without."""
        for upload_id in uploads:
            with suppress(NotFound):
                parts = self._ask(partial(self.store.list_parts, self.key, upload_id))
                if parts and all(self.parts.holds(part) for part in parts):
                    return upload_id, parts
        return "", []

    def _complete(self, upload_id: str, parts: list[Part]) -> ObjectInfo | None:
        def join() -> ObjectInfo | None:
            try:
                info = _joined(self.store, self.key, upload_id, parts)
            except NotFound:
                return None
            ours = (info.sha256, info.size) == (self.digest, self.parts.source.mark.size)
            return info if ours else None

        return self._ask(join)

    def _ask(self, call: Callable[[], T]) -> T:
        return self.patience.ask(call)
