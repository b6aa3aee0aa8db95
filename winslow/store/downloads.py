"""One object on its way to a disk (`files.py` says what is promised)."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from winslow.errors import Conflict, InvalidInput, StoreUnreachable
from winslow.store import disk
from winslow.store.patience import Patience
from winslow.store.pool import Counter, Progress, in_parallel
from winslow.store.port import ObjectInfo, ObjectStore

RANGE_SIZE = 16 << 20
PARALLEL = 4
SYNC_EVERY = 8  # ranges: what a power cut may cost


def download_file(
    store: ObjectStore,
    key: str,
    path: Path,
    *,
    sha256: str = "",
    etag: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
    range_size: int = RANGE_SIZE,
    patience: Patience | None = None,
) -> ObjectInfo:
    """Fetch an object to `path`, which is replaced only by a whole, verified file. Its folder exists.

    With both `etag` and `size` (from a listing or a manifest) no request but the fetching itself is made.
    Verified by `sha256` (hex), else by the one the uploader stored, else by size alone. `progress` gets
    the number of bytes that have newly arrived (ranges that an earlier try left count at once); raising in
    it stops the transfer, which can be gone on with.

    Raises NotFound, Conflict when the object is not (or no longer) the one with `etag` or the same file
    is being downloaded already, InvalidInput for a damaged object, StoreUnreachable, OSError.
    """
    patience = patience or Patience()
    counter = Counter(progress)
    if etag is None or size is None:
        held = patience.ask(lambda: store.stat(key))
        if etag is not None and held.etag != etag:
            raise Conflict(f"{store}: {key} was replaced meanwhile")
        etag, size, sha256 = held.etag, held.size, sha256 or held.sha256
    # Of fixed length: a name of 255 bytes has no room for a suffix.
    name = hashlib.sha256(os.fsencode(path.name) + b"\0" + key.encode()).hexdigest()[:24]
    beside, record = path.with_name(f".{name}.part"), path.with_name(f".{name}.resume")
    with disk.locked(beside) as fd:
        if size <= range_size:
            info = _fetch_whole(store, key, beside, etag, patience)
            counter.add(info.size)
            digest = disk.digest(fd)
        else:
            ranges = _Ranges(store, key, fd, etag=etag, size=size, range_size=range_size)
            digest = ranges.fetch(record, counter, patience)
            info = ObjectInfo(key=key, etag=etag, size=size, sha256=sha256)
        expected = sha256 or info.sha256
        if os.fstat(fd).st_size != info.size or (expected and digest != expected):
            beside.unlink()
            record.unlink(missing_ok=True)
            raise InvalidInput(
                f"{store}: {key}: what arrived is not what was uploaded (sha256 {expected or 'not known'})",
                hint="try again; if it stays so, the object in the store is damaged: upload it anew",
            )
        os.fsync(fd)
        beside.rename(path)
        record.unlink(missing_ok=True)
    return ObjectInfo(key=key, etag=info.etag, size=info.size, modified=info.modified, sha256=digest)


def _fetch_whole(store: ObjectStore, key: str, beside: Path, etag: str, patience: Patience) -> ObjectInfo:
    try:
        return patience.ask(lambda: store.download(key, beside, etag=etag))
    except BaseException:
        beside.unlink(missing_ok=True)  # nothing to go on with
        raise


class _Ranges:
    """A large object that fills the file `fd` range by range, and its sha256 as far as it is there."""

    def __init__(
        self, store: ObjectStore, key: str, fd: int, *, etag: str, size: int, range_size: int
    ) -> None:
        self._store, self._key, self._fd, self._etag = store, key, fd, etag
        self._size, self._range_size = size, range_size
        self._lock = threading.Lock()
        self._done: set[int] = set()
        self._unsynced: list[int] = []
        self._hashing = threading.Lock()
        self._sha256 = hashlib.sha256()
        self._hashed = 0

    def fetch(self, record: Path, counter: Counter, patience: Patience) -> str:
        """Fetch what `record` (offsets that are on the disk, one a line) does not name yet; the sha256."""
        self._done = self._begin(record)
        counter.add(sum(self._length(offset) for offset in self._done))
        with record.open("a") as lines:

            def one(offset: int) -> None:
                length = self._length(offset)
                data = patience.ask(lambda: self._store.get_range(self._key, offset, length, etag=self._etag))
                if len(data) != length:
                    raise StoreUnreachable(f"{self._store}: {self._key}: {len(data)} of {length} bytes came")
                disk.write(self._fd, data, offset)
                with self._lock:
                    self._done.add(offset)
                    self._unsynced.append(offset)
                    if len(self._unsynced) >= SYNC_EVERY:
                        self._record(lines)
                self._hash_on()
                counter.add(length)

            try:
                missing = [offset for offset in self._offsets if offset not in self._done]
                in_parallel(PARALLEL, "download", one, missing)
            finally:
                self._record(lines)
        self._hash_on()
        return self._sha256.hexdigest()

    def _record(self, lines: TextIO) -> None:
        """Name in the record what is on the disk for good: a sync for every range would halve the rate."""
        os.fdatasync(self._fd)
        lines.writelines(f"{offset}\n" for offset in self._unsynced)
        lines.flush()
        self._unsynced.clear()

    def _hash_on(self) -> None:
        """Hash what has become contiguous, unless another thread is at it; the last call finds all there."""
        if self._hashing.acquire(blocking=False):
            try:
                while self._hashed in self._done:
                    data = os.pread(self._fd, self._length(self._hashed), self._hashed)
                    self._sha256.update(data)
                    self._hashed += len(data)
            finally:
                self._hashing.release()

    @property
    def _offsets(self) -> range:
        return range(0, self._size, self._range_size)

    def _begin(self, record: Path) -> set[int]:
        """Offsets that are there already; makes the file and the record ready."""
        header = f"{self._etag} {self._size} {self._range_size}\n"
        done: set[int] = set()
        with suppress(FileNotFoundError):
            first, *rest = record.read_text().splitlines(keepends=True) or [""]
            if first == header and os.fstat(self._fd).st_size == self._size:
                # A line without its end was being written when somebody died.
                done = {int(line) for line in rest if line.endswith("\n")} & set(self._offsets)
        os.ftruncate(self._fd, self._size)
        record.write_text(header + "".join(f"{offset}\n" for offset in sorted(done)))
        return done

    def _length(self, offset: int) -> int:
        return min(self._range_size, self._size - offset)
