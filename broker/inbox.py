"""What a session has received: as it arrived, and waiting for its reader in a bounded queue. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from broker import codec
from broker.codec import Payload
from broker.topics import Topic

MAX_MESSAGES = 50_000
MAX_BYTES = 64 << 20

T = TypeVar("T")


@dataclass(frozen=True)
class Received:
    """One message. `payload` None: the retained topic was cleared. `retained`: it was there before one asked."""

    topic: Topic
    payload: Payload | None
    retained: bool


@dataclass(frozen=True)
class Raw:
    """A message as it arrived; decoded when somebody reads it."""

    topic: Topic
    data: bytes
    content_type: str
    user_properties: tuple[tuple[str, str], ...]
    retained: bool

    def decode(self) -> Received:
        """Raises Malformed."""
        payload = codec.decode(
            self.topic, self.data, content_type=self.content_type, user_properties=self.user_properties
        )
        return Received(topic=self.topic, payload=payload, retained=self.retained)


class Inbox(Generic[T]):
    """A queue for one reader. When it is full the oldest stream message goes first (logs and samples, which
    the store has too or the next one replaces); only when there is none, the oldest message of state."""

    def __init__(self, *, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self.dropped_stream = 0
        self.dropped_state = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._stream: deque[tuple[int, int, T]] = deque()  # (place in the order of arrival, bytes, message)
        self._state: deque[tuple[int, int, T]] = deque()
        self._arrived = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._stream) + len(self._state)

    def put(self, message: T, *, size: int, stream: bool) -> None:
        """Append a message of `size` bytes."""
        (self._stream if stream else self._state).append((self._arrived, size, message))
        self._arrived += 1
        self._bytes += size
        while len(self) > self._max_messages or self._bytes > self._max_bytes:
            if self._stream:
                self._bytes -= self._stream.popleft()[1]
                self.dropped_stream += 1
            else:
                self._bytes -= self._state.popleft()[1]
                self.dropped_state += 1

    def pop(self) -> T | None:
        """The oldest message of all, or None."""
        if not self._state and not self._stream:
            return None
        from_stream = bool(self._stream) and (not self._state or self._stream[0][0] < self._state[0][0])
        _, size, message = (self._stream if from_stream else self._state).popleft()
        self._bytes -= size
        return message
