"""`winslow watch`: everything on the wire, decoded, one JSON object a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from winslow_tui.cli.context import config
from winslow_tui.cli.output import put_json_line, say

if TYPE_CHECKING:
    from broker.session import Received
    from winslow.config import Config


def watch(
    ctx: typer.Context,
    filter_: Annotated[
        str, typer.Argument(metavar="FILTER", help="an MQTT filter below winslow/SITE/")
    ] = "#",
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="end after so many messages")
    ] = None,
    events: Annotated[
        bool, typer.Option("--events", help="what happens on the site, each thing once, instead of messages")
    ] = False,
) -> None:
    """Print the messages under a filter as JSON lines until ctrl+c.

    Each has its topic, whether it is retained, and its payload.

    With --events what `winslow activity` would tell later: what the broker loses comes from the store.
    """
    import asyncio

    if events:
        from winslow.errors import UsageError
        from winslow_tui.cli import activity

        if filter_ != "#":
            raise UsageError(
                "--events takes no filter", hint="winslow activity -f has --project, --by and --kind"
            )
        activity.events(ctx, count)
        return

    asyncio.run(_watch(config(ctx), filter_, count))


async def _watch(config: Config, below: str, count: int | None) -> None:
    from winslow_tui.facade import live

    shown = 0
    async with live.session(config) as session:
        await live.connected(session)
        await session.subscribe(below)
        async for received in session.messages():
            put_json_line(told(received))
            shown += 1
            if shown == count:
                break
        lost = session.counters
    if lost.malformed or lost.dropped_stream or lost.dropped_state:
        say(
            f"{lost.malformed} not readable, {lost.dropped_stream + lost.dropped_state} dropped by a full queue"
        )


def told(received: Received) -> dict[str, object]:
    """A message as plain data; a log batch as text, invalid UTF-8 replaced."""
    from broker.messages import LogChunk

    payload = received.payload
    content: object
    if payload is None:
        content = None
    elif isinstance(payload, LogChunk):
        content = {"offset": payload.offset, "text": payload.data.decode("utf-8", "replace")}
    else:
        content = payload.model_dump(mode="json", exclude_none=True)
    return {"topic": received.topic.path, "retained": received.retained, "payload": content}
