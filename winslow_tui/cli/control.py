"""`winslow start`, `pause`, `resume`, `abort`, `wait` and `runs` (R1410 to R1460)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from winslow_tui.cli.context import client
from winslow_tui.cli.output import Format, OutputOption, pairs, put, put_json, put_table, say, time_shown
from winslow_tui.cli.project import EnvOption, ProjectArgument

if TYPE_CHECKING:
    from winslow.project import Project
    from winslow_tui.client import Client


def _report(project: Project, output: Format) -> None:
    """What a command led to: the runs that have not ended, else the project's state."""
    from winslow.lifecycle import state_of

    state, reason = state_of(project)
    if output is Format.JSON:
        active = [{"run": run.n, "stage": run.stage.name, "state": run.state.value} for run in project.active]
        put_json({"id": project.id, "state": state.value, "reason": reason, "active": active})
        return
    for run in project.active:
        ending = ", pauses then" if project.control.paused or run.advance == "single" else ""
        asked = ", asked to stop" if run.abort_requested else ""
        put(f"{project.id} #{run.n} {run.stage.name} {run.state.value}{asked}{ending}")
    if not project.active:
        put(f"{project.id} {state.value}" + (f" ({reason})" if reason else ""))


def _say_waits(used: Client, project: Project) -> None:
    """At once what a queued run waits for, where no node can take it now."""
    from winslow.errors import Unreachable, UsageError
    from winslow_tui.explanation import waits_for

    with suppress(Unreachable, UsageError):  # the command has said already that the broker is away
        if waits := waits_for(project, used.nodes.all()):
            say(f"{project.id} {waits}")


def start(
    ctx: typer.Context,
    project: ProjectArgument,
    stage: Annotated[
        str | None, typer.Option("--stage", help="the stage; default: the one that is next")
    ] = None,
    env: EnvOption = None,
    single: Annotated[bool, typer.Option("--single", help="pause after this stage")] = False,
    comment: Annotated[str, typer.Option("--comment", help="what this run is for")] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Start a stage; the pipeline goes on from there unless --single."""
    from winslow_tui.changes import Changes

    used = client(ctx)
    changes = Changes(env=pairs(env or [], "--env"), single=single, comment=comment)
    changed = used.runs.start(project, stage=stage, changes=changes)
    _report(changed, output)
    _say_waits(used, changed)


def pause(ctx: typer.Context, project: ProjectArgument, output: OutputOption = Format.TABLE) -> None:
    """Pause before the next stage; what runs goes on."""
    _report(client(ctx).runs.pause(project), output)


def resume(ctx: typer.Context, project: ProjectArgument, output: OutputOption = Format.TABLE) -> None:
    """Go on where the pipeline stopped."""
    used = client(ctx)
    changed = used.runs.resume(project)
    _report(changed, output)
    _say_waits(used, changed)


def abort(
    ctx: typer.Context,
    project: ProjectArgument,
    run: Annotated[
        int | None, typer.Argument(metavar="[RUN]", help="the run's number; default: what is active")
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Stop what runs or waits; it counts as failed and the pipeline pauses."""
    _report(client(ctx).runs.abort(project, run=run), output)


def wait(
    ctx: typer.Context,
    project: ProjectArgument,
    for_: Annotated[str, typer.Option("--for", help="succeeded, failed, paused or idle")] = "succeeded",
    timeout: Annotated[float | None, typer.Option("--timeout", min=0, help="seconds")] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Wait for a state: exit code 0 when it is reached, 1 when it can no longer be or the time is over."""
    from winslow.errors import UsageError
    from winslow.project import Project
    from winslow_tui.waiting import Goal
    from winslow_tui.waiting import wait as wait_for

    if for_ not in list(Goal):
        raise UsageError(f"--for {for_}: one of {', '.join(Goal)}")
    used = client(ctx)
    found = wait_for(used.documents, used.projects.id_of(project), Goal(for_), timeout=timeout, say=say)
    if isinstance(found, Project):
        _report(found, output)


def runs(ctx: typer.Context, project: ProjectArgument, output: OutputOption = Format.TABLE) -> None:
    """Show a project's runs, and the stage that would be next."""
    from winslow.lifecycle import state_of
    from winslow_tui.explanation import silent
    from winslow_tui.runlist import rows, upcoming

    used = client(ctx)
    found = used.project(project)
    held = any(run.state.held for run in found.active)
    told = rows(found, silent(found, used.nodes.if_known() if held else None))
    following = upcoming(found)
    state, reason = state_of(found)
    if output is Format.JSON:
        put_json({"id": found.id, "state": state.value, "reason": reason, "runs": told, "next": following})
        return
    shown = [
        (
            f"#{row['run']}",
            row["stage"],
            row["state"],
            row["node"],
            time_shown(row["started_at"] or row["queued_at"]),
            time_shown(row["ended_at"]),
            row["detail"]
            or row["reason"]
            or ", ".join(f"{key}={value}" for key, value in row["results"].items()),
            row["comment"],
        )
        for row in told
    ]
    if following:
        shown.append(
            ("", following["stage"], "PAUSED", "", "", "", following["note"] or following["reason"], "")
        )
    put_table(("RUN", "STAGE", "STATE", "NODE", "SINCE", "ENDED", "DETAIL", "COMMENT"), shown)
