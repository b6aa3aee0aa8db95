"""Everything that a broker says, byte for byte: for tests of what must not be said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.services.waiting import wait_until


@contextmanager
def eavesdropper(broker_url: str, below: str) -> Iterator[list[bytes]]:
    """Topic, payload and user properties of each message below a level, as they come; retained ones first."""
    heard: list[bytes] = []
    listening: list[bool] = []

    def take(_client: Client, _data: object, message: MQTTMessage) -> None:
        heard.append(b"\0".join([message.topic.encode(), message.payload, repr(message.properties).encode()]))

    def subscribed(
        _client: Client, _data: object, _id: int, _codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        listening.append(True)

    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.on_message, client.on_subscribe = take, subscribed
    address = urlsplit(broker_url)
    client.connect(address.hostname or "", address.port or 1883)
    client.subscribe(f"{below}/#", options=SubscribeOptions(qos=1))
    client.loop_start()
    try:
        wait_until(lambda: listening, seconds=60, what="the eavesdropper")
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()
