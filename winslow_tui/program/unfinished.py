"""Transfers that are not done, kept on the disk between starts: each belongs to the one program that has it.

A program has a folder of its own, held (flock) while it runs, with one small file for each transfer: written when
that begins, removed when it is done, never altered. What programs left that have ended is taken over by the next
one that starts; what another one does meanwhile is left alone. A disk that cannot be written costs the memory,
not the transfer.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

HOLD = "held"
MOST_BYTES = 64 << 10


class Direction(StrEnum):
    """Which way."""

    SEND = "send"
    FETCH = "fetch"


@dataclass(frozen=True)
class Errand:
    """What a transfer is for: `local` is what is sent, or the folder things are fetched into; `remote` an address."""

    direction: Direction
    local: str
    remote: str


class Unfinished:
    """See the module. Safe for threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: Path | None = None  # made with the first transfer
        self._hold = -1
        self._number = 0
        self._lock = threading.Lock()

    def take(self) -> list[tuple[str, Errand]]:
        """What programs that have ended left, with the key of each: from now on it is this program's."""
        found: list[tuple[str, Errand]] = []
        for folder in sorted(self._folder.glob("[!.]*")):
            with suppress(OSError):  # another program takes it over, or it is no folder of ours
                hold = _held(folder)
                try:
                    for path in sorted(folder.glob("[!.]*.json")):
                        if (errand := _read(path)) is not None:
                            found.append((self.add(errand), errand))
                        path.unlink()
                    _remove(folder)
                finally:
                    os.close(hold)
        return found

    def add(self, errand: Errand) -> str:
        """Remember one that begins; its key."""
        with self._lock:
            self._number += 1
            key = f"{self._number:06}.json"
            with suppress(OSError):
                self._own = self._own or self._made()
                beside = self._own / f".{key}"
                beside.write_text(json.dumps(asdict(errand)))
                beside.replace(self._own / key)
        return key

    def remove(self, key: str) -> None:
        """It is done, or nobody wants it any more."""
        with self._lock, suppress(OSError):
            if self._own is not None:
                (self._own / key).unlink()

    def close(self) -> None:
        """Leave the rest to the next start."""
        with self._lock:
            hold, self._hold = self._hold, -1
            if hold >= 0 and self._own is not None:
                with suppress(OSError):
                    if not any(self._own.glob("*.json")):
                        _remove(self._own)
                os.close(hold)

    def _made(self) -> Path:
        """This program's folder, held before anybody sees it. Raises OSError."""
        own = self._folder / secrets.token_hex(4)
        beside = own.with_name(f".{own.name}")
        beside.mkdir(parents=True, mode=0o700)
        self._hold = _held(beside)
        return beside.rename(own)


def _held(folder: Path) -> int:
    """The folder for this program alone, until the descriptor is closed. Raises OSError while another has it."""
    fd = os.open(folder / HOLD, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _remove(folder: Path) -> None:
    (folder / HOLD).unlink()
    folder.rmdir()


def _read(path: Path) -> Errand | None:
    """None for a file that is none of ours."""
    try:
        with path.open("rb") as file:
            data = json.loads(file.read(MOST_BYTES))
        return Errand(Direction(data["direction"]), str(data["local"]), str(data["remote"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
