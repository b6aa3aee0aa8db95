"""`winslow pipeline`: definitions (R1110 to R1130)."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from winslow.terminal_text import line
from winslow_tui.cli.context import OutputOption, client
from winslow_tui.cli.output import (
    Format,
    plain,
    put,
    put_diff,
    put_json,
    put_table,
    say,
    time_shown,
)

app = typer.Typer(help="Pipeline definitions: check, apply, look at, edit, delete.", no_args_is_help=True)

FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="a YAML file; - for standard input", show_default=False)
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="the pipeline's name", show_default=False)]


def read_definition(file: str) -> tuple[str, str]:
    """The text and what to call its source. Raises InvalidInput for what is not UTF-8, NotFound, OSError."""
    from pathlib import Path

    from winslow.definition_text import MAX_BYTES, decode
    from winslow.errors import NotFound

    source = "standard input" if file == "-" else file
    if file == "-":
        return decode(sys.stdin.buffer.read(MAX_BYTES + 1), source=source), source
    try:
        with Path(file).open("rb") as opened:
            return decode(opened.read(MAX_BYTES + 1), source=source), source
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}") from None


@app.command()
def check(file: FileArgument, output: OutputOption = Format.TABLE) -> None:
    """Say everything that is wrong with a definition. Nothing is stored."""
    from winslow.pipeline import parse

    text, source = read_definition(file)
    definition = parse(text, source=source)
    if output is Format.JSON:
        put_json(plain(definition))
    else:
        put(
            f"{definition.name}: valid, {len(definition.stages)} stages: {', '.join(s.name for s in definition.stages)}"
        )


@app.command()
def apply(
    ctx: typer.Context,
    file: FileArgument,
    if_revision: Annotated[
        int | None,
        typer.Option(
            "--if-revision", min=0, help="only while this is the newest one (0: while there is none)"
        ),
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Store a definition as the current one of its name. Projects keep their own copies."""
    text, source = read_definition(file)
    definition, revision = client(ctx).pipelines.apply(text, source=source, if_revision=if_revision)
    if output is Format.JSON:
        put_json({"name": definition.name, "revision": revision})
    else:
        put(f"{definition.name} revision {revision}")


@app.command("list")
def list_(ctx: typer.Context, output: OutputOption = Format.TABLE) -> None:
    """Show all definitions."""
    heads = client(ctx).pipelines.heads()
    if output is Format.JSON:
        put_json([plain(head) for head in heads])
        return
    rows = [(head.name, head.revision, time_shown(head.updated), head.by) for head in heads]
    put_table(("NAME", "REVISION", "UPDATED", "BY"), rows)


@app.command()
def show(
    ctx: typer.Context,
    name: NameArgument,
    revision: Annotated[
        int | None, typer.Option("--revision", min=1, help="an older one (winslow pipeline history)")
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show a definition as it was written. With -o json as it is understood."""
    if output is Format.JSON:
        found = client(ctx).pipelines.get(name, revision=revision)
        put_json({"head": plain(found.head), "definition": plain(found.definition)})
    else:
        put(client(ctx).pipelines.text(name, revision=revision).text.rstrip("\n"))


@app.command()
def history(ctx: typer.Context, name: NameArgument, output: OutputOption = Format.TABLE) -> None:
    """Show every revision of a definition: who applied it, and when."""
    told = client(ctx).pipelines.history(name)
    if output is Format.JSON:
        put_json([plain(head) for head in told])
        return
    rows = [(head.revision, time_shown(head.updated), head.by) for head in told]
    put_table(("REVISION", "APPLIED", "BY"), rows)


@app.command()
def diff(
    ctx: typer.Context,
    name: NameArgument,
    older: Annotated[
        int | None,
        typer.Argument(
            metavar="A", min=1, help="a revision; default: the one before the newest", show_default=False
        ),
    ] = None,
    newer: Annotated[
        int | None,
        typer.Argument(metavar="B", min=1, help="another; default: the newest", show_default=False),
    ] = None,
    project: Annotated[
        str | None,
        typer.Option("--project", help="what its own copy would change to with revision A or the newest"),
    ] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show what two revisions, or a project's copy, differ in. A copy is compared with a definition."""
    if project is None:
        _diff_revisions(ctx, name, older, newer, output)
    else:
        _diff_copy(ctx, name, older, newer, project, output)


def _diff_revisions(
    ctx: typer.Context, name: str, older: int | None, newer: int | None, output: Format
) -> None:
    from winslow.errors import NotFound
    from winslow_tui.shown.definition_view import text_diff

    used = client(ctx)
    if older is None:
        revisions = [head.revision for head in used.pipelines.history(name)]
        if len(revisions) == 1:
            raise NotFound(
                f"pipeline '{name}' has only revision {revisions[0]}",
                hint="there is nothing yet to compare it with",
            )
        older = revisions[1]
    before, after = (used.pipelines.text(name, revision=revision) for revision in (older, newer))
    lines = text_diff(before, after)
    if output is Format.JSON:
        put_json({"name": name, "before": plain(before.head), "after": plain(after.head), "diff": lines})
    elif lines:
        put_diff(lines)
    else:
        say(f"revisions {before.head.revision} and {after.head.revision} are the same text")


def _diff_copy(
    ctx: typer.Context, name: str, revision: int | None, newer: int | None, project: str, output: Format
) -> None:
    from winslow.definition_diff import pipeline_changes
    from winslow.errors import UsageError
    from winslow_tui.shown.definition_view import change_rows

    if newer is not None:
        raise UsageError("--project compares with one revision", hint="leave the second one out")
    used = client(ctx)
    found, copied = used.pipelines.get(name, revision=revision), used.project(project)
    changes = pipeline_changes(copied.pipeline.definition, found.definition)
    if output is Format.JSON:
        told = {"name": name, "revision": found.head.revision, "project": copied.id}
        put_json(told | {"changes": change_rows(changes)})
        return
    if not changes:
        say(f"{copied.id} has what {name} revision {found.head.revision} says")
    for change in changes:
        put(line(str(change)))


@app.command()
def edit(ctx: typer.Context, name: NameArgument) -> None:
    """Change a definition in your editor (VISUAL or EDITOR). It is checked and applied when the editor ends."""
    from winslow_tui.cli.editor import edited
    from winslow_tui.facade.definition_editing import PipelineSubject

    edited(PipelineSubject(client(ctx), name))


@app.command()
def delete(ctx: typer.Context, name: NameArgument) -> None:
    """Delete a definition. Projects that use it go on working."""
    client(ctx).pipelines.delete(name)
    say(f"pipeline {name} is deleted")


@app.command()
def schema() -> None:
    """Print the JSON Schema of definitions, for editors."""
    from winslow.pipeline import json_schema

    put_json(json_schema())
