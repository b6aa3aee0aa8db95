"""What an attempt's directory holds at this moment, as the stage that may still write there sees it (design 8).

With an overlay two directories are read as one: the upper one first, whiteouts and opaque directories
honoured, then the lower one. Nothing is changed, not even a mode, and no link is followed: every path is
walked component by component with a descriptor of the directory above it (I11). What a stage can do to be
slow or endless is bounded, and what was left out is said. All functions block.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from node_agent import tree
from winslow.errors import InvalidInput, NotFound, Refused
from winslow.workspace import EntryType, quote_path, unquote_path

MAX_LEVELS = 64
"""Folders in one path that are looked into: each costs two open descriptors of the agent's."""
MAX_NAMES = 100_000
"""Names that are read of one folder; a page needs all of them, to be in order."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK opening a FIFO that nobody writes would wait for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_GONE = (FileNotFoundError, NotADirectoryError)


@dataclass(frozen=True)
class Seen:
    """One path as it was when it was looked at; `path` and `target` (of a link) are percent-encoded."""

    path: str
    type: EntryType
    mode: int
    mtime_ns: int
    size: int = 0
    target: str = ""


@dataclass(frozen=True)
class Page:
    """A part of a listing, folders before what they hold. `next` is where the next page begins behind; empty
    when there is none. `left_out` counts what is not shown, by what it is."""

    seen: tuple[Seen, ...]
    next: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Folder:
    """A directory's halves; `upper` alone where there is no overlay. One of the two may be missing."""

    upper: int | None
    lower: int | None
    overlay: bool


class View:
    """An attempt's workspace or output. `lower` is the other half of an overlay."""

    def __init__(self, upper: Path, lower: Path | None = None) -> None:
        self._upper = upper
        self._lower = lower

    def page(
        self,
        path: str,
        *,
        deep: bool,
        after: str = "",
        enough: Callable[[Seen | None], bool] = lambda _: False,
    ) -> Page:
        """What lies at a percent-encoded `path` (empty: the whole directory), behind `after`.

        A file or a link shows itself, a folder its content, with `deep` at all levels. `enough` is asked for
        each name that was looked at (None: one that is not shown) and ends the page. Raises NotFound, and
        Refused where the agent's user may not look.
        """
        listing = _Listing(deep=deep)
        seen: list[Seen] = []
        above = unquote_path(path) + b"/" if path else b""
        cursor = unquote_path(after)
        if after and not cursor.startswith(above):
            raise InvalidInput(f"{after[:200]!r} does not lie below {path[:200]!r}")
        behind = tuple(cursor[len(above) :].split(b"/")) if after else ()
        with ExitStack() as open_:
            try:
                folder, name = self._reach(path, open_)
                if name:
                    found = _look(folder, name)
                    if found is None:
                        raise FileNotFoundError
                    info, in_upper = found
                    if not stat.S_ISDIR(info.st_mode):
                        one = listing.shown(folder, name, path, info, in_upper)
                        return Page(seen=(one,) if one else (), left_out=listing.left_out)
                    folder = open_.enter_context(_below(folder, name, path, in_upper))
            except _GONE as error:
                raise NotFound(f"there is nothing at {path[:200]!r} now") from error
            except PermissionError as error:
                raise Refused(f"{path[:200]!r} cannot be read by the agent's user") from error
            for looked, one in listing.walk(folder, above, behind, level=path.count("/") + bool(path)):
                if one is not None:
                    seen.append(one)
                if enough(one):
                    return Page(seen=tuple(seen), next=looked, left_out=listing.left_out)
        return Page(seen=tuple(seen), left_out=listing.left_out)

    @contextmanager
    def open(self, path: str) -> Iterator[int]:
        """A regular file for reading, good inside the `with`. Raises NotFound for anything else."""
        with ExitStack() as open_:
            try:
                folder, name = self._reach(path, open_)
                found = _look(folder, name) if name else None
                if found is None or not stat.S_ISREG(found[0].st_mode):
                    raise FileNotFoundError
                fd = os.open(name, _FILE, dir_fd=folder.upper if found[1] else folder.lower)
                open_.callback(os.close, fd)
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise FileNotFoundError
                if folder.overlay and found[1]:
                    tree.refuse_half_copies(fd, path)
            except OSError as error:
                why = "cannot be read" if isinstance(error, PermissionError) else "is no file any more"
                raise NotFound(f"{path[:200]!r} {why}") from error
            yield fd

    def _reach(self, path: str, open_: ExitStack) -> tuple[_Folder, bytes]:
        """The directory above a path, and the path's last component; empty for the root itself."""
        raw = unquote_path(path)
        parts = raw.split(b"/") if raw else [b""]
        if raw and (any(part in (b"", b".", b"..") for part in parts) or b"\0" in raw):
            raise InvalidInput(f"{path[:200]!r} is no path below a directory")
        if len(parts) > MAX_LEVELS:
            raise NotFound(f"{path[:200]!r} lies deeper than {MAX_LEVELS} folders: too deep to be shown live")
        with ExitStack() as opened:
            upper = os.open(self._upper, _FOLDER)
            opened.callback(os.close, upper)
            lower = os.open(self._lower, _FOLDER) if self._lower else None
            if lower is not None:
                opened.callback(os.close, lower)
            open_.push(opened.pop_all())
        folder = _Folder(upper=upper, lower=lower, overlay=lower is not None)
        for number, part in enumerate(parts[:-1], 1):
            found = _look(folder, part)
            if found is None:
                raise FileNotFoundError
            folder = open_.enter_context(
                _below(folder, part, quote_path(b"/".join(parts[:number])), found[1])
            )
        return folder, parts[-1]


class _Listing:
    """One page in the making: the walk, and a count of what it leaves out."""

    def __init__(self, *, deep: bool) -> None:
        self._deep = deep
        self.left_out: Counter[str] = Counter()

    def walk(
        self, folder: _Folder, above: bytes, behind: tuple[bytes, ...], *, level: int
    ) -> Iterator[tuple[str, Seen | None]]:
        """Everything below a folder that comes behind a path's components, in the order of names; a path with
        None is not shown."""
        for name in self._names(folder, counted=not behind):
            if behind and name < behind[0]:
                continue
            again = bool(behind) and name == behind[0]  # shown on an earlier page
            raw = above + name
            path = quote_path(raw)
            try:
                found = _look(folder, name)
            except PermissionError:
                self.left_out["names cannot be looked at"] += 1
                found = None
            if found is None:
                if not again:
                    yield path, None
                continue
            info, in_upper = found
            if not again:
                yield path, self.shown(folder, name, path, info, in_upper)
            if not (self._deep and stat.S_ISDIR(info.st_mode)):
                continue
            if level + 1 >= MAX_LEVELS:
                self.left_out[f"folders lie deeper than {MAX_LEVELS}: they are not looked into"] += 1
                continue
            try:
                with _below(folder, name, path, in_upper) as below:
                    yield from self.walk(below, raw + b"/", behind[1:] if again else (), level=level + 1)
            except PermissionError:
                self.left_out["folders cannot be read"] += 1
            except _GONE:
                continue  # the stage removed it, or put something else there

    def shown(
        self, folder: _Folder, name: bytes, path: str, info: os.stat_result, in_upper: bool
    ) -> Seen | None:
        """A path as it is shown; None, and counted, where no manifest could hold it."""
        mode, mtime_ns = stat.S_IMODE(info.st_mode) & 0o777, info.st_mtime_ns
        if stat.S_ISREG(info.st_mode):
            return Seen(path, EntryType.FILE, mode, mtime_ns, size=info.st_size)
        if stat.S_ISDIR(info.st_mode):
            return Seen(path, EntryType.DIR, mode, mtime_ns)
        if stat.S_ISLNK(info.st_mode):
            try:
                target = os.readlink(name, dir_fd=folder.upper if in_upper else folder.lower)
            except OSError:
                return None  # no link any more
            return Seen(path, EntryType.LINK, mode, mtime_ns, target=quote_path(target))
        self.left_out["FIFOs, sockets and devices are left out"] += 1
        return None

    def _names(self, folder: _Folder, *, counted: bool) -> list[bytes]:
        names: set[bytes] = set()
        for half in (folder.upper, folder.lower):
            if half is None:
                continue
            with os.scandir(half) as listing:
                each = iter(listing)
                names.update(os.fsencode(entry.name) for entry in islice(each, MAX_NAMES))
                if next(each, None) is not None and counted:
                    self.left_out[f"folders hold more than {MAX_NAMES} names: not all are shown"] += 1
        return sorted(names)


def _look(folder: _Folder, name: bytes) -> tuple[os.stat_result, bool] | None:
    """What stands under a name, and whether the upper half has it; None for nothing."""
    for half in (folder.upper, folder.lower):
        if half is None:
            continue
        try:
            info = os.stat(name, dir_fd=half, follow_symlinks=False)
        except _GONE:
            continue
        upper = half == folder.upper
        if upper and folder.overlay and stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
            return None  # a whiteout
        return info, upper
    return None


@contextmanager
def _below(folder: _Folder, name: bytes, path: str, in_upper: bool) -> Iterator[_Folder]:
    """A directory in a directory, both halves of it where they are to be read as one."""
    with ExitStack() as open_:
        upper = lower = None
        hidden = False
        if in_upper:
            upper = os.open(name, _FOLDER, dir_fd=folder.upper)
            open_.callback(os.close, upper)
            if folder.overlay:
                tree.refuse_half_copies(upper, path)
                hidden = tree.is_opaque(upper)
        if folder.lower is not None and not hidden:
            try:
                lower = os.open(name, _FOLDER, dir_fd=folder.lower)
                open_.callback(os.close, lower)
            except OSError:
                if upper is None:
                    raise
        yield _Folder(upper=upper, lower=lower, overlay=folder.overlay)
