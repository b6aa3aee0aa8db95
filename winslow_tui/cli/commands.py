"""The tree of commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from winslow_tui.cli import (
    activity,
    control,
    explain,
    files,
    info,
    keys,
    logs,
    node,
    particulars,
    pipeline,
    project,
    project_pipeline,
    pruning,
    queue,
    runs,
    site,
    watch,
)
from winslow_tui.cli.flags import Flags, configured

app = typer.Typer(
    name="winslow",
    help="Runs a team's long computations: pipelines of container stages on the workstations you have.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 conflict, 5 broker or store unreachable, "
    "or it refuses.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        print(f"winslow {metadata.version('winslow')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    config: Annotated[str | None, typer.Option("--config", help="the configuration file to read")] = None,
    site: Annotated[str | None, typer.Option("--site", help="the site's name")] = None,
    broker: Annotated[str | None, typer.Option("--broker", help="the broker's URL, mqtt://HOST:PORT")] = None,
    store: Annotated[
        str | None, typer.Option("--store", help="the store's URL, http://HOST:PORT/BUCKET")
    ] = None,
    readonly: Annotated[
        bool, typer.Option("--readonly", help="without a command: show everything, change nothing")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show it")
    ] = False,
) -> None:
    """Runs a team's long computations: pipelines of container stages on the workstations you have.

    Without a command it opens the full-screen program."""
    ctx.obj = Flags(config=config, site=site, broker=broker, store=store)
    if ctx.invoked_subcommand is None:
        from winslow_tui.cli.screen import screen

        screen(lambda: configured(ctx.obj), readonly=readonly)


app.add_typer(pipeline.app, name="pipeline")
app.add_typer(project.app, name="project")
project_pipeline.register(project.app)
particulars.register(project.app)
app.add_typer(queue.app, name="queue")
app.add_typer(files.app, name="files")
app.add_typer(node.app, name="node")
_COMMANDS: tuple[Callable[..., None], ...] = (
    control.start,
    control.pause,
    control.resume,
    control.redo,
    control.abort,
    control.answer,
    control.confirm,
    control.wait,
    runs.runs,
    runs.diff,
    pruning.pin,
    pruning.unpin,
    pruning.prune,
    logs.logs,
    explain.explain,
    activity.activity,
    watch.watch,
    info.info,
    keys.keys,
    site.up,
    site.demo,
    site.agent,
)
for command in _COMMANDS:
    app.command()(command)
