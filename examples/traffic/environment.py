"""Prepare a Python environment for the stage programs where there is no Docker (Winslow's process runtime).

    python3 environment.py CACHE [--with PACKAGE]...

Makes a virtual environment CACHE/environment with the packages of requirements.txt (and those asked for by `--with`);
it is made anew only when these or this machine's Python have changed. Standard output is one JSON object:

    {"python": "CACHE/environment/bin/python3", "env": {"PATH": "...", "PYTHONPATH": "..."}}

With `env` in a project's environment (`--env PATH=... --env PYTHONPATH=...`), the pipeline's
`python3 -m traffic_example.detect` finds both the packages and the programs.
Exit code 1 and a sentence on standard error where it cannot be made.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
_DEADLINE = 1800.0  # seconds for installing everything
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


class NotPrepared(Exception):
    """The environment cannot be made; the text says why."""


@dataclass(frozen=True)
class Environment:
    """A prepared environment: its interpreter, and the variables that make `python3` mean it."""

    directory: Path

    @property
    def python(self) -> Path:
        """The interpreter."""
        return self.directory / "bin" / "python3"

    @property
    def variables(self) -> dict[str, str]:
        """For a stage's process."""
        return {"PATH": f"{self.directory / 'bin'}:{_SYSTEM_PATH}", "PYTHONPATH": str(HERE)}


def prepare(cache: Path, *, extra: Sequence[str] = (), say: Callable[[str], None]) -> Environment:
    """Make the environment, or find it made; several processes may ask at once. `extra`: packages beyond the
    stages' own. Raises NotPrepared."""
    cache.mkdir(parents=True, exist_ok=True)
    environment = Environment(cache.resolve() / "environment")
    mark = environment.directory / "prepared.json"
    with (cache / "environment.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = json.loads(mark.read_text()) if mark.is_file() else {}
        if made.get("basis") != _basis():
            say("preparing a Python environment for the stage programs (about 500 MB, once) ...")
            shutil.rmtree(environment.directory, ignore_errors=True)
            _run([sys.executable, "-m", "venv", "--without-pip", str(environment.directory)])
            _install(environment, ["--requirement", str(HERE / "requirements.txt")])
            _run([str(environment.python), "-c", "import cv2, matplotlib.pyplot, numpy, scipy.optimize"])
            made = {"basis": _basis(), "extra": []}
        missing = sorted(set(extra) - set(made["extra"]))
        if missing:
            _install(environment, missing)
        mark.write_text(json.dumps({"basis": made["basis"], "extra": [*made["extra"], *missing]}))
    return environment


def _basis() -> str:
    """What the environment depends on: this Python, and the packages asked for."""
    parts = [sys.version, sys.base_prefix, (HERE / "requirements.txt").read_text()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _install(environment: Environment, packages: list[str]) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(environment.python), "install", "--quiet"]
    _run([*command, "--disable-pip-version-check", "--only-binary", ":all:", *packages])


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_DEADLINE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotPrepared(f"{command[0]}: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise NotPrepared(
            f"{' '.join(command[:4])} ...: {lines[-1] if lines else f'exit code {done.returncode}'}"
        )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Prepare a Python environment for the traffic example's stages."
    )
    parser.add_argument("cache", type=Path, help="directory to keep it in")
    parser.add_argument("--with", dest="extra", action="append", default=[], metavar="PACKAGE")
    arguments = parser.parse_args()
    try:
        made = prepare(
            arguments.cache, extra=arguments.extra, say=lambda line: print(line, file=sys.stderr, flush=True)
        )
    except (NotPrepared, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"python": str(made.python), "env": made.variables}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
