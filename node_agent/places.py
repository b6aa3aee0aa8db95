"""The four directories of an attempt: made before its container starts, remembered, thrown away (design 6 and 8).

    <attempt>/resources, input   read-only trees of hard links into the cache
    <attempt>/workspace          a copy of the workspace it takes over, or an overlay's upper directory
    <attempt>/lower, work        with an overlay only: the workspace it takes over, and the kernel's scratch
    <attempt>/output             empty
    <attempt>/before.json        the manifest the workspace was made from
    <attempt>/placed.json        written last: what `collect` needs, after a restart of the agent too

All functions block. Names come from manifests and keys and are hostile; `tree` keeps them inside.
"""

from __future__ import annotations

import errno
import shutil
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from node_agent import tree
from node_agent.cache import Cache, DiskFull, Source
from node_agent.environment import INPUT, OUTPUT, RESOURCES, WORKSPACE
from node_agent.journal import Journals, write_durably
from node_agent.runtime.port import Mount
from node_agent.strategy import Strategy
from node_agent.tree import Cancelled, Progress, Stopped
from node_agent.view import View
from winslow.errors import InvalidInput, Refused
from winslow.store.layout import Area
from winslow.store.pool import in_parallel
from winslow.store.port import ObjectInfo
from winslow.workspace import (
    Entry,
    EntryType,
    Manifest,
    Mark,
    check_path,
    decode,
    encode,
    parents,
    quote_path,
)

LARGE = 16 << 20
"""Bytes from which a file is moved alone: the store's transfers are parallel inside one."""
_AT_ONCE = 8
_JOURNAL = "attempt.json"
_RECORD, _BEFORE = "placed.json", "before.json"
_OWN = (_RECORD, _BEFORE, "resources", "input", "workspace", "lower", "work", "output")
T = TypeVar("T")


@dataclass(frozen=True)
class Placement:
    """One file of a read-only tree at a percent-encoded `path`; without `source` it is empty, or a link to
    `target` (percent-encoded)."""

    path: str
    source: Source | None = None
    target: str = ""


@dataclass(frozen=True)
class PlacePlan:
    """What an attempt starts with.

    `resources` and `input` become the trees of those names; `parent` is the key of the manifest
    `workspace`; `owner` (uid, gid) is given to what the stage may write when it does not run as the
    agent's user.
    """

    project: str
    run: int
    attempt: int
    resources: tuple[Placement, ...] = ()
    input: tuple[Placement, ...] = ()
    workspace: Manifest | None = None
    parent: str = ""
    owner: tuple[int, int] | None = None

    def sources(self) -> tuple[Source, ...]:
        """Every object that must be on the node, each once; for the price of a bid."""
        read_only = [each.source for each in (*self.resources, *self.input) if each.source]
        entries = self.workspace.entries if self.workspace else ()
        every = [*read_only, *(source_of(entry) for entry in entries if entry.object)]
        return tuple({source.name: source for source in every}.values())


@dataclass(frozen=True)
class Placed:
    """An attempt's directories, in place. `marks` are the workspace files' as they were before the start."""

    project: str
    run: int
    attempt: int
    directory: Path
    overlay: bool
    parent: str
    before: tuple[Entry, ...]
    marks: dict[str, Mark]

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """For the container, targets as the stage sees them."""
        at = self.directory
        lower, work = (at / "lower", at / "work") if self.overlay else (None, None)
        return (
            Mount(target=RESOURCES, source=at / "resources", read_only=True),
            Mount(target=INPUT, source=at / "input", read_only=True),
            Mount(target=WORKSPACE, source=at / "workspace", lower=lower, work=work),
            Mount(target=OUTPUT, source=at / "output"),
        )


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    project: str
    run: int
    attempt: int
    overlay: bool
    parent: str
    marks: dict[str, tuple[int, int, int, int]]


def view(directory: Path, area: Area) -> View:
    """An attempt's workspace or output as its stage sees it now; `directory` is the attempt's.

    Raises Refused before its directories are in place, and when they are being put away.
    """
    if not (directory / _RECORD).exists():
        raise Refused("the run's files are being put in place, or put away", hint="look again in a moment")
    lower = directory / "lower"
    return View(directory / area, lower if area == "workspace" and lower.is_dir() else None)


def source_of(entry: Entry) -> Source:
    """Where the bytes of a manifest's file are."""
    return Source(key=entry.object, size=entry.size, sha256=entry.sha256)


def placement(info: ObjectInfo, path: str) -> Placement | None:
    """An object at `path` (text, relative) of a read-only tree. Raises InvalidInput for a path no file can have.

    None for the empty object whose key ends with `/`: an S3 program's mark for a folder.
    """
    if path.endswith("/") and not info.size:
        return None
    try:
        quoted = check_path(quote_path(path.encode(errors="surrogateescape")))
    except ValueError as error:
        raise InvalidInput(
            f"{info.key!r} cannot be put into a directory: {error}", hint="rename the object"
        ) from error
    if not info.size:
        return Placement(path=quoted)
    return Placement(
        path=quoted, source=Source(key=info.key, size=info.size, etag=info.etag, sha256=info.sha256)
    )


class Placer:
    """Makes, finds again and throws away attempts' directories.

    `link_inputs` False: read-only trees are copies, for stages that could write to the cache through a link
    (invariant I3)."""

    def __init__(
        self, *, cache: Cache, journals: Journals, strategy: Strategy, link_inputs: bool = True
    ) -> None:
        self._cache = cache
        self._journals = journals
        self._strategy = strategy
        self._link_inputs = link_inputs

    def place(
        self,
        plan: PlacePlan,
        *,
        progress: Progress = lambda _: None,
        cancelled: Cancelled = lambda: False,
    ) -> Placed:
        """Fetch what is missing and make the directories; again after an interruption, or find them made.

        Raises NotFound and Conflict (an input is gone or was replaced since it was listed), InvalidInput
        (two inputs in each other's way), DiskFull, StoreUnreachable, Stopped.
        """
        found = self.find(plan.project, plan.run, plan.attempt)
        if found is not None:
            return found
        directory = self._journals.directory(plan.project, plan.run, plan.attempt)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _OWN:  # of an interrupted try; the attempt's logs stay
            tree.remove(directory / name)
        entries = plan.workspace.entries if plan.workspace else ()
        overlay = self._strategy is Strategy.OVERLAY and bool(entries) and plan.owner is None
        work = _Work(cache=self._cache, owner=plan.owner, progress=progress, cancelled=cancelled)
        try:
            for name, placements in (("resources", plan.resources), ("input", plan.input)):
                work.read_only(directory / name, placements, linked=self._link_inputs)
            if overlay:
                work.workspace(directory / "lower", entries, linked=True)
                work.workspace(directory / "work", (), linked=False)
                work.workspace(directory / "workspace", (), linked=False)
            else:
                clones = self._strategy is Strategy.REFLINK
                with self._cache.room(0 if clones else sum(entry.size for entry in entries)):
                    work.workspace(directory / "workspace", entries, linked=False)
            work.workspace(directory / "output", (), linked=False)
            placed = Placed(
                project=plan.project,
                run=plan.run,
                attempt=plan.attempt,
                directory=directory,
                overlay=overlay,
                parent=plan.parent,
                before=tuple(entries),
                marks={} if overlay else _marks(directory / "workspace"),
            )
            self._remember(placed)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                needed = sum(source.size for source in plan.sources())
                raise DiskFull(directory, needed=needed, free=shutil.disk_usage(directory).free) from error
            raise
        return placed

    def find(self, project: str, run: int, attempt: int) -> Placed | None:
        """What `place` made, after a restart of the agent; None if it was not finished."""
        directory = self._journals.directory(project, run, attempt)
        try:
            record = _Record.model_validate_json((directory / _RECORD).read_bytes())
            before = decode((directory / _BEFORE).read_bytes(), key=str(directory / _BEFORE), project=project)
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise InvalidInput(
                f"{directory / _RECORD}: damaged, so what the stage changed cannot be told",
                hint="copy the attempt's workspace and output away by hand, then discard the attempt",
            ) from error
        return Placed(
            project=project,
            run=run,
            attempt=attempt,
            directory=directory,
            overlay=record.overlay,
            parent=record.parent,
            before=before.entries,
            marks={path: Mark(*mark) for path, mark in record.marks.items()},
        )

    def discard(self, project: str, run: int, attempt: int) -> None:
        """Remove everything of an attempt but its journal, which `Journals.remove` takes when this is done."""
        directory = self._journals.directory(project, run, attempt)
        if directory.is_dir():
            (directory / _RECORD).unlink(missing_ok=True)  # first: half an attempt is not to be found again
            for path in directory.iterdir():
                if path.name != _JOURNAL and path.suffix != ".bad":
                    tree.remove(path)

    def _remember(self, placed: Placed) -> None:
        # `before` needs no validation again: it came out of a manifest.
        before = Manifest.model_construct(
            project=placed.project, kind="run", run=placed.run, attempt=placed.attempt, entries=placed.before
        )
        write_durably(placed.directory / _BEFORE, encode(before))
        record = _Record(
            project=placed.project,
            run=placed.run,
            attempt=placed.attempt,
            overlay=placed.overlay,
            parent=placed.parent,
            marks={
                path: (mark.inode, mark.size, mark.mtime_ns, mark.ctime_ns)
                for path, mark in placed.marks.items()
            },
        )
        write_durably(placed.directory / _RECORD, record.model_dump_json().encode())


@dataclass(frozen=True)
class _Work:
    """One attempt's directories in the making."""

    cache: Cache
    owner: tuple[int, int] | None
    progress: Progress
    cancelled: Cancelled

    def read_only(self, root: Path, placements: Sequence[Placement], *, linked: bool) -> None:
        """A tree that is not to be written; `linked` where the container's mount sees to that."""
        wanted: dict[str, Placement] = {}
        for placement in placements:
            if wanted.setdefault(placement.path, placement) != placement:
                raise InvalidInput(
                    f"two different inputs would stand at {placement.path!r}", hint="name one of them"
                )
        for path in wanted:
            for above in parents(path):
                if above in wanted:
                    raise InvalidInput(
                        f"{above!r} is a file, yet {path!r} lies below it",
                        hint="rename one of the two objects",
                    )

        def put(placement: Placement) -> None:
            if placement.target:
                writer.link(placement.path, placement.target, mtime_ns=0)
            elif placement.source is None:
                writer.file(placement.path, None, mode=0o444)
            else:
                with self.cache.use(
                    placement.source, progress=self.progress, cancelled=self.cancelled
                ) as cached:
                    plain = linked and stat.S_IMODE(cached.lstat().st_mode) == 0o444
                    if not (plain and writer.hard_link(placement.path, cached)):
                        writer.file(placement.path, cached, mode=0o444, cancelled=self.cancelled)

        with tree.Writer(root) as writer:
            for folder in sorted({above for path in wanted for above in parents(path)}):
                writer.folder(folder, mode=0o555)
            self._each(
                put, wanted.values(), lambda placement: placement.source.size if placement.source else 0
            )
            writer.finish(mode=0o555)

    def workspace(self, root: Path, entries: Sequence[Entry], *, linked: bool) -> None:
        """A directory as a manifest says. `linked`: its files are never written through this tree."""

        def put(entry: Entry) -> None:
            if not entry.object:
                writer.file(entry.path, None, mode=entry.mode, mtime_ns=entry.mtime_ns)
                return
            stamp = (entry.mode, entry.mtime_ns) if linked else (0o444, None)
            with self.cache.use(
                source_of(entry),
                mode=stamp[0],
                mtime_ns=stamp[1],
                progress=self.progress,
                cancelled=self.cancelled,
            ) as cached:
                now = cached.lstat()
                same = (stat.S_IMODE(now.st_mode), now.st_mtime_ns) == (entry.mode, entry.mtime_ns)
                if not (linked and same and writer.hard_link(entry.path, cached)):
                    writer.file(
                        entry.path, cached, mode=entry.mode, mtime_ns=entry.mtime_ns, cancelled=self.cancelled
                    )

        with tree.Writer(root, owner=self.owner) as writer:
            folders = {entry.path for entry in entries if entry.type is EntryType.DIR}
            for folder in sorted({above for entry in entries for above in parents(entry.path)} - folders):
                writer.folder(folder)
            for entry in sorted(entries, key=lambda entry: entry.path):
                if entry.type is EntryType.DIR:
                    writer.folder(entry.path, mode=entry.mode, mtime_ns=entry.mtime_ns)
                elif entry.type is EntryType.LINK:
                    writer.link(entry.path, entry.target, mtime_ns=entry.mtime_ns)
            files = [entry for entry in entries if entry.type is EntryType.FILE]
            self._each(put, files, lambda entry: entry.size)
            writer.finish(mode=0o755)

    def _each(self, put: Callable[[T], None], items: Iterable[T], size: Callable[[T], int]) -> None:
        move_all(put, items, size=size, cancelled=self.cancelled)


def move_all(
    move: Callable[[T], None], items: Iterable[T], *, size: Callable[[T], int], cancelled: Cancelled
) -> None:
    """Small items eight at a time, then large ones one by one. The first error ends it and is raised."""

    def checked(item: T) -> None:
        if cancelled():
            raise Stopped("the transfer was stopped")
        move(item)

    small: list[T] = []
    large: list[T] = []
    for item in items:
        (large if size(item) >= LARGE else small).append(item)
    in_parallel(_AT_ONCE, "places", lambda number: checked(small[number]), range(len(small)))
    for item in large:
        checked(item)


def _marks(workspace: Path) -> dict[str, Mark]:
    """The marks of all files, once the file system's clock has moved on.

    A change within one tick of that clock could leave a file's times as they were; so wait for the next
    tick. If it does not come (the clock was set back), no mark is kept and all files will be read.
    """
    marks = {found.path: found.mark for found in tree.scan(workspace).found if found.type is EntryType.FILE}
    newest = max((mark.ctime_ns for mark in marks.values()), default=0)
    probe = workspace.with_name("tick")
    for _ in range(200_000):
        probe.touch()
        if probe.stat().st_ctime_ns > newest:
            break
    else:
        marks = {}
    probe.unlink()
    return marks
