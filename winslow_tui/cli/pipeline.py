"""`winslow pipeline`: definitions (R1110 to R1130)."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from winslow_tui.cli.context import client
from winslow_tui.cli.output import Format, OutputOption, plain, put, put_json, put_table, say, time_shown

app = typer.Typer(help="Pipeline definitions: check, apply, look at, delete.", no_args_is_help=True)

FileArgument = Annotated[str, typer.Argument(help="a YAML file; - for standard input", show_default=False)]
NameArgument = Annotated[str, typer.Argument(help="the pipeline's name", show_default=False)]


def read_definition(file: str) -> tuple[str, str]:
    """The text and what to call its source. Raises InvalidInput for what is not UTF-8, NotFound, OSError."""
    from pathlib import Path

    from winslow.definition_text import MAX_BYTES
    from winslow.errors import InvalidInput, NotFound

    source = "standard input" if file == "-" else file
    if file == "-":
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        try:
            with Path(file).open("rb") as opened:
                data = opened.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise NotFound(f"there is no file {file}") from None
    try:
        return data.decode(), source
    except UnicodeDecodeError as error:
        if len(data) > MAX_BYTES and error.end >= MAX_BYTES:  # the cut went through a character
            return data[: error.start].decode() + " " * 4, source
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise InvalidInput(f"{source}:{line}:{column}: not UTF-8", hint="save the file as UTF-8") from None


@app.command()
def check(file: FileArgument, output: OutputOption = Format.TABLE) -> None:
    """Say everything that is wrong with a definition, without storing it."""
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
def apply(ctx: typer.Context, file: FileArgument, output: OutputOption = Format.TABLE) -> None:
    """Store a definition as the current one of its name. Projects keep their own copies."""
    text, source = read_definition(file)
    definition, revision = client(ctx).apply_pipeline(text, source=source)
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
def show(ctx: typer.Context, name: NameArgument, output: OutputOption = Format.TABLE) -> None:
    """Show a definition as it was written; with -o json as it is understood."""
    found = client(ctx).pipeline(name)
    if output is Format.JSON:
        put_json({"head": plain(found.head), "definition": plain(found.definition)})
    else:
        put(found.text.rstrip("\n"))


@app.command()
def delete(ctx: typer.Context, name: NameArgument) -> None:
    """Delete a definition. Projects that use it go on working."""
    client(ctx).delete_pipeline(name)
    say(f"pipeline {name} is deleted")


@app.command()
def schema() -> None:
    """Print the JSON Schema of definitions, for editors."""
    from winslow.pipeline import json_schema

    put_json(json_schema())
