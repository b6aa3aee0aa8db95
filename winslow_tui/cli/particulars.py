"""`winslow project rename`, `tag`, `participants`, `env` and the like: what a person changes of a project itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from winslow.terminal_text import line
from winslow_tui.cli.context import OutputOption, client
from winslow_tui.cli.output import Format, put, put_json, put_table, say
from winslow_tui.cli.project import ProjectArgument

if TYPE_CHECKING:
    from winslow.project import Project

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME|NAME-", help="to add; with a - at its end, to remove", show_default=False),
]


def rename(
    ctx: typer.Context,
    project: ProjectArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="its new name", show_default=False)],
    output: OutputOption = Format.TABLE,
) -> None:
    """Give a project another name; its id stays."""
    changed = client(ctx).projects.rename(project, name)
    _told(changed, output, name=changed.name)


def clone(
    ctx: typer.Context,
    project: ProjectArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="the new project's name", show_default=False)],
    with_input: Annotated[
        bool, typer.Option("--with-input", help="also its uploads, copied inside the store")
    ] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Create a project like another, and print its id.

    It has the same copy of the pipeline, environment, tags and people."""
    made = client(ctx).projects.clone(project, name, with_input=with_input)
    if output is Format.JSON:
        put_json({"id": made.id, "name": made.name})
        return
    put(made.id)
    say(f"  winslow start {made.id}")


def tag(
    ctx: typer.Context,
    project: ProjectArgument,
    tags: NamesArgument = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Add and remove tags (`project tag P drone old-`). Without any, list them."""
    from winslow_tui.facade.changes import signed

    used = client(ctx)
    wanted = signed(tags or [])
    found = (
        used.projects.tag(project, add=wanted.add, remove=wanted.remove) if tags else used.project(project)
    )
    _told(found, output, tags=list(found.tags))


def participants(
    ctx: typer.Context,
    project: ProjectArgument,
    people: NamesArgument = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Add and remove people who take part. `project participants P ann bob-`; without any, list them."""
    from winslow_tui.facade.changes import signed

    used = client(ctx)
    wanted = signed(people or [])
    found = (
        used.projects.participate(project, add=wanted.add, remove=wanted.remove)
        if people
        else used.project(project)
    )
    _told(found, output, participants=list(found.participants))


def env(
    ctx: typer.Context,
    project: ProjectArgument,
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME=VALUE|NAME-",
            help="to set; with a - at its end, to take away",
            show_default=False,
        ),
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Set and take away environment for the runs to come. Without any, list it with who set it."""
    from winslow_tui.facade.changes import assignments
    from winslow_tui.shown.projectlist import env_rows

    used = client(ctx)
    if values:
        found_values, gone = assignments(values)
        found = used.projects.set_env(project, found_values, unset=gone)
    else:
        found = used.project(project)
    rows = env_rows(found)
    if output is Format.JSON:
        put_json({"id": found.id, "env": rows})
        return
    shown = [
        (
            row["name"],
            row["value"],
            f"stage {row['stage']}"
            if row["origin"] == "stage"
            else row["origin"] or f"needed by {row['stage']}",
        )
        for row in rows
    ]
    put_table(("NAME", "VALUE", "SET BY"), shown)


def priority(
    ctx: typer.Context,
    project: ProjectArgument,
    value: Annotated[
        int, typer.Argument(metavar="N", min=-(10**9), max=10**9, help="0 is usual", show_default=False)
    ],
    output: OutputOption = Format.TABLE,
) -> None:
    """Set whose runs nodes bid on first. Those of the higher priority; 0 is usual."""
    changed = client(ctx).projects.prioritize(project, value)
    _told(changed, output, priority=changed.priority)


def comment(
    ctx: typer.Context,
    project: ProjectArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="empty for none", show_default=False)],
    output: OutputOption = Format.TABLE,
) -> None:
    """Write a text about the project."""
    changed = client(ctx).projects.comment(project, text)
    _told(changed, output, comment=changed.comment)


def archive(
    ctx: typer.Context,
    project: ProjectArgument,
    undo: Annotated[bool, typer.Option("--undo", help="take it back")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Put a project away. It is not listed and starts nothing; all its files stay."""
    changed = client(ctx).projects.archive(project, archived=not undo)
    _told(changed, output, archived=changed.archived)


def retention(
    ctx: typer.Context,
    project: ProjectArgument,
    keep_last: Annotated[
        int | None, typer.Option("--keep-last", metavar="N", min=1, help="succeeded runs of each stage")
    ] = None,
    drop_failed: Annotated[bool, typer.Option("--drop-failed", help="failed runs need no files")] = False,
    inherit: Annotated[bool, typer.Option("--inherit", help="as its pipeline says")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Say which runs keep their files at `winslow prune`. Without options, show it."""
    from winslow.errors import UsageError
    from winslow.pipeline import Retention
    from winslow_tui.shown.projectlist import retention_of

    used = client(ctx)
    own = keep_last is not None or drop_failed
    if own and inherit:
        raise UsageError("--inherit takes the pipeline's rule: leave --keep-last and --drop-failed out")
    if own or inherit:
        rule = None if inherit else Retention(keep_last=keep_last, keep_failed=not drop_failed)
        found = used.projects.retain(project, rule)
    else:
        found = used.project(project)
    told = retention_of(found)
    if output is Format.JSON:
        put_json({"id": found.id, "retention": told})
    else:
        put(f"{found.id} keeps {told['text']} (as the {told['origin']} says)")


def _told(project: Project, output: Format, **fields: object) -> None:
    """What stands there now."""
    if output is Format.JSON:
        put_json({"id": project.id, **fields})
        return
    for name, value in fields.items():
        put(line(f"{project.id} {name}: {_shown(value)}"))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(map(str, value)) if isinstance(value, list) else str(value)) or "none"


def register(app: typer.Typer) -> None:
    """Put these commands beside the others of `winslow project`."""
    for command in (rename, clone, tag, participants, env, priority, comment, archive, retention):
        app.command()(command)
