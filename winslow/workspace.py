"""Manifests: what a directory of a run holds, as data (design 8, invariants I3 and I11).

A manifest lists every file, directory and symbolic link below one directory. Names in it are hostile:
they came from a container or from a person's S3 client. A path is kept as percent-encoded bytes in
one canonical spelling, so two spellings of one name cannot hide a double entry, and no control
character reaches a terminal. Everything here is pure; `node_agent.places` reads and writes the disk.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from winslow.errors import InvalidInput, NotFound, Refused

SCHEMA = 1
MAX_NAME = 255  # bytes in one component, as Linux has it
MAX_DEPTH = 200  # components in one path: every level costs an open descriptor while a tree is read
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_INT64 = 2**63 - 1


def quote_path(raw: bytes) -> str:
    """The canonical percent-encoded spelling of a path's bytes; `/` and RFC 3986's unreserved stay."""
    return quote_from_bytes(raw, safe="/")


def unquote_path(path: str) -> bytes:
    """The inverse of `quote_path`."""
    return unquote_to_bytes(path)


def check_path(path: str) -> str:
    """`path` itself if it is a relative path in canonical spelling that stays below its root.

    Raises ValueError for an empty or absolute path, for empty, `.` and `..` components, NUL, a second
    spelling, a component over 255 bytes, or more than 200 components.
    """
    raw = unquote_path(path)
    if not raw:
        raise ValueError("a path is empty")
    if quote_path(raw) != path:
        raise ValueError(f"{path!r} is not percent-encoded in the one way this format has")
    if b"\0" in raw:
        raise ValueError(f"{path!r} contains a NUL byte")
    if raw.startswith(b"/"):
        raise ValueError(f"{path!r} is absolute")
    components = raw.split(b"/")
    if any(name in (b"", b".", b"..") for name in components):
        raise ValueError(f"{path!r} has an empty, '.' or '..' component")
    if any(len(name) > MAX_NAME for name in components):
        raise ValueError(f"{path!r} has a component of more than {MAX_NAME} bytes")
    if len(components) > MAX_DEPTH:
        raise ValueError(f"{path[:80]!r}… has more than {MAX_DEPTH} components")
    return path


def _shown(path: str) -> str:
    """A path as people write it, in quotes and with nothing that acts on a terminal."""
    return repr(unquote_path(path).decode(errors="replace"))


def parents(path: str) -> Iterable[str]:
    """Every proper ancestor of a path, the nearest first; the root is not one."""
    while (cut := path.rfind("/")) > 0:
        path = path[:cut]
        yield path


def _target(value: str) -> str:
    raw = unquote_path(value)
    if quote_path(raw) != value or b"\0" in raw:
        raise ValueError(f"{value!r} is not a percent-encoded link target")
    return value


def _object_key(value: str) -> str:
    if not value.isprintable():
        raise ValueError(f"object {value!r} holds characters that no generated name has")
    if value and any(name in ("", ".", "..") for name in value.split("/")):
        raise ValueError(f"object {value!r} has an empty, '.' or '..' component")
    return value


def _permissions(value: int) -> int:
    """A file's setuid, setgid and sticky bits never travel."""
    return value & 0o777


class EntryType(StrEnum):
    """What a path is. Sockets, devices and FIFOs have no entry: they are skipped with a note."""

    FILE = "file"
    DIR = "dir"
    LINK = "link"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Entry(_Model):
    """One path. `mode` holds the nine permission bits, `size` is in bytes.

    A file has `sha256` (hex) and, unless it is empty, the key of the `object` that holds its bytes; a
    link has `target`, percent-encoded bytes that nobody here ever follows.
    """

    path: Annotated[str, AfterValidator(check_path)]
    type: EntryType
    mode: Annotated[int, Field(ge=0, le=0o7777), AfterValidator(_permissions)] = 0
    mtime_ns: int = Field(default=0, ge=-_INT64, le=_INT64)
    object: Annotated[str, AfterValidator(_object_key)] = ""
    size: int = Field(default=0, ge=0, le=_INT64)
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    target: Annotated[str, AfterValidator(_target)] = ""

    @model_validator(mode="after")
    def _whole(self) -> Entry:
        is_file, is_link = self.type is EntryType.FILE, self.type is EntryType.LINK
        if is_link != bool(self.target):
            raise ValueError(f"{self.path!r}: a link has a target, nothing else has")
        if not is_file and (self.object or self.size or self.sha256):
            raise ValueError(f"{self.path!r}: only a file has an object, a size and a sha256")
        if is_file and not self.sha256:
            raise ValueError(f"{self.path!r}: a file without sha256")
        if is_file and bool(self.object) != bool(self.size):
            raise ValueError(f"{self.path!r}: a file has an object exactly when it is not empty")
        if is_file and not self.size and self.sha256 != EMPTY_SHA256:
            raise ValueError(f"{self.path!r}: empty, but its sha256 is another's")
        return self


class Manifest(_Model):
    """A directory of a run as it was when the run ended; never changed afterwards (I3).

    `deleted` names the paths that were there when the run began and are gone. `entries` is whole
    without it; `overlay` needs it, and it tells what a run removed. `parent` is the key of the manifest
    the directory was made from, empty for none. An `edited` one was made by a person, the `author`, for a
    next run; `run` is then the one whose workspace was changed (0: none), and `attempt` is 0.
    """

    schema_: int = Field(default=SCHEMA, alias="schema")
    project: str = Field(min_length=1)
    kind: Literal["run", "edited"] = "run"
    run: int = Field(ge=0)
    attempt: int = Field(ge=0)
    parent: str = ""
    author: str = ""
    entries: tuple[Entry, ...] = ()
    deleted: tuple[Annotated[str, AfterValidator(check_path)], ...] = ()

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, serialize_by_alias=True)

    @model_validator(mode="after")
    def _tree(self) -> Manifest:
        if "/" in self.project or self.project in (".", ".."):
            raise ValueError(f"{self.project!r} is not a project's id")
        types: dict[str, EntryType] = {}
        own = f"projects/{self.project}/"
        for entry in self.entries:
            if entry.path in types:
                raise ValueError(f"{entry.path!r} stands twice")
            if entry.object and not entry.object.startswith(own):
                raise ValueError(f"{entry.path!r} points to {entry.object!r}, which is not this project's")
            types[entry.path] = entry.type
        for path in types:
            for above in parents(path):
                if types.get(above, EntryType.DIR) is not EntryType.DIR:
                    raise ValueError(f"{path!r} lies below {above!r}, which is a {types[above]}")
        return self

    def objects(self) -> frozenset[str]:
        """Keys of every object the manifest points to."""
        return frozenset(entry.object for entry in self.entries if entry.object)


def encode(manifest: Manifest) -> bytes:
    """Deterministic UTF-8 JSON, entries and deletions in path order, one entry a line."""
    unsaid = set() if manifest.author else {"author"}
    head = manifest.model_dump(mode="json", exclude={"entries", "deleted", *unsaid})
    lines = [f"{json.dumps(name)}: {json.dumps(value)}," for name, value in sorted(head.items())]
    entries = [
        entry.model_dump_json(exclude_defaults=True)
        for entry in sorted(manifest.entries, key=lambda entry: entry.path)
    ]
    body = ",\n".join(entries)
    deleted = json.dumps(sorted(set(manifest.deleted)), indent=0)
    return ("{" + "\n".join(lines) + f'\n"deleted": {deleted},\n"entries": [\n{body}\n]}}\n').encode()


def decode(data: bytes, *, key: str, project: str) -> Manifest:
    """Read and validate a manifest of `project`. Raises InvalidInput naming `key`."""
    try:
        raw: Any = json.loads(data)
        if not isinstance(raw, dict):
            raise InvalidInput(f"{key}: not a manifest")
        schema = raw.get("schema", 0)
        if not isinstance(schema, int) or schema > SCHEMA:
            raise InvalidInput(
                f"{key}: written by a newer Winslow (schema {schema!r}, this program knows {SCHEMA})",
                hint="install the newer version here",
            )
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{key}: not a valid manifest: {place}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{key}: not a manifest: {error}") from error
    if manifest.project != project:
        raise InvalidInput(f"{key}: belongs to project {manifest.project!r}, not to {project!r}")
    return manifest


class Layer(Protocol):
    """What `overlay` stacks: a manifest, or the upper directory of an overlay mount."""

    @property
    def entries(self) -> Sequence[Entry]:
        """Paths that are there, or there anew."""

    @property
    def deleted(self) -> Sequence[str]:
        """Paths that are gone with everything below them; looked at before `entries`."""


@dataclass(frozen=True)
class Delta:
    """A layer that is no manifest; an opaque directory stands in both lists."""

    entries: tuple[Entry, ...] = ()
    deleted: tuple[str, ...] = ()


def overlay(*layers: Layer) -> tuple[Entry, ...]:
    """The layers on top of each other, the last one uppermost, in path order.

    A directory over a directory keeps what is below; anything else replaces it with all it held.
    """
    merged: dict[str, Entry] = {}
    for layer in layers:
        gone = set(layer.deleted)
        solid = {entry.path for entry in layer.entries if entry.type is not EntryType.DIR}
        needed = {above for entry in layer.entries for above in parents(entry.path)}
        merged = {
            path: entry
            for path, entry in merged.items()
            if path not in gone
            and not any(above in gone or above in solid for above in parents(path))
            and (entry.type is EntryType.DIR or path not in needed)
        }
        merged.update((entry.path, entry) for entry in layer.entries)
    return tuple(merged[path] for path in sorted(merged))


def check_edit(
    before: Sequence[Entry], *, put: Mapping[str, EntryType], removed: Collection[str] = ()
) -> None:
    """Whether a person can change a directory so: first `removed` go with all they hold, then `put` take their places.

    A file takes the place of a file, and of nothing else. Raises NotFound for what is not there to be removed,
    Refused where a file would stand in the way of a folder or the other way round.
    """
    there = {entry.path: entry.type for entry in before}
    folders = {above for path in there for above in parents(path)}
    for path in removed:
        if path not in there and path not in folders:
            raise NotFound(f"there is no {_shown(path)} to remove")
    gone = set(removed)
    left = {
        path: kind
        for path, kind in there.items()
        if path not in gone and not any(above in gone for above in parents(path))
    }
    after = {**left, **put}
    solid = {path for path, kind in after.items() if kind is not EntryType.DIR}
    folders = {above for path in after for above in parents(path)}
    for path, kind in put.items():
        above = next((each for each in parents(path) if each in solid), None)
        if above is not None:
            raise Refused(
                f"{_shown(path)} cannot be put below {_shown(above)}, which is no folder",
                hint="remove that first",
            )
        if kind is not EntryType.DIR and (path in folders or left.get(path) is EntryType.DIR):
            raise Refused(f"{_shown(path)} is a folder: no file can take its place", hint="remove it first")
        if kind is EntryType.DIR and left.get(path, kind) is not EntryType.DIR:
            raise Refused(f"{_shown(path)} is no folder: none can take its place", hint="remove it first")


def edited(
    before: Sequence[Entry], *, put: Sequence[Entry] = (), removed: Collection[str] = ()
) -> tuple[Entry, ...]:
    """The directory after a person's change, in path order; what was not changed stays as it was. Raises as
    `check_edit`."""
    check_edit(before, put={entry.path: entry.type for entry in put}, removed=removed)
    return overlay(Delta(entries=tuple(before)), Delta(entries=tuple(put), deleted=tuple(removed)))


@dataclass(frozen=True)
class Difference:
    """Paths by what happened to them between two manifests, each in path order."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


def difference(before: Sequence[Entry], after: Sequence[Entry]) -> Difference:
    """Compare two directories by content, type, mode and target; a newer mtime alone is no change."""

    def content(entry: Entry) -> tuple[object, ...]:
        return (entry.type, entry.mode, entry.sha256, entry.target)

    old = {entry.path: content(entry) for entry in before}
    new = {entry.path: content(entry) for entry in after}
    return Difference(
        added=tuple(sorted(new.keys() - old.keys())),
        changed=tuple(sorted(path for path in new.keys() & old.keys() if new[path] != old[path])),
        removed=tuple(sorted(old.keys() - new.keys())),
    )


@dataclass(frozen=True, slots=True)
class Mark:
    """How a file looked to the file system. Equal marks mean unchanged content and mode (design 8)."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Found:
    """One path as a scan of a directory saw it; `target` (links) is percent-encoded."""

    path: str
    type: EntryType
    mode: int
    mtime_ns: int
    size: int
    mark: Mark
    target: str = ""

    def entry(self, *, sha256: str = "", object: str = "") -> Entry:
        """The manifest entry, once a file's content is known."""
        is_file = self.type is EntryType.FILE
        return Entry(
            path=self.path,
            type=self.type,
            mode=self.mode & 0o777,
            mtime_ns=self.mtime_ns,
            target=self.target,
            size=self.size if is_file else 0,
            sha256=sha256,
            object=object,
        )


@dataclass(frozen=True)
class Split:
    """A scan sorted by what must still be done: `known` entries are final, `unread` files must be hashed."""

    known: tuple[Entry, ...]
    unread: tuple[Found, ...]


def changed(before: Sequence[Entry], marks: Mapping[str, Mark], after_scan: Iterable[Found]) -> Split:
    """Which files of a scan must be read. `marks` were taken when `before` had been put in place.

    A file whose mark is the same keeps its entry from `before`; directories and links need no reading.
    """
    files = {entry.path: entry for entry in before if entry.type is EntryType.FILE}
    known: list[Entry] = []
    unread: list[Found] = []
    for found in after_scan:
        if found.type is not EntryType.FILE:
            known.append(found.entry())
        elif found.path in files and marks.get(found.path) == found.mark:
            known.append(files[found.path])
        elif found.size == 0:
            known.append(found.entry(sha256=EMPTY_SHA256))
        else:
            unread.append(found)
    return Split(known=tuple(known), unread=tuple(unread))
