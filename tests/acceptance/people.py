"""People at their terminals: the command `winslow` as a process of its own, under somebody's name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WINSLOW = str(Path(sys.executable).with_name("winslow"))


@dataclass(frozen=True)
class Answer:
    """What a command led to."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Person:
    """Somebody called `name` with the site's `config`, in a folder."""

    name: str
    config: Path
    folder: Path

    def try_(self, *arguments: str) -> Answer:
        """Run a command, whatever becomes of it."""
        done = subprocess.run(
            [WINSLOW, *arguments],
            cwd=self.folder,
            env={**os.environ, "WINSLOW_CONFIG": str(self.config), "LOGNAME": self.name, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Answer(code=done.returncode, out=done.stdout, err=done.stderr)

    def __call__(self, *arguments: str) -> str:
        """Run a command that must succeed; what stands on stdout."""
        answer = self.try_(*arguments)
        assert answer.code == 0, (arguments, answer)
        return answer.out

    def json(self, *arguments: str) -> Any:
        """As a call, its output read as JSON."""
        return json.loads(self(*arguments, "-o", "json"))
