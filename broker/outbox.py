"""What a session still has to send: its own retained state, and a bounded live stream. Pure.

State is never dropped: the last value per topic waits until the broker has taken it, and a topic that
is the session's own (`Travel.OWN`) is kept after that, to be sent again on every new connection. The
live stream is bounded in messages, bytes and age; what falls out is counted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from broker.codec import Encoded
from broker.topics import Travel

LIVE_MESSAGES = 4096
LIVE_BYTES = 16 << 20
LIVE_SECONDS = 10.0


@dataclass(frozen=True, eq=False)
class Outgoing:
    """One message on its way; compared by identity. `at` is the session's clock when it was published."""

    topic: str
    encoded: Encoded
    travel: Travel
    qos: int
    at: float

    @property
    def retain(self) -> bool:
        """Whether the broker shall keep it for later subscribers."""
        return self.travel is not Travel.LIVE

    @property
    def own(self) -> bool:
        """Whether it is sent again on every new connection; a cleared topic is not."""
        return self.travel is Travel.OWN and bool(self.encoded.data)


class Outbox:
    """Give with `put`, send what `take` returns, then say with `settle` whether the broker has it."""

    def __init__(
        self,
        *,
        live_messages: int = LIVE_MESSAGES,
        live_bytes: int = LIVE_BYTES,
        live_seconds: float = LIVE_SECONDS,
    ) -> None:
        self.dropped = 0
        """Live messages that were pushed out by newer ones, or cut off while being sent."""
        self.expired = 0
        """Live messages that were too old when their turn came."""
        self._live_messages = live_messages
        self._live_bytes = live_bytes
        self._live_seconds = live_seconds
        self._state: dict[
            str, Outgoing
        ] = {}  # the last value of each topic that is own, or not yet delivered
        self._due: dict[str, None] = {}  # topics of `_state` to send, in order
        self._live: deque[Outgoing] = deque()
        self._bytes = 0
        self._flying = 0

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is under way."""
        return not self._due and not self._live and not self._flying

    def put(self, message: Outgoing) -> None:
        """Queue a message. A retained one takes the place of an older one on its topic."""
        if message.retain:
            self._state[message.topic] = message
            self._due[message.topic] = None
            return
        self._live.append(message)
        self._bytes += len(message.encoded.data)
        while len(self._live) > self._live_messages or self._bytes > self._live_bytes:
            self._bytes -= len(self._live.popleft().encoded.data)
            self.dropped += 1

    def take(self, now: float) -> Outgoing | None:
        """The next message, state before live; None when there is none. Each one taken must be settled."""
        if self._due:
            topic = next(iter(self._due))
            del self._due[topic]
            self._flying += 1
            return self._state[topic]
        while self._live:
            message = self._live.popleft()
            self._bytes -= len(message.encoded.data)
            if now - message.at <= self._live_seconds:
                self._flying += 1
                return message
            self.expired += 1
        return None

    def settle(self, message: Outgoing, *, delivered: bool) -> None:
        """Say what became of a message: state that was not delivered is due again, live is given up."""
        self._flying -= 1
        if not message.retain:
            self.dropped += not delivered
            return
        if self._state.get(message.topic) is not message:
            return  # a newer value is due, or was delivered meanwhile
        if not delivered:
            self._due[message.topic] = None
        elif not message.own:
            del self._state[message.topic]

    def reconnected(self) -> None:
        """A new connection: the broker may have forgotten everything, so all own state is due."""
        for topic in self._state:
            self._due[topic] = None
