"""Directories whose names are hostile: written, read and removed without ever following a link (design 8).

Every path is walked component by component with a descriptor of the directory above it, so neither a
link in the tree nor one that appears meanwhile leads anywhere else (I11). Directories that a stage made
unreadable are opened for their owner and set back afterwards. All functions block.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from node_agent.runtime.port import RuntimeFailure
from winslow.errors import InvalidInput, WinslowError
from winslow.workspace import MAX_DEPTH, EntryType, Found, Mark, quote_path, unquote_path

FICLONE = 0x40049409  # ioctl_ficlone(2)
_STEP = 32 << 20  # bytes copied between two looks at `cancelled`
_MAY_READ_FOLDER = 0o500

Progress = Callable[[int], None]  # bytes more than at the last call
Cancelled = Callable[[], bool]


class Stopped(WinslowError):
    """The caller's `cancelled` said so; what was half done may be done again."""


@dataclass(frozen=True)
class Scan:
    """What a directory holds, in path order. `deleted` is for an overlay's upper directory; notes are for people."""

    found: tuple[Found, ...]
    deleted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Writer:
    """Fills one new directory. Paths are percent-encoded and must come from a valid manifest or `check_path`."""

    def __init__(self, root: Path, *, owner: tuple[int, int] | None = None) -> None:
        self._root = root
        self._owner = owner
        self._folders: dict[bytes, tuple[int, int | None]] = {}
        root.mkdir(mode=0o700, parents=True)
        self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def folder(self, path: str, *, mode: int = 0o755, mtime_ns: int | None = None) -> None:
        """A directory; its mode and time are set by `finish`, when nothing is put into it any more."""
        raw = unquote_path(path)
        with self._parent(raw + b"/"):
            self._folders[raw] = (mode & 0o777, mtime_ns)

    def link(self, path: str, target: str, *, mtime_ns: int) -> None:
        """A symbolic link."""
        raw = unquote_path(path)
        with self._parent(raw) as (above, name):
            os.symlink(unquote_path(target), name, dir_fd=above)
            os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=above, follow_symlinks=False)
            if self._owner:
                os.chown(name, *self._owner, dir_fd=above, follow_symlinks=False)

    def hard_link(self, path: str, source: Path) -> bool:
        """Another name for `source`; False where the file system has no way to make one."""
        with self._parent(unquote_path(path)) as (above, name):
            try:
                os.link(source, name, dst_dir_fd=above, follow_symlinks=False)
            except OSError as error:
                if error.errno in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP):
                    return False
                raise
        return True

    def file(
        self,
        path: str,
        source: Path | None,
        *,
        mode: int,
        mtime_ns: int | None = None,
        cancelled: Cancelled = lambda: False,
    ) -> None:
        """A file of its own with the content of `source` (None: empty), sharing blocks where possible."""
        with self._parent(unquote_path(path)) as (above, name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            new = os.open(name, flags, 0o600, dir_fd=above)
            try:
                if source is not None:
                    _copy(source, new, cancelled)
                if self._owner:
                    os.fchown(new, *self._owner)
                os.fchmod(new, mode & 0o777)
                if mtime_ns is not None:
                    os.utime(new, ns=(mtime_ns, mtime_ns))
            finally:
                os.close(new)

    def finish(self, *, mode: int) -> None:
        """Give every directory its mode, owner and time, the deepest first; the root gets `mode`."""
        for raw in sorted(self._folders, key=lambda path: (path.count(b"/"), path), reverse=True):
            folder_mode, mtime_ns = self._folders[raw]
            with self._parent(raw + b"/") as (fd, _):
                self._seal(fd, folder_mode, mtime_ns)
        self._seal(self._fd, mode, None)

    def _seal(self, fd: int, mode: int, mtime_ns: int | None) -> None:
        if self._owner:
            os.fchown(fd, *self._owner)
        os.fchmod(fd, mode)
        if mtime_ns is not None:
            os.utime(fd, ns=(mtime_ns, mtime_ns))

    @contextmanager
    def _parent(self, raw: bytes) -> Iterator[tuple[int, bytes]]:
        """The directory above a path (made where missing) and the last component."""
        *above, name = raw.split(b"/")
        if {b"", b".", b".."} & {*above} or name in (b".", b".."):  # no valid manifest has such a path
            raise InvalidInput(f"{_shown(quote_path(raw))} leads out of {self._root}")
        fd = os.dup(self._fd)
        try:
            for depth, part in enumerate(above, 1):
                try:
                    below = os.open(
                        part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd
                    )
                except FileNotFoundError:
                    os.mkdir(part, 0o700, dir_fd=fd)
                    self._folders.setdefault(b"/".join(above[:depth]), (0o755, None))
                    below = os.open(
                        part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd
                    )
                os.close(fd)
                fd = below
            yield fd, name
        finally:
            os.close(fd)


def scan(root: Path, *, upper: bool = False) -> Scan:
    """Everything below `root` that a manifest can hold; the rest is named in `notes`.

    With `upper` the directory is the upper one of an overlay: whiteouts and opaque directories become
    `deleted`. Raises RuntimeFailure for overlay features that the probe refuses (redirects, metacopy).
    """
    found: list[Found] = []
    deleted: list[str] = []
    notes: list[str] = []

    def read(fd: int, above: bytes, depth: int) -> None:
        for name in sorted(_names(fd)):
            try:
                look(fd, name, above + name, depth)
            except OSError as error:
                # A stage that still runs removed it, or replaced it by something of another kind.
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL):
                    raise

    def look(fd: int, name: bytes, raw: bytes, depth: int) -> None:
        path = quote_path(raw)
        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if upper and stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
            deleted.append(path)
            return
        kind = _kind(info.st_mode)
        if kind is None or depth >= MAX_DEPTH:
            why = f"{_what(info.st_mode)} cannot be kept" if kind is None else "lies too deep"
            notes.append(f"skipped {_shown(path)}: {why}")
            if upper:
                deleted.append(path)  # whatever lies below it is not what the stage saw there
            return
        target = os.readlink(name, dir_fd=fd) if kind is EntryType.LINK else b""
        found.append(_found(path, kind, info, quote_path(target)))
        if kind is EntryType.DIR:
            with open_folder(name, fd) as below:
                if upper:
                    refuse_half_copies(below, path)
                    if is_opaque(below):
                        deleted.append(path)
                read(below, raw + b"/", depth + 1)

    with open_folder(os.fsencode(root), None) as top:
        read(top, b"", 0)
    found.sort(key=lambda each: each.path)
    return Scan(found=tuple(found), deleted=tuple(sorted(deleted)), notes=tuple(notes))


@contextmanager
def reach(root: Path, path: str) -> Iterator[Path]:
    """A path to the regular file at a percent-encoded `path` below `root`, good inside the `with`.

    Only its last component may still be a link: open it with O_NOFOLLOW. Raises FileNotFoundError when
    it is no regular file any more, NotADirectoryError where a directory became a link.
    """
    *above, name = unquote_path(path).split(b"/")
    with ExitStack() as folders:
        folder = folders.enter_context(open_folder(os.fsencode(root), None))
        for part in above:
            folder = folders.enter_context(open_folder(part, folder))
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        folders.callback(os.close, handle)
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise FileNotFoundError(errno.ENOENT, "not a regular file", _shown(path))
        if os.geteuid() != 0 and not mode & 0o400:
            inode = Path(f"/proc/self/fd/{handle}")
            inode.chmod(stat.S_IMODE(mode) | 0o400)
            folders.callback(inode.chmod, stat.S_IMODE(mode))
        yield Path(f"/proc/self/fd/{folder}") / os.fsdecode(name)


@contextmanager
def open_folder(name: bytes, above: int | None) -> Iterator[int]:
    """A directory for reading, no link; a mode that locks out its owner is lifted meanwhile."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    try:
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        locked = os.geteuid() != 0 and mode & _MAY_READ_FOLDER != _MAY_READ_FOLDER
        if locked:
            Path(f"/proc/self/fd/{handle}").chmod(mode | _MAY_READ_FOLDER)
        fd = os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(handle)
    try:
        yield fd
    finally:
        if locked:
            os.fchmod(fd, mode)
        os.close(fd)


def remove(root: Path) -> None:
    """Remove a directory with all it holds, whatever its modes, names and depth; a missing one is fine.

    Sub-directories are moved up before they are emptied, so depth costs neither stack nor descriptors.
    """
    try:
        if not stat.S_ISDIR(root.lstat().st_mode):
            root.unlink()
            return
    except FileNotFoundError:
        return
    try:
        top = _own(os.fsencode(root), None)
        try:
            number = 0
            while names := _names(top):
                for name in names:
                    number = _empty(top, name, number)
        finally:
            os.close(top)
        root.rmdir()
    except OSError as error:
        raise WinslowError(
            f"{root}: cannot be removed: {error.strerror}",
            hint="files of another user lie there: remove them as root",
        ) from error


def clone(source: Path, new: int) -> bool:
    """Let the open file `new` share all blocks of `source`; False where the file system cannot."""
    with source.open("rb") as file:
        try:
            fcntl.ioctl(new, FICLONE, file.fileno())
        except OSError:
            return False
    return True


def _copy(source: Path, new: int, cancelled: Cancelled) -> None:
    if clone(source, new):
        return
    with source.open("rb", buffering=0) as file:
        while True:
            if cancelled():
                raise Stopped(f"{source.name}: copying was stopped")
            try:
                if not os.copy_file_range(file.fileno(), new, _STEP):
                    return
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
                    raise
                if not os.sendfile(new, file.fileno(), None, _STEP):
                    return


def _empty(top: int, name: bytes, number: int) -> int:
    """Remove one child of `top`; sub-directories of a directory become further children of `top`."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=top)
        return number
    fd = _own(name, top)
    try:
        for child in _names(fd):
            if not stat.S_ISDIR(os.stat(child, dir_fd=fd, follow_symlinks=False).st_mode):
                os.unlink(child, dir_fd=fd)
                continue
            os.close(_own(child, fd))  # a directory that moves must itself be writable
            while True:
                number += 1
                try:
                    os.rename(child, b".%d" % number, src_dir_fd=fd, dst_dir_fd=top)
                    break
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                        raise
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=top)
    return number


def _own(name: bytes, above: int | None) -> int:
    """Open a directory after giving its owner every right to it."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    try:
        path = Path(f"/proc/self/fd/{handle}")
        if stat.S_IMODE(os.fstat(handle).st_mode) & 0o700 != 0o700:
            path.chmod(0o700)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(handle)


def _names(fd: int) -> list[bytes]:
    with os.scandir(fd) as listing:
        return [os.fsencode(entry.name) for entry in listing]


def _kind(mode: int) -> EntryType | None:
    if stat.S_ISREG(mode):
        return EntryType.FILE
    if stat.S_ISDIR(mode):
        return EntryType.DIR
    return EntryType.LINK if stat.S_ISLNK(mode) else None


def _what(mode: int) -> str:
    names = {
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return names.get(stat.S_IFMT(mode), "such a file")


def _shown(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:200]}…"


def _found(path: str, kind: EntryType, info: os.stat_result, target: str) -> Found:
    return Found(
        path=path,
        type=kind,
        mode=stat.S_IMODE(info.st_mode) & 0o777,
        mtime_ns=info.st_mtime_ns,
        size=info.st_size,
        mark=Mark(inode=info.st_ino, size=info.st_size, mtime_ns=info.st_mtime_ns, ctime_ns=info.st_ctime_ns),
        target=target,
    )


def refuse_half_copies(fd: int, path: str) -> None:
    """Raise RuntimeFailure for an overlay's file or directory whose content is not in the upper directory."""
    if any(_overlay_mark(fd, mark) is not None for mark in ("redirect", "metacopy")):
        raise RuntimeFailure(
            f"{_shown(path)} was changed by an overlay redirect or metacopy, which cannot be collected",
            hint="switch redirect_dir and metacopy off on this node, or set its workspace strategy to copy",
        )


def is_opaque(fd: int) -> bool:
    """Whether an overlay's upper directory hides what the lower one holds under its name."""
    return _overlay_mark(fd, "opaque") == b"y"


def _overlay_mark(fd: int, name: str) -> bytes | None:
    for space in ("trusted", "user"):
        try:
            return os.getxattr(fd, f"{space}.overlay.{name}")
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP, errno.EPERM):
                raise
    return None
