"""Reading what a broker retains under a filter, whole, without a guess at how long that takes.

MQTT has no word for "these were all". A broker works through one connection in order, so a message that
the session sends to itself after subscribing comes back behind the retained ones. Both brokers we know
keep that order; because nobody promises it, the reader asks for rounds until one brings nothing new.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import aiomqtt

from broker import topics
from broker.connection import Link
from broker.inbox import Raw
from broker.topics import Echo, Topic, Travel


@dataclass
class _Collection:
    """The newest message of each topic under a filter so far, and how many arrived."""

    topic_filter: str
    found: dict[Topic, Raw] = field(default_factory=dict)
    arrived: int = 0


class SnapshotReader:
    """One session's reader; takes one snapshot at a time. `on_*` are called as things happen."""

    def __init__(self, *, site: str, client_id: str) -> None:
        self._echo = Echo(client=client_id)
        self._echo_topic = topics.build(site, self._echo)
        self._lock = asyncio.Lock()
        self._collection: _Collection | None = None
        self._sent = 0
        self._answer: asyncio.Future[None] | None = None

    async def read(self, link: Link, topic_filter: str, *, subscribed: bool) -> dict[Topic, Raw]:
        """Everything retained under a filter; `subscribed` says that there is a subscription, and it shall stay.
        Raises MqttError when the connection ends before, AccessRefused when the broker forbids the filter."""
        async with self._lock:
            collection = self._collection = _Collection(topic_filter=topic_filter)
            try:
                await link.ask(self._echo_topic, 0)
                if subscribed:
                    await link.unsubscribe(topic_filter)  # rumqttd sends nothing again for a known filter
                await link.ask(topic_filter, 0)
                await self._round_trip(link)
                while True:
                    before = collection.arrived
                    await self._round_trip(link)
                    if collection.arrived == before:
                        break
                if not subscribed:
                    await link.unsubscribe(topic_filter)
            finally:
                self._collection = None
            return collection.found

    @property
    def reading(self) -> bool:
        """Whether messages may arrive that only a snapshot asked for."""
        return self._collection is not None

    def on_echo(self, topic: Echo, payload: bytes) -> None:
        """A message on some session's echo topic arrived."""
        ours = topic == self._echo and payload == str(self._sent).encode()
        if ours and self._answer and not self._answer.done():
            self._answer.set_result(None)

    def on_message(self, full: str, raw: Raw) -> None:
        """A message arrived."""
        collection = self._collection
        live = raw.topic.travel is Travel.LIVE
        if collection is not None and not live and topics.matches(collection.topic_filter, full):
            collection.found[raw.topic] = raw
            collection.arrived += 1

    def on_disconnect(self) -> None:
        """The connection ended: whoever waits for an answer gets MqttError."""
        if self._answer and not self._answer.done():
            self._answer.set_exception(aiomqtt.MqttError("the connection ended"))

    async def _round_trip(self, link: Link) -> None:
        self._sent += 1
        self._answer = asyncio.get_running_loop().create_future()
        try:
            await link.publish(self._echo_topic, str(self._sent), qos=0)
            await self._answer
        finally:
            self._answer = None
