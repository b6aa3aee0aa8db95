"""The rows of a tree of files, from what is known of each folder. Pure: whoever shows it asks for the levels.

At the top are places: a project's input and output, workspaces of its runs, the resources. A folder is unfolded and
folded; what is in it was `found`, one level at a time, or `missed`. What is known stays until something else is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from winslow import address
from winslow.project import Project
from winslow.workspace import EntryType
from winslow_tui.facade.filing import File
from winslow_tui.program.sorting import Sorting

LOOKING = "looking …"
EMPTY = "nothing here"
UNFIT = "nothing seen so far passes the filter"

Place = tuple[str, str]
"""An address, and what is said beside it."""


class Kind(Enum):
    """What a row is."""

    PLACE = "place"
    FOLDER = "folder"
    FILE = "file"  # or a link
    WORDS = "words"  # about the folder it stands in


@dataclass(frozen=True, slots=True)
class Row:
    """`key` is an address; of words it is none. `text` is a name or a sentence, `note` what is said of a place,
    `within` the address of the folder it stands in, empty for a place. Names are as they came: not yet harmless for a
    terminal."""

    key: str
    kind: Kind
    text: str
    within: str = ""
    depth: int = 0
    note: str = ""
    file: File | None = None

    @property
    def folds(self) -> bool:
        """Whether something is in it."""
        return self.kind in (Kind.PLACE, Kind.FOLDER)

    @property
    def thing(self) -> str:
        """The address of what a verb is for: words stand for their folder."""
        return self.within if self.kind is Kind.WORDS else self.key

    @property
    def folder(self) -> str:
        """The address of the folder that it is, or that it stands in."""
        return self.key if self.folds else self.within


@dataclass(frozen=True)
class Level:
    """What is in a folder, folders first. `size` in bytes, of the files; `unnamed` counts what has no address."""

    rows: tuple[Row, ...] = ()
    size: int = 0
    unnamed: int = 0


def level(key: str, files: Iterable[File]) -> Level:
    """What was found at a folder's address. Raises InvalidInput for an address that is none."""
    where = address.parse(key)
    below = f"{where.path}/" if where.path else ""
    depth = below.count("/") + 1
    rows: list[Row] = []
    size = unnamed = 0
    for file in sorted(files, key=lambda file: (file.kind is not EntryType.DIR, file.path)):
        name = file.path.rpartition("/")[2]
        if file.path != below + name or name in ("", ".", "..") or "\0" in name:
            unnamed += 1
            continue
        folder = file.kind is EntryType.DIR
        rows.append(
            Row(
                key=address.text(replace(where, path=file.path, folder=folder)),
                kind=Kind.FOLDER if folder else Kind.FILE,
                text=name,
                within=key,
                depth=depth,
                file=file,
            )
        )
        size += file.size
    return Level(rows=tuple(rows), size=size, unnamed=unnamed)


def places(project: Project, stale: Mapping[int, int]) -> list[Place]:
    """Where files of a project are; `stale` are runs whose input was made anew since (`lineage.stale`)."""
    found = [
        (f"{project.id}:input/", "what was uploaded for it"),
        (f"{project.id}:output/", "its results so far"),
        (f"{project.id}#next:", "what the next run takes over"),
    ]
    for run in reversed(project.runs):
        words = f"workspace of {run.stage.name}"
        if run.state.held:
            words += f" ● live on {run.attempt.node}" if run.attempt else " ● live"
        elif run.n in stale:
            words += " · stale"
        if run.manifests.workspace or run.state.held:
            found.append((f"{project.id}#{run.n}:", words))
    return found


class FileTree:
    """See the module."""

    def __init__(self) -> None:
        self._places: tuple[Row, ...] = ()
        self._unfolded: set[str] = set()
        self._levels: dict[str, Level] = {}
        self._problems: dict[str, str] = {}
        self._ordered: dict[str, Sequence[Row]] = {}
        self._sorting = Sorting()
        self._holds: Callable[[str], bool] | None = None

    # -- what is known

    def put_places(self, places: Sequence[Place]) -> list[str]:
        """Other places. Those are returned that are unfolded and have to be looked at: they are new, or something else
        is said of them, as when a run has ended."""
        before = {row.key: row.note for row in self._places}
        self._places = tuple(
            Row(key=key, kind=Kind.PLACE, text=_place_name(key), note=note) for key, note in places
        )
        return [
            row.key for row in self._places if row.key in self._unfolded and before.get(row.key) != row.note
        ]

    def found(self, key: str, level: Level) -> list[str]:
        """What is in a folder now. Those of its folders are returned that are unfolded, and to be looked at too."""
        gone = {row.key for row in self._levels.get(key, Level()).rows if row.folds}
        gone -= {row.key for row in level.rows}
        self._forget(gone)
        self._levels[key] = level
        self._problems.pop(key, None)
        self._ordered.pop(key, None)
        if key not in self._unfolded:
            return []
        return [row.key for row in level.rows if row.folds and row.key in self._unfolded]

    def missed(self, key: str, sentence: str) -> None:
        """A folder could not be looked at, and why."""
        self._problems[key] = sentence

    def known(self, key: str) -> Level | None:
        """What is known of a folder; None before it was found."""
        return self._levels.get(key)

    def _forget(self, keys: Iterable[str]) -> None:
        for key in keys:
            gone = self._levels.pop(key, None)
            self._ordered.pop(key, None)
            self._problems.pop(key, None)
            if gone is not None:
                self._forget(row.key for row in gone.rows if row.folds)

    # -- what of it is shown

    def unfold(self, key: str) -> None:
        """Show what is in a folder."""
        self._unfolded.add(key)

    def fold(self, key: str) -> None:
        """Show it no longer; folders in it stay as they are for the next time."""
        self._unfolded.discard(key)

    def unfolded(self, key: str) -> bool:
        """Whether what is in it is shown."""
        return key in self._unfolded

    @property
    def unfolded_places(self) -> list[str]:
        """Where to begin when everything is to be looked at again."""
        return [row.key for row in self._places if row.key in self._unfolded]

    def narrow(self, holds: Callable[[str], bool] | None) -> None:
        """Show what `holds` is true for, given a path below its place, and the folders on the way to that."""
        self._holds = holds

    def sort(self, sorting: Sorting) -> None:
        """Sort each folder's files; its folders, which have a name only, stay before them."""
        if sorting != self._sorting:
            self._sorting = sorting
            self._ordered.clear()

    def rows(self) -> list[Row]:
        """All that is shown, from the top."""
        found: list[Row] = []
        for place in self._places:
            found.append(place)
            if place.key in self._unfolded:
                self._add(place, found)
        return found

    def _add(self, folder: Row, found: list[Row]) -> None:
        level, problem = self._levels.get(folder.key), self._problems.get(folder.key, "")
        if problem:
            found.append(_words(folder, problem))
        if level is None:
            if not problem:
                found.append(_words(folder, LOOKING))
            return
        nothing = True
        for row in self._order(folder.key, level):
            if self._stays(row):
                nothing = False
                found.append(row)
                if row.key in self._unfolded:
                    self._add(row, found)
        if level.unnamed:
            found.append(_words(folder, f"{level.unnamed} more, whose names are no addresses"))
        elif nothing and not problem:
            found.append(_words(folder, UNFIT if level.rows else EMPTY))

    def _stays(self, row: Row) -> bool:
        if self._holds is None or row.file is None or self._holds(row.file.path):
            return True
        inside = self._levels.get(row.key)
        return inside is not None and any(self._stays(each) for each in inside.rows)

    def _order(self, key: str, level: Level) -> Sequence[Row]:
        if not self._sorting.column:
            return level.rows
        if key not in self._ordered:
            rows = {row.key: row for row in level.rows}
            files = {row.key: row.file for row in level.rows if row.file is not None and not row.folds}
            order = self._sorting.order(
                (row.key for row in level.rows if row.folds), {"NAME": lambda key: rows[key].text}
            )
            order += self._sorting.order(
                files,
                {
                    "NAME": lambda key: rows[key].text,
                    "SIZE": lambda key: files[key].size,
                    "MODIFIED": lambda key: files[key].modified,
                },
            )
            self._ordered[key] = [rows[each] for each in order]
        return self._ordered[key]


def things(rows: Iterable[Row]) -> list[str]:
    """The addresses of what a verb is for, each once, and nothing beside a folder that it is in."""
    rows = list(rows)
    folders = tuple(row.thing for row in rows if row.kind is not Kind.FILE)
    found = dict.fromkeys(row.thing for row in rows)
    return [key for key in found if not any(key != each and key.startswith(each) for each in folders)]


def _words(folder: Row, text: str) -> Row:
    return Row(
        key=f"\0{folder.key}\0{text}", kind=Kind.WORDS, text=text, within=folder.key, depth=folder.depth + 1
    )


def _place_name(key: str) -> str:
    """As short as it is clear on a project's page: `input/`, `#3`, `#next`; of the resources `res:`."""
    where = address.parse(key)
    return key.removeprefix(where.project).strip(":") if where.project else key
