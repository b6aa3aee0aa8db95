"""Whatever breaks in between, the broker ends with the last value of every topic, and every live message counts."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.codec import Encoded
from broker.outbox import Outbox, Outgoing
from broker.topics import Travel

NAMES = st.sampled_from("abcd")


class OutboxMachine(RuleBasedStateMachine):
    """A broker that may lose answers, break connections and forget everything, beside the values we published."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(live_messages=3, live_bytes=6, live_seconds=10)
        self.now = 0.0
        self.wanted: dict[str, bytes] = {}
        self.broker: dict[str, bytes] = {}
        self.flying: list[Outgoing] = []
        self.lost_by_broker: set[str] = set()
        self.live_put = 0
        self.live_sent = 0

    @rule(name=NAMES, own=st.booleans(), data=st.binary(max_size=2))
    def publish_state(self, name: str, own: bool, data: bytes) -> None:
        topic = f"{'own' if own else 'shared'}/{name}"
        travel = Travel.OWN if own else Travel.SHARED
        self.wanted[topic] = data
        self.lost_by_broker.discard(topic)
        self.outbox.put(Outgoing(topic=topic, encoded=Encoded(data=data), travel=travel, qos=1, at=self.now))

    @rule(data=st.binary(max_size=8))
    def publish_live(self, data: bytes) -> None:
        self.live_put += 1
        self.outbox.put(
            Outgoing(topic="live", encoded=Encoded(data=data), travel=Travel.LIVE, qos=0, at=self.now)
        )

    @rule(seconds=st.floats(0, 8))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        message = self.outbox.take(self.now)
        if message is not None:
            assert message.retain or self.now - message.at <= 10
            self.flying.append(message)

    @precondition(lambda self: self.flying)
    @rule(arrives=st.booleans(), answered=st.booleans())
    def settle_the_oldest(self, arrives: bool, answered: bool) -> None:
        # The oldest first: MQTT keeps the order of one connection.
        message = self.flying.pop(0)
        if arrives or answered:
            self._reach(message)
        self.live_sent += answered and not message.retain
        self.outbox.settle(message, delivered=answered)
        if not answered:
            self.break_connection()

    @rule()
    def break_connection(self) -> None:
        for message in self.flying:
            self.outbox.settle(message, delivered=False)
        self.flying.clear()
        self.outbox.reconnected()

    @rule()
    def broker_forgets(self) -> None:
        self.lost_by_broker |= {topic for topic in self.broker if topic.startswith("shared")}
        self.broker.clear()
        self.break_connection()

    def _reach(self, message: Outgoing) -> None:
        if message.retain:
            self.broker[message.topic] = message.encoded.data

    @invariant()
    def no_live_message_is_lost_without_a_number(self) -> None:
        flying = sum(not message.retain for message in self.flying)
        known = self.live_sent + self.outbox.dropped + self.outbox.expired + flying
        assert 0 <= self.live_put - known <= 3

    def teardown(self) -> None:
        self.break_connection()
        while (message := self.outbox.take(self.now)) is not None:
            self._reach(message)
            self.outbox.settle(message, delivered=True)
        assert self.outbox.idle
        for topic, data in self.wanted.items():
            if topic not in self.lost_by_broker:
                assert self.broker.get(topic, b"") == data


TestOutbox = OutboxMachine.TestCase
