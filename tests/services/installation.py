"""Where the programs that tests run are found, and how they get onto a machine.

`python -m tests.services.installation` installs what is missing: Debian packages when it is run as
root, the MinIO server through Go where Go is. It says what it could not install and why, and ends
with 0 all the same: whether a missing server is an error is the tests' decision
(`WINSLOW_TEST_REQUIRE=all`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The last commit of the archived repository: the source of RELEASE.2025-10-15 and later fixes.
MINIO_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
_MINIO_BUILD_SECONDS = 1_200.0
_SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"

# program -> Debian package
DEBIAN_PACKAGES = {
    "mosquitto": "mosquitto",
    "mosquitto_sub": "mosquitto-clients",
    "dockerd": "docker.io",
    "iptables": "iptables",
    "busybox": "busybox-static",
    "docker-registry": "docker-registry",
    "docker-compose": "docker-compose",
    "systemd-analyze": "systemd",
    "debootstrap": "debootstrap",
    "bwrap": "bubblewrap",
    "openssl": "openssl",
    "unshare": "util-linux",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "tmux": "tmux",
}


def find_program(name: str) -> str | None:
    """The path of an installed program, daemons in the system's folders included; None without it."""
    return shutil.which(name) or shutil.which(name, path=_SYSTEM_FOLDERS)


def minio_path() -> Path:
    """Where the MinIO server of the pinned version is kept once it is built."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "winslow" / "tools" / f"minio-{MINIO_VERSION}"


def find_minio() -> str | None:
    """The path of a MinIO server: the one built here, or one on PATH; None without."""
    built = minio_path()
    return str(built) if built.exists() else shutil.which("minio")


def build_minio() -> None:
    """Build the pinned MinIO server with Go, which takes some minutes and 2 GB of Go's caches, once.

    Raises CalledProcessError or TimeoutExpired when the build fails.
    """
    target = minio_path()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_suffix(".lock")):
        if target.exists():
            return
        work = target.parent / f"build-{os.getpid()}"
        try:
            subprocess.run(
                ["go", "install", "-trimpath", "-ldflags=-s -w", f"github.com/minio/minio@{MINIO_VERSION}"],
                env={**os.environ, "GOBIN": str(work), "CGO_ENABLED": "0"},
                check=True,
                timeout=_MINIO_BUILD_SECONDS,
            )
            (work / "minio").rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def missing_packages() -> list[str]:
    """Debian packages whose programs are not there."""
    return [package for program, package in DEBIAN_PACKAGES.items() if find_program(program) is None]


def _install_packages(packages: list[str]) -> None:
    apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([*apt, "update", "-qq"], env=environment, check=True)
    # No service of the machine may be started by installing a test's tool: policy-rc.d says 101.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        subprocess.run(
            [*apt, "install", "-y", "-qq", "--no-install-recommends", *packages], env=environment, check=True
        )
    finally:
        if ours:
            policy.unlink()


def main() -> None:
    packages = missing_packages()
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        _install_packages(packages)
    elif packages:
        print(f"not installed (needs root and apt-get): {' '.join(packages)}", file=sys.stderr)
    if find_minio() is None:
        if shutil.which("go"):
            print("building the MinIO server with Go, once, some minutes", file=sys.stderr)
            try:
                build_minio()
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                print(f"the MinIO server could not be built: {error}", file=sys.stderr)
        else:
            print("no MinIO server: there is no Go to build it with", file=sys.stderr)


if __name__ == "__main__":
    main()
