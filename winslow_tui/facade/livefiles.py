"""The files of a run that a node still has, as they are now: asked of that node (docs/protocol.md, Requests).

Listings come over the broker; for a download the node copies the wanted files into the store, under a prefix
of this download's own, from where they are fetched and removed again.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from winslow.address import Address, text
from winslow.errors import (
    BrokerUnreachable,
    Conflict,
    NodeUnreachable,
    NotFound,
    Refused,
    Unreachable,
    WinslowError,
)
from winslow.placement import size_text
from winslow.project import Project
from winslow.store import layout
from winslow.store.files import Progress
from winslow.store.port import ObjectStore
from winslow.workspace import EntryType, quote_path, unquote_path
from winslow_tui.facade import filing
from winslow_tui.facade.filing import File, Held, Place

if TYPE_CHECKING:
    from broker.messages import FilesReply, FilesRequest, LiveFile
    from broker.session import Session
    from winslow.config import Config
    from winslow_tui.facade.client import Client

SILENCE_SECONDS = 5.0
"""Without a word of a node that was asked; it says every two seconds that it is at work."""
TRIES = 2
STATE_SECONDS = 10.0
STOP_SECONDS = 1.0
MOST_FILES = 100_000
MOST_PAGES = 500
BATCH_FILES = 128
BATCH_BYTES = 256 << 20
BATCH_PATHS = 128 << 10  # bytes of all paths in one request
_TOLD_SECONDS = 5.0
Say = Callable[[str], None]


class Over(WinslowError):
    """The node does not hold the attempt any more: the run has ended, or is tried elsewhere."""


def look(
    used: Client,
    where: Address,
    project: Project | None,
    *,
    deep: bool,
    live: bool = False,
    whole: bool = False,
) -> list[File]:
    """What lies at an address: in the store or, of a run that a node has, on that node, which is told.

    With `live` a project's output includes what its running runs have written so far. Of a node's 100,000 files
    are shown, and `whole` refuses more. Raises NotFound and what `find` raises but Over.
    """
    at = held(project, where)
    if at is not None:
        assert project is not None
        try:
            found = find(used.config, at, where, deep=deep, whole=whole, say=used.say)
        except Over:  # it has ended since the document was read
            return filing.find(used.store, where, used.project(project.id), deep=deep)
        used.say(f"run #{at.run} is on {at.node}: these files are live and may change")
        return found
    if project is None or where.place != "output" or not live:
        return filing.find(used.store, where, project, deep=deep)
    return _with_output(used, where, project, deep=deep, whole=whole)


def _with_output(used: Client, where: Address, project: Project, *, deep: bool, whole: bool) -> list[File]:
    layers: list[Callable[[], list[File]]] = [partial(filing.find, used.store, where, project, deep=deep)]
    for run in project.active:
        at = _held(project, run.n, "output")
        if at is not None:
            layers.append(partial(find, used.config, at, where, deep=deep, whole=whole, say=used.say))
    found: dict[str, File] = {}
    missing: list[NotFound] = []
    for layer in layers:
        try:
            found.update((each.path, each) for each in layer())
        except NotFound as error:
            missing.append(error)
        except Over as error:
            used.say(f"{error}: look again to see what it left")
    if len(missing) == len(layers):
        raise missing[0]
    return [found[path] for path in sorted(found)]


def fetch(used: Client, places: Sequence[Place], progress: Progress) -> None:
    """Fetch what `look` found (with `deep`), from the store and from nodes. Raises as `download`."""
    filing.download(used.store, [each for each in places if each.file.held is None], progress)
    download(
        used.config,
        used.store,
        [each for each in places if each.file.held is not None],
        progress,
        say=used.say,
    )


def held(project: Project | None, where: Address) -> Held | None:
    """The attempt whose node has what an address names; None where the store has it, or nobody."""
    if project is None or where.place != "workspace" or where.run is None:
        return None
    return _held(project, where.run, "workspace")


def _held(project: Project, n: int, area: layout.Area) -> Held | None:
    run = project.run(n)
    if run is None or not run.state.held or run.attempt is None:
        return None
    return Held(project=project.id, run=n, attempt=run.attempt.k, node=run.attempt.node, area=area)


def find(config: Config, at: Held, where: Address, *, deep: bool, whole: bool, say: Say) -> list[File]:
    """What lies at an address on its node now, as `filing.find` says it.

    Raises NotFound, Refused (the node does not let it be seen), Over, NodeUnreachable, BrokerUnreachable.
    """
    return asyncio.run(_find(config, at, where, deep=deep, whole=whole, say=say))


async def _find(config: Config, at: Held, where: Address, *, deep: bool, whole: bool, say: Say) -> list[File]:
    path = quote_path(where.path.encode("utf-8", "surrogateescape"))
    found: list[File] = []
    left_out: Counter[str] = Counter()
    after = ""
    async with _asked(config, at) as node:
        for _ in range(MOST_PAGES):
            reply = await node.page(path, deep=deep, after=after)
            if reply.status == "missing":
                raise NotFound(f"there is nothing at {text(where)} now")
            found += [_file(each, at) for each in reply.files]
            left_out.update(reply.left_out)
            after = reply.next
            if not after or len(found) >= MOST_FILES:
                break
    if after and whole:
        raise Refused(f"{text(where)} holds more than {len(found)} files", hint="name a folder of it")
    if after:
        say(f"{text(where)}: too much to show: these are the first {len(found)}; name a folder of it")
    for what, count in sorted(left_out.items()):
        say(f"{text(where)}: {count} {what}")
    if where.folder and where.path and any(each.path == where.path for each in found):
        raise NotFound(f"{text(where)} is no folder")
    return found


def _file(one: LiveFile, at: Held) -> File:
    return File(
        path=os.fsdecode(unquote_path(one.path)),
        kind=one.type,
        size=one.size,
        modified=filing.time_text(one.mtime_ns),
        mode=one.mode,
        mtime_ns=one.mtime_ns,
        target=os.fsdecode(unquote_path(one.target)),
        held=at,
    )


def download(
    config: Config, store: ObjectStore, places: Sequence[Place], progress: Progress, *, say: Say
) -> None:
    """Fetch files of nodes (each `file.held`), folders first and links last, as `filing.download` does.

    What was changed while it was read, or is gone, is told. Raises Conflict when the run ends meanwhile, and
    what `find` raises.
    """
    wanted: dict[Held, list[Place]] = {}
    for place in places:
        assert place.file.held is not None
        wanted.setdefault(place.file.held, []).append(place)
    for at, group in wanted.items():
        try:
            asyncio.run(_download(config, store, at, group, progress, say))
        except (Over, NotFound) as error:
            raise Conflict(
                f"run #{at.run} of {at.project} ended while its files were fetched ({error})",
                hint="repeat the command: what it left is in the store",
            ) from error


async def _download(
    config: Config, store: ObjectStore, at: Held, places: list[Place], progress: Progress, say: Say
) -> None:
    stopped = threading.Event()

    def advance(count: int) -> None:
        if stopped.is_set():
            raise Refused("the download was stopped")
        progress(count)

    async def fetch(some: Sequence[Place]) -> None:
        await asyncio.to_thread(filing.download, store, some, advance)

    token = secrets.token_hex(8)
    prefix = layout.live_copies(at.project, at.run, at.attempt, token)
    try:
        await fetch([each for each in places if each.file.kind is EntryType.DIR])
        async with _asked(config, at) as node:
            for batch in _batches([each for each in places if each.file.kind is EntryType.FILE]):
                await fetch(await _copied(node, batch, token, say))
                await asyncio.to_thread(store.delete_prefix, prefix)
        await fetch([each for each in places if each.file.kind is EntryType.LINK])
    except BaseException:
        stopped.set()
        with suppress(WinslowError):  # the agent removes it when the run ends
            store.delete_prefix(prefix)
        raise


async def _copied(node: _Node, batch: Sequence[Place], token: str, say: Say) -> list[Place]:
    """The places of a batch, once the store has copies of their files; those that are gone are told."""
    total = sum(place.file.size for place in batch)
    told = time.monotonic()

    def working(done: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _TOLD_SECONDS:
            told = time.monotonic()
            say(f"{at.node} is copying: {size_text(done)} of {size_text(total)}")

    at = node.at
    prefix = layout.live_copies(at.project, at.run, at.attempt, token)
    paths = tuple(quote_path(os.fsencode(place.file.path)) for place in batch)
    copies = {each.path: each for each in await node.copy(paths, token=token, working=working)}
    ready = []
    for place, path in zip(batch, paths, strict=True):
        copy = copies.get(path)
        if copy is None or copy.problem or not copy.key.startswith(prefix):
            why = copy.problem if copy and copy.problem else f"{node.at.node} sent no copy of it"
            say(f"left out: {place.file.path}: {why}")
            continue
        if copy.changed:
            say(f"{place.file.path} was written to while it was read: this is what was read")
        file = replace(
            place.file,
            key=copy.key,
            size=copy.size,
            sha256=copy.sha256,
            mode=copy.mode,
            mtime_ns=copy.mtime_ns,
        )
        ready.append(replace(place, file=file))
    return ready


def _batches(places: Sequence[Place]) -> Iterator[list[Place]]:
    """Parts that a node copies at one request: many small files, or one large one."""
    batch: list[Place] = []
    size = length = 0
    for place in places:
        path = len(quote_path(os.fsencode(place.file.path)))
        full = (
            len(batch) >= BATCH_FILES or size + place.file.size > BATCH_BYTES or length + path > BATCH_PATHS
        )
        if batch and full:
            yield batch
            batch, size, length = [], 0, 0
        batch.append(place)
        size, length = size + place.file.size, length + path
    if batch:
        yield batch


@dataclass(frozen=True)
class _Node:
    """A node that has an attempt, and the session to ask it through."""

    at: Held
    session: Session

    async def page(self, path: str, *, deep: bool, after: str) -> FilesReply:
        """A part of a listing, or that there is nothing."""
        return await self._ask(self._request("list", path=path, deep=deep, after=after))

    async def copy(
        self, paths: tuple[str, ...], *, token: str, working: Callable[[int], None]
    ) -> Sequence[LiveFile]:
        """Files put into the store; `working` gets the bytes so far."""
        return (await self._ask(self._request("copy", paths=paths, token=token), working)).files

    def _request(self, op: Literal["list", "copy", "stop"], **fields: Any) -> FilesRequest:
        from broker.messages import FilesRequest

        at = self.at
        return FilesRequest(
            id=secrets.token_hex(8),
            op=op,
            project=at.project,
            run=at.run,
            attempt=at.attempt,
            area=at.area,
            **fields,
        )

    async def _ask(
        self, request: FilesRequest, working: Callable[[int], None] = lambda _: None
    ) -> FilesReply:
        """The node's answer. Raises Over, Refused, NodeUnreachable."""
        for _ in range(TRIES):
            request = request.model_copy(update={"id": secrets.token_hex(8)})
            try:
                reply = await self._answer(request, working)
            except TimeoutError:  # perhaps only the answer was lost
                self._publish(request.model_copy(update={"op": "stop"}))
                continue
            except BaseException:
                self._publish(request.model_copy(update={"op": "stop"}))
                with suppress(Unreachable):
                    await self.session.flush(STOP_SECONDS)
                raise
            if reply.status == "over":
                raise Over(reply.reason)
            if reply.status == "refused":
                raise Refused(reply.reason)
            return reply
        raise away(self.at, "did not answer")

    async def _answer(self, request: FilesRequest, working: Callable[[int], None]) -> FilesReply:
        from broker.messages import FilesReply

        loop = asyncio.get_running_loop()
        self._publish(request)
        async with asyncio.timeout(SILENCE_SECONDS) as limit:
            async for received in self.session.messages():
                reply = received.payload
                if not isinstance(reply, FilesReply) or reply.id != request.id:
                    continue
                if reply.status != "working":
                    return reply
                working(reply.bytes)
                limit.reschedule(loop.time() + SILENCE_SECONDS)
        raise BrokerUnreachable(f"the session with {self.session.address} ended")

    def _publish(self, request: FilesRequest) -> None:
        from broker import topics

        self.session.publish(topics.Request(node=self.at.node, client=self.session.client_id), request)


@asynccontextmanager
async def _asked(config: Config, at: Held) -> AsyncIterator[_Node]:
    """A node that is there, as far as the broker knows. Raises NodeUnreachable, BrokerUnreachable."""
    from broker import topics
    from winslow.node import NodeState, Presence
    from winslow_tui.facade import live

    async with live.session(config) as session:
        await live.connected(session)
        found = await session.snapshot(topics.NodeState(node=at.node).path, STATE_SECONDS)
        if not any(
            isinstance(each.payload, NodeState) and each.payload.presence is not Presence.OFFLINE
            for each in found
        ):
            raise away(at, "is away")
        await session.subscribe(topics.Reply(client=session.client_id).path, qos=1)
        yield _Node(at=at, session=session)


def away(at: Held, how: str) -> NodeUnreachable:
    """The error for a node that cannot be asked, with the way to look at it all the same."""
    return NodeUnreachable(
        f"node {at.node}, which has run #{at.run} of {at.project}, {how}: its files cannot be seen from here",
        hint=f"on the spot: winslow node local files {at.project} {at.run}",
    )
