"""Waiting until a project has come to a state, or cannot come to it any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

from winslow.errors import StoreUnreachable, WinslowError
from winslow.lifecycle import ProjectState, state_of
from winslow.project import Project, Tombstone
from winslow.steering import way_on
from winslow.store.documents import Documents

SHORTEST = 0.1
LONGEST = 1.0


class Goal(StrEnum):
    """What one can wait for."""

    SUCCEEDED = "succeeded"  # the pipeline's last stage
    FAILED = "failed"
    PAUSED = "paused"  # the next stage waits for a person, also after a failure
    IDLE = "idle"  # nothing runs or waits for a node


class OutOfReach(WinslowError):
    """The goal can no longer be reached unless somebody does something, or the time is over."""


_REACHED: dict[Goal, frozenset[ProjectState]] = {
    Goal.SUCCEEDED: frozenset({ProjectState.SUCCEEDED}),
    Goal.FAILED: frozenset({ProjectState.FAILED}),
    Goal.PAUSED: frozenset(
        {ProjectState.PAUSED, ProjectState.NEEDS_YOU, ProjectState.FAILED, ProjectState.NEW}
    ),
    Goal.IDLE: frozenset(
        set(ProjectState) - {ProjectState.RUNNING, ProjectState.WAITING, ProjectState.DELETING}
    ),
}
_MOVING = frozenset({ProjectState.RUNNING, ProjectState.WAITING})


def judge(document: Project | Tombstone, goal: Goal) -> bool:
    """True when the goal is reached, False while it still can be. Raises OutOfReach when it cannot."""
    state, why = state_of(document)
    if state in _REACHED[goal]:
        return True
    if state in _MOVING:
        return False
    because = f" ({why})" if why else ""
    raise OutOfReach(
        f"{document.id}: {state.value}{because}; it cannot become {goal.value} by itself",
        hint="" if isinstance(document, Tombstone) else f"go on with: {way_on(document)}",
    )


def wait(
    documents: Documents,
    project_id: str,
    goal: Goal,
    *,
    timeout: float | None,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Project | Tombstone:
    """Look at the document until `judge` is True; the document. Needs no broker, and outlives a store that is
    away for a while. Raises OutOfReach, also after `timeout` seconds, and NotFound."""
    end = None if timeout is None else clock() + timeout
    pause, away = SHORTEST, False
    while True:
        try:
            document = documents.read(project_id).document
            if judge(document, goal):
                return document
            away = False
        except StoreUnreachable as error:
            if not away:
                say(f"{error}; waiting for it")
            away = True
        left = LONGEST if end is None else end - clock()
        if left <= 0:
            raise OutOfReach(f"{project_id} did not become {goal.value} within {timeout:g} s")
        sleep(min(pause, left))
        pause = min(LONGEST, pause * 1.5)
