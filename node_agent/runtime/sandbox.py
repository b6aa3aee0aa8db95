"""Bubblewrap: the command line that gives a stage its usual paths without a container engine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from node_agent.runtime.port import Mount

_ISOLATION = ("--unshare-pid", "--die-with-parent")
_AS_THEY_ARE = ("dev", "tmp")


def bubblewrap_works() -> bool:
    """Tried, not guessed: it may be missing, or user namespaces may be forbidden."""
    command = [
        "bwrap",
        *_ISOLATION,
        "--ro-bind",
        "/",
        "/",
        "--dev-bind",
        "/dev",
        "/dev",
        "--proc",
        "/proc",
        "true",
    ]
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def at_top(mount: Mount) -> bool:
    """Whether it can stand at its target: no place can be made below one of the machine's own directories."""
    return mount.target.strip("/").count("/") == 0


def bubblewrap(mounts: Iterable[Mount], *, home: Path, workdir: str, network: bool = True) -> list[str]:
    """The command line up to and with `--`: a root of its own in which everything of the machine is
    read-only but `/dev` and `/tmp`, and the mounts stand at their targets, or where they are. The network is the
    machine's, or none."""
    mounts = tuple(mounts)
    own = {mount.target.strip("/") for mount in mounts if at_top(mount)}
    command = ["bwrap", *_ISOLATION, *([] if network else ["--unshare-net"]), "--proc", "/proc"]
    for entry in sorted(os.scandir("/"), key=lambda entry: entry.name):
        if entry.name == "proc" or entry.name in own:
            continue
        if entry.is_symlink():
            command += ["--symlink", os.readlink(entry.path), entry.path]  # noqa: PTH115  # a link's text as it is
        elif entry.is_dir():
            kind = "--dev-bind" if entry.name in _AS_THEY_ARE else "--ro-bind-try"
            command += [kind, entry.path, entry.path]
    command += ["--bind", str(home), str(home)]
    for mount in mounts:
        target = mount.target if at_top(mount) else str(mount.source)
        command += ["--ro-bind" if mount.read_only else "--bind", str(mount.source), target]
    return [*command, "--chdir", workdir, "--"]


def outside(path: str, mounts: Iterable[Mount]) -> str:
    """The machine's path for one that a stage sees."""
    for mount in sorted(mounts, key=lambda mount: len(mount.target), reverse=True):
        if path == mount.target or path.startswith(mount.target.rstrip("/") + "/"):
            return str(mount.source) + path[len(mount.target.rstrip("/")) :]
    return path


def program_of(name: str, workdir: str, search: str, mounts: tuple[Mount, ...]) -> str:
    """Where a command is, empty where it is not: bubblewrap itself would end with an ordinary exit code."""
    if "/" in name:
        path = Path(workdir, outside(name, mounts))
        return str(path) if path.is_file() and os.access(path, os.X_OK) else ""
    return shutil.which(name, path=search) or ""
