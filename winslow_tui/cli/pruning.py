"""`winslow pin`, `unpin` and `prune`: which runs keep their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from winslow_tui.cli.context import OutputOption, client
from winslow_tui.cli.output import Format, put, put_json, put_table, say
from winslow_tui.cli.project import ProjectArgument

if TYPE_CHECKING:
    from winslow.project import Project
    from winslow_tui.facade.pruning import PrunePlan

RunsArgument = Annotated[list[int], typer.Argument(metavar="RUN", min=1, show_default=False)]


def pin(
    ctx: typer.Context, project: ProjectArgument, runs: RunsArgument, output: OutputOption = Format.TABLE
) -> None:
    """Let runs keep their files, whatever is pruned."""
    _told(client(ctx).pruning.pin(project, runs), output)


def unpin(
    ctx: typer.Context, project: ProjectArgument, runs: RunsArgument, output: OutputOption = Format.TABLE
) -> None:
    """Take pins back."""
    _told(client(ctx).pruning.unpin(project, runs), output)


def _told(project: Project, output: Format) -> None:
    if output is Format.JSON:
        put_json({"id": project.id, "pinned": list(project.pinned)})
    else:
        put(f"{project.id} pinned: {', '.join(f'#{n}' for n in project.pinned) or 'none'}")


def prune(
    ctx: typer.Context,
    project: ProjectArgument,
    runs: Annotated[
        list[int] | None,
        typer.Argument(
            metavar="RUN", min=1, help="default: what the project's rule lets go", show_default=False
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="only show what would go")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Remove the workspaces of runs to free space. Their records, results, logs and lists of files stay."""
    from winslow.placement import size_text

    used = client(ctx)
    plan = used.pruning.plan(project, runs or ())
    if output is Format.TABLE:
        _put_plan(plan)
    freed = plan.bytes if dry_run else used.pruning.prune(plan)
    if output is Format.JSON:
        told = {
            "id": plan.project.id,
            "dry_run": dry_run,
            "runs": _rows(plan),
            "bytes": freed,
            "stays": plan.stays,
        }
        put_json(told)
    elif dry_run:
        say(f"{size_text(freed)} would be freed")
    else:
        say(f"{size_text(freed)} freed")


def _rows(plan: PrunePlan) -> list[dict[str, Any]]:
    return [
        {
            "run": each.run,
            "stage": run.stage.name,
            "state": run.state.value,
            "objects": len(each.unneeded),
            "bytes": sum(info.size for info in each.unneeded),
            "shared_objects": len(each.shared),
            "shared_bytes": sum(info.size for info in each.shared),
        }
        for each in plan.leftovers
        if (run := plan.project.run(each.run)) is not None
    ]


def _put_plan(plan: PrunePlan) -> None:
    from winslow.placement import size_text

    rows = [
        (
            f"#{each['run']}",
            each["stage"],
            "goes",
            size_text(each["bytes"]),
            f"{size_text(each['shared_bytes'])} stay, which other runs need"
            if each["shared_objects"]
            else "",
        )
        for each in _rows(plan)
    ]
    stages = {run.n: run.stage.name for run in plan.project.runs}
    rows += [(f"#{n}", stages[n], "stays", "", why) for n, why in plan.stays.items()]
    if rows:
        put_table(
            ("RUN", "STAGE", "FILES", "SIZE", "WHY"), sorted(rows, key=lambda row: int(str(row[0])[1:]))
        )
    for n in plan.next_without:
        say(
            f"#{n} is the latest success of '{stages[n]}': the stage after it then needs another run of it first"
        )
