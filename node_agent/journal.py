"""What a node remembers of its attempts, so that an agent killed at any point goes on from there (design 6).

    <data>/agent.lock                              held by the one agent of this directory
    <data>/node.uuid                               drawn once: who this node is
    <data>/attempts/<project>/<run>.<attempt>/     one attempt; `attempt.json` is its journal

A journal is written beside and renamed, with fsync of the file and of its directory, so a reader sees
the old one or the new one. One that cannot be read is renamed to `*.bad` and reported, never deleted.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from winslow.errors import InvalidInput, Refused, WinslowError
from winslow.project import Manifests, Peak, Reason

_PROJECT = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
_ATTEMPT = re.compile(r"(0|[1-9][0-9]{0,8})\.([1-9][0-9]{0,8})")
_UUID = re.compile(r"[A-Za-z0-9-]{8,64}")
_FILE = "attempt.json"
_LIBC = ctypes.CDLL(None, use_errno=True)


class Step(StrEnum):
    """How far an attempt is; each step is recorded after it is done, in this order."""

    INTENT = "INTENT"  # the claim id is drawn; the conditional write may or may not have happened
    CLAIMED = "CLAIMED"  # the document says that this node has the attempt
    IMAGE = "IMAGE"  # the image is present
    PLACED = "PLACED"  # inputs and workspace are in place, and their marks are recorded
    CREATED = "CREATED"  # the container exists
    STARTED = "STARTED"  # it was started
    EXITED = "EXITED"  # it and all its processes ended; the exit code is known
    COLLECTED = "COLLECTED"  # files and manifests are in the store
    COMMITTED = "COMMITTED"  # the document has the outcome, or another attempt superseded this one
    DONE = "DONE"  # what it left on the node may go

    @property
    def order(self) -> int:
        """Its place in the order above, from 0."""
        return list(Step).index(self)


class ClaimedNumber(BaseModel):
    """An attempt's number and the claim it was asked for with."""

    model_config = ConfigDict(frozen=True)
    attempt: int = Field(ge=1)
    claim: str


class AttemptJournal(BaseModel):
    """One attempt as its node knows it. Times are RFC 3339 UTC, for people only; bytes and cores.

    A container that goes on under another number, after its attempt was given up for lost, keeps the labels and
    the directory it was made with: `origin` has them. Fields that a newer agent wrote are kept.
    """

    project: str
    run: int = Field(ge=0)
    attempt: int = Field(ge=1)
    claim: str
    origin: ClaimedNumber | None = None  # what the container was made as, where that is another number
    wanted: ClaimedNumber | None = None  # the next number: its conditional write may or may not have happened
    step: Step = Step.INTENT
    node_uuid: str
    boot_id: str
    stage: str = ""
    runtime: str = ""
    cpus: float = 0.0  # reserved on the node while the attempt lives
    memory: int = 0
    disk: int = 0
    gpus: tuple[str, ...] = ()
    image_digest: str = ""
    container: str = ""
    exit_code: int | None = None
    oom: bool = False
    started: float = 0.0  # the machine's monotonic clock when the stage was started, in seconds
    reason: Reason | None = None  # why the agent stopped it, once it has decided to
    detail: str = ""  # the sentence to `reason`; without one what the runtime says of the end
    matched: str = ""  # the sentence about a line that the stage calls a failure
    peak: Peak = Peak()
    times: dict[str, str] = {}  # step -> when it was done
    manifests: Manifests = Manifests()
    results: dict[str, str] = {}

    model_config = ConfigDict(frozen=True, extra="allow")

    def advance(self, step: Step, **changes: Any) -> AttemptJournal:
        """A validated copy at `step` with other fields changed. Raises ValueError for a step back."""
        if step.order < self.step.order:
            raise ValueError(f"attempt {self.name}: {self.step} cannot go back to {step}")
        return AttemptJournal.model_validate({**self.model_dump(), **changes, "step": step})

    @property
    def made_as(self) -> ClaimedNumber:
        """What stands on the container's labels; the number names the attempt's directories, too."""
        return self.origin or ClaimedNumber(attempt=self.attempt, claim=self.claim)

    def wanting(self, attempt: int, claim: str) -> AttemptJournal:
        """A copy with the intent to go on under that number."""
        return self.model_copy(update={"wanted": ClaimedNumber(attempt=attempt, claim=claim)})

    def renumbered(self) -> AttemptJournal:
        """A copy under the wanted number. What was collected under the old one is to be collected again.

        Raises ValueError where none is wanted.
        """
        if self.wanted is None:
            raise ValueError(f"attempt {self.name}: no other number was asked for")
        return self.model_copy(
            update={
                "attempt": self.wanted.attempt,
                "claim": self.wanted.claim,
                "origin": self.made_as,
                "wanted": None,
                "step": min(self.step, Step.EXITED, key=lambda step: step.order),
                "manifests": Manifests(),
                "results": {},
            }
        )

    @property
    def name(self) -> str:
        """`<project> <run>.<attempt>`, for messages."""
        return f"{self.project} {self.run}.{self.attempt}"


@dataclass(frozen=True)
class BadJournal:
    """A journal that could not be read, and where it was put aside."""

    path: Path
    why: str


@dataclass(frozen=True)
class Loaded:
    """Everything found below `attempts/`. `leftovers` are attempt directories without any journal: an agent
    was killed before the intent, or after the end; nothing runs there and they may be removed."""

    journals: tuple[AttemptJournal, ...]
    bad: tuple[BadJournal, ...]
    leftovers: tuple[Path, ...]


class Journals:
    """The journals below `<data>/attempts`. Blocking; one attempt is written by one task at a time."""

    def __init__(self, attempts: Path) -> None:
        self._root = attempts
        # A project's next attempt may begin while the directory of its last one is being removed.
        self._folders = threading.Lock()

    def directory(self, project: str, run: int, attempt: int) -> Path:
        """The attempt's own directory, whether it exists or not. Raises InvalidInput for a hostile id."""
        if not _PROJECT.fullmatch(project):
            raise InvalidInput(
                f"{project!r} is not a project's id", hint="its document was not written by Winslow"
            )
        if not _ATTEMPT.fullmatch(f"{run}.{attempt}"):
            raise InvalidInput(f"project {project}: {run}.{attempt} is not a run and an attempt")
        return self._root / project / f"{run}.{attempt}"

    def home(self, journal: AttemptJournal) -> Path:
        """Where an attempt's journal and files are: the directory of the number it was made as."""
        return self.directory(journal.project, journal.run, journal.made_as.attempt)

    def write(self, journal: AttemptJournal) -> None:
        """Keep it: when this returns, a power cut cannot take it back."""
        directory = self.home(journal)
        with self._folders:
            _make_durable(directory)
        write_durably(directory / _FILE, journal.model_dump_json(indent=1).encode() + b"\n")

    def read(self, project: str, run: int, attempt: int) -> AttemptJournal | None:
        """What is in that attempt's directory; None when nothing is. Raises InvalidInput when it is torn or another
        attempt's."""
        path = self.directory(project, run, attempt) / _FILE
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            journal = AttemptJournal.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InvalidInput(f"{path}: not a valid journal: {place}: {first['msg']}") from error
        if (journal.project, journal.run, journal.made_as.attempt) != (project, run, attempt):
            raise InvalidInput(f"{path}: is the journal of {journal.name!r}")
        return journal

    def load(self) -> Loaded:
        """Read all; put aside what cannot be read, and name it."""
        journals: list[AttemptJournal] = []
        bad: list[BadJournal] = []
        leftovers: list[Path] = []
        for project, run, attempt in self._attempts():
            directory = self.directory(project, run, attempt)
            try:
                journal = self.read(project, run, attempt)
            except InvalidInput as error:
                bad.append(BadJournal(path=_put_aside(directory / _FILE), why=str(error)))
                continue
            if journal is not None:
                journals.append(journal)
            elif not any(directory.glob("*.bad")):
                leftovers.append(directory)
        return Loaded(journals=tuple(journals), bad=tuple(bad), leftovers=tuple(leftovers))

    def remove(self, journal: AttemptJournal) -> None:
        """Forget an attempt whose files are gone: the journal goes last, then the empty directories."""
        directory = self.home(journal)
        for path in (directory / _FILE, _beside(directory / _FILE)):
            path.unlink(missing_ok=True)
        with self._folders:
            for empty in (directory, directory.parent):
                try:
                    empty.rmdir()
                except OSError:
                    return  # gone already, or another attempt's or a *.bad file lies there
                _sync_directory(empty.parent)

    def _attempts(self) -> Iterator[tuple[str, int, int]]:
        if not self._root.is_dir():
            return
        for project in sorted(self._root.iterdir()):
            if not _PROJECT.fullmatch(project.name) or not project.is_dir():
                continue
            for directory in sorted(project.iterdir()):
                match = _ATTEMPT.fullmatch(directory.name)
                if match and directory.is_dir():
                    yield project.name, int(match[1]), int(match[2])


class DataDirectory:
    """One agent's directory on disk, locked for as long as this object is open."""

    def __init__(self, path: Path, lock: int, node_uuid: str) -> None:
        self.path = path
        self.node_uuid = node_uuid
        self._lock = lock

    @classmethod
    def open(cls, path: Path, *, new_uuid: Callable[[], str]) -> DataDirectory:
        """Make it if need be, lock it, and read or draw the node's uuid.

        Raises Refused while another agent has it, InvalidInput for a damaged `node.uuid`.
        """
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not inherited: a stage's process that outlives this agent must not keep the next one out.
        lock = os.open(path / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(path, lock, _node_uuid(path / "node.uuid", new_uuid))
        except BlockingIOError as error:
            os.close(lock)
            raise Refused(
                f"{path}: another agent is using this data directory",
                hint="stop it first, or give this agent a directory of its own",
            ) from error
        except (OSError, WinslowError):
            os.close(lock)
            raise

    @property
    def attempts(self) -> Path:
        """Where the attempts live."""
        return self.path / "attempts"

    def close(self) -> None:
        """Let another agent have the directory."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def write_durably(path: Path, data: bytes) -> None:
    """Replace `path` by `data` (mode 0600) so that a crash leaves the old or the new content, whole."""
    new = _beside(path)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync_directory(path.parent)


def sync_filesystem(path: Path) -> None:
    """syncfs(2) on the file system of `path`: everything written there so far survives a power cut. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _LIBC.syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), "syncfs", str(path))
    finally:
        os.close(descriptor)


def _node_uuid(path: Path, new_uuid: Callable[[], str]) -> str:
    try:
        known = path.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        known = new_uuid()
        write_durably(path, f"{known}\n".encode())
    if not _UUID.fullmatch(known):
        raise InvalidInput(
            f"{path}: does not hold a node's uuid",
            hint="restore it; only if this node has no unfinished attempts, delete it to become a new node",
        )
    return known


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _put_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.stem}.{number}.bad")).exists():
        number += 1
    path.rename(aside)
    _sync_directory(path.parent)
    return aside


def _make_durable(directory: Path) -> None:
    """mkdir -p whose new entries survive a power cut."""
    missing = []
    while not directory.is_dir():
        missing.append(directory)
        directory = directory.parent
    for new in reversed(missing):
        new.mkdir(mode=0o700, exist_ok=True)
        _sync_directory(new.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
