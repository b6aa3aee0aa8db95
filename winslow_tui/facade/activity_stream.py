"""What happens on a site from now on, each thing once: from the broker at once, from the store what it lost.

Every subject's entries have rising places. A message that continues what is known is shown. After one that jumps, a
notice that knows more, or a listing in which a document has changed, the document is read, and what is new in it is
shown. So broker and store may go and come back: what happened meanwhile follows. Nodes that come and go are seen on
the broker alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from broker import messages, topics
from broker.connection import AccessRefused
from broker.session import Received, Session
from winslow.config import Config
from winslow.errors import BrokerUnreachable, InvalidInput, NotFound, Unreachable, UsageError
from winslow.node import NodeState, Presence
from winslow_tui.facade import live
from winslow_tui.facade.activity import (
    PRESENCE_KINDS,
    READERS,
    About,
    Entry,
    SiteActivity,
    Subject,
    pipeline_place,
)

GRACE_SECONDS = 0.3  # for a message that another one has overtaken
AGAIN_SECONDS = 2.0  # after a read that failed
LOOK_SECONDS = 60.0  # between listings while the broker tells
ALONE_SECONDS = 3.0  # without it
RETAINED = (topics.PROJECT_STATES, topics.NODE_WISHES, topics.PIPELINES, topics.NODE_STATES)

_PRESENCE_TEXTS = {
    Presence.ONLINE: "takes part",
    Presence.DRAINING: "takes nothing new",
    Presence.OFFLINE: "went away",
}


class Ledger:
    """What has been shown, without any I/O: decides what of all that comes in is new.

    `wall` is the time for people, of what nobody has stamped."""

    def __init__(self, *, wall: Callable[[], str]) -> None:
        self.places: dict[Subject, int] = {}
        self._nodes: dict[str, NodeState] = {}
        self._wall = wall

    def begin(self, place: Mapping[Subject, int]) -> None:
        """Nothing up to these places is new; of subjects that come later everything is."""
        self.places.update(place)

    def missing(self, received: Received) -> Subject | None:
        """The subject to read after a message that tells of more than is known, or that it may be deleted."""
        told = _told(received)
        if told is None:
            return None
        subject, place = told
        return subject if place is None or place > self.places.get(subject, 0) else None

    def heard(self, received: Received) -> list[Entry]:
        """What a message tells that is new and joins what is known. A node that is retained was there before."""
        match received.topic, received.payload:
            case topics.Activity(project=project), messages.ActivityRecord() as record:
                subject = Subject(About.PROJECT, project)
                if record.revision == self.places.get(subject, 0) + 1:
                    return self.read([_entry(subject, record)])
            case topics.NodeState(node=node), NodeState() as state:
                return self._presence(node, state, retained=received.retained)
            case topics.NodeState(node=node), None:
                self._nodes.pop(node, None)
        return []

    def read(self, entries: Sequence[Entry]) -> list[Entry]:
        """Which of a subject's entries, oldest first, are new; they count as shown."""
        found = []
        for entry in entries:
            if entry.place > self.places.get(entry.subject, 0):
                self.places[entry.subject] = entry.place
                found.append(entry)
        return found

    def _presence(self, node: str, state: NodeState, *, retained: bool) -> list[Entry]:
        known = self._nodes.get(node)
        gone = state.presence is Presence.OFFLINE
        if gone and known is not None and known.instance != state.instance:
            return []  # a late will
        self._nodes[node] = state
        if known is not None and (known.presence, known.instance) == (state.presence, state.instance):
            return []
        if known is None and (gone or retained):
            return []
        where = f" on {state.host}" if state.host and not gone else ""
        entry = Entry(
            subject=Subject(About.NODE, node),
            place=0,
            at=self._wall(),
            by=node,
            kind=PRESENCE_KINDS[state.presence.value],
            text=_PRESENCE_TEXTS[state.presence] + where,
        )
        return [entry]


class Stream:
    """One watcher. `show` and `say` are called in the event loop; `say` takes sentences about what is away."""

    def __init__(
        self,
        config: Config,
        activity: SiteActivity,
        *,
        show: Callable[[Entry], None],
        say: Callable[[str], None],
        wall: Callable[[], str],
    ) -> None:
        self._config = config
        self._activity = activity
        self._show = show
        self._say = say
        self._ledger = Ledger(wall=wall)
        self._etags: dict[Subject, str] = {}
        self._due: dict[Subject, float] = {}  # when to read, by the loop's clock
        self._wake = asyncio.Event()
        self._look = asyncio.Event()
        self._troubles: dict[str, str] = {}

    async def run(self, before: Callable[[Mapping[Subject, int]], Sequence[Entry]] | None = None) -> None:
        """Show what happens until cancelled. `before`, called in a thread with the places at which the stream
        begins, gives entries to show first.

        Servers may go and come back meanwhile; without a broker the store is asked every few seconds. Raises
        StoreUnreachable where there is no store to begin with, AccessRefused.
        """
        try:
            session = live.session(self._config)
        except UsageError as error:  # no broker is configured
            self._trouble("broker", str(error))
            await self._run(None, before)
            return
        async with session:
            await self._run(session, before)

    async def _run(
        self,
        session: Session | None,
        before: Callable[[Mapping[Subject, int]], Sequence[Entry]] | None,
    ) -> None:
        await self._begin(session)
        if before is not None:
            for entry in await asyncio.to_thread(before, dict(self._ledger.places)):
                self._show(entry)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._list(session), name="listings")
                group.create_task(self._read_due(), name="reads")
                if session is not None:
                    group.create_task(self._receive(session), name="messages")
                    group.create_task(self._watch_connection(session), name="connection")
        except BaseExceptionGroup as failures:  # one is enough to end it, and to tell why
            raise failures.exceptions[0] from failures

    async def _begin(self, session: Session | None) -> None:
        """Learn where every subject stands. Subscriptions and the listing come first, what the broker retains last:
        what happens in between is told, or shows as a difference to the next listing."""
        shown: list[Received] = []
        if session is not None:
            await session.subscribe(topics.ACTIVITY, qos=1)
            for below in RETAINED:
                await session.subscribe(below)
        found = await asyncio.to_thread(self._activity.subjects)
        if session is not None:
            try:
                await live.connected(session)
                for below in RETAINED:
                    shown += await session.snapshot(below, live.ANSWER_SECONDS)
            except AccessRefused:
                raise
            except BrokerUnreachable as error:
                self._trouble("broker", str(error))
        self._etags = {subject: info.etag for subject, info in found.items()}
        for received in shown:
            self._ledger.heard(received)
            if (told := _told(received)) is not None and told[1] is not None:
                self._ledger.begin({told[0]: told[1]})
        unknown = [subject for subject in found if subject not in self._ledger.places]
        self._ledger.begin(await asyncio.to_thread(self._activity.places, unknown))

    async def _receive(self, session: Session) -> None:
        async for received in session.messages():
            for entry in self._ledger.heard(received):
                self._show(entry)
            if (subject := self._ledger.missing(received)) is not None:
                self._plan(subject, GRACE_SECONDS)

    async def _watch_connection(self, session: Session) -> None:
        while True:
            try:
                await session.wait_connected(LOOK_SECONDS)
            except AccessRefused:
                raise
            except BrokerUnreachable as error:
                self._trouble("broker", str(error))
                continue
            self._trouble("broker", "")
            self._look.set()
            await session.wait_disconnected()
            self._trouble("broker", "the broker has gone away")
            self._look.set()

    async def _list(self, session: Session | None) -> None:
        """Look for what nobody told: now and then, and whenever the broker has come or gone."""
        while True:
            told = session is not None and session.connected and "store" not in self._troubles
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS if told else ALONE_SECONDS):
                    await self._look.wait()
            self._look.clear()
            try:
                found = await asyncio.to_thread(self._activity.subjects)
            except Unreachable as error:
                self._trouble("store", str(error))
                continue
            self._trouble("store", "")
            for subject, info in found.items():
                if self._etags.get(subject) != info.etag:
                    self._plan(subject, 0.0)
            self._etags = {subject: info.etag for subject, info in found.items()}

    def _plan(self, subject: Subject, seconds: float) -> None:
        at = asyncio.get_running_loop().time() + seconds
        self._due[subject] = min(at, self._due.get(subject, at))
        self._wake.set()

    async def _read_due(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            first = min(self._due.values(), default=None)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(first):
                    await self._wake.wait()
            now = loop.time()
            due = [subject for subject, at in self._due.items() if at <= now][:READERS]
            for subject in due:
                del self._due[subject]
            await asyncio.gather(*(self._read(subject) for subject in due))

    async def _read(self, subject: Subject) -> None:
        above = self._ledger.places.get(subject, 0)
        try:
            entries = await asyncio.to_thread(lambda: list(self._activity.read(subject, above=above)))
        except NotFound:
            return  # deleted so long ago that nothing tells of it
        except InvalidInput as error:
            self._say(str(error))
            return
        except Unreachable as error:
            self._trouble("store", str(error))
            self._plan(subject, AGAIN_SECONDS)
            return
        for entry in self._ledger.read(entries[::-1]):
            self._show(entry)

    def _trouble(self, about: str, why: str) -> None:
        """Say once that a server is away, and once that it is back."""
        known = self._troubles.get(about, "")
        if why and not known:
            self._troubles[about] = why
            meanwhile = "the store is asked" if about == "broker" else "what happens is shown later"
            self._say(f"{why}; meanwhile {meanwhile}")
        elif known and not why:
            del self._troubles[about]
            self._say(f"the {about} is back")


def _told(received: Received) -> tuple[Subject, int | None] | None:
    """The subject of a message and the place it tells of; None as the place of one whose topic was cleared."""
    match received.topic, received.payload:
        case topics.Activity(project=project), messages.ActivityRecord(revision=revision):
            return Subject(About.PROJECT, project), revision
        case topics.ProjectState(project=project), messages.ProjectSummary(revision=revision):
            return Subject(About.PROJECT, project), revision
        case topics.NodeWish(node=node), messages.WishNotice(revision=revision):
            return Subject(About.NODE, node), revision
        case topics.PipelineNotice(name=name), messages.PipelineNotice(revision=revision):
            return Subject(About.PIPELINE, name), pipeline_place(revision)
        case topics.ProjectState(project=project), None:
            return Subject(About.PROJECT, project), None
        case topics.NodeWish(node=node), None:
            return Subject(About.NODE, node), None
        case topics.PipelineNotice(name=name), None:
            return Subject(About.PIPELINE, name), None
        case _:
            return None


def _entry(subject: Subject, record: messages.ActivityRecord) -> Entry:
    return Entry(
        subject=subject, place=record.revision, at=record.at, by=record.by, kind=record.kind, text=record.text,
        title=record.name, n=record.n, k=record.k,
    )  # fmt: skip
