"""How a node makes workspaces (design 6, Places): what its engine and its file system allow, found by trying."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

from node_agent import tree


class Strategy(StrEnum):
    """How a workspace is made from cached files."""

    OVERLAY = "overlay"  # nothing is copied; the container engine mounts it, so for docker as root only
    REFLINK = "reflink"  # copies that share their blocks until they are changed
    COPY = "copy"


def choose_strategy(directory: Path, *, overlay: bool) -> Strategy:
    """The best one for workspaces below `directory`, which exists. `overlay`: the runtime's own probe said yes."""
    if overlay:
        return Strategy.OVERLAY
    source, target = directory / ".clone-probe-a", directory / ".clone-probe-b"
    try:
        source.write_bytes(b"x" * 4096)
        new = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            return Strategy.REFLINK if tree.clone(source, new) else Strategy.COPY
        finally:
            os.close(new)
    finally:
        source.unlink(missing_ok=True)
        target.unlink(missing_ok=True)
