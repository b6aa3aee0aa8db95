"""What the site does right now, for a screen: a thread with the broker's session in it, and what it has heard.

The thread decodes and keeps; the screen's own timer calls `take` and gets what is new since. Between the
two lies a bounded state: one entry per project, node and attempt, coalesced, and rings for what is a stream
(activity, watched topics), whose drops are counted. Nothing here ever waits for the screen, nor the screen
for it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from broker import messages, topics
from winslow.config import Config
from winslow.errors import Unreachable, WinslowError
from winslow.metrics import NodeHistory, NodeSample
from winslow.node import NodeState
from winslow_tui.client import Client

if TYPE_CHECKING:
    from broker.session import Received, Session

STREAM_MESSAGES = 4096
"""How many messages of a watched topic wait for the screen; what is older is dropped and counted."""

MOST_AT_ONCE = 1000
"""Projects that a screen takes over in one go: thousands at once would keep it from answering keys."""

STORE_SECONDS = 5.0
GOODBYE_SECONDS = 1.0
FILTERS = (
    topics.PROJECT_STATES,
    topics.NODE_STATES,
    topics.NODE_HISTORIES,
    topics.PROGRESS,
    topics.PIPELINES,
)


@dataclass(frozen=True)
class Server:
    """How broker or store are: `since` is monotonic seconds of the last change, `problem` a sentence."""

    up: bool | None = None  # None: not known yet
    problem: str = ""
    since: float = 0.0


@dataclass
class News:
    """What is new since the last `take`; None stands for what is gone."""

    projects: dict[str, messages.ProjectSummary | None] = field(default_factory=dict)
    nodes: dict[str, NodeState | None] = field(default_factory=dict)
    samples: dict[str, NodeSample] = field(default_factory=dict)
    histories: dict[str, NodeHistory] = field(default_factory=dict)
    progress: dict[tuple[str, int, int], messages.Progress | None] = field(default_factory=dict)
    pipelines: dict[str, messages.PipelineNotice | None] = field(default_factory=dict)
    broker: Server | None = None
    store: Server | None = None

    @property
    def any(self) -> bool:
        """Whether there is anything new."""
        return any(vars(self).values())


class Stream:
    """Messages of one topic filter, as they came; `dropped` counts those nobody fetched in time."""

    def __init__(self, below: str, size: int = STREAM_MESSAGES) -> None:
        self.below = below
        self.dropped = 0
        self._lock = threading.Lock()
        self._messages: deque[Received] = deque(maxlen=size)

    def put(self, received: Received) -> None:
        """From the thread."""
        with self._lock:
            self.dropped += len(self._messages) == self._messages.maxlen
            self._messages.append(received)

    def take(self) -> list[Received]:
        """What came since the last call."""
        with self._lock:
            found = list(self._messages)
            self._messages.clear()
        return found


class SiteWatch:
    """See the module; the store is asked `every` few seconds.

    `start` and `close` from the screen's thread; everything else from any."""

    def __init__(
        self,
        config: Config,
        client: Client,
        *,
        clock: Callable[[], float] = time.monotonic,
        every: float = STORE_SECONDS,
    ) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._every = every
        self._lock = threading.Lock()
        self._news = News()
        self._revisions: dict[str, int] = {}
        self._streams: list[Stream] = []
        self._extra: dict[str, int] = {}  # topic filters that a screen wants, and how many want each
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._wanted: asyncio.Event | None = None
        self._broker = Server()
        self._store = Server()
        self._thread = threading.Thread(target=self._main, name="site", daemon=True)

    def start(self) -> None:
        """Begin; what is already there comes as news."""
        self._thread.start()

    def close(self) -> None:
        """End the thread; waits a moment for a clean goodbye."""
        self._call(lambda: self._stop.set() if self._stop else None)
        if self._thread.is_alive():
            self._thread.join(timeout=GOODBYE_SECONDS)

    def take(self, *, most: int = MOST_AT_ONCE) -> News:
        """What is new. The caller keeps it: it is told once. Of many new projects `most` at a time."""
        with self._lock:
            news, self._news = self._news, News()
            if len(news.projects) > most:
                self._news.projects = dict(islice(news.projects.items(), most, None))
                news.projects = dict(islice(news.projects.items(), most))
        return news

    @property
    def broker_up(self) -> bool:
        """Whether live messages come at the moment."""
        return bool(self._broker.up)

    def stream(self, below: str, size: int = STREAM_MESSAGES) -> Stream:
        """Listen to a topic filter too, until `end` is called with the stream."""
        stream = Stream(below, size)
        with self._lock:
            self._streams.append(stream)
            self._extra[below] = self._extra.get(below, 0) + 1
        self._call(lambda: self._wanted.set() if self._wanted else None)
        return stream

    def end(self, stream: Stream) -> None:
        """Listen no longer."""
        with self._lock:
            if stream in self._streams:
                self._streams.remove(stream)
                self._extra[stream.below] -= 1
                if not self._extra[stream.below]:
                    del self._extra[stream.below]
        self._call(lambda: self._wanted.set() if self._wanted else None)

    def _call(self, work: Callable[[], None]) -> None:
        if self._loop is not None and self._loop.is_running():
            with suppress(RuntimeError):  # it is ending: nothing is wanted any more
                self._loop.call_soon_threadsafe(work)

    # -- the thread

    def _main(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop, self._wanted = asyncio.Event(), asyncio.Event()
        tasks = [
            asyncio.create_task(self._listen(), name="broker"),
            asyncio.create_task(self._look(), name="store"),
        ]
        await self._stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        from winslow_tui import live  # MQTT, by this thread: the screen is there before it

        try:
            session = live.session(self._config)
        except WinslowError as error:
            self._server(broker=Server(up=False, problem=_told(error), since=self._clock()))
            return
        async with session:
            watching = asyncio.create_task(self._watch(session), name="connection")
            try:
                for below in FILTERS:
                    await session.subscribe(below)
                subscribing = asyncio.create_task(self._subscribe(session), name="subscriptions")
                try:
                    async for received in session.messages():
                        self._handle(received)
                finally:
                    subscribing.cancel()
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    async def _subscribe(self, session: Session) -> None:
        """Keep the subscriptions that screens want."""
        assert self._wanted is not None
        have: set[str] = set()
        while True:
            with self._lock:
                want = set(self._extra)
            for below in sorted(want - have):
                await session.subscribe(below)
            for below in sorted(have - want):
                await session.unsubscribe(below)
            have = want
            await self._wanted.wait()
            self._wanted.clear()

    async def _watch(self, session: Session) -> None:
        while True:
            try:
                await session.wait_connected(1.0)
            except Unreachable as error:
                self._server(broker=Server(up=False, problem=_told(error), since=self._clock()))
                await asyncio.sleep(0.5)
                continue
            self._server(broker=Server(up=True, since=self._clock()))
            await session.wait_disconnected()

    async def _look(self) -> None:
        """Ask the store whether it is there."""
        while True:
            problem = await asyncio.to_thread(self._ask_store)
            self._server(store=Server(up=not problem, problem=problem, since=self._clock()))
            await asyncio.sleep(self._every)

    def _ask_store(self) -> str:
        from winslow.errors import NotFound
        from winslow.store.site import read_site

        try:
            read_site(self._client.store)
        except NotFound:
            return ""  # a bucket where nothing was done yet
        except WinslowError as error:
            return _told(error)
        return ""

    def _server(self, *, broker: Server | None = None, store: Server | None = None) -> None:
        """Tell a change; while it lasts its beginning stays."""
        with self._lock:
            if broker is not None and (broker.up, broker.problem) != (self._broker.up, self._broker.problem):
                since = broker.since if broker.up != self._broker.up else self._broker.since
                self._broker = self._news.broker = Server(up=broker.up, problem=broker.problem, since=since)
            if store is not None and (store.up, store.problem) != (self._store.up, self._store.problem):
                since = store.since if store.up != self._store.up else self._store.since
                self._store = self._news.store = Server(up=store.up, problem=store.problem, since=since)

    def _handle(self, received: Received) -> None:
        topic, payload = received.topic, received.payload
        with self._lock:
            for stream in self._streams:
                if topics.matches(stream.below, topic.path):
                    stream.put(received)
            news = self._news
            match topic:
                case topics.ProjectState(project=project):
                    summary = payload if isinstance(payload, messages.ProjectSummary) else None
                    if summary is None:
                        self._revisions.pop(project, None)
                    elif summary.revision < self._revisions.get(project, 0):
                        return  # late: a newer one is known
                    else:
                        self._revisions[project] = summary.revision
                    news.projects[project] = summary
                case topics.NodeState(node=node):
                    news.nodes[node] = payload if isinstance(payload, NodeState) else None
                case topics.NodeMetrics(node=node) if isinstance(payload, NodeSample):
                    news.samples[node] = payload
                case topics.NodeHistory(node=node) if isinstance(payload, NodeHistory):
                    news.histories[node] = payload
                case topics.Progress(project=project, run=run, attempt=attempt):
                    told = payload if isinstance(payload, messages.Progress) else None
                    news.progress[project, run, attempt] = told
                case topics.PipelineNotice(name=name):
                    notice = payload if isinstance(payload, messages.PipelineNotice) else None
                    news.pipelines[name] = notice
                case _:
                    pass


def _told(error: WinslowError) -> str:
    """The sentence, and the way out where there is one."""
    return f"{error}; {error.hint}" if error.hint else str(error)
