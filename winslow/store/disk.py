"""Local files while they are moved: opened without following links, marked, locked, read by offset."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from winslow.errors import Conflict, InvalidInput

_READ = 1 << 20
_AGAIN = "upload it again when nobody writes to it"


@dataclass(frozen=True)
class Mark:
    """A file's identity while it is read: inode, size, and both times in nanoseconds."""

    inode: int
    size: int
    mtime: int
    ctime: int


@dataclass(frozen=True)
class Source:
    """A regular file that is being read, as it was when it was opened."""

    path: Path
    fd: int
    mark: Mark

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`. Raises Conflict when the file has become shorter."""
        chunks = []
        while length:
            chunk = os.pread(self.fd, length, offset)
            if not chunk:
                raise Conflict(f"{self.path} became shorter while it was being uploaded", hint=_AGAIN)
            chunks.append(chunk)
            offset, length = offset + len(chunk), length - len(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def read_up_to(self, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`; fewer only at the file's end."""
        chunks = []
        while length and (chunk := os.pread(self.fd, length, offset)):
            chunks.append(chunk)
            offset, length = offset + len(chunk), length - len(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    @property
    def changed(self) -> bool:
        """Whether it was written to since it was opened."""
        return _mark(self.fd) != self.mark

    def check_unchanged(self) -> None:
        """Raises Conflict when it was written to since it was opened."""
        if self.changed:
            raise Conflict(f"{self.path} was changed while it was being uploaded", hint=_AGAIN)


def opened(fd: int, path: Path) -> Source:
    """A regular file that the caller has opened and closes; `path` is for messages."""
    return Source(path=path, fd=fd, mark=_mark(fd))


@contextmanager
def source(path: Path) -> Iterator[Source]:
    """Open a regular file. Raises InvalidInput for any other kind, OSError (ELOOP for a symbolic link)."""
    # Without O_NONBLOCK opening a FIFO that nobody writes would wait for ever.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidInput(f"{path} is not a regular file", hint="only regular files can be uploaded")
        yield opened(fd, path)
    finally:
        os.close(fd)


@contextmanager
def locked(beside: Path) -> Iterator[int]:
    """Open `beside` for reading and writing, made if need be, for this caller alone.

    Raises Conflict while another has it. The lock ends with the block or the process.
    """
    while True:
        fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict(
                    f"{beside.parent}: the same file is already being downloaded to it", hint="wait for that"
                ) from error
            if _same_file(fd, beside):  # else the one before renamed it between our open and our lock
                yield fd
                return
        finally:
            os.close(fd)


def write(fd: int, data: bytes, offset: int) -> None:
    """All of `data` at `offset`."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count


def digest(fd: int) -> str:
    """The sha256 (hex) of the whole file."""
    sha256, offset = hashlib.sha256(), 0
    view = memoryview(bytearray(_READ))
    while count := os.preadv(fd, [view], offset):
        sha256.update(view[:count])
        offset += count
    return sha256.hexdigest()


def _mark(fd: int) -> Mark:
    found = os.fstat(fd)
    return Mark(inode=found.st_ino, size=found.st_size, mtime=found.st_mtime_ns, ctime=found.st_ctime_ns)


def _same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.lstat())
    except FileNotFoundError:
        return False
