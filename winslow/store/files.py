"""Moving files between a disk and the store: whole, verified, and gone on with after an interruption (design 8).

Uploads: files up to 16 MiB by one PUT, larger ones in parts of 64 MiB, four at a time, each part checked
by the server (Content-MD5); the whole file's sha256 is kept as the object's metadata. An interrupted
upload is found again through the store's list of open uploads and goes on with the parts that are missing.

Downloads are written beside their place, verified, synced and renamed; large ones come in ranges of
16 MiB, four at a time, and go on with the ranges that are missing while the object's ETag is the same.

A store that does not answer is asked again for `Patience.deadline` seconds before StoreUnreachable comes
out. Trouble with the local file passes through as OSError. Paths are the caller's choice; a symbolic link
in the last component is never followed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from winslow.store.downloads import RANGE_SIZE, download_file
from winslow.store.patience import Patience
from winslow.store.pool import Counter, Progress, T, in_parallel
from winslow.store.port import ObjectInfo, ObjectStore
from winslow.store.uploads import SINGLE_PUT, upload_file

__all__ = ["Download", "Progress", "Upload", "download_file", "download_many", "upload_file", "upload_many"]

AT_ONCE = 8


@dataclass(frozen=True)
class Upload:
    """A file to send."""

    path: Path
    key: str


@dataclass(frozen=True)
class Download:
    """An object to fetch; the fields are `download_file`'s arguments."""

    key: str
    path: Path
    sha256: str = ""
    etag: str | None = None
    size: int | None = None


def upload_many(
    store: ObjectStore,
    uploads: Sequence[Upload],
    *,
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> list[ObjectInfo]:
    """Send files, small ones eight at a time, then large ones one by one; the objects in the order given.

    The first error stops what has not begun and is raised. Errors as `upload_file`.
    """
    counter = Counter(progress)

    def send(upload: Upload) -> ObjectInfo:
        return upload_file(store, upload.path, upload.key, progress=counter.add, patience=patience)

    return _many(uploads, send, lambda upload: upload.path.lstat().st_size > SINGLE_PUT)


def download_many(
    store: ObjectStore,
    downloads: Sequence[Download],
    *,
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> list[ObjectInfo]:
    """Fetch objects as `upload_many` sends files. Errors as `download_file`."""
    counter = Counter(progress)

    def fetch(download: Download) -> ObjectInfo:
        return download_file(
            store,
            download.key,
            download.path,
            sha256=download.sha256,
            etag=download.etag,
            size=download.size,
            progress=counter.add,
            patience=patience,
        )

    return _many(downloads, fetch, lambda download: (download.size or 0) > RANGE_SIZE)


def _many(
    items: Sequence[T], move: Callable[[T], ObjectInfo], large: Callable[[T], bool]
) -> list[ObjectInfo]:
    is_large = [large(item) for item in items]
    small = [number for number, big in enumerate(is_large) if not big]
    moved = dict(zip(small, in_parallel(AT_ONCE, "files", lambda n: move(items[n]), small), strict=True))
    moved |= {number: move(items[number]) for number, big in enumerate(is_large) if big}
    return [moved[number] for number in range(len(items))]
