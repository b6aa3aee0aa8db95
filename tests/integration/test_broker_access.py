"""Users, passwords, access rules and TLS, against a mosquitto that asks for them."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker import topics
from broker.embedded import answers, find_mosquitto
from broker.session import AccessRefused, Session
from tests.services.installation import find_program
from tests.services.servers import BrokerService
from winslow.errors import BrokerUnreachable
from winslow.node import NodeState, Presence
from winslow.store.daemon import Daemon, free_ports

DEADLINE = 60.0
PASSWORD = "correct-horse-7f3a"
SITE = "main"
STATE = NodeState(node="ws1", node_uuid="u", instance="i", presence=Presence.ONLINE)


@dataclass(frozen=True)
class _Guarded:
    """A mosquitto with the users `agent` (may do everything) and `guest` (may only read node states).

    `tls_port` speaks TLS; `strict_port` has the dynamic security plugin, which also judges subscriptions.
    """

    port: int
    tls_port: int
    strict_port: int
    authority: Path

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def guarded(mosquitto_broker: BrokerService) -> Iterator[_Guarded]:
    """Depends on `mosquitto_broker` only for its rule about a missing mosquitto."""
    mosquitto, tool, openssl = find_mosquitto(), find_program("mosquitto_passwd"), find_program("openssl")
    control = find_program("mosquitto_ctrl")
    (plugin,) = Path("/usr/lib").glob("*/mosquitto_dynamic_security.so")
    assert mosquitto and tool and openssl and control
    with tempfile.TemporaryDirectory(prefix="winslow-guarded-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # mosquitto gives up root before it reads
        port, tls_port, strict_port, probe_port = free_ports(4)
        users, rules = folder / "users", folder / "rules"
        for option, user in (("-c", "agent"), (None, "guest")):
            command = [tool, *([option] if option else []), "-b", str(users), user, PASSWORD]
            subprocess.run(command, check=True, capture_output=True)
        rules.write_text(
            f"user agent\ntopic readwrite winslow/{SITE}/#\nuser guest\ntopic read winslow/{SITE}/nodes/#\n"
        )
        subprocess.run(
            [control, "dynsec", "init", str(folder / "dynsec.json"), "agent", PASSWORD],
            check=True,
            capture_output=True,
        )
        strict = json.loads((folder / "dynsec.json").read_text())
        for role in strict["roles"]:  # what is left allows no subscription at all
            role["acls"] = [rule for rule in role["acls"] if rule["acltype"] != "subscribePattern"]
        (folder / "dynsec.json").write_text(json.dumps(strict))
        subprocess.run(
            [
                openssl,
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=127.0.0.1",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-keyout",
                "key.pem",
                "-out",
                "cert.pem",
            ],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        for file in folder.iterdir():
            file.chmod(0o644)
        config = folder / "mosquitto.conf"
        config.write_text(
            "per_listener_settings true\n"
            f"listener {port} 127.0.0.1\npassword_file {users}\nacl_file {rules}\nallow_anonymous false\n"
            f"listener {tls_port} 127.0.0.1\npassword_file {users}\nallow_anonymous false\n"
            f"certfile {folder}/cert.pem\nkeyfile {folder}/key.pem\n"
            f"listener {strict_port} 127.0.0.1\nallow_anonymous false\n"
            f"plugin {plugin}\nplugin_opt_config_file {folder}/dynsec.json\n"
            f"listener {probe_port} 127.0.0.1\nallow_anonymous true\n"
        )
        config.chmod(0o644)
        daemon = Daemon(name="mosquitto", command=[mosquitto, "-c", str(config)], log=folder / "log")
        daemon.start()
        daemon.wait_until(lambda: answers(probe_port), seconds=DEADLINE)
        yield _Guarded(port=port, tls_port=tls_port, strict_port=strict_port, authority=folder / "cert.pem")
        daemon.stop()


@pytest.fixture(autouse=True)
async def _within_the_deadline() -> AsyncIterator[None]:
    async with asyncio.timeout(2 * DEADLINE):
        yield


def session(
    url: str, *, user: str = "agent", password: str = PASSWORD, tls: ssl.SSLContext | None = None
) -> Session:
    return Session(
        url,
        client_id=f"test-{secrets.token_hex(4)}",
        site=SITE,
        jitter=random.Random(0).random,
        username=user,
        password=password,
        tls=tls,
    )


async def test_the_right_password_opens(guarded: _Guarded) -> None:
    async with session(guarded.url) as agent:
        await agent.wait_connected(DEADLINE)
    url = f"mqtt://agent:{PASSWORD}@127.0.0.1:{guarded.port}"
    async with Session(url, client_id="by-url", site=SITE, jitter=random.Random(0).random) as agent:
        await agent.wait_connected(DEADLINE)


@pytest.mark.parametrize("user", ["agent", "nobody"])
async def test_a_wrong_password_is_named_at_once_and_never_shown(guarded: _Guarded, user: str) -> None:
    async with session(guarded.url, user=user, password="wrong-secret") as agent:
        with pytest.raises(AccessRefused, match="bad user name or password") as caught:
            await agent.wait_connected(DEADLINE)
    error = caught.value
    assert f"'{user}'" in str(error)
    assert guarded.url in str(error)
    assert error.exit_code == 5
    assert not error.retryable
    assert "wrong-secret" not in f"{error} {error.hint} {agent.address!r} {agent.address} {agent!r}"


async def test_no_user_where_one_is_needed_is_named(guarded: _Guarded) -> None:
    async with Session(guarded.url, client_id="anonymous", jitter=random.Random(0).random) as stranger:
        with pytest.raises(AccessRefused, match="a client without a user name"):
            await stranger.wait_connected(DEADLINE)


async def test_a_user_whose_password_is_put_right_later_gets_in(guarded: _Guarded) -> None:
    """An agent that was refused goes on asking: nobody should have to restart it."""
    async with session(guarded.url, password="wrong-secret") as agent:
        with pytest.raises(AccessRefused):
            await agent.wait_connected(DEADLINE)
        agent.address = session(guarded.url).address
        async with asyncio.timeout(DEADLINE):
            while not agent.connected:  # noqa: ASYNC110  # wait_connected reports the old refusal
                await asyncio.sleep(0.01)


async def test_a_forbidden_filter_is_named(guarded: _Guarded) -> None:
    url = f"mqtt://127.0.0.1:{guarded.strict_port}"
    async with session(url) as agent:
        await agent.wait_connected(DEADLINE)
        with pytest.raises(AccessRefused, match="'agent' read winslow/main/nodes/"):
            await agent.subscribe(topics.NODE_STATES)
        with pytest.raises(AccessRefused, match="'agent' read"):
            await agent.snapshot(topics.NODE_STATES, DEADLINE)
    async with session(url) as early:
        await early.subscribe(topics.NODE_STATES)
        with pytest.raises(AccessRefused, match="'agent' read winslow/main/nodes/"):
            await early.wait_connected(DEADLINE)


async def test_a_forbidden_topic_is_counted(guarded: _Guarded) -> None:
    async with session(guarded.url, user="guest") as guest:
        guest.publish(topics.NodeState(node="ws1"), STATE)
        await guest.flush(DEADLINE)
        assert guest.counters.refused == 1
    async with session(guarded.url) as agent:
        assert await agent.snapshot(topics.NODE_STATES, DEADLINE) == []


async def test_a_user_who_may_not_speak_to_himself_is_told_what_a_snapshot_needs(guarded: _Guarded) -> None:
    async with session(guarded.url, user="guest") as guest:
        await guest.wait_connected(DEADLINE)
        with pytest.raises(BrokerUnreachable, match="did not send its retained") as caught:
            await guest.snapshot(topics.NODE_STATES, 0.3)
        assert f"winslow/main/clients/{guest.client_id}/echo" in caught.value.hint


async def test_tls_with_a_trusted_authority(guarded: _Guarded) -> None:
    url = f"mqtts://127.0.0.1:{guarded.tls_port}"
    async with session(url, tls=ssl.create_default_context(cafile=str(guarded.authority))) as agent:
        await agent.wait_connected(DEADLINE)
        for number in range(200):
            agent.publish(
                topics.NodeState(node=f"n{number}"), STATE.model_copy(update={"node": f"n{number}"})
            )
        await agent.flush(DEADLINE)
        assert len(await agent.snapshot(topics.NODE_STATES, DEADLINE)) == 200
        for number in range(200):
            agent.clear(topics.NodeState(node=f"n{number}"))
        await agent.flush(DEADLINE)


async def test_tls_with_an_unknown_authority_is_refused_by_us(guarded: _Guarded) -> None:
    async with session(f"mqtts://127.0.0.1:{guarded.tls_port}") as agent:
        async with asyncio.timeout(DEADLINE):
            while agent.problem is None:  # noqa: ASYNC110  # without one, wait_connected reports its own deadline
                await asyncio.sleep(0.01)
        with pytest.raises(BrokerUnreachable, match="no trusted connection"):
            await agent.wait_connected(0.1)
        assert agent.counters.connections == 0


async def test_the_password_is_on_the_wire_once_in_the_login_and_nowhere_else(guarded: _Guarded) -> None:
    """A recording relay stands between the session and the broker."""
    to_broker, to_client = bytearray(), bytearray()

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, record: bytearray) -> None:
        while data := await source.read(65536):
            record += data
            target.write(data)
            await target.drain()
        target.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", guarded.port)
        await asyncio.gather(copy(reader, broker_writer, to_broker), copy(broker_reader, writer, to_client))

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with session(f"mqtt://127.0.0.1:{port}") as agent:
            await agent.subscribe(topics.EVERYTHING)
            await agent.wait_connected(DEADLINE)
            agent.publish(topics.NodeState(node="ws1"), STATE)
            await agent.flush(DEADLINE)
            assert len(await agent.snapshot(topics.NODE_STATES, DEADLINE)) == 1
            agent.clear(topics.NodeState(node="ws1"))
            await agent.flush(DEADLINE)
    assert to_broker.count(PASSWORD.encode()) == 1
    assert to_broker.index(PASSWORD.encode()) < 150  # in CONNECT, the first packet
    assert PASSWORD.encode() not in to_client
