"""A lasting session with the broker: it comes back by itself, and what is its own comes back with it.

Nothing here is needed for the truth (that is in the store): while the broker is away publishing
only queues, reading only waits, and callers go on.

    async with Session(url, client_id="winslow-ws1", site="main", jitter=rng.random) as session:
        await session.subscribe(topics.NODE_STATES)
        session.publish(topics.NodeState(node="ws1"), state)
        async for received in session.messages():
            ...
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiomqtt

from broker import codec, topics
from broker.codec import Payload
from broker.connection import AccessRefused, Address, Link, backoff, explain, opened, tls_context
from broker.inbox import Inbox, Raw, Received
from broker.outbox import Outbox, Outgoing
from broker.sender import Sender
from broker.snapshot import SnapshotReader
from broker.topics import Malformed, Topic, Travel
from winslow.errors import BrokerUnreachable, InvalidInput

__all__ = ["AccessRefused", "Counters", "Received", "Session", "Will"]

STABLE_SECONDS = 10.0
GOODBYE_SECONDS = 2.0
_TURN = 64  # messages handed out before other tasks get a turn


@dataclass(frozen=True)
class Will:
    """What the broker publishes (retained) when this session dies, and the session itself when it closes."""

    topic: Topic
    payload: Payload


@dataclass(frozen=True)
class Counters:
    """What went through a session so far. Shown to operators: nothing is lost without a number."""

    connections: int  # a change means there was a gap
    received: int
    malformed: int  # not ours, or hostile; `last_malformed` says what was wrong
    dropped_stream: int  # received, but the reader was too slow: logs and samples
    dropped_state: int  # the same for everything else
    sent: int
    refused: int  # of these: QoS 1 messages that the broker's rules forbid this user
    dropped_live: int  # not sent: the queue was full or the connection broke
    expired_live: int  # not sent: too old after a disconnection
    last_malformed: str = ""


class Session:
    """One client of one site's broker. Use as an async context manager; for one event loop and one reader.

    `jitter` returns a random number in 0 to 1 and spreads reconnects; `clock` is monotonic seconds. The
    constructor raises InvalidInput for a bad URL, id, site or will; entering never fails and never waits.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        site: str = "main",
        jitter: Callable[[], float],
        username: str | None = None,
        password: str | None = None,
        will: Will | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        inbox: Inbox[Raw] | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        self.address = Address.parse(url, username=username, password=password)
        self.client_id = topics.check_name(client_id, "the client id")
        self.site = topics.check_name(site, "the site name")
        self.will = will
        self._will = (
            None if will is None else (self._full(will.topic), codec.encode(will.topic, will.payload))
        )
        self._tls = tls_context(tls) if self.address.tls else None
        self._jitter = jitter
        self._clock = clock
        self._inbox: Inbox[Raw] = Inbox() if inbox is None else inbox
        self._sender = Sender(Outbox() if outbox is None else outbox, clock=clock)
        self._snapshots = SnapshotReader(site=site, client_id=client_id)
        self._filters: dict[str, int] = {}
        self._link: Link | None = None
        self._problem: BrokerUnreachable | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._changed = asyncio.Event()  # replaced at every change of the connection
        self._arrived = asyncio.Event()
        self._begun = self._connections = self._received = self._malformed = self._refused = 0
        self._last_malformed = ""

    # -- life

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=f"broker session {self.client_id}")
        self._task.add_done_callback(lambda _: self._wake_all())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, goodbye: Payload | None = None, *, deadline: float = GOODBYE_SECONDS) -> None:
        """Publish `goodbye` (default: the will's payload) where the will would go, send what is queued for at
        most `deadline` seconds, and leave without a will; an unreachable broker sends the will by itself."""
        if self._closed or self._task is None:
            return
        if self.will is not None:
            self.publish(self.will.topic, goodbye or self.will.payload)
        try:
            if self.connected:
                await self.flush(deadline)
        except BrokerUnreachable:
            self._closed = True
            if self._link is not None:
                await self._link.abort()
        finally:
            self._closed = True
            self._task.cancel()
            await asyncio.wait([self._task])
            self._wake_all()
        if not self._task.cancelled():
            self._task.result()

    @property
    def connected(self) -> bool:
        """Whether there is a connection, with every subscription in place."""
        return self._link is not None

    @property
    def begun(self) -> int:
        """The number of the newest connection, from its beginning on: what comes is of this one."""
        return self._begun

    @property
    def problem(self) -> BrokerUnreachable | None:
        """Why there is no connection; None while there is one, or before the first attempt has ended."""
        return None if self.connected else self._problem

    @property
    def counters(self) -> Counters:
        """The present numbers."""
        return Counters(
            connections=self._connections,
            received=self._received,
            malformed=self._malformed,
            dropped_stream=self._inbox.dropped_stream,
            dropped_state=self._inbox.dropped_state,
            sent=self._sender.sent,
            refused=self._refused + (self._link.refused if self._link else 0),
            dropped_live=self._sender.outbox.dropped,
            expired_live=self._sender.outbox.expired,
            last_malformed=self._last_malformed,
        )

    async def wait_connected(self, deadline: float) -> None:
        """Return when connected. Raises BrokerUnreachable with the reason after `deadline` seconds, and
        AccessRefused as soon as the broker refuses the user name or password."""
        try:
            async with asyncio.timeout(deadline):
                await self._until_connected()
        except TimeoutError:
            raise self.problem or BrokerUnreachable(
                f"the broker at {self.address} did not answer within {deadline:g} s",
                hint="check the address with `winslow info`",
            ) from None

    async def wait_disconnected(self) -> None:
        """Return when there is no connection; without a deadline, since a good connection lasts."""
        while self.connected:
            await self._changed.wait()

    # -- sending

    def publish(self, topic: Topic, payload: Payload) -> None:
        """Queue a message; it travels as its topic's class says (topics.py). Never blocks, never waits.

        Raises InvalidInput when the payload does not belong on the topic or is too large.
        """
        self._put(topic, codec.encode(topic, payload))

    def clear(self, topic: Topic) -> None:
        """Remove a retained message from the broker, and from what this session sends again."""
        if topic.travel is Travel.LIVE:
            raise InvalidInput(f"{topic.path} is not retained: there is nothing to clear")
        self._put(topic, codec.CLEARED)

    async def flush(self, deadline: float) -> None:
        """Return when the broker has everything that was published. Raises BrokerUnreachable after `deadline` s."""
        try:
            async with asyncio.timeout(deadline):
                while not self._sender.outbox.idle:
                    self._raise_if_over()
                    await self._sender.wait_settled()
        except TimeoutError:
            raise self.problem or BrokerUnreachable(
                f"the broker at {self.address} did not take everything within {deadline:g} s"
            ) from None

    # -- receiving

    async def subscribe(self, below: str, qos: int = 0) -> None:
        """Ask for messages, now and on every later connection; `below` is a filter below the site's prefix,
        for example `topics.NODE_STATES` or a topic's `path`. Returns when the broker has agreed, or at once
        while there is no connection. Raises InvalidInput for a bad filter, AccessRefused for a forbidden one.
        """
        topic_filter = topics.build_filter(self.site, below)
        self._filters[topic_filter] = qos
        link = self._link
        if link is not None:
            try:
                await link.ask(topic_filter, qos)
            except aiomqtt.MqttError:
                await link.abort()  # a new connection asks for all filters again

    async def unsubscribe(self, below: str) -> None:
        """Take a filter back."""
        topic_filter = topics.build_filter(self.site, below)
        self._filters.pop(topic_filter, None)
        link = self._link
        if link is not None:
            try:
                await link.unsubscribe(topic_filter)
            except aiomqtt.MqttError:
                await link.abort()

    async def messages(self) -> AsyncIterator[Received]:
        """Everything subscribed, in order of arrival, until the session closes. For one reader; a slow one
        loses logs and samples first (`counters`). Malformed messages are counted, not shown."""
        handed_out = 0
        while True:
            raw = self._inbox.pop()
            if raw is None:
                if self._closed:
                    return
                self._raise_if_over()
                self._arrived.clear()
                await self._arrived.wait()
                continue
            received = self._decode(raw)
            if received is not None:
                yield received
            handed_out += 1
            if handed_out % _TURN == 0:
                await asyncio.sleep(0)

    async def snapshot(self, below: str, deadline: float) -> list[Received]:
        """All retained messages under a filter, in the order of their topics.

        Complete for what the broker had when asked: it ends when messages that the session sends to itself
        come back behind the retained ones. A lost connection starts it again. What it collects does not
        appear in `messages` unless subscribed there too. Raises BrokerUnreachable after `deadline` seconds.
        """
        topic_filter = topics.build_filter(self.site, below)
        try:
            async with asyncio.timeout(deadline):
                while True:
                    await self._until_connected()
                    link = self._link
                    assert link is not None
                    subscribed = topic_filter in self._filters
                    try:
                        found = await self._snapshots.read(link, topic_filter, subscribed=subscribed)
                        break
                    except aiomqtt.MqttError:
                        await link.abort()
                        await self._until_replaced(link)
        except TimeoutError:
            raise self.problem or BrokerUnreachable(
                f"the broker at {self.address} did not send its retained messages within {deadline:g} s",
                hint="its rules must let this user write and read "
                + topics.build(self.site, topics.Echo(client=self.client_id)),
            ) from None
        decoded = (self._decode(found[topic]) for topic in sorted(found, key=lambda topic: topic.path))
        return [received for received in decoded if received is not None and received.payload is not None]

    # -- inside

    async def _run(self) -> None:
        failures = 0
        while not self._closed:
            since: float | None = None
            self._begun += 1
            try:
                async with opened(self._new_link()) as link:
                    for topic_filter, qos in tuple(self._filters.items()):
                        await link.ask(topic_filter, qos)
                    since = self._clock()
                    self._connections += 1
                    self._set_link(link)
                    try:
                        await self._sender.serve(link)
                    finally:
                        self._refused += link.refused
                        self._set_link(None)
            except aiomqtt.MqttError as error:
                self._problem = explain(error, self.address, self.client_id)
            except AccessRefused as error:  # of a subscription
                self._problem = error
            self._signal_change()
            if since is not None and self._clock() - since >= STABLE_SECONDS:
                failures = 0
            await asyncio.sleep(backoff(failures, self._jitter()))
            failures += 1

    def _new_link(self) -> Link:
        return Link(
            self.address,
            client_id=self.client_id,
            arrived=self._on_arrival,
            will=None if self._will is None or self.will is None else (*self._will, self.will.topic.qos),
            tls=self._tls,
        )

    def _on_arrival(self, message: aiomqtt.Message) -> None:
        """Runs inside paho's callback: sorts by topic, decodes nothing, raises nothing."""
        self._received += 1
        try:
            topic = topics.parse(self.site, str(message.topic))
        except Malformed as error:
            self._count_malformed(error)
            return
        if isinstance(topic, topics.Echo):
            self._snapshots.on_echo(topic, message.payload)
            return
        full = str(message.topic)
        raw = Raw(
            topic=topic,
            data=message.payload,
            content_type=getattr(message.properties, "ContentType", ""),
            user_properties=tuple(getattr(message.properties, "UserProperty", ())),
            retained=message.retain,
        )
        if self._snapshots.reading:
            self._snapshots.on_message(full, raw)
            if not any(topics.matches(topic_filter, full) for topic_filter in self._filters):
                return
        self._inbox.put(raw, size=len(raw.data), stream=topic.travel is Travel.LIVE and topic.qos == 0)
        self._arrived.set()

    def _decode(self, raw: Raw) -> Received | None:
        try:
            return raw.decode()
        except Malformed as error:
            self._count_malformed(error)
            return None

    def _count_malformed(self, error: Malformed) -> None:
        self._malformed += 1
        self._last_malformed = str(error)

    def _put(self, topic: Topic, encoded: codec.Encoded) -> None:
        self._sender.put(
            Outgoing(
                topic=self._full(topic), encoded=encoded, travel=topic.travel, qos=topic.qos, at=self._clock()
            )
        )

    def _full(self, topic: Topic) -> str:
        return topics.build(self.site, topic)

    async def _until_connected(self) -> None:
        while not self.connected:
            self._raise_if_over()
            if isinstance(self._problem, AccessRefused):
                raise self._problem
            await self._changed.wait()

    async def _until_replaced(self, link: Link) -> None:
        while self._link is link:
            await self._changed.wait()

    def _raise_if_over(self) -> None:
        if self._closed or self._task is None:
            raise BrokerUnreachable(f"the session with {self.address} is closed")
        if self._task.done() and not self._task.cancelled():
            self._task.result()

    def _set_link(self, link: Link | None) -> None:
        self._link = link
        if link is None:
            self._snapshots.on_disconnect()
        self._signal_change()

    def _signal_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _wake_all(self) -> None:
        self._signal_change()
        self._sender.wake()
        self._arrived.set()
