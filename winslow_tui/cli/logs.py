"""`winslow logs` (R1450): what a run printed and what Winslow did for it, by time."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from winslow_tui.cli.context import OutputOption, client
from winslow_tui.cli.output import Format, put, put_json_line, say, time_shown
from winslow_tui.cli.project import ProjectArgument

if TYPE_CHECKING:
    from collections.abc import Callable

    from winslow_tui.facade.client import Client
    from winslow_tui.logs.logview import Line, Source


class StreamName(StrEnum):
    """What to show; all three when none is named."""

    STDOUT = "stdout"
    STDERR = "stderr"
    SYSTEM = "system"


_SOURCES: dict[StreamName, Source] = {
    StreamName.STDOUT: "stdout",
    StreamName.STDERR: "stderr",
    StreamName.SYSTEM: "system",
}


def logs(
    ctx: typer.Context,
    project: ProjectArgument,
    run: Annotated[
        int | None, typer.Argument(metavar="RUN", help="the run's number; default: the latest")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on until the run has ended")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="the stage's bytes exactly as written; not to a terminal")
    ] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="the last so many lines")] = None,
    stream: Annotated[StreamName | None, typer.Option("--stream", help="only this one")] = None,
    attempt: Annotated[int | None, typer.Option("--attempt", help="default: the latest")] = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show the log of a run with Winslow's own events for it. With -o json one object a line."""
    from winslow.errors import UsageError
    from winslow_tui.logs import logview

    used = client(ctx)
    found = used.project(project)
    shown = logview.run_of(found, run)
    wanted = _SOURCES[stream] if stream else None
    if raw:
        if follow or tail is not None or output is Format.JSON or stream is StreamName.SYSTEM:
            raise UsageError("--raw goes with --stream stdout or stderr and --attempt alone")
        _raw(used, found.id, shown.n, logview.attempt_of(shown, attempt), stream)
        return
    show = _show(output)
    if follow:
        if attempt is not None:
            raise UsageError("--follow shows the current attempt: leave --attempt out")
        import asyncio

        ended = asyncio.run(logview.follow(used, found.id, shown.n, stream=wanted, tail=tail, show=show))
        say(f"run #{ended.n} {ended.state.value}" + (f": {ended.detail}" if ended.detail else ""))
        return
    if shown.attempt is None:
        say(f"run #{shown.n} ({shown.stage.name}) is {shown.state.value}: it has no log yet")
    for line in logview.read(used.store, found.id, shown, k=attempt, stream=wanted, tail=tail):
        show(line)


def _show(output: Format) -> Callable[[Line], None]:
    from winslow.terminal_text import log_line

    def text(line: Line) -> None:
        shown = log_line(line.data)
        put(f"[{time_shown(line.time)}] {shown}" if line.stream == "system" else shown)

    def json(line: Line) -> None:
        told: dict[str, object] = {
            "time": line.time,
            "stream": line.stream,
            "text": line.data.decode("utf-8", "replace"),
        }
        put_json_line(told | ({"event": line.event} if line.event else {}))

    return json if output is Format.JSON else text


def _raw(client: Client, project: str, n: int, k: int | None, stream: StreamName | None) -> None:
    from winslow.errors import UsageError
    from winslow_tui.logs.logview import records

    if sys.stdout.isatty():
        raise UsageError(
            "--raw does not write to a terminal", hint="write it into a file, or through `cat -v`"
        )
    if k is None:
        return
    for record in records(client.store, project, n, k):
        if stream is None or record.stream == stream.value:
            sys.stdout.buffer.write(record.written)
    sys.stdout.buffer.flush()
