"""A node looked at on the spot, without broker or store: its agent's directory and the machine's own numbers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winslow.config import AgentSettings
from winslow.errors import Conflict, NotFound
from winslow.workspace import quote_path, unquote_path

_ATTEMPT = re.compile(r"\d+\.\d+")
_UNSENT = ("EXITED", "COLLECTED")
_KEYS = (
    "project",
    "run",
    "attempt",
    "stage",
    "step",
    "runtime",
    "container",
    "exit_code",
    "reason",
    "detail",
)


def look(settings: AgentSettings) -> dict[str, Any]:
    """Name, directory, whether an agent runs, the machine, and the attempts that are on its disk."""
    import psutil

    data = settings.data_dir
    memory = psutil.virtual_memory()
    told: dict[str, Any] = {
        "node": settings.name,
        "data_dir": str(data),
        "agent_runs": _locked(data / "agent.lock"),
        "cpus": psutil.cpu_count() or 0,
        "cpu_percent": psutil.cpu_percent(interval=0.2),
        "memory": memory.total,
        "memory_used": memory.total - memory.available,
    }
    if data.is_dir():
        disk = psutil.disk_usage(str(data))
        told |= {"disk": disk.total, "disk_free": disk.free}
    return told | {"attempts": _attempts(data / "attempts")}


def _locked(path: Path) -> bool:
    """Whether a process holds the agent's lock. Only looked up: trying the lock could get in an agent's way."""
    try:
        inode = path.stat().st_ino
        return any(
            entry.split()[5].endswith(f":{inode}") for entry in Path("/proc/locks").read_text().splitlines()
        )
    except (FileNotFoundError, IndexError):
        return False


def _attempts(root: Path) -> list[dict[str, Any]]:
    if not root.is_dir():
        return []
    found = []
    for path in sorted(root.glob("*/*/attempt.json")):
        if not _ATTEMPT.fullmatch(path.parent.name):
            continue
        try:
            journal = json.loads(path.read_bytes())
            attempt = {key: journal.get(key) for key in _KEYS}
        except (OSError, ValueError, AttributeError) as error:
            attempt = {"step": "unreadable", "detail": str(error)}
        attempt["unsent"] = attempt.get("step") in _UNSENT
        attempt["directory"] = str(path.parent)
        found.append(attempt)
    return found


@dataclass(frozen=True)
class LocalFile:
    """One path of a run's directory; `kind` is file, dir or link, `size` in bytes."""

    path: str
    kind: str
    size: int
    target: str


@dataclass(frozen=True)
class LocalFiles:
    """What is there, and sentences about where it lies and what is not shown."""

    files: tuple[LocalFile, ...]
    notes: tuple[str, ...]


def files(settings: AgentSettings, project: str, run: int, path: str, *, area: str) -> LocalFiles:
    """What a run has at `path` in its `area` on this disk, at all levels, as its stage sees it now.

    `project` is an id, or how it begins. Raises NotFound, or Conflict with the candidates.
    """
    directory = _attempt(settings.data_dir / "attempts", project, run)
    wanted = quote_path(os.fsencode(path.strip("/")))
    # The reader is the agent's; `python -m` is how this side uses it (design 2, arrows).
    command = [sys.executable, "-P", "-m", "node_agent.onspot", str(directory), area, wanted]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    told = json.loads(done.stdout)
    if "missing" in told:
        raise NotFound(f"{directory}: {told['missing']}")
    notes = [f"they lie in {directory / area}"]
    if area == "workspace" and (directory / "lower").is_dir():
        notes[0] += f" and, where nothing there takes their place, in {directory / 'lower'}"
    notes += [f"{count} {what}" for what, count in sorted(told["left_out"].items())]
    if told["more"]:
        notes.append("there is more: name a folder")
    return LocalFiles(
        files=tuple(
            LocalFile(
                path=_decoded(each["path"]),
                kind=each["type"],
                size=each["size"],
                target=_decoded(each["target"]),
            )
            for each in told["files"]
        ),
        notes=tuple(notes),
    )


def _attempt(root: Path, project: str, run: int) -> Path:
    """The directory of a run's newest attempt here."""
    projects = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    found = [name for name in projects if name == project] or [
        name for name in projects if project and name.startswith(project)
    ]
    if len(found) > 1:
        raise Conflict(f"'{project}' may be {' or '.join(found)}", hint="write more of it")
    attempts = [
        path
        for name in found
        for path in (root / name).iterdir()
        if _ATTEMPT.fullmatch(path.name) and path.name.split(".")[0] == str(run)
    ]
    if not attempts:
        raise NotFound(
            f"there is no run #{run} of '{project}' on this machine's disk",
            hint="winslow node local shows what there is",
        )
    return max(attempts, key=lambda path: int(path.name.split(".")[1]))


def _decoded(path: str) -> str:
    return os.fsdecode(unquote_path(path))
