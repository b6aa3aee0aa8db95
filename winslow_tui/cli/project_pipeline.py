"""`winslow project edit`, `set-pipeline` and `update-pipeline`: a project's own copy of its pipeline (R1220)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from winslow.terminal_text import line
from winslow_tui.cli.context import OutputOption, client
from winslow_tui.cli.output import Format, put, put_json, say
from winslow_tui.cli.project import ProjectArgument
from winslow_tui.cli.question import must_agree

if TYPE_CHECKING:
    from winslow.pipeline import PipelineDefinition
    from winslow.project import Project
    from winslow.store.pipelines import PipelineHead
    from winslow_tui.facade.client import Client

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]


def edit(ctx: typer.Context, project: ProjectArgument) -> None:
    """Change a project's copy of its pipeline in your editor. That is what VISUAL or EDITOR says."""
    from winslow_tui.cli.editor import edited
    from winslow_tui.facade.definition_editing import CopySubject

    used = client(ctx)
    edited(CopySubject(used, used.project(project)))


def set_pipeline(
    ctx: typer.Context,
    project: ProjectArgument,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="the pipeline to copy", show_default=False)
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="a YAML file instead; - for standard input")
    ] = None,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Give a project another pipeline. It shows first what that changes; what runs now is not changed."""
    from winslow.errors import UsageError
    from winslow.pipeline import parse
    from winslow_tui.cli.pipeline import read_definition

    if (name is None) == (file is None):
        raise UsageError("name the pipeline to copy, or a file with --file")
    used = client(ctx)
    seen = used.project(project)
    if name is not None:
        found = used.pipelines.get(name)
        _take_over(used, seen, found.definition, head=found.head, yes=yes, output=output)
    elif file is not None:
        text, source = read_definition(file)
        _take_over(used, seen, parse(text, source=source), head=None, yes=yes, output=output)


def update_pipeline(
    ctx: typer.Context,
    project: ProjectArgument,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Take over the newest revision of a project's pipeline. It shows first what changes."""
    used = client(ctx)
    seen = used.project(project)
    found = used.pipelines.get(seen.source)
    _take_over(used, seen, found.definition, head=found.head, yes=yes, output=output)


def _take_over(
    used: Client,
    seen: Project,
    definition: PipelineDefinition,
    *,
    head: PipelineHead | None,
    yes: bool,
    output: Format,
) -> None:
    """Show what the project's copy would have otherwise, ask, and give it the definition."""
    from winslow.definition_diff import pipeline_changes
    from winslow_tui.shown.definition_view import change_rows

    held = seen.pipeline
    changes = pipeline_changes(held.definition, definition)
    same = head is None or (head.name, head.revision) == (seen.source, held.source_revision)
    if output is Format.JSON:
        put_json({"id": seen.id, "changes": change_rows(changes)})
    else:
        for change in changes:
            put(line(str(change)))
    if not changes and same:
        say(f"{seen.id}: its copy of the pipeline says this already")
        return
    what = f"{head.name} revision {head.revision}" if head is not None else "this pipeline"
    if held.edited and changes:
        say(f"{seen.id}: its copy was edited; that is among what changes")
    if not yes:
        undone = f"{seen.id}: its copy of the pipeline was not changed"
        must_agree(f"Give {seen.id} {what}?", undone=undone)
    used.projects.change_pipeline(
        seen,
        definition,
        source=head.name if head is not None else None,
        source_revision=head.revision if head is not None else None,
    )
    say(f"{seen.id} has {what}")


def register(app: typer.Typer) -> None:
    """Put these commands beside the others of `winslow project`."""
    app.command("edit")(edit)
    app.command("set-pipeline")(set_pipeline)
    app.command("update-pipeline")(update_pipeline)
