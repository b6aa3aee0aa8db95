"""What a command that steers a project led to, in one line or as JSON."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from winslow.terminal_text import line
from winslow_tui.cli.output import Format, put, put_json, say

if TYPE_CHECKING:
    from winslow.project import Project
    from winslow_tui.facade.client import Client


def report(project: Project, output: Format) -> None:
    """The runs that have not ended, else the project's state; what it needs of a person, and how to go on."""
    from winslow.lifecycle import ProjectState, state_of
    from winslow.steering import next_stage, way_on

    state, reason = state_of(project)
    needs_you = state is ProjectState.NEEDS_YOU
    if output is Format.JSON:
        active = [{"run": run.n, "stage": run.stage.name, "state": run.state.value} for run in project.active]
        put_json(
            {
                "id": project.id,
                "state": state.value,
                "reason": reason,
                "active": active,
                "next_stage": next_stage(project),
                "needs": list(project.control.needs),
                "way_on": way_on(project) if needs_you else "",
                "queue": len(project.queue),
            }
        )
        return
    for run in project.active:
        ending = ", pauses then" if project.control.paused or run.advance == "single" else ""
        asked = ", asked to stop" if run.abort_requested else ""
        put(f"{project.id} #{run.n} {run.stage.name} {run.state.value}{asked}{ending}")
    if not project.active:
        put(line(f"{project.id} {state.value}" + (f" ({reason})" if reason else "")))
    if needs_you:
        say(f"  {way_on(project)}")


def report_start(used: Client, project: Project, output: Format) -> None:
    """As `report`; and at once what a queued run waits for, where no node can take it now."""
    from winslow.errors import Unreachable, UsageError
    from winslow_tui.shown.explanation import waits_for

    report(project, output)
    if not project.active:
        return
    with suppress(Unreachable, UsageError):  # the command has said already that the broker is away
        if waits := waits_for(project, used.nodes.all()):
            say(f"{project.id} {waits}")
