"""What the site does right now, for a screen: a thread with the broker's session in it, and what it has heard.

The thread decodes and keeps; the screen's own timer calls `take` and gets what is new since. Between the
two lies a bounded state: one entry per project, node and attempt, coalesced, and rings for what is a stream
(activity, watched topics), whose drops are counted. Nothing here ever waits for the screen, nor the screen
for it. While the broker is away the store is asked what became of projects.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

from broker import messages, topics
from winslow.config import Config
from winslow.errors import NotFound, Unreachable, WinslowError
from winslow.metrics import NodeHistory, NodeSample
from winslow.node import NodeState
from winslow_tui.facade.client import Client
from winslow_tui.facade.storedprojects import StoredProjects

if TYPE_CHECKING:
    from broker.session import Received, Session

STREAM_MESSAGES = 4096
"""How many messages of a watched topic wait for the screen; what is older is dropped and counted."""

MOST_AT_ONCE = 1000
"""Projects that a screen takes over in one go: thousands at once would keep it from answering keys."""

STORE_SECONDS = 5.0
GOODBYE_SECONDS = 1.0
SILENT_SECONDS = 6.0  # a store that says nothing for so long is away; its connections take 5 s to fail
SILENT = f"the store has not answered for {SILENT_SECONDS:.0f} s"
SILENT_HINT = "look whether it is overloaded or stopped; it is asked again as soon as it answers"
ALONE_SECONDS = 2.0  # a broker that comes back sooner tells by itself what there is
SETTLED_SECONDS = 60.0
"""Every node that takes part has come back to a broker by then, and said so: an agent tries at least every 15 s."""
FILTERS = (
    topics.PROJECT_STATES,
    topics.NODE_STATES,
    topics.NODE_HISTORIES,
    topics.PROGRESS,
    topics.PIPELINES,
)


@dataclass(frozen=True)
class Server:
    """How broker or store are: `since` is monotonic seconds of the last change. Of one that is not `up` the word says
    how (`away`, `refuses`, `unusable`), `problem` is a sentence, `hint` the way out."""

    up: bool | None = None  # None: not known yet
    problem: str = ""
    since: float = 0.0
    hint: str = ""
    word: str = "away"

    @classmethod
    def of(cls, error: WinslowError, *, since: float) -> Server:
        """One that fails so."""
        word = "unusable"
        if isinstance(error, Unreachable):
            word = "away" if error.retryable else "refuses"
        return cls(up=False, problem=str(error), since=since, hint=error.hint, word=word)


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
        self._turned: asyncio.Event | None = None  # the broker has come or gone
        self._alone: StoredProjects | None = None  # while, and right after, the broker is away
        self._told_until = clock()  # when the broker was there last
        self._nodes: dict[str, int] = {}  # by name: which connection told of them last
        self._connection = 0  # that is listened to
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
        self._stop, self._wanted, self._turned = asyncio.Event(), asyncio.Event(), asyncio.Event()
        tasks = [
            asyncio.create_task(self._listen(), name="broker"),
            asyncio.create_task(self._look(), name="store"),
        ]
        for task in tasks:
            task.add_done_callback(_log_defect)
        await self._stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        from winslow_tui.facade import live  # MQTT, by this thread: the screen is there before it

        try:
            session = live.session(self._config)
        except WinslowError as error:
            self._away(error)
            return
        async with session:
            watching = asyncio.create_task(self._watch(session), name="connection")
            try:
                for below in FILTERS:
                    await session.subscribe(below)
                subscribing = asyncio.create_task(self._subscribe(session), name="subscriptions")
                try:
                    async for received in session.messages():
                        self._connection = session.begun
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
                try:
                    await session.subscribe(below)
                except Unreachable as error:  # it refuses
                    self._away(error)  # until the next connection
            for below in sorted(have - want):
                await session.unsubscribe(below)
            have = want
            await self._wanted.wait()
            self._wanted.clear()

    async def _watch(self, session: Session) -> None:
        assert self._turned is not None
        while True:
            try:
                await session.wait_connected(1.0)
            except Unreachable as error:
                self._away(error)
                await asyncio.sleep(0.5)
                continue
            self._server(broker=Server(up=True, since=self._clock()))
            self._turned.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLED_SECONDS):
                    await session.wait_disconnected()
            if session.connected:
                self._drop_silent_nodes(session.begun)
                await session.wait_disconnected()
            self._told_until = self._clock()

    def _away(self, error: WinslowError) -> None:
        """The broker does not serve us: soon the store is asked."""
        alone = not error.retryable or self._clock() - self._told_until >= ALONE_SECONDS
        if self._alone is None and alone and self._turned is not None:
            self._alone = StoredProjects(self._client)
            self._turned.set()
        self._server(broker=Server.of(error, since=self._clock()))

    def _drop_silent_nodes(self, connection: int) -> None:
        """Nodes of which a connection before this one told, and which are not known to the broker any more."""
        with self._lock:
            for node in [name for name, told_by in self._nodes.items() if told_by != connection]:
                self._news.nodes[node] = None
                del self._nodes[node]

    async def _look(self) -> None:
        """Ask the store whether it is there, and while the broker is away what it knows of projects."""
        assert self._turned is not None
        while True:
            self._turned.clear()
            told_again, alone = self._broker.up, self._alone
            asked = asyncio.ensure_future(asyncio.to_thread(self._ask_store, alone))
            if not (await asyncio.wait([asked], timeout=SILENT_SECONDS))[0] and self._store.up is not False:
                self._server(store=Server(up=False, problem=SILENT, since=self._clock(), hint=SILENT_HINT))
            store = await asked
            self._server(store=store)
            if told_again and store.up and alone is self._alone:
                self._alone = None
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._turned.wait()

    def _ask_store(self, alone: StoredProjects | None) -> Server:
        from winslow.store.site import read_site

        try:
            ours = False
            with suppress(NotFound):  # a bucket where nothing was done yet
                ours = bool(read_site(self._client.store))
            if alone is not None:
                with self._lock:
                    known = list(self._revisions)
                silent = self._clock() - self._told_until
                self._read(alone.changes(known, silent=silent, ours=ours))
        except WinslowError as error:
            return Server.of(error, since=self._clock())
        return Server(up=True, since=self._clock())

    def _read(self, found: Mapping[str, messages.ProjectSummary | None]) -> None:
        """Take over what the store says, where that is newer than what was told."""
        with self._lock:
            for project, summary in found.items():
                if summary is None:
                    self._revisions.pop(project, None)
                elif project in self._revisions and summary.revision <= self._revisions[project]:
                    continue
                else:
                    self._revisions[project] = summary.revision
                self._news.projects[project] = summary

    def _server(self, *, broker: Server | None = None, store: Server | None = None) -> None:
        """Tell a change; while it lasts its beginning stays."""
        with self._lock:
            if broker is not None and (broker.up, broker.problem) != (self._broker.up, self._broker.problem):
                since = broker.since if broker.up != self._broker.up else self._broker.since
                self._broker = self._news.broker = replace(broker, since=since)
            if store is not None and (store.up, store.problem) != (self._store.up, self._store.problem):
                since = store.since if store.up != self._store.up else self._store.since
                self._store = self._news.store = replace(store, since=since)

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
                    state = payload if isinstance(payload, NodeState) else None
                    if state is None:
                        self._nodes.pop(node, None)
                    else:
                        self._nodes[node] = self._connection
                    news.nodes[node] = state
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


def _log_defect(task: asyncio.Task[None]) -> None:
    """What should not happen at all: without a word the screen would show for ever what was true once."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logging.getLogger(__name__).error("%s is watched no longer", task.get_name(), exc_info=error)
