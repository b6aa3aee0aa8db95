"""A node looked at on the spot, without broker or store: its agent's directory and the machine's own numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from winslow.config import AgentSettings

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
