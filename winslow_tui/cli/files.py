"""`winslow files` (R1310 to R1340); `ADDRESS` says how places are written."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from winslow_tui.cli.context import OutputOption, client
from winslow_tui.cli.output import Format, put, put_json, put_table, say, time_shown

if TYPE_CHECKING:
    from pathlib import Path

    from winslow.address import Address
    from winslow.project import Project
    from winslow_tui.facade.client import Client

app = typer.Typer(help="Files: list, send, fetch, move, remove.", no_args_is_help=True)

ADDRESS = "res:PATH, PROJECT:input/PATH, PROJECT:output/PATH, PROJECT#RUN:PATH or PROJECT#next:PATH"
LiveOption = Annotated[
    bool, typer.Option("--live", help="of PROJECT:output/ also what running runs have written so far")
]
AddressArgument = Annotated[str, typer.Argument(metavar="ADDRESS", help=ADDRESS, show_default=False)]


def place(used: Client, text: str) -> tuple[Address, Project | None]:
    """An address as written, and the project it names. Raises InvalidInput, NotFound, Conflict."""
    from dataclasses import replace

    from winslow import address

    where = address.parse(text)
    if where.place == "resources":
        return where, None
    project = used.project(where.project)
    return replace(where, project=project.id), project


@app.command("ls")
def list_(
    ctx: typer.Context,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help=ADDRESS)] = "res:",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="all levels")] = False,
    live: LiveOption = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """List what is at an address. The files of a run that a node has are shown as they are there now."""
    from dataclasses import asdict, replace

    from winslow.address import text
    from winslow.placement import size_text
    from winslow_tui.facade import livefiles

    used = client(ctx)
    where, project = place(used, address)
    found = livefiles.look(used, where, project, deep=recursive, live=live)
    if output is Format.JSON:
        keys = ("size", "modified", "sha256", "target")
        put_json(
            [
                {
                    "path": each.path,
                    "address": text(replace(where, path=each.path, folder=False)),
                    "kind": each.kind.value,
                    "live": each.held is not None,
                    "run": each.run,
                }
                | {key: value for key, value in asdict(each).items() if key in keys}
                for each in found
            ]
        )
        return
    made = any(each.run for each in found)
    rows = [
        (
            "" if each.kind == "dir" else size_text(each.size),
            time_shown(each.modified),
            *((f"#{each.run}" if each.run else "",) if made else ()),
            each.path + ("/" if each.kind == "dir" else f" -> {each.target}" if each.target else ""),
        )
        for each in found
    ]
    put_table(("SIZE", "MODIFIED", *(("MADE BY",) if made else ()), "PATH"), rows)


@app.command("put")
def send(
    ctx: typer.Context,
    arguments: Annotated[list[str], typer.Argument(metavar="FILE... ADDRESS", show_default=False)],
) -> None:
    """Send files and folders to an address. That is res:…, PROJECT:input/… or, for what the next run takes over,
    PROJECT#next:…; one that ends in / is a folder."""
    from pathlib import Path

    from winslow.address import text
    from winslow.errors import UsageError
    from winslow_tui.facade import filing

    if len(arguments) < 2:
        raise UsageError("name at least one file, then the address")
    *sources, last = arguments
    used = client(ctx)
    where, project = place(used, last)
    if project is not None and where.place == "next":
        _put_into_next(used, project, [Path(source) for source in sources], where)
        return
    uploads, notes = filing.plan_upload([Path(source) for source in sources], where, project)
    for note in notes:
        say(note)
    total = sum(upload.path.stat().st_size for upload in uploads)
    with progress(len(uploads), total, "sent") as advance:
        filing.upload(used.store, uploads, advance, project=project)
    put(text(where))


def _put_into_next(used: Client, project: Project, sources: list[Path], where: Address) -> None:
    from winslow.address import text
    from winslow.workspace import EntryType
    from winslow_tui.facade import workspace_editing

    planned, notes = workspace_editing.plan(sources, where)
    for note in notes:
        say(note)
    count = sum(each.type is not EntryType.DIR for each in planned)
    with progress(count, sum(each.size for each in planned), "sent") as advance:
        changed = workspace_editing.put(used.link, project, planned, advance)
    _say_next(changed)
    put(text(where))


def _say_next(project: Project) -> None:
    from winslow.steering import next_workspace

    made = project.edited if next_workspace(project)[1] else project.initial
    if made is not None:
        based = f"what run #{made.base} left" if made.base else "an empty workspace"
        say(f"stage '{made.stage}' will take over {based}, changed by {made.by}")


@app.command()
def get(
    ctx: typer.Context,
    arguments: Annotated[list[str], typer.Argument(metavar="ADDRESS... [FOLDER]", show_default=False)],
    live: LiveOption = False,
) -> None:
    """Fetch files and folders. They go into the present folder unless another (or a file's name) is given."""
    from pathlib import Path

    from winslow import address
    from winslow.errors import UsageError
    from winslow_tui.facade import filing, livefiles

    into = Path()
    if len(arguments) > 1 and ":" not in arguments[-1]:
        into = Path(arguments.pop())
    if len(arguments) > 1 and not into.is_dir():
        raise UsageError(f"{into} is no folder, and several addresses are to go there")
    used = client(ctx)
    places: list[filing.Place] = []
    for each in arguments:
        address.parse(each)
        where, project = place(used, each)
        filing.check_kept(where, project)
        found = livefiles.look(used, where, project, deep=True, live=live, whole=True)
        places += filing.plan_download(found, where, into)
    targets = [each.path for each in places]
    if len(set(targets)) < len(targets):
        raise UsageError(
            "two of the files would have the same name here", hint="fetch them one after the other"
        )
    count = sum(each.file.kind != "dir" for each in places)
    with progress(count, sum(each.file.size for each in places), "fetched") as advance:
        livefiles.fetch(used, places, advance)
    for path in sorted({each.root / each.relative.split("/")[0] for each in places}):
        put(str(path))


@app.command("rm")
def remove(
    ctx: typer.Context,
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS", show_default=False)],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="a folder with all it holds")] = False,
) -> None:
    """Remove files from an address. That is res:…, PROJECT:input/… or, of what the next run takes over,
    PROJECT#next:…; what runs left never changes."""
    from winslow.address import text
    from winslow_tui.facade import filing, workspace_editing

    used = client(ctx)
    places = [place(used, each) for each in addresses]
    nexts: dict[str, tuple[Project, list[Address]]] = {}
    for where, project in places:
        if project is not None and where.place == "next":
            nexts.setdefault(project.id, (project, []))[1].append(where)
        else:
            _say_removed(text(where), filing.remove(used.store, where, project, deep=recursive))
    for project, wanted in nexts.values():
        changed, count = workspace_editing.remove(used.link, project, wanted, deep=recursive)
        _say_removed(f"{project.id}#next:", count)
        _say_next(changed)


@app.command("mv")
def move(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="ADDRESS", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="ADDRESS", show_default=False)],
) -> None:
    """Give a file or a folder another name. It is one of res:…, PROJECT:input/… or PROJECT#next:…; where the second
    address ends in / it goes into that folder. Nothing passes through this machine: the store makes copies and removes
    the old ones."""
    from winslow.address import text
    from winslow_tui.facade import moving

    used = client(ctx)
    where, _ = place(used, source)
    wanted = moving.plan(used.store, where, place(used, target)[0], used.project)
    with progress(len(wanted.files), wanted.size, "moved") as advance:
        changed = moving.move(used.link, wanted, advance)
    if changed is not None:
        _say_next(changed)
    put(text(wanted.target))


def _say_removed(where: str, count: int) -> None:
    say(f"{where}: {count} {'file' if count == 1 else 'files'} removed")


@app.command()
def restore(
    ctx: typer.Context,
    project: Annotated[str, typer.Argument(metavar="PROJECT", show_default=False)],
) -> None:
    """Drop what was changed with put and rm PROJECT#next:…. The next run takes over what was left to it."""
    from winslow_tui.facade import workspace_editing

    used = client(ctx)
    restored = workspace_editing.restore(used.link, used.project(project))
    say(f"{restored.id}: the files for the next run are those that were left to it")


@contextmanager
def progress(count: int, total: int, done: str) -> Iterator[Callable[[int], None]]:
    """Bytes, rate and time left on a terminal's stderr while it lasts; one sentence at the end."""
    from winslow.placement import size_text

    began, moved = time.monotonic(), 0

    def add(size: int) -> None:
        nonlocal moved
        moved += size

    if sys.stderr.isatty():
        with _bar(total) as advance:

            def both(size: int) -> None:
                add(size)
                advance(size)

            yield both
    else:
        yield add
    seconds = max(time.monotonic() - began, 1e-3)
    say(
        f"{done} {count} {'file' if count == 1 else 'files'}, {size_text(moved)} in {seconds:.1f} s "
        f"({size_text(int(moved / seconds))}/s)"
    )


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda size: bar.advance(task, size)
