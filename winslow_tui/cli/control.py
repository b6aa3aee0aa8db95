"""`winslow start`, `resume`, `redo`, `pause`, `abort`, `answer`, `confirm` and `wait` (R1410 to R1440)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from winslow_tui.cli.changing import with_changes
from winslow_tui.cli.context import OutputOption, client
from winslow_tui.cli.output import Format, pairs, say
from winslow_tui.cli.project import ProjectArgument
from winslow_tui.cli.report import report, report_start

if TYPE_CHECKING:
    from winslow_tui.facade.changes import Changes

StageOption = Annotated[str | None, typer.Option("--stage", help="the stage; default: what comes next")]


@with_changes
def start(
    ctx: typer.Context,
    project: ProjectArgument,
    stage: StageOption = None,
    output: OutputOption = Format.TABLE,
    *,
    changes: Changes,
) -> None:
    """Start a stage; the pipeline goes on from there unless --single."""
    used = client(ctx)
    report_start(used, used.runs.start(project, stage=stage, changes=changes), output)


@with_changes
def resume(
    ctx: typer.Context,
    project: ProjectArgument,
    stage: StageOption = None,
    output: OutputOption = Format.TABLE,
    *,
    changes: Changes,
) -> None:
    """Go on where the pipeline stopped, or with another stage. While a stage runs it takes a pause back."""
    used = client(ctx)
    report_start(used, used.runs.resume(project, stage=stage, changes=changes), output)


@with_changes
def redo(
    ctx: typer.Context,
    project: ProjectArgument,
    run: Annotated[int, typer.Argument(metavar="RUN", min=1, help="the run's number", show_default=False)],
    output: OutputOption = Format.TABLE,
    *,
    changes: Changes,
) -> None:
    """Run a stage again as it was in an old run. That is its image, command, environment, with changes if you like."""
    used = client(ctx)
    report_start(used, used.runs.redo(project, run, changes=changes), output)


def pause(
    ctx: typer.Context,
    project: ProjectArgument,
    note: Annotated[str, typer.Option("--note", help="why, for others")] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Pause before the next stage; what runs goes on."""
    report(client(ctx).runs.pause(project, note=note), output)


def abort(
    ctx: typer.Context,
    project: ProjectArgument,
    run: Annotated[
        int | None, typer.Argument(metavar="RUN", help="the run's number; default: what is active")
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="it counts as ended at once, also where its node does not answer")
    ] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Stop what runs or waits. It counts as failed and the pipeline pauses."""
    report(client(ctx).runs.abort(project, run=run, now=now), output)


def answer(
    ctx: typer.Context,
    project: ProjectArgument,
    values: Annotated[list[str], typer.Argument(metavar="NAME=VALUE", show_default=False)],
    output: OutputOption = Format.TABLE,
) -> None:
    """Give a project the values that its next stage asks for. With the last one the stage goes on."""
    used = client(ctx)
    report_start(used, used.runs.answer(project, pairs(values, "answer")), output)


def confirm(
    ctx: typer.Context,
    project: ProjectArgument,
    stage: Annotated[str, typer.Option("--stage", help="only if it is this one that asks")] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """Go on with the stage that asks for it."""
    used = client(ctx)
    report_start(used, used.runs.confirm(project, stage=stage), output)


def wait(
    ctx: typer.Context,
    project: ProjectArgument,
    for_: Annotated[str, typer.Option("--for", help="succeeded, failed, paused or idle")] = "succeeded",
    timeout: Annotated[float | None, typer.Option("--timeout", min=0, help="seconds")] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Wait for a state. Exit code 0 when it is reached, 1 when it can no longer be or the time is over."""
    from winslow.errors import UsageError
    from winslow.project import Project
    from winslow_tui.facade.waiting import Goal
    from winslow_tui.facade.waiting import wait as wait_for

    if for_ not in list(Goal):
        raise UsageError(f"--for {for_}: one of {', '.join(Goal)}")
    used = client(ctx)
    found = wait_for(used.documents, used.projects.id_of(project), Goal(for_), timeout=timeout, say=say)
    if isinstance(found, Project):
        report(found, output)
