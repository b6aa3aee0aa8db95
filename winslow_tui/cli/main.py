"""The command `winslow`: the one place where errors become what a person sees and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 conflict, 5 broker or store unreachable,
or it refuses, 130 interrupted. Data goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from winslow.errors import Unreachable, WinslowError
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
from winslow_tui.cli.context import Flags, configured
from winslow_tui.cli.output import say

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
        _open(ctx.obj, readonly=readonly)


def _open(given: Flags, *, readonly: bool) -> None:
    from winslow_tui.cli.screen import screen

    screen(lambda: configured(given), readonly=readonly)


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


def main() -> None:
    """The entry point of the command `winslow`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _broken_pipe()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code. A defect of the program itself comes out with its traceback."""
    try:
        if arguments:
            app(args=list(arguments))
        else:  # `winslow` alone needs none of the commands, whose tree takes 40 ms to build
            _open(Flags(), readonly=False)
    except SystemExit as end:  # how typer ends, also for a wrong command line (2) and ctrl+c (130)
        return end.code if isinstance(end.code, int) else 0
    except WinslowError as error:
        return _fail(error)
    except BrokenPipeError:
        return _broken_pipe()
    except OSError as error:  # a local file: the store's and the broker's errors are WinslowErrors
        say(f"winslow: {error.filename or 'this machine'}: {error.strerror or error}")
        return 1
    return 0


def _fail(error: WinslowError) -> int:
    say(f"winslow: {error}")
    if isinstance(
        error.__cause__, Unreachable
    ):  # who did not answer, where the error says what is unknown now
        say(f"  {error.__cause__}")
    if error.hint:
        say(f"  {error.hint}")
    return error.exit_code


def _broken_pipe() -> int:
    """Whoever read our output has gone (`| head`): nothing more can be printed, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 1
