"""The outbox, the inbox, addresses, delays and failures in words."""

from __future__ import annotations

import aiomqtt
import pytest
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from broker.codec import CLEARED, Encoded
from broker.connection import AccessRefused, Address, backoff, explain
from broker.inbox import Inbox
from broker.outbox import Outbox, Outgoing
from broker.topics import Travel
from winslow.errors import InvalidInput


def message(topic: str, data: bytes = b"x", *, travel: Travel = Travel.OWN, at: float = 0.0) -> Outgoing:
    return Outgoing(topic=topic, encoded=Encoded(data=data), travel=travel, qos=1, at=at)


def drain(outbox: Outbox, *, delivered: bool = True, now: float = 0.0) -> list[tuple[str, bytes]]:
    sent: list[Outgoing] = []
    while (taken := outbox.take(now)) is not None:
        sent.append(taken)
    for taken in sent:
        outbox.settle(taken, delivered=delivered)
    return [(taken.topic, taken.encoded.data) for taken in sent]


def test_only_the_last_value_of_a_state_topic_is_sent() -> None:
    outbox = Outbox()
    for value in (b"1", b"2", b"3"):
        outbox.put(message("a", value))
    outbox.put(message("b"))
    assert drain(outbox) == [("a", b"3"), ("b", b"x")]
    assert outbox.idle


def test_own_state_is_sent_again_on_a_new_connection_and_shared_state_is_not() -> None:
    outbox = Outbox()
    outbox.put(message("own"))
    outbox.put(message("shared", travel=Travel.SHARED))
    outbox.put(message("live", travel=Travel.LIVE))
    assert len(drain(outbox)) == 3
    outbox.reconnected()
    assert drain(outbox) == [("own", b"x")]


def test_state_that_was_not_delivered_is_sent_again_and_live_is_given_up() -> None:
    outbox = Outbox()
    outbox.put(message("shared", travel=Travel.SHARED))
    outbox.put(message("live", travel=Travel.LIVE))
    drain(outbox, delivered=False)
    assert not outbox.idle
    assert drain(outbox) == [("shared", b"x")]
    assert outbox.idle
    assert outbox.dropped == 1


def test_a_cleared_topic_is_cleared_once_and_then_forgotten() -> None:
    outbox = Outbox()
    outbox.put(message("own"))
    drain(outbox)
    outbox.put(Outgoing(topic="own", encoded=CLEARED, travel=Travel.OWN, qos=1, at=0.0))
    assert drain(outbox, delivered=False) == [("own", b"")]
    assert drain(outbox) == [("own", b"")]
    outbox.reconnected()
    assert drain(outbox) == []


def test_a_newer_value_published_while_the_older_is_under_way_is_sent_too() -> None:
    outbox = Outbox()
    outbox.put(message("a", b"old", travel=Travel.SHARED))
    old = outbox.take(0.0)
    assert old is not None
    outbox.put(message("a", b"new", travel=Travel.SHARED))
    outbox.settle(old, delivered=True)
    assert drain(outbox) == [("a", b"new")]
    outbox.reconnected()
    assert drain(outbox) == []


def test_the_live_stream_is_bounded_in_number_bytes_and_age() -> None:
    outbox = Outbox(live_messages=3, live_bytes=100, live_seconds=5)
    for number in range(5):
        outbox.put(message(f"l{number}", travel=Travel.LIVE, at=number))
    assert outbox.dropped == 2
    assert drain(outbox, now=8.0) == [("l3", b"x"), ("l4", b"x")]
    assert outbox.expired == 1
    outbox.put(message("big", bytes(60), travel=Travel.LIVE))
    outbox.put(message("bigger", bytes(70), travel=Travel.LIVE))
    assert outbox.dropped == 3
    assert [topic for topic, _ in drain(outbox)] == ["bigger"]


def test_the_inbox_keeps_the_order_of_arrival() -> None:
    inbox: Inbox[int] = Inbox()
    for number in range(6):
        inbox.put(number, size=1, stream=number % 2 == 0)
    assert [inbox.pop() for _ in range(7)] == [0, 1, 2, 3, 4, 5, None]


def test_a_full_inbox_drops_the_oldest_of_the_stream_before_any_state() -> None:
    inbox: Inbox[str] = Inbox(max_messages=4, max_bytes=100)
    inbox.put("s1", size=1, stream=False)
    for name in ("l1", "l2", "l3", "l4"):
        inbox.put(name, size=1, stream=True)
    inbox.put("s2", size=99, stream=False)
    assert [inbox.pop() for _ in range(3)] == ["s1", "s2", None]
    assert (inbox.dropped_stream, inbox.dropped_state) == (4, 0)
    for name in ("s3", "s4", "s5"):
        inbox.put(name, size=40, stream=False)
    assert [inbox.pop() for _ in range(3)] == ["s4", "s5", None]
    assert (inbox.dropped_stream, inbox.dropped_state) == (4, 1)


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("mqtt://127.0.0.1:1884", Address(host="127.0.0.1", port=1884), "mqtt://127.0.0.1:1884"),
        ("mqtt://broker", Address(host="broker", port=1883), "mqtt://broker:1883"),
        ("mqtts://broker/", Address(host="broker", port=8883, tls=True), "mqtts://broker:8883"),
        ("mqtt://[::1]:1", Address(host="::1", port=1), "mqtt://[::1]:1"),
        (
            "mqtt://ada:s%40crt@h:1",
            Address(host="h", port=1, username="ada", password="s@crt"),
            "mqtt://h:1",
        ),
    ],
)
def test_addresses(url: str, address: Address, shown: str) -> None:
    assert Address.parse(url) == address
    assert str(address) == shown
    assert "crt" not in f"{address!r} {address}"


@pytest.mark.parametrize(
    "url",
    ["", "broker:1883", "http://h", "mqtt://", "mqtt://u:s3cret@h:port", "mqtt://h:1/x", "mqtt://u:s3cret@"],
)
def test_a_bad_address_is_refused_without_repeating_what_may_hold_a_password(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Address.parse(url)
    assert "s3cret" not in str(caught.value) + caught.value.hint
    assert caught.value.__cause__ is None


def test_a_given_user_takes_the_place_of_the_urls() -> None:
    address = Address.parse("mqtt://ada:old@h", username="bob", password="new")
    assert (address.username, address.password) == ("bob", "new")


def test_delays_grow_to_a_ceiling_and_spread() -> None:
    assert [backoff(failures, 0.0) for failures in range(9)] == [0.2] * 9
    assert [round(backoff(failures, 1.0), 1) for failures in range(8)] == [
        0.4,
        0.8,
        1.6,
        3.2,
        6.4,
        12.8,
        15,
        15,
    ]
    assert backoff(10**6, 1.0) == 15.0
    assert 0.2 < backoff(3, 0.5) < 3.2


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            MqttConnectError(ReasonCode(PacketTypes.CONNACK, identifier=134)),
            AccessRefused,
            "bad user name or password",
        ),
        (MqttConnectError(ReasonCode(PacketTypes.CONNACK, identifier=135)), AccessRefused, "user 'ada'"),
        (MqttConnectError(5), AccessRefused, "bad user name or password"),
        (MqttConnectError(ReasonCode(PacketTypes.CONNACK, identifier=132)), None, "MQTT 5"),
        (MqttConnectError(ReasonCode(PacketTypes.CONNACK, identifier=136)), None, "refuses the connection"),
        (
            aiomqtt.MqttCodeError(ReasonCode(PacketTypes.DISCONNECT, identifier=142)),
            None,
            "'winslow-ws1' too",
        ),
        (aiomqtt.MqttCodeError(7), None, "broke"),
        (aiomqtt.MqttError("[SSL: CERTIFICATE_VERIFY_FAILED] x"), None, "no trusted connection"),
        (aiomqtt.MqttError("[Errno 111] Connection refused"), None, "no MQTT broker answers at mqtt://h:1"),
    ],
)
def test_a_failure_is_a_sentence_with_a_way_out(
    error: aiomqtt.MqttError, kind: type[AccessRefused] | None, words: str
) -> None:
    address = Address.parse("mqtt://ada:s3cret@h:1")
    told = explain(error, address, "winslow-ws1")
    assert words in str(told)
    assert isinstance(told, AccessRefused) is (kind is AccessRefused)
    assert told.retryable is (kind is None)
    assert "s3cret" not in str(told) + told.hint
