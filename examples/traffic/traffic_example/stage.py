"""What a stage program gets from Winslow and what it says back.

Winslow gives directories and settings through the environment and reads two things from standard output: any
`NN %` is progress, and `WINSLOW_RESULT: key=value` is a result. Nothing here needs Winslow to be there: set the
variables by hand and the programs run in any shell.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


class StageError(Exception):
    """The stage cannot do its work; the text names what is wrong and the way out."""


@dataclass(frozen=True)
class Stage:
    """One stage's surroundings: where it reads and writes, and its settings."""

    workspace: Path
    output: Path
    settings: Mapping[str, str]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Stage:
        """Raises StageError where Winslow's directories are missing."""
        directories = {}
        for name in ("WINSLOW_DIR_WORKSPACE", "WINSLOW_DIR_OUTPUT"):
            value = environment.get(name, "")
            if not Path(value).is_dir() or not value:
                raise StageError(
                    f"{name}={value!r} is no directory: Winslow sets it; by hand, make one and export it"
                )
            directories[name] = Path(value)
        return cls(directories["WINSLOW_DIR_WORKSPACE"], directories["WINSLOW_DIR_OUTPUT"], environment)

    def file(self, name: str, *, required: str = "") -> Path | None:
        """The file a setting names; None where it is unset or empty.

        `required` says, for the error, how to set it. Raises StageError for a missing file too."""
        value = self.settings.get(name, "")
        if not value:
            if required:
                raise StageError(f"{name} is not set: {required}")
            return None
        path = Path(value)
        if not path.is_file():
            raise StageError(
                f"{name}={value}: no such file here (a `res:` address is replaced by a path by Winslow)"
            )
        return path

    def number(self, name: str, default: float) -> float:
        """A setting as a number greater than 0. Raises StageError."""
        value = self.settings.get(name, "")
        if not value:
            return default
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0.0 < number < float("inf"):
            raise StageError(f"{name}={value}: not a number greater than 0")
        return number

    def handed_over(self, name: str, *, by: str) -> Path:
        """A file of the workspace that an earlier stage wrote. Raises StageError naming that stage."""
        path = self.workspace / name
        if not path.is_file():
            raise StageError(
                f"{name} is not in the workspace: run the stage `{by}` first, or start from its workspace"
            )
        return path


def report(key: str, value: object) -> None:
    """A result of the run, shown by `winslow runs`."""
    print(f"WINSLOW_RESULT: {key}={value}", flush=True)


class Progress:
    """Prints `frame 120/795 15 %` whenever the percentage has changed."""

    def __init__(self, total: int) -> None:
        self._total = max(total, 1)
        self._last = -1

    def at(self, done: int) -> None:
        """`done` frames are finished."""
        percent = min(100 * done // self._total, 100)
        if percent != self._last:
            self._last = percent
            print(f"frame {done}/{self._total} {percent} %", flush=True)


def sha256(path: Path) -> str:
    """Of a file's content, read in pieces (videos are large)."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def main(program: Callable[[Stage], None]) -> int:
    """Run a stage program; exit code 0, or 2 with a sentence on standard error."""
    try:
        program(Stage.from_environment(os.environ))
    except StageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
