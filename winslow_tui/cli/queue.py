"""`winslow queue`: what comes next in a project, before its pipeline goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from winslow.terminal_text import line
from winslow_tui.cli.changing import with_changes
from winslow_tui.cli.context import OutputOption, client
from winslow_tui.cli.output import Format, put, put_json, put_table, say, time_shown
from winslow_tui.cli.project import ProjectArgument

if TYPE_CHECKING:
    from winslow.project import Project
    from winslow_tui.facade.changes import Changes


class _ListFirst(TyperGroup):
    """`winslow queue PROJECT` is `winslow queue list PROJECT`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ListFirst,
    help="What comes next in a project: list, add, move, remove. `winslow queue PROJECT` lists, too.",
    no_args_is_help=True,
)

ItemArgument = Annotated[
    str, typer.Argument(metavar="ITEM", help="its place in the list, or its id", show_default=False)
]


@app.command("list")
def list_(ctx: typer.Context, project: ProjectArgument, output: OutputOption = Format.TABLE) -> None:
    """Show what comes next, in its order."""
    _show(client(ctx).project(project), output)


@app.command()
@with_changes
def add(
    ctx: typer.Context,
    project: ProjectArgument,
    stage: Annotated[str | None, typer.Option("--stage", help="the stage to run")] = None,
    like: Annotated[
        int | None, typer.Option("--like", metavar="RUN", min=1, help="repeat this run instead")
    ] = None,
    first: Annotated[bool, typer.Option("--first", help="before all that wait")] = False,
    output: OutputOption = Format.TABLE,
    *,
    changes: Changes,
) -> None:
    """Put a run at the end of the queue. It starts after the active one, before the pipeline goes on."""
    from winslow.steering import way_on

    changed = client(ctx).runs.enqueue(project, stage=stage, like=like, changes=changes, first=first)
    _show(changed, output)
    if not changed.active:
        say(f"nothing runs now; go on with: {way_on(changed)}")


@app.command()
def move(
    ctx: typer.Context,
    project: ProjectArgument,
    item: ItemArgument,
    position: Annotated[
        int, typer.Argument(metavar="PLACE", min=1, help="its new place, from 1", show_default=False)
    ],
    output: OutputOption = Format.TABLE,
) -> None:
    """Put a run that waits at another place."""
    changed, _ = client(ctx).runs.move(project, item, position)
    _show(changed, output)


@app.command("rm")
def remove(
    ctx: typer.Context,
    project: ProjectArgument,
    items: Annotated[
        list[str],
        typer.Argument(metavar="ITEM", help="places in the list, or ids", show_default=False),
    ],
    output: OutputOption = Format.TABLE,
) -> None:
    """Take runs out of the queue; prints what was taken out."""
    from winslow_tui.shown.runlist import requested

    changed, taken = client(ctx).runs.dequeue(project, items)
    told = [requested(request) for request in taken]
    if output is Format.JSON:
        put_json({"id": changed.id, "removed": told})
        return
    for each in told:
        put(line(f"{changed.id}: {each['stage']} is out of the queue" + _with(each["changes"])))


def _show(project: Project, output: Format) -> None:
    from winslow_tui.shown.runlist import after_queue, coming, upcoming

    told, then, following = coming(project), after_queue(project), upcoming(project)
    if output is Format.JSON:
        put_json({"id": project.id, "queue": told, "then": then, "next": following})
        return
    rows = [
        (
            each["position"],
            each["id"][:8],
            each["stage"],
            each["changes"],
            time_shown(each["at"]),
            each["by"],
            each["comment"],
        )
        for each in told
    ]
    if told:
        put_table(("PLACE", "ID", "STAGE", "CHANGES", "SINCE", "BY", "COMMENT"), rows)
    else:
        say(f"nothing waits in the queue of {project.id}")
    if then:
        say(f"then the pipeline goes on with {then}")


def _with(changes: str) -> str:
    return f" ({changes})" if changes else ""
