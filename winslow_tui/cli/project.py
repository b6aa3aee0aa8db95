"""`winslow project`: create, look at, delete (R1210 to R1250)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from winslow_tui.cli.context import OutputOption, client
from winslow_tui.cli.output import (
    Format,
    pairs,
    plain,
    put,
    put_fields,
    put_json,
    put_table,
    say,
    time_shown,
)
from winslow_tui.cli.question import can_ask, typed

if TYPE_CHECKING:
    from winslow.project import Project

app = typer.Typer(help="Projects: create, look at, change, delete.", no_args_is_help=True)

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
    name: Annotated[str, typer.Argument(metavar="NAME", help="what people call it", show_default=False)],
    pipeline: Annotated[
        str, typer.Option("--pipeline", "-p", help="the definition to copy", show_default=False)
    ],
    tag: Annotated[list[str] | None, typer.Option("--tag", help="a tag; repeatable")] = None,
    env: EnvOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Create a project with its own copy of a pipeline. Prints its id."""
    made = client(ctx).projects.create(name, pipeline=pipeline, tags=tag or (), env=pairs(env or [], "--env"))
    if output is Format.JSON:
        put_json(plain(made))
        return
    put(made.id)
    say(f"  winslow start {made.id}")


@app.command("list")
def list_(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all", "-a", help="archived ones, too")] = False,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="with this tag; repeatable")] = None,
    state: Annotated[
        list[str] | None, typer.Option("--state", help="in this state, for example needs-you; repeatable")
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show projects and their states."""
    from winslow.project import Project
    from winslow_tui.facade.projects import Unreadable
    from winslow_tui.shown.definition_view import source_news
    from winslow_tui.shown.explanation import state_with_nodes
    from winslow_tui.shown.projectlist import entry, selected, unreadable

    used = client(ctx)
    found = used.projects.all()
    newest = used.pipelines.newest_revisions(each.source for each in found if isinstance(each, Project))
    nodes = used.nodes.waited_for(found)
    told = []
    for each in found:
        if isinstance(each, Unreadable):
            told.append(unreadable(each.id, each.why))
        elif isinstance(each, Project):  # of a deleted one only a mark is left, for nobody to go on with it
            now, reason = state_with_nodes(each, nodes)
            told.append(entry(each, state=now, reason=reason, news=source_news(each, newest)))
    told = selected(told, archived=every, tags=tag or (), states=state or ())
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
    said = f"{doing}: {entry['reason']}" if doing and entry["reason"] else doing or str(entry["reason"])
    return f"archived; {said}".removesuffix("; ") if entry.get("archived") else said


def _copied(entry: dict[str, object]) -> str:
    news = entry.get("pipeline_news")
    return str(entry.get("pipeline", "")) + (f" ({news})" if news else "")


def _listed(tags: object) -> str:
    return ", ".join(map(str, tags)) if isinstance(tags, tuple) else ""


@app.command()
def show(ctx: typer.Context, project: ProjectArgument, output: OutputOption = Format.TABLE) -> None:
    """Show a project: its stages with their states. With -o json its whole document."""
    from winslow.lifecycle import ProjectState
    from winslow.retention import rule
    from winslow.steering import way_on
    from winslow_tui.shown.definition_view import source_news
    from winslow_tui.shown.explanation import state_with_nodes
    from winslow_tui.shown.projectlist import retention_text
    from winslow_tui.shown.runlist import coming, stages

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
            "participants": ", ".join(found.participants),
            "comment": found.comment,
            "archived": "yes" if found.archived else "",
            "priority": found.priority or "",
            "keeps": retention_text(rule(found)),
            "created": time_shown(found.created),
            **{f"env {name}": value for name, value in found.env.items()},
        }
    )
    if state is ProjectState.NEEDS_YOU:
        put(f"go on with: {way_on(found)}")
    put("")
    rows = [
        (each["stage"], each["state"], f"#{each['run']}" if each["run"] else "", each["detail"])
        for each in stages(found)
    ]
    rows += [(each["stage"], "next", "", each["changes"]) for each in coming(found)]
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
    """Delete a project with every file, log and record of it."""
    from winslow.errors import Refused, UsageError

    used = client(ctx)
    found = used.project(project)
    if not yes:
        if not can_ask():
            raise UsageError(f"{found.id} and all its files would be deleted", hint="add --yes")
        wanted = (
            f"Delete {found.id} with {len(found.runs)} runs and all their files? Type its name, {found.name}:"
        )
        if typed(wanted) not in (found.name, found.id):
            raise Refused(f"{found.id} was not deleted")
    say(f"project {used.projects.delete(found.id)} is deleted")
