"""The node's secrets: read from one file of its own, and lent to stages as files of theirs.

    [agent] secrets = "/etc/winslow/secrets.toml"      NAME = "value", a line each; mode 600, the agent's user's

A stage whose environment says `secret:NAME` finds the value in `/run/secrets/NAME`. Nothing else ever holds
it: documents, messages, journals and container settings have names and paths. What is lent lies in memory
(a tmpfs) below `/run` or `/dev/shm`, or in the attempt's own directory where there is none that the runtime
sees, as for an agent that is itself in a container; it goes when the attempt goes. All functions block.
"""

from __future__ import annotations

import os
import stat
import threading
import tomllib
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from node_agent import tree
from winslow.errors import InvalidInput
from winslow.pipeline import ENV_NAME

PLACE = "/run/secrets"
"""The directory as a stage in a container sees it."""

MOST_BYTES = 256 << 10  # of the node's file
_ROOMS = (Path("/run"), Path("/dev/shm"))  # noqa: S108  # a directory of the agent's own is made in it
_OWN = "secrets"  # in the attempt's directory


class Vault:
    """One per agent. `path` None: the node has no secrets. `room` is a directory in memory, or None."""

    def __init__(self, path: Path | None, *, room: Path | None) -> None:
        self._path = path
        self._room = room
        self._turn = threading.Lock()  # the room comes with the first that is lent, and goes with the last

    def names(self) -> tuple[str, ...]:
        """Those that the node has now, in order. Raises InvalidInput for a file that others may read or that is
        not as it should be; what it holds never stands in a message."""
        return tuple(sorted(self._read()))

    def lend(self, names: Collection[str], home: Path) -> Path:
        """Files for an attempt whose directory is `home`, in a directory that is returned; again after a restart.

        Raises InvalidInput (see `names`, and for a name the node does not have), OSError.
        """
        directory = self._directory(home)
        if _is_sealed(directory):
            return directory  # its container may run by now and see these files
        tree.remove(directory)
        values = self._read()
        for name in names:
            if name not in values:
                raise InvalidInput(
                    f"there is no secret {name} here",
                    hint=f"add it to the file that [agent] secrets names: {self._path}",
                )
        with self._turn:
            if self._room is not None and not make_room(self._room):
                raise InvalidInput(
                    f"{self._room} belongs to somebody else", hint="look who made it, and remove it"
                )
            directory.mkdir(mode=0o700)
        for name in names:
            file = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
            with os.fdopen(file, "wb") as opened:
                opened.write(values[name].encode())
        directory.chmod(0o500)
        return directory

    def give(self, directory: Path, user: int) -> None:
        """Let a user of this machine read what was lent, and nobody else. Raises PermissionError where only root
        could do that."""
        if directory.stat().st_uid == user:
            return
        for path in (*directory.iterdir(), directory):
            os.chown(path, user, -1, follow_symlinks=False)

    def take_back(self, home: Path) -> None:
        """Remove what was lent to an attempt; nothing is fine."""
        self._remove([self._directory(home)])

    def take_back_others(self, homes: Iterable[Path]) -> None:
        """Remove what was lent to attempts that are none of these."""
        if self._room is None or not self._room.is_dir():
            return
        kept = {self._directory(home) for home in homes}
        self._remove([path for path in self._room.iterdir() if path not in kept])

    def _remove(self, directories: Iterable[Path]) -> None:
        with self._turn:
            for directory in directories:
                tree.remove(directory)
            if self._room is not None:
                leave_room(self._room)

    def _directory(self, home: Path) -> Path:
        if self._room is None:
            return home / _OWN
        return self._room / f"{home.parent.name}.{home.name}"

    def _read(self) -> dict[str, str]:
        path = self._path
        if path is None:
            return {}
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                data = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise InvalidInput(
                f"{path}: the node's secrets cannot be read: {error.strerror}",
                hint="[agent] secrets names that file",
            ) from error
        if status.st_uid != os.geteuid():
            raise InvalidInput(
                f"{path}: the node's secrets belong to another user than the agent's",
                hint=f"chown {os.geteuid()} {path}",
            )
        if stat.S_IMODE(status.st_mode) & 0o177:
            raise InvalidInput(
                f"{path}: the node's secrets may be read by others (mode {stat.S_IMODE(status.st_mode):o})",
                hint=f"chmod 600 {path}; who could read them until now may know them",
            )
        if len(data) > MOST_BYTES:
            raise InvalidInput(f"{path}: longer than {MOST_BYTES >> 10} KiB")
        return _parse(data, path)


def _parse(data: bytes, path: Path) -> dict[str, str]:
    try:
        table = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        # Not from the error, whose words could be a part of a secret.
        raise InvalidInput(f"{path}: not TOML", hint='write NAME = "value", a line each') from None
    for name, value in table.items():
        if not ENV_NAME.fullmatch(name):
            raise InvalidInput(
                f"{path}: a name has letters, digits and '_', and begins with no digit",
                hint='write NAME = "value", a line each',
            )
        if not isinstance(value, str):
            raise InvalidInput(f"{path}: the value of {name} is no text", hint=f'write {name} = "value"')
    return table


def rooms(node_uuid: str) -> Iterator[Path]:
    """Directories in memory that could be an agent's own (see `make_room`), the best first."""
    for base in _ROOMS:
        if _in_memory(base) and os.access(base, os.W_OK | os.X_OK):
            yield base / f"winslow-{node_uuid}"


def make_room(path: Path) -> bool:
    """Make it, or find it made; False where somebody else has it, or may look into it."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def leave_room(path: Path) -> None:
    """Remove it, unless something is in it."""
    with suppress(OSError):
        path.rmdir()


def _in_memory(path: Path) -> bool:
    mounts = (line.split(" ") for line in Path("/proc/self/mounts").read_text().splitlines())
    return any(fields[1] == str(path) and fields[2] in ("tmpfs", "ramfs") for fields in mounts)


def _is_sealed(path: Path) -> bool:
    """Whether `lend` came to its end there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o500
