"""A pager for tests: a program that notes what it was called with and takes a copy of what it was given."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import TracebackType

import pytest

from winslow_tui.program.app import WinslowApp

_PROGRAM = """\
#!/bin/sh
for given; do :; done
cp "$given" "$0.text"
printf '%s\\n' "$@" > "$0.part" && mv "$0.part" "$0.arguments"
"""


class Pager:
    """See the module. `path` is where the program is to be, `options` stand in PAGER behind it."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path, self.options = path, options
        path.write_text(_PROGRAM)
        path.chmod(0o755)

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is the person's, and a program without a terminal may lend it one."""
        monkeypatch.setenv("PAGER", shlex.join([str(self.path), *self.options]))
        monkeypatch.setattr(WinslowApp, "suspend", lambda _: _Lent())

    @property
    def opened(self) -> bool:
        """Whether it has been open."""
        return self.path.with_name(f"{self.path.name}.arguments").exists()

    @property
    def arguments(self) -> list[str]:
        """What it was called with, less the file."""
        return self.path.with_name(f"{self.path.name}.arguments").read_text().splitlines()[:-1]

    @property
    def text(self) -> str:
        """What was in the file."""
        return self.path.with_name(f"{self.path.name}.text").read_text()


class _Lent:
    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        pass
