"""Files that a person adds, replaces or removes for the next run (design 8): `PROJECT#next:PATH`.

A change makes a new manifest, in which all that stays points to the objects it pointed to before; no manifest
and no object is ever altered. Objects are sent first, then the manifest, then one event makes it the one the
next run takes over. Where that event does not come about, what was sent is removed again.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from winslow import workspace
from winslow.address import Address, text
from winslow.errors import Conflict, InvalidInput, NotFound, Unreachable, UsageError, WinslowError
from winslow.events import WorkspaceEdited, WorkspaceRestored
from winslow.project import Project
from winslow.steering import edit_workspace, next_workspace
from winslow.store import layout
from winslow.store.files import Progress, Upload, upload_many
from winslow.store.manifests import read_manifest
from winslow.store.port import ObjectInfo
from winslow.workspace import EMPTY_SHA256, Entry, EntryType, Manifest, check_path, quote_path
from winslow_tui.facade.filing import PATIENCE
from winslow_tui.facade.link import Link


@dataclass(frozen=True)
class Source:
    """One thing of this disk and where it goes; `path` is percent-encoded, `target` (of a link) too."""

    local: Path
    path: str
    type: EntryType
    mode: int
    mtime_ns: int
    size: int = 0
    target: str = ""


def plan(sources: Sequence[Path], where: Address) -> tuple[list[Source], list[str]]:
    """What goes where, as `cp -r` would do it, links as links; and sentences about what is left out.

    Raises NotFound for a missing source, UsageError when several are to become one, InvalidInput for a path
    that no workspace can have.
    """
    many = len(sources) > 1 or any(source.is_dir() for source in sources)
    if many and where.path and not where.folder:
        raise UsageError(f"{text(where)} would become one file", hint=f"name a folder: {text(where)}/")
    planned: list[Source] = []
    notes: list[str] = []
    into = os.fsencode(where.path)
    for source in sources:
        if not source.exists():
            raise NotFound(f"there is no file {source}")
        top = source.resolve()
        name = os.fsencode(top.name) if where.folder or source.is_dir() else b""
        _add(top, b"/".join(part for part in (into, name) if part), planned, notes)
    if len({each.path for each in planned}) < len(planned):
        raise UsageError("two of the files would have the same address", hint="put them one after the other")
    return planned, notes


def _add(local: Path, raw: bytes, planned: list[Source], notes: list[str]) -> None:
    info = local.lstat()
    path = _path(raw)
    mode = stat.S_IMODE(info.st_mode) & 0o777
    if stat.S_ISDIR(info.st_mode):
        planned.append(Source(local, path, EntryType.DIR, mode, info.st_mtime_ns))
        for child in sorted(local.iterdir()):
            _add(child, raw + b"/" + os.fsencode(child.name), planned, notes)
    elif stat.S_ISLNK(info.st_mode):
        target = quote_path(os.fsencode(local.readlink()))
        planned.append(Source(local, path, EntryType.LINK, mode, info.st_mtime_ns, target=target))
    elif stat.S_ISREG(info.st_mode):
        planned.append(Source(local, path, EntryType.FILE, mode, info.st_mtime_ns, size=info.st_size))
    else:
        notes.append(f"left out: {local} is no regular file")


def _path(raw: bytes) -> str:
    try:
        return check_path(quote_path(raw))
    except ValueError as error:
        raise InvalidInput(f"no file of a workspace can be called so: {error}") from None


def put(link: Link, project: Project, sources: Sequence[Source], progress: Progress) -> Project:
    """Let the next run find these files, too; the project as it is then.

    Raises Refused (something runs, or a file would take a folder's place), Conflict when somebody else changed
    the files meanwhile, and what `upload_many` raises.
    """
    change = _Change.begin(link, project)
    workspace.check_edit(change.before, put={each.path: each.type for each in sources})
    with change:
        return change.commit(put=_entries(change, sources, progress))


def remove(link: Link, project: Project, places: Sequence[Address], *, deep: bool) -> tuple[Project, int]:
    """Let the next run not find these; the project as it is then, and how many files that are.

    Raises NotFound, UsageError for a folder without `deep`, and as `put`.
    """
    change = _Change.begin(link, project)
    paths = []
    count = 0
    for where in places:
        path = quote_path(os.fsencode(where.path))
        below = [entry for entry in change.before if entry.path.startswith(f"{path}/" if path else "")]
        there = [entry for entry in change.before if entry.path == path]
        folder = any(entry.type is EntryType.DIR for entry in there) or bool(below)
        if folder and not deep:
            raise UsageError(f"{text(where)} is a folder", hint="add --recursive")
        if where.folder and there and not folder:
            raise NotFound(f"{text(where)} is no folder")
        paths += [path] if path else [entry.path for entry in change.before]
        count += sum(entry.type is not EntryType.DIR for entry in (*there, *below))
    workspace.check_edit(change.before, put={}, removed=paths)
    with change:
        return change.commit(removed=paths), count


def move(link: Link, project: Project, source: Address, target: Address) -> Project:
    """Let the next run find a file or a folder under another path; the project as it is then.

    Raises NotFound, InvalidInput for a path that no workspace can have, and as `put`."""
    change = _Change.begin(link, project)
    old, new = quote_path(os.fsencode(source.path)), _path(os.fsencode(target.path))
    moved = [
        entry.model_copy(update={"path": new + entry.path[len(old) :]})
        for entry in change.before
        if entry.path == old or entry.path.startswith(f"{old}/")
    ]
    workspace.check_edit(change.before, put={entry.path: entry.type for entry in moved}, removed=[old])
    with change:
        return change.commit(put=moved, removed=[old])


def restore(link: Link, project: Project) -> Project:
    """Drop every change: the next run takes over what was left to it. Raises Refused where there is none, Conflict
    where others have changed it since `project` was read."""
    last = project.edited
    if last is None and not any(run.workspace_from == 0 for run in project.runs):
        last = project.initial
    key = last.manifest if last else ""
    restored = link.change(project.id, WorkspaceRestored(manifest=key, **link.stamp()))
    in_use = {run.workspace_edited for run in restored.runs}
    while key and key not in in_use:
        prefix = layout.edit_of_manifest(project.id, key)
        if prefix is None:
            break
        key = read_manifest(link.store, key, project=project.id).parent
        link.store.delete_prefix(prefix)
    return restored


def _entries(change: _Change, sources: Sequence[Source], progress: Progress) -> list[Entry]:
    files = [each for each in sources if each.type is EntryType.FILE and each.size]
    keys = [
        layout.edit_object(change.project.id, change.token, f"{number:06d}") for number in range(len(files))
    ]
    uploads = [Upload(path=each.local, key=key) for each, key in zip(files, keys, strict=True)]
    sent = upload_many(change.link.store, uploads, progress=progress, patience=PATIENCE)
    objects = dict(zip((each.path for each in files), sent, strict=True))
    return [_entry(each, objects.get(each.path)) for each in sources]


def _entry(source: Source, sent: ObjectInfo | None) -> Entry:
    is_file = source.type is EntryType.FILE
    if sent is not None and not sent.size:
        raise Conflict(f"{source.local} was emptied while it was being sent", hint="put it again")
    return Entry(
        path=source.path,
        type=source.type,
        mode=source.mode,
        mtime_ns=source.mtime_ns,
        target=source.target,
        object=sent.key if sent else "",
        size=sent.size if sent else 0,
        sha256=(sent.sha256 if sent else EMPTY_SHA256) if is_file else "",
    )


@dataclass
class _Change:
    """One person's change: the event it shall become, and what it is made from. As a context it removes the
    objects it has sent, unless the event stands or may stand."""

    link: Link
    project: Project
    token: str
    event: WorkspaceEdited
    before: tuple[Entry, ...]
    told: bool = False  # the event is on its way

    @classmethod
    def begin(cls, link: Link, project: Project) -> _Change:
        """Raises Refused where nothing can be changed now; nothing was sent then."""
        token = secrets.token_hex(8)
        _, base, parent = next_workspace(project)
        event = WorkspaceEdited(
            manifest=layout.edit_manifest(project.id, token), base=base, parent=parent, **link.stamp()
        )
        edit_workspace(project, event)
        before = read_manifest(link.store, parent, project=project.id).entries if parent else ()
        return cls(link=link, project=project, token=token, event=event, before=before)

    def commit(self, *, put: Sequence[Entry] = (), removed: Sequence[str] = ()) -> Project:
        """Write the manifest, then the event."""
        event, link = self.event, self.link
        after = workspace.edited(self.before, put=put, removed=removed)
        manifest = Manifest(
            project=self.project.id,
            kind="edited",
            run=event.base,
            attempt=0,
            parent=event.parent,
            author=link.author,
            entries=after,
            deleted=workspace.difference(self.before, after).removed,
        )
        data = workspace.encode(manifest)
        PATIENCE.ask(lambda: link.store.put(event.manifest, data, content_type="application/json"))
        self.told = True
        return link.change(self.project.id, event)

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        may_stand = self.told and isinstance(error, Unreachable)
        if error is not None and not may_stand:
            with suppress(WinslowError):  # of a store that is away: it goes with the project
                self.link.store.delete_prefix(layout.edit(self.project.id, self.token))
