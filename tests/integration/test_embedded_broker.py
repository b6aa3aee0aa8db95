"""The broker for one machine does what Winslow's protocol asks of a broker, whichever program it is."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiomqtt
import psutil
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker import embedded
from broker.embedded import BrokerKind, EmbeddedBroker, answers
from tests.conftest import BrokerFactory
from tests.services.servers import BrokerService
from winslow.errors import WinslowError
from winslow.store.daemon import free_ports

# A node that says it is online, then waits to be killed.
DOOMED = """
import asyncio, sys, aiomqtt
async def main():
    will = aiomqtt.Will("will/node", b"offline", qos=1, retain=True)
    version = aiomqtt.ProtocolVersion.V5
    async with aiomqtt.Client("127.0.0.1", int(sys.argv[1]), protocol=version, will=will) as mqtt:
        await mqtt.publish("will/node", b"online", qos=1, retain=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
RETAINED = 5_000  # above mosquitto's default queue of 1000


def client(service: BrokerService) -> aiomqtt.Client:
    return aiomqtt.Client(
        service.host,
        service.port,
        protocol=aiomqtt.ProtocolVersion.V5,
        max_queued_outgoing_messages=RETAINED,
    )


async def receive(mqtt: aiomqtt.Client, count: int, *, seconds: float = 60.0) -> list[aiomqtt.Message]:
    received: list[aiomqtt.Message] = []
    async with asyncio.timeout(seconds):
        async for message in mqtt.messages:
            received.append(message)
            if len(received) == count:
                break
    return received


async def test_a_snapshot_of_many_retained_messages_is_whole(broker: BrokerService) -> None:
    root = f"whole/{broker.kind}"
    async with client(broker) as mqtt:
        for number in range(RETAINED):
            await mqtt.publish(f"{root}/{number}", b"x" * 200, qos=0, retain=True)
        await mqtt.publish(f"{root}/end", b"", qos=1)
    async with client(broker) as mqtt:
        await mqtt.subscribe(f"{root}/+", qos=0)
        topics = {str(message.topic) for message in await receive(mqtt, RETAINED)}
    assert len(topics) == RETAINED


async def test_user_properties_and_content_type_pass_through(broker: BrokerService) -> None:
    properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [("offset", "4096")]
    properties.ContentType = "application/json"
    async with client(broker) as mqtt:
        await mqtt.subscribe("properties")
        await mqtt.publish("properties", b"{}", properties=properties)
        (message,) = await receive(mqtt, 1)
    received: Any = message.properties
    assert received.UserProperty == [("offset", "4096")]
    assert received.ContentType == "application/json"


async def test_an_empty_retained_message_clears_the_topic(broker: BrokerService) -> None:
    async with client(broker) as mqtt:
        await mqtt.publish("clear/a", b"1", qos=1, retain=True)
        await mqtt.publish("clear/b", b"1", qos=1, retain=True)
        await mqtt.publish("clear/a", b"", qos=1, retain=True)
    async with client(broker) as mqtt:
        await mqtt.subscribe("clear/#")
        (message,) = await receive(mqtt, 1)
    assert str(message.topic) == "clear/b"


async def test_a_client_that_vanishes_leaves_its_will(broker: BrokerService) -> None:
    async with client(broker) as watcher:
        await watcher.subscribe("will/node", qos=1)
        doomed = await asyncio.create_subprocess_exec(sys.executable, "-c", DOOMED, str(broker.port))
        (message,) = await receive(watcher, 1)
        assert message.payload == b"online"
        doomed.kill()
        await doomed.wait()
        (message,) = await receive(watcher, 1)
    assert message.payload == b"offline"


async def test_a_large_message_passes(broker: BrokerService) -> None:
    payload = bytes(range(256)) * 4096
    async with client(broker) as mqtt:
        await mqtt.subscribe("large")
        await mqtt.publish("large", payload)
        (message,) = await receive(mqtt, 1)
    assert message.payload == payload


async def test_mosquitto_keeps_retained_messages_through_a_clean_restart(
    broker_factory: BrokerFactory,
) -> None:
    service = broker_factory(BrokerKind.MOSQUITTO)
    async with client(service) as mqtt:
        await mqtt.publish("kept", b"1", qos=1, retain=True)
    service.stop()
    service.start()
    async with client(service) as mqtt:
        await mqtt.subscribe("kept")
        (message,) = await receive(mqtt, 1)
    assert message.payload == b"1"


@pytest.mark.parametrize("kind", list(BrokerKind))
def test_it_listens_on_loopback_alone_and_its_files_are_private(
    broker_factory: BrokerFactory, kind: BrokerKind
) -> None:
    service = broker_factory(kind)
    listening = [
        connection.laddr
        for connection in psutil.Process(service.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == [("127.0.0.1", service.port)]
    assert isinstance(service.server, EmbeddedBroker)
    folder = service.server.directory
    assert folder.stat().st_mode & 0o077 == 0
    (config,) = [path for path in folder.iterdir() if path.suffix in {".conf", ".toml"}]
    assert config.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", list(BrokerKind))
def test_a_new_start_in_the_same_folder_has_the_same_address(
    broker_factory: BrokerFactory, kind: BrokerKind
) -> None:
    service = broker_factory(kind)
    assert isinstance(service.server, EmbeddedBroker)
    service.stop()
    again = EmbeddedBroker(service.server.directory, kind=kind)
    assert again.url == service.url
    again.start()
    assert answers(service.port)
    again.stop()
    assert not answers(service.port)


def test_another_broker_on_its_port_is_not_taken_for_it(broker: BrokerService, tmp_path: Path) -> None:
    second = EmbeddedBroker(tmp_path, port=broker.port)
    with pytest.raises(WinslowError, match=f"{broker.port}: the port is taken") as error:
        second.start()
    assert error.value.hint
    assert not second.running


def test_mosquitto_is_preferred_and_the_wheel_is_the_second_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EmbeddedBroker(tmp_path).kind is BrokerKind.MOSQUITTO
    monkeypatch.setattr(embedded, "_SYSTEM_FOLDERS", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert EmbeddedBroker(tmp_path).kind is BrokerKind.IOTCORE
    with pytest.raises(WinslowError, match="mosquitto is not installed") as error:
        EmbeddedBroker(tmp_path, kind=BrokerKind.MOSQUITTO)
    assert "winslow[site]" in error.value.hint


def test_nothing_that_is_no_broker_counts_as_an_answer() -> None:
    assert not answers(free_ports(1)[0])
