"""Build the stages' image where a build has no network of its own, or no access to the package index.

    python3 build_image.py CACHE --base IMAGE [--tag winslow-traffic:1]

The packages are fetched here, with this machine's pip, for the Python that IMAGE has, kept in CACHE, and copied
into the image. Where a build may use the network, `docker build -t winslow-traffic:1 .` does without this program.
Exit code 1 and a sentence on standard error where it cannot be built.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
TAG = "winslow-traffic:1"
_DEADLINE = 1800.0  # seconds for one step
Say = Callable[[str], None]


class NotBuilt(Exception):
    """The image cannot be built; the text says why."""


def build(cache: Path, *, base: str, tag: str = TAG, say: Say) -> None:
    """Build `tag` from `base`, an image with python3 that the engine has or can pull. Raises NotBuilt."""
    cache.mkdir(parents=True, exist_ok=True)
    show = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = _run(["docker", "run", "--rm", base, "python3", "-c", show]).strip()
    packages = _packages(cache.resolve(), version, say)
    with tempfile.TemporaryDirectory(dir=cache, prefix="context-") as scratch:
        context = Path(scratch)
        for name in ("Dockerfile", "requirements.txt"):
            shutil.copy(HERE / name, context / name)
        shutil.copytree(
            HERE / "traffic_example", context / "traffic_example", ignore=shutil.ignore_patterns("__py*")
        )
        shutil.copytree(packages, context / "prepared", copy_function=os.link)
        say(f"building {tag} from {base} (Python {version}) ...")
        _run(
            ["docker", "build", "--build-arg", f"BASE_IMAGE={base}", "--tag", tag, str(context)],
            buildkit=_has_buildx(),
        )


def _packages(cache: Path, version: str, say: Say) -> Path:
    """A directory with the packages for that Python version."""
    wanted = hashlib.sha256((HERE / "requirements.txt").read_bytes()).hexdigest()[:12]
    directory = cache / f"packages-{version}-{wanted}"
    if directory.is_dir():
        return directory
    say(f"fetching the stages' packages for Python {version} (about 500 MB, once) ...")
    part = directory.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
    ]
    command += ["--only-binary", ":all:", "--python-version", version, "--target", str(part)]
    _run([*command, "--requirement", str(HERE / "requirements.txt")])
    part.rename(directory)
    return directory


def _has_buildx() -> bool:
    """Without it only the classic builder works."""
    return subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode == 0


def _run(command: list[str], *, buildkit: bool = True) -> str:
    environment = os.environ if buildkit else {**os.environ, "DOCKER_BUILDKIT": "0"}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_DEADLINE, check=False,
            env=environment,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotBuilt(f"{command[0]}: {error}") from error
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise NotBuilt(
            f"{' '.join(command[:3])} ...: {lines[-1] if lines else f'exit code {done.returncode}'}"
        )
    return done.stdout


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Build the traffic example's image without network in the build."
    )
    parser.add_argument("cache", type=Path, help="directory to keep the packages in")
    parser.add_argument("--base", required=True, metavar="IMAGE", help="an image with python3, 3.11 or newer")
    parser.add_argument("--tag", default=TAG)
    arguments = parser.parse_args()
    say = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731 - one line
    try:
        build(arguments.cache, base=arguments.base, tag=arguments.tag, say=say)
    except (NotBuilt, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(arguments.tag)
    return 0


if __name__ == "__main__":
    sys.exit(main())
