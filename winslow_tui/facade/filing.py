"""Files at addresses (design 8): what is there, sending, fetching, removing.

Resources and a project's input are objects with readable keys; a run's workspace and a project's output
are manifests. Both are shown the same way: relative paths below an address.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from winslow import workspace
from winslow.address import Address, text
from winslow.errors import InvalidInput, NotFound, Refused, UsageError
from winslow.lineage import left_by
from winslow.project import Project
from winslow.steering import next_workspace
from winslow.store import layout
from winslow.store.documents import Documents
from winslow.store.files import Download, Progress, Upload, download_many, upload_many
from winslow.store.manifests import read_manifest, read_manifests
from winslow.store.patience import Patience
from winslow.store.port import ObjectStore
from winslow.workspace import Entry, EntryType

PATIENCE = Patience(deadline=120.0)  # a link that drops is given two minutes to come back


@dataclass(frozen=True)
class Held:
    """The attempt of a run that a node has now, and which of its directories is meant."""

    project: str
    run: int
    attempt: int
    node: str
    area: layout.Area


@dataclass(frozen=True)
class File:
    """One thing below an address; `path` is relative to the address's place, as bytes decoded for this system.

    `size` in bytes; `modified` (RFC 3339) as the store or a manifest says it; `target` only of a link. With `held` it
    lies on a node and may change at any moment (`livefiles`)."""

    path: str
    kind: EntryType
    size: int = 0
    modified: str = ""
    key: str = ""
    etag: str = ""
    sha256: str = ""
    mode: int | None = None
    mtime_ns: int | None = None
    target: str = ""
    held: Held | None = None

    @property
    def run(self) -> int | None:
        """The run that made it, of what runs left; None where a person did, or the run still goes on."""
        return layout.run_of_object(self.key)


def find(store: ObjectStore, where: Address, project: Project | None, *, deep: bool) -> list[File]:
    """What lies at an address: the file itself, or what is in the folder; with `deep` all levels of it.

    Raises NotFound naming the address.
    """
    if where.place not in ("resources", "input"):
        assert project is not None
        found = list(_in_manifest(_entries(store, where, project), where, deep=deep))
    else:
        found = list(_in_store(store, where, project, deep=deep))
    if not found and where.path:
        raise NotFound(f"there is nothing at {text(where)}", hint=f"winslow files ls {text(_above(where))}")
    return found


def check_kept(where: Address, project: Project | None) -> None:
    """Raises Refused for the workspace of a run whose files were removed: it can be listed, not fetched."""
    if project is None or where.place != "workspace":
        return
    gone = next((each for each in project.pruned if each.n == where.run), None)
    if gone is not None:
        who = ", ".join(each for each in (gone.by and f"by {gone.by}", gone.at[:10]) if each)
        raise Refused(
            f"the files of run #{gone.n} of {project.id} were removed to free space{f' ({who})' if who else ''}",
            hint=f"make them anew: winslow redo {project.id} {gone.n}",
        )


def _above(where: Address) -> Address:
    return Address(
        place=where.place,
        path=where.path.rpartition("/")[0],
        project=where.project,
        run=where.run,
        folder=True,
    )


def prefix(where: Address, project: Project | None) -> str:
    """What the keys of a place that people write to begin with."""
    if where.place == "resources":
        return layout.RESOURCES
    assert project is not None
    return layout.project_input(project.id)


def _in_store(store: ObjectStore, where: Address, project: Project | None, *, deep: bool) -> Iterator[File]:
    root = prefix(where, project)
    if where.path and not where.folder:
        try:
            info = store.stat(layout.check_key(root + where.path))
        except NotFound:
            pass
        else:
            yield File(where.path, EntryType.FILE, info.size, info.modified, info.key, info.etag, info.sha256)
            return
    folder = f"{root}{where.path}/" if where.path else root
    for each in store.walk(folder) if deep else store.list_folder(folder):
        if isinstance(each, str):
            yield File(each.removeprefix(root).rstrip("/"), EntryType.DIR)
        elif each.key != folder:  # some clients make an empty object for a folder
            yield File(
                each.key.removeprefix(root), EntryType.FILE, each.size, each.modified, each.key, each.etag
            )


def _entries(store: ObjectStore, where: Address, project: Project) -> Sequence[Entry]:
    if where.place == "output":
        keys = [run.manifests.output for run in project.runs if run.manifests.output]
        return workspace.overlay(*read_manifests(store, keys, project=project.id))
    key = _next(project) if where.place == "next" else _workspace(project, where.run or 0)
    return read_manifest(store, key, project=project.id).entries if key else ()


def _next(project: Project) -> str:
    """The key of the manifest of what the next run takes over; empty for nothing. Raises Refused."""
    for run in project.active:
        raise Refused(
            f"{project.id}: run #{run.n} ({run.stage.name}) is {run.state}: what the next run takes over is being made",
            hint=f"what it has so far: winslow files ls {project.id}#{run.n}:",
        )
    return next_workspace(project)[2]


def _workspace(project: Project, n: int) -> str:
    """The key of the manifest of a run's workspace. Raises NotFound, Refused."""
    key = left_by(project, n)
    if key:
        return key
    if n == 0:
        raise NotFound(
            f"{project.id} has no run #0: nobody put files into its first workspace",
            hint=f"winslow files put FILE {project.id}#next:",
        )
    run = project.run(n)
    if run is None:
        raise NotFound(f"{project.id} has no run #{n}", hint=f"winslow runs {project.id} shows its runs")
    if not run.state.ended:
        raise Refused(
            f"run #{n} of {project.id} is {run.state.value}: its workspace is stored when it ends",
            hint=f"winslow wait {project.id} --for idle",
        )
    raise NotFound(f"run #{n} of {project.id} left no workspace")


def _in_manifest(entries: Sequence[Entry], where: Address, *, deep: bool) -> Iterator[File]:
    wanted = workspace.quote_path(where.path.encode("utf-8", "surrogateescape"))
    below = f"{wanted}/" if wanted else ""
    folders: set[str] = set()
    for entry in entries:
        if entry.path == wanted and entry.type is not EntryType.DIR and not where.folder:
            yield _file(entry)
        if not entry.path.startswith(below) or (not deep and "/" in entry.path[len(below) :]):
            continue
        if entry.path != wanted:
            folders.add(entry.path)
            yield _file(entry)
    if deep:
        return
    for entry in entries:  # folders that only their content tells of
        inner = entry.path[len(below) :] if entry.path.startswith(below) else ""
        folder = below + inner.partition("/")[0]
        if "/" in inner and folder not in folders:
            folders.add(folder)
            yield File(_decoded(folder), EntryType.DIR)


def _file(entry: Entry) -> File:
    return File(
        path=_decoded(entry.path),
        kind=entry.type,
        size=entry.size,
        key=entry.object,
        sha256=entry.sha256,
        mode=entry.mode,
        modified=time_text(entry.mtime_ns),
        mtime_ns=entry.mtime_ns,
        target=_decoded(entry.target),
    )


def time_text(mtime_ns: int) -> str:
    """As RFC 3339; empty where nothing or nonsense was set."""
    if mtime_ns <= 0:
        return ""
    return datetime.fromtimestamp(mtime_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _decoded(path: str) -> str:
    return os.fsdecode(workspace.unquote_path(path))


# -- sending


def plan_upload(
    sources: Sequence[Path], where: Address, project: Project | None
) -> tuple[list[Upload], list[str]]:
    """Which file goes under which key, as `cp -r` would do it; and sentences about what is left out.

    Raises Refused for a place that only runs write to, NotFound for a missing source, UsageError when
    several sources are to become one file, InvalidInput for a name that cannot be a key.
    """
    check_sendable(where)
    many = len(sources) > 1 or any(source.is_dir() for source in sources)
    if many and where.path and not where.folder:
        raise UsageError(f"{text(where)} would become one file", hint=f"name a folder: {text(where)}/")
    base = prefix(where, project)
    uploads: list[Upload] = []
    notes: list[str] = []
    for source in sources:
        into = where.path + "/" if where.path and where.folder else where.path
        if source.is_dir():
            root = source.resolve()
            for path in _files_below(root, notes):
                key = f"{base}{into}{root.name}/{path.relative_to(root)}"
                uploads.append(Upload(path=path, key=layout.check_key(_text(key))))
        elif source.exists():
            name = source.resolve().name if where.folder else ""
            uploads.append(Upload(path=source.resolve(), key=layout.check_key(_text(base + into + name))))
        else:
            raise NotFound(f"there is no file {source}")
    if len({upload.key for upload in uploads}) < len(uploads):
        raise UsageError("two of the files would have the same address", hint="put them one after the other")
    return uploads, notes


def check_sendable(where: Address) -> None:
    """Raises Refused for a place that only runs write to."""
    if where.place not in ("resources", "input"):
        raise Refused(
            f"{text(where)} is written by runs alone, and never changes afterwards",
            hint="put files into res:…, PROJECT:input/… or PROJECT#next:…",
        )


def _text(key: str) -> str:
    try:
        key.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{key!r}: the file's name is not UTF-8", hint="rename the file") from None
    return key


def _files_below(root: Path, notes: list[str]) -> Iterator[Path]:
    for folder, folders, names in os.walk(root, onerror=_raise):
        for name in sorted(names) + [name for name in folders if (Path(folder) / name).is_symlink()]:
            path = Path(folder) / name
            if path.is_symlink() or not path.is_file():
                notes.append(f"left out: {path} is a link or no regular file")
            else:
                yield path
        folders.sort()


def _raise(error: OSError) -> None:
    raise error


def upload(
    store: ObjectStore, uploads: Sequence[Upload], progress: Progress, *, project: Project | None = None
) -> None:
    """Send them; goes on where an earlier try ended.

    Raises NotFound when the `project` they belong to was deleted meanwhile: its files are gone, these too.
    """
    upload_many(store, uploads, progress=progress, patience=PATIENCE)
    if project is not None and not stands(store, project.id):
        for each in uploads:
            store.delete(each.key)
        raise NotFound(f"project '{project.id}' was deleted while its files were sent: none of them is kept")


def stands(store: ObjectStore, project_id: str) -> bool:
    """Whether the project is there still, for who has just written files of it. Raises StoreUnreachable."""
    # A deletion writes its tombstone first and removes files afterwards: who finds none now was in time for it.
    try:
        return isinstance(Documents(store, patience=PATIENCE).read(project_id).document, Project)
    except NotFound:
        return False


# -- fetching


@dataclass(frozen=True)
class Place:
    """One thing to fetch, and where it goes below `root`."""

    file: File
    root: Path
    relative: str

    @property
    def path(self) -> Path:
        return self.root / self.relative


def plan_download(found: Sequence[File], where: Address, into: Path) -> list[Place]:
    """Where everything found (with `deep`) at `where` goes, as `cp -r` would do it.

    Raises InvalidInput for a name that would leave `into`: names come from strangers.
    """
    single = len(found) == 1 and found[0].path == where.path and found[0].kind is not EntryType.DIR
    if single:
        name = where.path.rpartition("/")[2]
        root, relative = (into, name) if into.is_dir() else (into.parent, into.name)
        return [Place(found[0], root, _inside(relative))]
    top = where.path.rpartition("/")[2]
    cut = len(where.path) + 1 if where.path else 0
    return [Place(each, into, _inside(f"{top}/{each.path[cut:]}" if top else each.path)) for each in found]


def _inside(relative: str) -> str:
    parts = relative.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in relative:
        raise InvalidInput(
            f"{relative!r} is no name for a file here", hint="fetch the other files by their own addresses"
        )
    return relative


def download(store: ObjectStore, places: Sequence[Place], progress: Progress) -> None:
    """Fetch them: folders first, then files, then links, so that nothing is written through a link.

    Raises Refused where a link of this disk stands in the way.
    """
    wanted: list[Download] = []
    for place in places:
        _make_folders(
            place.root,
            place.relative if place.file.kind is EntryType.DIR else place.relative.rpartition("/")[0],
        )
        if place.file.kind is EntryType.FILE and place.file.key:
            wanted.append(_download(place))
        elif place.file.kind is EntryType.FILE:
            place.path.unlink(missing_ok=True)
            place.path.touch()
    download_many(store, wanted, progress=progress, patience=PATIENCE)
    for place in places:
        if place.file.kind is EntryType.FILE and place.file.mode is not None:
            place.path.chmod(place.file.mode & 0o777 | 0o400)
            if place.file.mtime_ns is not None:
                os.utime(place.path, ns=(place.file.mtime_ns, place.file.mtime_ns))
    for place in places:
        if place.file.kind is EntryType.LINK:
            if place.path.is_symlink():
                place.path.unlink()
            place.path.symlink_to(place.file.target)


def _download(place: Place) -> Download:
    file = place.file
    known = bool(file.etag)
    return Download(
        key=file.key,
        path=place.path,
        sha256=file.sha256,
        etag=file.etag or None,
        size=file.size if known else None,
    )


def _make_folders(root: Path, relative: str) -> None:
    path = root
    _make_folder(path, parents=True)
    for part in relative.split("/") if relative else ():
        path = path / part
        if path.is_symlink():
            raise Refused(
                f"{path} is a link: nothing is written through it", hint="fetch into another folder"
            )
        _make_folder(path)


def _make_folder(path: Path, *, parents: bool = False) -> None:
    try:
        path.mkdir(parents=parents, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise Refused(
            f"{path}: a file is in the way of this folder", hint="fetch into another folder"
        ) from None


# -- removing


def remove(store: ObjectStore, where: Address, project: Project | None, *, deep: bool) -> int:
    """Remove a file, or with `deep` a folder; the number of files. Raises NotFound, Refused, UsageError."""
    if where.place not in ("resources", "input"):
        raise Refused(
            f"{text(where)}: what a run left never changes",
            hint="winslow files rm PROJECT#next:… changes what the next run takes over",
        )
    found = find(store, where, project, deep=True)
    if not deep and not (len(found) == 1 and found[0].path == where.path):
        raise UsageError(f"{text(where)} is a folder with {len(found)} files", hint="add --recursive")
    for each in found:
        store.delete(each.key)
    return len(found)
