"""`winslow activity`: who did what, and what happened, on the whole site."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from winslow_tui.cli.context import OutputOption, client
from winslow_tui.cli.output import (
    Format,
    put,
    put_json,
    put_json_line,
    put_table,
    say,
    time_shown,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from winslow_tui.facade.activity import Entry, Subject, Wanted
    from winslow_tui.facade.client import Client

_SINCE_HINT = "write a duration like 2h, or a date like 2026-03-02 or 2026-03-02T09:00"


def activity(
    ctx: typer.Context,
    project: Annotated[str | None, typer.Option("--project", "-p", help="only of this project")] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="WHO", help="only what this person or node did")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="only this kind: created, claimed, ended…")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="2h|DATE", help="nothing older; a date is local time")
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="the newest so many")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on until ctrl+c")] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Show what happened on the site, the newest last. It is what happened to projects, pipelines and nodes."""
    used = client(ctx)
    record = used.activity
    wanted = _wanted(
        project=used.projects.id_of(project) if project is not None else "",
        by=by or "",
        kind=kind or "",
        since=since,
    )
    if not follow:
        entries = record.newest(count, wanted)
        if output is Format.JSON:
            put_json([told(entry) for entry in entries])
        else:
            put_table(("TIME", "WHO", "WHAT", "EVENT"), [_cells(entry) for entry in entries])
        return

    def before(places: Mapping[Subject, int]) -> Sequence[Entry]:
        return [each for each in record.newest(count, wanted) if each.place <= places.get(each.subject, 0)]

    show = _put_json if output is Format.JSON else _put_line
    _follow(used, show=lambda entry: show(entry) if wanted.matches(entry) else None, before=before)


def events(ctx: typer.Context, count: int | None) -> None:
    """What happens from now on, as JSON lines; at most `count`."""
    shown = 0

    def show(entry: Entry) -> None:
        nonlocal shown
        _put_json(entry)
        shown += 1
        if shown == count:
            raise _Enough

    _follow(client(ctx), show=show)


class _Enough(Exception):
    """So many were wanted."""


def _follow(
    used: Client,
    *,
    show: Callable[[Entry], None],
    before: Callable[[Mapping[Subject, int]], Sequence[Entry]] | None = None,
) -> None:
    import asyncio

    from winslow_tui.facade.activity_stream import Stream

    stream = Stream(used.config, used.activity, show=show, say=say, wall=used.link.now)
    with suppress(_Enough):
        asyncio.run(stream.run(before))


def told(entry: Entry) -> dict[str, object]:
    """An entry as plain data; run and attempt are left out where it is about none."""
    data: dict[str, object] = {
        "at": entry.at,
        "by": entry.by,
        "about": entry.subject.about.value,
        "id": entry.subject.id,
        "name": entry.title or entry.subject.id,
        "kind": entry.kind,
        "text": entry.text,
        "place": entry.place,
    }
    return data | {
        name: value for name, value in (("run", entry.n), ("attempt", entry.k)) if value is not None
    }


def _cells(entry: Entry) -> tuple[str, str, str, str]:
    from winslow_tui.facade.activity import About

    about = entry.subject.about
    what = entry.subject.id if about is About.PROJECT else f"{about.value} {entry.subject.id}"
    return time_shown(entry.at), entry.by, what, entry.text


def _put_line(entry: Entry) -> None:
    from winslow.terminal_text import line

    time, by, what, text = map(line, _cells(entry))
    put(f"{time:<20}  {by:<10}  {what:<24}  {text}")


def _put_json(entry: Entry) -> None:
    put_json_line(told(entry))


def _wanted(*, project: str, by: str, kind: str, since: str | None) -> Wanted:
    from winslow.errors import UsageError
    from winslow_tui.facade.activity import KINDS, Wanted

    if kind and kind not in KINDS:
        raise UsageError(
            f"--kind {kind}: there is no such kind", hint=f"kinds are {', '.join(sorted(KINDS))}"
        )
    return Wanted(project=project, by=by, kind=kind, since=_since(since) if since is not None else None)


def _since(text: str) -> datetime:
    from winslow.errors import UsageError
    from winslow.quantities import parse_duration

    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(text))
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).astimezone(UTC)  # without an offset it is local time
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--since {text}: not a duration and no date", hint=_SINCE_HINT) from error
