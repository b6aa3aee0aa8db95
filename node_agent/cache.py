"""The node's file cache: objects of the store by key and version, each fetched once (design 6 and 8).

    <root>/index.sqlite        what is there, its size, and the order of last use
    <root>/objects/ab/<name>   one file per (key, version); the name is a hash, never a path from outside
    <root>/incoming/<name>/    a download that is not whole yet; a later try goes on with it

A cached file's bytes never change. Attempts see it through hard links, which are also its lease: a file
with a second name is in use and is not evicted, across restarts of the agent too. Losing the index loses
the cache, nothing else. All methods block and may be called from several threads.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from node_agent.runtime.port import RuntimeFailure
from node_agent.tree import Cancelled, Progress, Stopped
from winslow.errors import InvalidInput
from winslow.placement import size_text
from winslow.store.files import download_file
from winslow.store.port import ObjectStore

_WAIT = 0.2  # seconds between two looks at `cancelled` while another thread fetches the same object
_TABLE = (
    "CREATE TABLE IF NOT EXISTS files (name TEXT PRIMARY KEY, size INTEGER NOT NULL, used INTEGER NOT NULL)"
)


class DiskFull(RuntimeFailure):
    """The disk that holds the node's data has no room for what an attempt needs."""

    def __init__(self, place: Path, *, needed: int, free: int) -> None:
        super().__init__(
            f"{place}: the disk is full: {size_text(needed)} are needed, {size_text(max(0, free))} are free",
            kind="disk_full",
            hint="free space there, or give the agent a data directory on a larger disk",
        )


@dataclass(frozen=True)
class Source:
    """One object to fetch: `size` in bytes, and an ETag or a sha256 (hex) that says which version."""

    key: str
    size: int
    etag: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        if not (self.etag or self.sha256):
            raise InvalidInput(f"{self.key}: neither its ETag nor its sha256 is known")

    @property
    def name(self) -> str:
        """The cache's own name for this version; content known by sha256 is the same under any ETag."""
        version = f"sha256:{self.sha256}" if self.sha256 else f"etag:{self.etag}"
        return hashlib.sha256(f"{self.key}\0{version}".encode()).hexdigest()


class Cache:
    """See above. `limit` is in bytes and soft: what attempts use stays, even above it. `keep_free` bytes of
    the disk are left to others; below that a fetch raises DiskFull."""

    def __init__(self, root: Path, *, store: ObjectStore, limit: int, keep_free: int = 0) -> None:
        self._root = root
        self._store = store
        self._limit = limit
        self._keep_free = keep_free
        self._changed = threading.Condition()
        self._fetching: dict[str, int] = {}  # name -> bytes still to come
        self._copying = 0  # bytes promised to copies outside the cache
        self._pins: Counter[str] = Counter()
        for folder in (root, root / "objects", root / "incoming"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._index = self._open_index()
        self._reconcile()

    def close(self) -> None:
        """Close the index; files stay."""
        with self._changed:
            self._index.close()

    def has(self, source: Source) -> bool:
        """Whether a stage could have it without a fetch."""
        with self._changed:
            return self._row(source.name) is not None

    def cached_bytes(self, sources: Iterable[Source]) -> int:
        """How many of the bytes of these objects are here already; for the price of a bid."""
        with self._changed:
            return sum(source.size for source in sources if self._row(source.name) is not None)

    def used_bytes(self) -> int:
        """What all cached files take."""
        with self._changed:
            return self._total()

    @contextmanager
    def use(
        self,
        source: Source,
        *,
        mode: int = 0o444,
        mtime_ns: int | None = None,
        progress: Progress = lambda _: None,
        cancelled: Cancelled = lambda: False,
    ) -> Iterator[Path]:
        """The cached file, fetched if need be, safe from eviction inside the `with`.

        Take a hard link or a copy there; never write to it. `mode` and `mtime_ns` are given to the file
        when this call fetches it; one that was here before keeps its own. Raises what the download
        raises, DiskFull, Stopped, and InvalidInput when what came is not what was asked for.
        """
        name = source.name
        with self._changed:
            while name in self._fetching:
                if cancelled():
                    raise Stopped(f"{source.key}: the fetch was stopped")
                self._changed.wait(_WAIT)
            self._pins[name] += 1
            missing = self._row(name) is None
            if missing:
                self._fetching[name] = source.size
        try:
            if missing:
                try:
                    self._fetch(source, mode, mtime_ns, progress, cancelled)
                finally:
                    with self._changed:
                        del self._fetching[name]
                        self._changed.notify_all()
            else:
                self._touch(name)
                progress(source.size)
            yield self._path(name)
        finally:
            with self._changed:
                self._pins[name] -= 1
                if not self._pins[name]:
                    del self._pins[name]

    def adopt(self, source: Source, path: Path) -> bool:
        """Take over a file whose content is known to be `source`, by a second name; False if that cannot be.

        So what a stage wrote need not be fetched for the next one. Nobody may write to `path` any more.
        """
        name = source.name
        with self._changed:
            if self._row(name) is not None or name in self._fetching:
                return True
            target = self._path(name)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                os.link(path, target, follow_symlinks=False)
            except OSError as error:
                if error.errno in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.ENOSPC):
                    return False
                raise
            self._keep(name, source.size)
            self._evict_to(self._limit)
        return True

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Keep `size` bytes of the disk for a copy made inside the `with`. Raises DiskFull."""
        with self._changed:
            self._copying += size
        try:
            with self._changed:
                self._make_room()
            yield
        finally:
            with self._changed:
                self._copying -= size

    def _fetch(
        self, source: Source, mode: int, mtime_ns: int | None, progress: Progress, cancelled: Cancelled
    ) -> None:
        name = source.name
        folder, target = self._root / "incoming" / name, self._path(name)
        part = folder / "file"

        def arrived(count: int) -> None:
            if cancelled():
                raise Stopped(f"{source.key}: the fetch was stopped")
            with self._changed:
                self._fetching[name] = max(0, self._fetching[name] - count)
            progress(count)

        arrived(0)
        with self._changed:
            self._make_room()
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            etag, size = source.etag or None, source.size
            # Verifies by sha256 and syncs before it renames.
            info = download_file(
                self._store, source.key, part, sha256=source.sha256, etag=etag, size=size, progress=arrived
            )
            if info.size != source.size:
                shutil.rmtree(folder)
                raise InvalidInput(
                    f"{source.key}: {info.size} bytes are stored where {source.size} were expected",
                    hint="the object was overwritten: upload it again, or redo the run that wrote it",
                )
            part.chmod(mode)
            if mtime_ns is not None:
                os.utime(part, ns=(mtime_ns, mtime_ns))
            target.parent.mkdir(mode=0o700, exist_ok=True)
            part.replace(target)
            shutil.rmtree(folder)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(self._root, needed=source.size, free=self._free()) from error
            raise
        with self._changed:
            self._keep(name, source.size)

    def _make_room(self) -> None:
        """Make everything that is being fetched fit: drop what nobody uses. Raises DiskFull."""
        coming = sum(self._fetching.values())
        needed = coming + self._copying + self._keep_free
        if self._total() + coming > self._limit or needed > self._free():
            for folder in (self._root / "incoming").iterdir():
                if folder.name not in self._fetching:
                    shutil.rmtree(folder)
        self._evict_to(self._limit - coming)
        if needed > self._free():
            self._evict_to(self._total() - (needed - self._free()))
        if needed > self._free():
            raise DiskFull(self._root, needed=needed, free=self._free())

    def _evict_to(self, limit: int) -> None:
        total = self._total()
        if total <= limit:
            return
        for name, size in self._index.execute("SELECT name, size FROM files ORDER BY used").fetchall():
            if total <= limit:
                return
            path = self._path(name)
            with suppress(FileNotFoundError):  # somebody tidied up by hand: the row goes too
                if self._pins[name] or path.lstat().st_nlink > 1:
                    continue
                path.unlink()
            self._index.execute("DELETE FROM files WHERE name = ?", (name,))
            total -= size

    def _free(self) -> int:
        return shutil.disk_usage(self._root).free

    def _total(self) -> int:
        return int(self._index.execute("SELECT coalesce(sum(size), 0) FROM files").fetchone()[0])

    def _path(self, name: str) -> Path:
        return self._root / "objects" / name[:2] / name

    def _row(self, name: str) -> int | None:
        """The size of a file that is here; a row whose file was taken away is dropped."""
        row = self._index.execute("SELECT size FROM files WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        with suppress(FileNotFoundError):
            if self._path(name).lstat().st_size == row[0]:
                return int(row[0])
        self._index.execute("DELETE FROM files WHERE name = ?", (name,))
        return None

    def _touch(self, name: str) -> None:
        with self._changed:
            self._index.execute(
                "UPDATE files SET used = (SELECT max(used) FROM files) + 1 WHERE name = ?", (name,)
            )

    def _keep(self, name: str, size: int) -> None:
        self._index.execute(
            "INSERT OR REPLACE INTO files SELECT ?, ?, coalesce(max(used), 0) + 1 FROM files", (name, size)
        )

    def _open_index(self) -> sqlite3.Connection:
        path = self._root / "index.sqlite"
        try:
            return self._connect(path)
        except sqlite3.DatabaseError:
            # A torn index is worth no more than the downloads it saves: begin anew.
            for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
                (self._root / name).unlink(missing_ok=True)
            return self._connect(path)

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        index = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            index.execute("PRAGMA journal_mode = WAL")
            index.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last rows, not the rest
            index.execute(_TABLE)
            index.execute("CREATE INDEX IF NOT EXISTS by_use ON files (used)")
            index.execute("SELECT count(*), sum(size), max(used) FROM files").fetchone()
        except sqlite3.DatabaseError:
            index.close()
            raise
        return index

    def _reconcile(self) -> None:
        """After a crash: drop rows without files and files without rows."""
        rows = dict(self._index.execute("SELECT name, size FROM files").fetchall())
        for path in (self._root / "objects").glob("??/*"):
            if rows.get(path.name) == path.lstat().st_size:
                del rows[path.name]
            else:
                path.unlink()
        self._index.executemany("DELETE FROM files WHERE name = ?", [(name,) for name in rows])
