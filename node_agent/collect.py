"""What a stage left, into the store: changed files first, then the manifests (design 6 and 8).

Every step may be done again after a crash: objects are named by their content, so a second try finds
what the first one sent, and a manifest is the same bytes. Blocking; called when the container and all
its processes have ended.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from node_agent import tree
from node_agent.cache import Cache, Source
from node_agent.places import Placed, move_all
from node_agent.tree import Cancelled, Progress, Stopped
from winslow.errors import Conflict
from winslow.project import Manifests
from winslow.store import layout
from winslow.store.files import upload_file
from winslow.store.layout import Area
from winslow.store.pool import in_parallel
from winslow.store.port import ObjectStore
from winslow.workspace import Delta, Difference, Entry, Found, Manifest, changed, difference, encode, overlay

_CHUNK = 4 << 20
_MAX_NOTES = 100


@dataclass(frozen=True)
class Collected:
    """What was stored. `workspace` is the manifest of it; `changes` compares it with the one the run took over;
    `notes` are sentences about what could not be kept; bytes are those this call sent."""

    manifests: Manifests
    workspace: Manifest
    changes: Difference
    outputs: int
    notes: tuple[str, ...]
    bytes_uploaded: int


def collect(
    placed: Placed,
    *,
    store: ObjectStore,
    cache: Cache | None,
    progress: Progress = lambda _: None,
    cancelled: Cancelled = lambda: False,
) -> Collected:
    """Store the workspace and the output of an attempt; `progress` gets bytes as they are sent.

    What was sent is taken into the `cache` too, for the next stage on this node. Raises Conflict when a
    file still changes, RuntimeFailure for what an overlay hides, StoreUnreachable, Stopped, OSError.
    """
    work = _Work(placed=placed, store=store, cache=cache, progress=progress, cancelled=cancelled)
    workspace, workspace_notes = work.workspace()
    output, output_notes = work.output()
    notes = (*workspace_notes, *output_notes)
    if len(notes) > _MAX_NOTES:
        notes = (*notes[:_MAX_NOTES], f"and {len(notes) - _MAX_NOTES} more like these")
    changes = difference(placed.before, workspace)
    kept = work.manifest(workspace, parent=placed.parent, deleted=changes.removed)
    made: tuple[tuple[Area, Manifest], ...] = (("workspace", kept), ("output", work.manifest(output)))
    keys = in_parallel(len(made), "manifests", lambda number: work.publish(*made[number]), range(len(made)))
    return Collected(
        manifests=Manifests(workspace=keys[0], output=keys[1]),
        workspace=kept,
        changes=changes,
        outputs=len(output),
        notes=notes,
        bytes_uploaded=work.uploaded.total,
    )


class _Sum:
    """A sum from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total = 0

    def add(self, count: int) -> None:
        with self._lock:
            self.total += count


class _Work:
    """One attempt's collection."""

    def __init__(
        self,
        *,
        placed: Placed,
        store: ObjectStore,
        cache: Cache | None,
        progress: Progress,
        cancelled: Cancelled,
    ) -> None:
        self._placed = placed
        self._store = store
        self._cache = cache
        self._progress = progress
        self._cancelled = cancelled
        self.uploaded = _Sum()
        self._known = {entry.sha256: entry.object for entry in placed.before if entry.object}

    def workspace(self) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
        """Entries and notes. Only what differs from `before` is read."""
        root, before = self._placed.directory / "workspace", self._placed.before
        scan = tree.scan(root, upper=self._placed.overlay)
        split = changed(before, self._placed.marks, scan.found)
        read = self._stored("workspace", root, split.unread)
        if self._placed.overlay:
            upper = Delta(entries=(*split.known, *read), deleted=scan.deleted)
            return overlay(Delta(entries=before), upper), scan.notes
        return _in_order((*split.known, *read)), scan.notes

    def output(self) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
        """Entries and notes; all of it is new."""
        root = self._placed.directory / "output"
        scan = tree.scan(root)
        split = changed((), {}, scan.found)
        return _in_order((*split.known, *self._stored("output", root, split.unread))), scan.notes

    def manifest(
        self, entries: Sequence[Entry], *, parent: str = "", deleted: tuple[str, ...] = ()
    ) -> Manifest:
        """Of this attempt."""
        at = self._placed
        return Manifest(
            project=at.project,
            run=at.run,
            attempt=at.attempt,
            parent=parent,
            entries=tuple(entries),
            deleted=deleted,
        )

    def publish(self, area: Area, manifest: Manifest) -> str:
        """Write a manifest, when everything it points to is there; its key."""
        at = self._placed
        key = layout.manifest(at.project, at.run, at.attempt, area)
        self._store.put(key, encode(manifest), content_type="application/json")
        return key

    def _stored(self, area: Area, root: Path, unread: Sequence[Found]) -> list[Entry]:
        """Hash files and send what the store does not have yet."""
        if not unread:
            return []
        at = self._placed
        digests: dict[str, str] = {}
        self._each(lambda found: digests.update({found.path: self._digest(root, found)}), unread)
        prefix = layout.area(at.project, at.run, at.attempt, area)
        there = {info.key: info.size for info in self._store.walk(prefix)}
        objects: dict[str, str] = {}
        to_send: list[Found] = []
        for found in unread:
            digest = digests[found.path]
            if digest in objects:
                continue  # the same content under two names
            objects[digest] = self._known.get(digest) or layout.object_(
                at.project, at.run, at.attempt, area, digest
            )
            if digest not in self._known and there.get(objects[digest]) != found.size:
                to_send.append(found)

        def send(found: Found) -> None:
            digest = digests[found.path]
            with tree.reach(root, found.path) as path:
                info = upload_file(self._store, path, objects[digest], progress=self._sent)
                if info.sha256 != digest:
                    raise Conflict(
                        f"{at.project} {at.run}.{at.attempt}: {found.path!r} changed while it was collected",
                        hint="something outside the container writes there",
                    )

        self._each(send, to_send)
        self._keep(root, unread, digests, objects)
        self._known |= objects
        return [
            found.entry(sha256=digests[found.path], object=objects[digests[found.path]]) for found in unread
        ]

    def _digest(self, root: Path, found: Found) -> str:
        digest = hashlib.sha256()
        with tree.reach(root, found.path) as path:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(fd, "rb", buffering=0) as file:
                if self._placed.overlay:
                    tree.refuse_half_copies(fd, found.path)
                while chunk := file.read(_CHUNK):
                    if self._cancelled():
                        raise Stopped("collecting was stopped")
                    digest.update(chunk)
                if os.fstat(fd).st_size != found.size:
                    raise Conflict(
                        f"{found.path!r} changed while it was collected", hint="something still writes to it"
                    )
        return digest.hexdigest()

    def _keep(
        self, root: Path, files: Iterable[Found], digests: dict[str, str], objects: dict[str, str]
    ) -> None:
        """Let the next stage on this node find in the cache what this one wrote."""
        if self._cache is None:
            return
        for found in files:
            if not found.mode & 0o400:
                continue  # the cache shares its modes, and an agent that is not root could not read it there
            digest = digests[found.path]
            with tree.reach(root, found.path) as path:
                self._cache.adopt(Source(key=objects[digest], size=found.size, sha256=digest), path)

    def _sent(self, count: int) -> None:
        if self._cancelled():
            raise Stopped("collecting was stopped")
        self.uploaded.add(count)
        self._progress(count)

    def _each(self, move: Callable[[Found], None], files: Sequence[Found]) -> None:
        move_all(move, files, size=lambda found: found.size, cancelled=self._cancelled)


def _in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.path))
