"""What the program remembers of its screens between starts: filters, sorting, the tab, colours, mouse, notices.

One small JSON file. A file that is not there, or is none of ours, is the same as nothing remembered; one that
cannot be written costs the memory only.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_FILE = 64 << 10


class View(BaseModel):
    """One list: the filter's text, the column it is sorted by, and which way."""

    model_config = ConfigDict(extra="ignore", validate_assignment=True)

    filter: str = Field(default="", max_length=1024)
    column: str = Field(default="", max_length=64)
    backwards: bool = False


class Remembered(BaseModel):
    """See the module; `tab` is the one of a project."""

    model_config = ConfigDict(extra="ignore", validate_assignment=True)

    theme: str = ""
    tab: str = ""
    mouse: bool = False
    notices: bool = True
    views: dict[str, View] = Field(default_factory=dict, max_length=64)

    def view(self, name: str) -> View:
        """A list's memory, made when first asked for."""
        return self.views.setdefault(name, View())


def recall(path: Path) -> Remembered:
    """What the file says."""
    try:
        with path.open("rb") as file:
            return Remembered.model_validate_json(file.read(MAX_FILE))
    except (OSError, ValidationError):
        return Remembered()


def keep(path: Path, remembered: Remembered) -> None:
    """Write it beside and rename, so that two programs never mix."""
    with suppress(OSError):  # see the module
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        beside.write_text(remembered.model_dump_json())
        beside.replace(path)
