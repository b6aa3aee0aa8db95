"""What an event made of a project beyond itself, for people: which run waits now, and why none does."""

from __future__ import annotations

from winslow.project import PauseReason, Project, Run, RunState

_SAID_ALREADY = (None, PauseReason.NEW, PauseReason.USER, PauseReason.STAGE_FAILED)


def queued(before: Project, after: Project) -> tuple[Run, ...]:
    """The runs that the event made."""
    known = {run.n for run in before.runs}
    return tuple(run for run in after.runs if run.n not in known)


def consequence(before: Project, after: Project) -> str:
    """What followed; empty where nothing did. A note of the project may name an address, no other value."""
    parts = [f"#{run.n} {run.stage.name} is queued" for run in queued(before, after)]
    for run in after.runs:
        known = before.run(run.n)
        if known is not None and known.state.held and run.state is RunState.QUEUED:
            parts.append(f"#{run.n} is queued again")
    reason = after.control.reason
    if not after.active and reason is not before.control.reason and reason not in _SAID_ALREADY:
        parts.append(f"paused: {after.control.note or reason}")
    if before.active and not after.active and after.control.next_stage is None and not after.queue:
        parts.append("nothing follows")
    return "; ".join(parts)
