"""Make a base image with Python where no registry can be reached: Debian from its packages, imported.

    python3 base_image.py CACHE [--tag winslow-traffic-base:1]

Needs root and debootstrap. The image's files are kept in CACHE, so a second engine gets them at once. Everybody else
takes `python:3.12-slim`, the Dockerfile's own default. Exit code 1 and a sentence on standard error where it fails.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

TAG = "winslow-traffic-base:1"
SUITE = "bookworm"
_UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists", "var/cache/apt")
_DEADLINE = 1800.0  # seconds for one step


class NotMade(Exception):
    """The image cannot be made; the text says why."""


def make(cache: Path, *, tag: str = TAG, say: Callable[[str], None]) -> None:
    """Import the image as `tag`, unless the engine has it: another import would make every image built on it anew.

    Raises NotMade."""
    if subprocess.run(["docker", "image", "inspect", tag], capture_output=True, check=False).returncode == 0:
        return
    cache.mkdir(parents=True, exist_ok=True)
    archive = cache / f"base-{SUITE}.tar"
    if not archive.is_file():
        say(f"installing Debian {SUITE} with Python for a base image (about a minute, once) ...")
        with tempfile.TemporaryDirectory(dir=cache, prefix="base-") as scratch:
            _install(Path(scratch), archive)
    _run(["docker", "import", "--change", 'CMD ["python3"]', str(archive), tag])


def _install(scratch: Path, archive: Path) -> None:
    if shutil.which("debootstrap") is None:
        raise NotMade("debootstrap is not installed: apt-get install debootstrap")
    root = scratch / "root"
    _run(["debootstrap", "--variant=minbase", "--include=python3", SUITE, str(root)])
    for name in _UNUSED:
        shutil.rmtree(root / name, ignore_errors=True)
    part = scratch / "base.tar"
    _run(["tar", "--create", "--numeric-owner", f"--directory={root}", f"--file={part}", "."])
    part.replace(archive)


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_DEADLINE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotMade(f"{command[0]}: {error}") from error
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise NotMade(
            f"{' '.join(command[:2])} ...: {lines[-1] if lines else f'exit code {done.returncode}'}"
        )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make a base image with Python from Debian's packages.")
    parser.add_argument("cache", type=Path, help="directory to keep the image's files in")
    parser.add_argument("--tag", default=TAG)
    arguments = parser.parse_args()
    try:
        make(arguments.cache, tag=arguments.tag, say=lambda line: print(line, file=sys.stderr, flush=True))
    except (NotMade, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(arguments.tag)
    return 0


if __name__ == "__main__":
    sys.exit(main())
