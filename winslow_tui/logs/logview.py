"""Reading a run's log: segments from the store, live batches from the broker, joined by offset (design 7)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Literal

from broker import messages, topics
from broker.session import Session
from winslow.errors import InvalidInput, NotFound, StoreUnreachable, Unreachable, UsageError
from winslow.logs import (
    EventParser,
    LogJoiner,
    Record,
    RecordParser,
    RunEvent,
    Segment,
    Stream,
    holding,
    merge,
)
from winslow.project import Project, Run
from winslow.store import layout
from winslow.store.port import ObjectStore
from winslow_tui.facade import live
from winslow_tui.facade.client import Client

LOOK_SECONDS = 1.0
PULL_EVERY = 5  # looks at the document between two looks at the segments, while the broker brings everything
_RANGE = 4 << 20

Source = Stream | Literal["system"]
Item = Record | RunEvent


@dataclass(frozen=True)
class Line:
    """One line for a screen. `stream` is `system` for Winslow's own words; `data` holds no newline."""

    time: str
    stream: Source
    data: bytes
    event: str = ""  # the kind of a system line


class Lines:
    """Whole lines from records and events; parts of a long line are joined, up to `limit` bytes."""

    def __init__(self, *, limit: int = 1 << 20) -> None:
        self._parts: dict[Stream, bytes] = {}
        self._limit = limit

    def feed(self, item: Item) -> Line | None:
        """The line that ends with the item, if one does."""
        if isinstance(item, RunEvent):
            return Line(item.time, "system", item.text.encode(), item.event)
        if item.mark:
            return Line(item.time, "system", item.data, item.mark)
        data = self._parts.pop(item.stream, b"") + item.data
        if not item.complete and len(data) < self._limit:
            self._parts[item.stream] = data
            return None
        return Line(item.time, item.stream, data)

    def rest(self) -> Iterator[Line]:
        """What had no end."""
        for stream, data in self._parts.items():
            yield Line("", stream, data)
        self._parts = {}


@dataclass
class Archive:
    """One archive (log or events) of an attempt, read from any position on."""

    store: ObjectStore
    prefix: str
    joiner: LogJoiner = field(default_factory=LogJoiner)

    def segments(self) -> dict[Segment, str]:
        """Every segment and its key."""
        found = {}
        for info in self.store.walk(self.prefix):
            start = layout.segment_start(info.key)
            if start is not None:
                found[Segment(*start)] = info.key
        return found

    def pull(self) -> Iterator[bytes]:
        """Everything the store has beyond the position, in pieces. Raises StoreUnreachable."""
        segments = self.segments()
        for segment in holding(segments, self.joiner.position):
            while True:
                skip = max(0, self.joiner.position - segment.first_byte)
                try:
                    data = self.store.get_range(segments[segment], skip, _RANGE)
                except NotFound:
                    break  # deleted meanwhile
                yield self.joiner.feed(segment.first_byte + skip, data)
                if len(data) < _RANGE:
                    break


def attempt_of(run: Run, k: int | None) -> int | None:
    """The attempt to show: `k`, else the latest; None before the first claim. Raises NotFound."""
    if k is None:
        return run.attempt.k if run.attempt else None
    if not any(attempt.k == k for attempt in run.attempts):
        raise NotFound(f"run #{run.n} has no attempt {k}", hint=f"it has {len(run.attempts)}")
    return k


def run_of(project: Project, n: int | None) -> Run:
    """Run `n`, else the latest. Raises NotFound."""
    run = project.run(n) if n is not None else (project.runs[-1] if project.runs else None)
    if run is None:
        what = f"no run #{n}" if n is not None else "no run yet"
        raise NotFound(f"{project.id} has {what}", hint=f"winslow runs {project.id} shows its runs")
    return run


def records(store: ObjectStore, project: str, n: int, k: int) -> Iterator[Record]:
    """All records of an attempt that the store has. Raises InvalidInput naming the offset, StoreUnreachable."""
    parser = RecordParser()
    for data in Archive(store, layout.logs(project, n, k)).pull():
        yield from parser.feed(data)


def last_records(
    store: ObjectStore, project: str, n: int, k: int, *, lines: int, stream: Source | None
) -> list[Record]:
    """At least the last `lines` lines (of `stream`, or of both) without reading what is before them."""
    archive = Archive(store, layout.logs(project, n, k))
    starts = sorted(archive.segments())
    found: list[Record] = []
    for start in reversed(starts):
        parser = RecordParser(start.first_byte)
        archive.joiner = LogJoiner(start.first_byte)
        found = [record for data in archive.pull() for record in parser.feed(data)]
        if sum(record.complete for record in found if stream in (None, record.stream)) > lines:
            break
    return found


def events(store: ObjectStore, project: str, n: int, k: int) -> Iterator[RunEvent]:
    """Winslow's own events for an attempt."""
    parser = EventParser()
    for data in Archive(store, layout.events(project, n, k)).pull():
        yield from parser.feed(data)


def read(
    store: ObjectStore, project: str, run: Run, *, k: int | None, stream: Source | None, tail: int | None
) -> Iterable[Line]:
    """The lines of an attempt in the order of their times: of one stream, or of all three merged."""
    number = attempt_of(run, k)
    if number is None:
        return []
    at = (project, run.n, number)
    ours: Iterable[RunEvent] = events(store, *at) if stream in (None, "system") else ()
    theirs: Iterable[Record] = ()
    if stream != "system":
        theirs = records(store, *at) if tail is None else last_records(store, *at, lines=tail, stream=stream)
    shown = _lines(each for each in merge(theirs, ours) if _wanted(each, stream))
    return shown if tail is None else deque(shown, maxlen=tail)


def _lines(items: Iterable[Item]) -> Iterator[Line]:
    lines = Lines()
    for item in items:
        line = lines.feed(item)
        if line is not None:
            yield line
    yield from lines.rest()


def _wanted(item: Item, stream: Source | None) -> bool:
    if isinstance(item, RunEvent):
        return stream in (None, "system")
    return stream in (None, item.stream) or bool(item.mark)


class Follower:
    """One attempt's log as it grows."""

    def __init__(self, store: ObjectStore, project: str, n: int, k: int, *, stream: Source | None) -> None:
        self.log = Archive(store, layout.logs(project, n, k))
        self._records = RecordParser()
        self._ours = Archive(store, layout.events(project, n, k))
        self._events = EventParser()
        self._stream = stream
        self._lines = Lines()
        self._found: tuple[list[Record], list[RunEvent]] = (
            [],
            [],
        )  # read, not shown: a pull may end in an error

    def pull(self) -> list[Line]:
        """What is new in the store. After StoreUnreachable another call goes on where it ended."""
        records, events = self._found
        for data in self._ours.pull():
            events += self._events.feed(data)
        for data in self.log.pull():
            records += self._records.feed(data)
        self._found = ([], [])
        return self._show(merge(records, events))

    @property
    def hole(self) -> bool:
        """Whether bytes are missing before what has come live."""
        return self.log.joiner.hole is not None

    def take(self, chunk: messages.LogChunk) -> list[Line]:
        """What a live batch makes complete. Raises InvalidInput for bytes that are no log; the next pull goes
        on from the last good record."""
        try:
            return self._show(self._records.feed(self.log.joiner.feed(chunk.offset, chunk.data)))
        except InvalidInput:
            self._records = RecordParser(self._records.offset)
            self.log.joiner = LogJoiner(self._records.offset)
            raise

    def rest(self) -> list[Line]:
        """The last line, where it has no end."""
        return list(self._lines.rest())

    def _show(self, found: Iterable[Item]) -> list[Line]:
        lines = (self._lines.feed(item) for item in found if _wanted(item, self._stream))
        return [line for line in lines if line is not None]


async def follow(
    client: Client,
    project_id: str,
    n: int,
    *,
    stream: Source | None,
    tail: int | None,
    show: Callable[[Line], None],
) -> Run:
    """Show a run's lines as they are written, from its current attempt on, until it has ended; the run.

    Goes on with the next attempt when one is lost. Needs no broker: without one the store is asked.
    Raises NotFound when the project is deleted.
    """
    shown_k = 0
    told = False
    while True:
        run = await _run(client, project_id, n)
        k = run.attempt.k if run.attempt else 0
        if k > shown_k:
            shown_k = k
            await _follow_attempt(client, project_id, n, k, stream=stream, tail=tail, show=show)
            tail = None
            continue
        if run.state.ended:
            return run
        if not told:
            client.say(f"run #{n} ({run.stage.name}) waits for a node; winslow explain {project_id} says why")
            told = True
        await asyncio.sleep(LOOK_SECONDS)


async def _follow_attempt(
    client: Client,
    project_id: str,
    n: int,
    k: int,
    *,
    stream: Source | None,
    tail: int | None,
    show: Callable[[Line], None],
) -> None:
    follower = Follower(client.store, project_id, n, k, stream=stream)
    async with AsyncExitStack() as stack:
        session = await _session(client, stack, topics.Log(project=project_id, run=n, attempt=k))
        first, looks = True, 0
        while True:
            run = await _run(client, project_id, n)
            over = (
                run.state.ended
                or run.attempt is None
                or run.attempt.k != k
                or run.attempt.outcome is not None
            )
            if over or looks % PULL_EVERY == 0 or follower.hole or not (session and session.connected):
                lines = await _pull(client, follower)
                for line in lines[-tail:] if first and tail is not None else lines:
                    show(line)
                first = False
            if over:
                for line in follower.rest():
                    show(line)
                return
            looks += 1
            if not await _listen(session, follower, show):
                session = None


async def _session(client: Client, stack: AsyncExitStack, topic: topics.Log) -> Session | None:
    try:
        session = await stack.enter_async_context(live.session(client.config))
        await live.connected(session)
    except (Unreachable, UsageError) as error:
        client.say(f"{error}; lines come later, from the store")
        return None
    await session.subscribe(topic.path)
    return session


async def _run(client: Client, project_id: str, n: int) -> Run:
    """The run as it is now; waits for a store that is away, and says so once."""
    told = False
    while True:
        try:
            document = (await asyncio.to_thread(client.documents.read, project_id)).document
        except StoreUnreachable as error:
            if not told:
                client.say(f"{error}; waiting for it")
            told = True
            await asyncio.sleep(LOOK_SECONDS)
            continue
        run = document.run(n) if isinstance(document, Project) else None
        if run is None:
            raise NotFound(f"project '{project_id}' was deleted")
        return run


async def _pull(client: Client, follower: Follower) -> list[Line]:
    while True:
        try:
            return await asyncio.to_thread(follower.pull)
        except StoreUnreachable as error:
            client.say(f"{error}; waiting for it")
            await asyncio.sleep(LOOK_SECONDS)


async def _listen(session: Session | None, follower: Follower, show: Callable[[Line], None]) -> bool:
    """Show live batches for a moment; False when what comes is no log and the store must be asked instead."""
    if session is None:
        await asyncio.sleep(LOOK_SECONDS)
        return True
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            async for received in session.messages():
                if isinstance(received.payload, messages.LogChunk):
                    for line in follower.take(received.payload):
                        show(line)
    except TimeoutError:
        pass
    except InvalidInput:
        return False
    return True
