"""`winslow project`: create, look at, delete (R1210 to R1250)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from winslow_tui.cli.context import client
from winslow_tui.cli.output import (
    Format,
    OutputOption,
    pairs,
    plain,
    put,
    put_fields,
    put_json,
    put_table,
    say,
    time_shown,
)

if TYPE_CHECKING:
    from winslow.project import Project

app = typer.Typer(help="Projects: create, look at, delete.", no_args_is_help=True)

ProjectArgument = Annotated[
    str,
    typer.Argument(
        metavar="PROJECT", help="an id, a unique beginning of one, or a unique name", show_default=False
    ),
]
EnvOption = Annotated[
    list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="environment; repeatable")
]


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="what people call it", show_default=False)],
    pipeline: Annotated[
        str, typer.Option("--pipeline", "-p", help="the definition to copy", show_default=False)
    ],
    tag: Annotated[list[str] | None, typer.Option("--tag", help="a tag; repeatable")] = None,
    env: EnvOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Create a project with its own copy of a pipeline; prints its id."""
    made = client(ctx).projects.create(name, pipeline=pipeline, tags=tag or (), env=pairs(env or [], "--env"))
    if output is Format.JSON:
        put_json(plain(made))
        return
    put(made.id)
    say(f"  winslow start {made.id}")


@app.command("list")
def list_(ctx: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """Show all projects and their states."""
    from winslow.project import Project
    from winslow_tui.definition_view import source_news
    from winslow_tui.explanation import state_with_nodes
    from winslow_tui.projects import Unreadable

    used = client(ctx)
    every = used.projects.all()
    newest = used.pipelines.newest_revisions(each.source for each in every if isinstance(each, Project))
    told: list[dict[str, object]] = []
    nodes = used.nodes.waited_for(every)
    for each in every:
        if isinstance(each, Unreadable):
            told.append({"id": each.id, "name": "", "state": "unreadable", "reason": each.why})
        elif isinstance(each, Project):  # of a deleted one only a mark is left, for nobody to go on with it
            state, reason = state_with_nodes(each, nodes)
            active = [
                {"run": run.n, "stage": run.stage.name, "state": run.state.value} for run in each.active
            ]
            told.append(
                {
                    "id": each.id,
                    "name": each.name,
                    "state": state.value,
                    "reason": reason,
                    "tags": each.tags,
                    "author": each.author,
                    "created": each.created,
                    "pipeline": each.pipeline.definition.name,
                    "pipeline_revision": each.pipeline.source_revision,
                    "pipeline_news": source_news(each, newest),
                    "next_stage": each.control.next_stage,
                    "runs": len(each.runs),
                    "active": active,
                }
            )
    if output is Format.JSON:
        put_json(told)
        return
    rows = [
        (each["id"], each["name"], each["state"], _doing(each), _copied(each), _listed(each.get("tags")))
        for each in told
    ]
    put_table(("ID", "NAME", "STATE", "DOING", "PIPELINE", "TAGS"), rows)


def _doing(entry: dict[str, object]) -> str:
    active = entry.get("active")
    runs = active if isinstance(active, list) else []
    doing = ", ".join(f"#{run['run']} {run['stage']} {run['state']}" for run in runs)
    return f"{doing}: {entry['reason']}" if doing and entry["reason"] else doing or str(entry["reason"])


def _copied(entry: dict[str, object]) -> str:
    news = entry.get("pipeline_news")
    return str(entry.get("pipeline", "")) + (f" ({news})" if news else "")


def _listed(tags: object) -> str:
    return ", ".join(map(str, tags)) if isinstance(tags, tuple) else ""


@app.command()
def show(ctx: typer.Context, project: ProjectArgument, output: OutputOption = Format.TABLE) -> None:
    """Show a project: its stages with their states, its environment; with -o json its whole document."""
    from winslow_tui.definition_view import source_news
    from winslow_tui.explanation import state_with_nodes
    from winslow_tui.runlist import stages

    used = client(ctx)
    found = used.project(project)
    news = source_news(found, used.pipelines.newest_revisions([found.source]))
    state, reason = state_with_nodes(found, used.nodes.waited_for([found]))
    if output is Format.JSON:
        put_json(
            plain(found)
            | {"state": state.value, "reason": reason, "pipeline_news": news, "stages": stages(found)}
        )
        return
    put_fields(
        {
            "id": found.id,
            "name": found.name,
            "state": f"{state.value} ({reason})" if reason else state.value,
            "pipeline": _pipeline_shown(found, news),
            "tags": ", ".join(found.tags),
            "author": found.author,
            "created": time_shown(found.created),
            **{f"env {name}": value for name, value in found.env.items()},
        }
    )
    put("")
    rows = [
        (each["stage"], each["state"], f"#{each['run']}" if each["run"] else "", each["detail"])
        for each in stages(found)
    ]
    put_table(("STAGE", "STATE", "RUN", "DETAIL"), rows)


def _pipeline_shown(project: Project, news: str) -> str:
    """Which copy it has, and what became of the original since."""
    copied = project.pipeline
    origin = (
        f"{'edited' if copied.edited else 'copied'} from {project.source} revision {copied.source_revision}"
    )
    return f"{copied.definition.name} ({origin}{f'; {project.source} {news}' if news else ''})"


@app.command()
def delete(
    ctx: typer.Context,
    project: ProjectArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
) -> None:
    """Delete a project with every file, log and record that belongs to it."""
    from winslow.errors import UsageError

    used = client(ctx)
    found = used.project(project)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{found.id} and all its files would be deleted", hint="add --yes")
        typer.confirm(
            f"Delete {found.id} with {len(found.runs)} runs and all their files?", abort=True, err=True
        )
    say(f"project {used.projects.delete(found.id)} is deleted")
