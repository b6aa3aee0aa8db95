"""The session against real brokers, both of them: outages, wills, hostile messages, drops, snapshots."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import socket
import sys
import textwrap
from collections.abc import AsyncIterator, Callable

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker import connection, messages, topics
from broker.codec import MAX_BYTES, Payload
from broker.embedded import BrokerKind
from broker.inbox import Inbox
from broker.outbox import Outbox
from broker.session import Received, Session, Will
from tests.conftest import BrokerFactory
from tests.services.servers import BrokerService
from winslow import metrics
from winslow.errors import BrokerUnreachable, InvalidInput
from winslow.node import NodeState, Presence

DEADLINE = 60.0
BOTH = pytest.mark.parametrize("kind", list(BrokerKind))


@pytest.fixture
def site() -> str:
    """A site of the test's own, so that tests can share a broker."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture(autouse=True)
async def _within_the_deadline() -> AsyncIterator[None]:
    async with asyncio.timeout(3 * DEADLINE):
        yield


def session(service: BrokerService, site: str, client_id: str = "", *, will: Will | None = None) -> Session:
    return Session(
        service.url,
        client_id=client_id or f"test-{secrets.token_hex(4)}",
        site=site,
        jitter=random.Random(0).random,
        will=will,
    )


def presence(node: str = "ws1", *, online: bool = True, note: str = "", instance: str = "i1") -> NodeState:
    return NodeState(
        node=node,
        node_uuid="u",
        instance=instance,
        presence=Presence.ONLINE if online else Presence.OFFLINE,
        note=note,
    )


def summary(project: str, revision: int = 1) -> messages.ProjectSummary:
    return messages.ProjectSummary(id=project, revision=revision, name="n" * 100, state="running")


async def take(reader: Session, count: int) -> list[Received]:
    """The next `count` messages."""
    found: list[Received] = []
    async with asyncio.timeout(DEADLINE):
        async for received in reader.messages():
            found.append(received)
            if len(found) == count:
                return found
    raise AssertionError("the session closed")


async def take_until(reader: Session, wanted: Callable[[Received], bool]) -> Received:
    async with asyncio.timeout(DEADLINE):
        async for received in reader.messages():
            if wanted(received):
                return received
    raise AssertionError("the session closed")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  # counters have no event
            await asyncio.sleep(0.01)


async def connected(*sessions: Session) -> None:
    for each in sessions:
        await each.wait_connected(DEADLINE)


EXCHANGES: list[tuple[topics.Topic, Payload]] = [
    (topics.NodeState(node="ws1"), presence()),
    (topics.NodeMetrics(node="ws1"), metrics.NodeSample(at=1.5, cpus=(1.0, 99.0), memory=5)),
    (topics.NodeHistory(node="ws1"), metrics.NodeHistory(points=(metrics.HistoryPoint(at=1.5),))),
    (topics.NodeWish(node="ws1"), messages.WishNotice(node="ws1", revision=3, labels=("quiet",))),
    (topics.ProjectState(project="p"), summary("p")),
    (
        topics.Activity(project="p"),
        messages.ActivityRecord(
            project="p", name="P", revision=7, id="e", by="ann", kind="paused", text="paused"
        ),
    ),
    (
        topics.Offer(project="p", run=1, attempt=1),
        messages.OfferHint(project="p", run=1, attempt=1, stage="s", image="i"),
    ),
    (
        topics.Bid(project="p", run=1, attempt=1, node="ws1"),
        messages.BidMessage(project="p", run=1, attempt=1, node="ws1", instance="i", kind="pass", reason="ü"),
    ),
    (topics.Log(project="p", run=1, attempt=1), messages.LogChunk(offset=7, data=b"\x00\xff\n")),
    (topics.Progress(project="p", run=1, attempt=1), messages.Progress(phase=messages.Phase.PULL, percent=3)),
    (topics.Stats(project="p", run=1, attempt=1), metrics.ContainerSample(at=2.0, cpus=1.5)),
    (topics.PipelineNotice(name="traffic"), messages.PipelineNotice(name="traffic", revision=2)),
]


async def test_every_payload_arrives_as_it_was_sent(broker: BrokerService, site: str) -> None:
    async with session(broker, site) as writer, session(broker, site) as reader:
        await reader.subscribe(topics.EVERYTHING)
        await connected(reader, writer)
        for topic, payload in EXCHANGES:
            writer.publish(topic, payload)
        found = await take(reader, len(EXCHANGES))
        # State is sent before the live stream; within each the order holds.
        assert {received.topic: received.payload for received in found} == dict(EXCHANGES)
        assert not any(received.retained for received in found)
        await writer.flush(DEADLINE)
        async with session(broker, site) as late:
            retained = await late.snapshot(topics.EVERYTHING, DEADLINE)
        kept = {topic: payload for topic, payload in EXCHANGES if topic.travel is not topics.Travel.LIVE}
        assert {received.topic: received.payload for received in retained} == kept
        assert all(received.retained for received in retained)


async def test_small_messages_do_not_wait_for_an_acknowledgement(broker: BrokerService, site: str) -> None:
    """Nagle's algorithm held bids back for the 40 ms of a delayed acknowledgement."""
    async with session(broker, site) as writer:
        await connected(writer)
        assert writer._link is not None
        connection = writer._link._client.socket()
        assert isinstance(connection, socket.socket)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_sites_do_not_see_each_other(broker: BrokerService, site: str) -> None:
    async with session(broker, site) as here, session(broker, f"{site}-2") as there:
        await connected(here, there)
        here.publish(topics.NodeState(node="ws1"), presence())
        await here.flush(DEADLINE)
        assert await there.snapshot(topics.EVERYTHING, DEADLINE) == []
        assert len(await here.snapshot(topics.EVERYTHING, DEADLINE)) == 1


async def test_a_snapshot_holds_all_of_10000_retained_messages(broker: BrokerService, site: str) -> None:
    async with session(broker, site) as writer, session(broker, site) as reader:
        await connected(writer, reader)
        for number in range(10_000):
            writer.publish(topics.ProjectState(project=f"p{number}"), summary(f"p{number}"))
        await writer.flush(DEADLINE)
        for _ in range(3):
            found = await reader.snapshot(topics.PROJECT_STATES, DEADLINE)
            assert {received.topic.path for received in found} == {
                f"projects/p{n}/state" for n in range(10_000)
            }
        await reader.subscribe(topics.PROJECT_STATES)
        assert len({received.topic for received in await take(reader, 10_000)}) == 10_000
        assert reader.counters.dropped_state == 0
        for number in range(10_000):  # the broker is shared
            writer.clear(topics.ProjectState(project=f"p{number}"))
        await writer.flush(DEADLINE)
        assert await reader.snapshot("projects/#", DEADLINE) == []


async def test_a_snapshot_leaves_subscriptions_and_messages_as_they_were(
    broker: BrokerService, site: str
) -> None:
    async with session(broker, site) as writer, session(broker, site) as reader:
        await connected(writer, reader)
        writer.publish(topics.NodeState(node="ws1"), presence())
        writer.publish(topics.ProjectState(project="p"), summary("p"))
        await writer.flush(DEADLINE)
        await reader.subscribe(topics.NODE_STATES)
        assert len(await reader.snapshot(topics.PROJECT_STATES, DEADLINE)) == 1
        assert len(await reader.snapshot(topics.NODE_STATES, DEADLINE)) == 1
        writer.publish(topics.ProjectState(project="p"), summary("p", revision=2))
        await writer.flush(DEADLINE)
        writer.publish(topics.NodeState(node="ws1"), presence(note="end"))
        seen: list[topics.Topic] = []

        def is_end(received: Received) -> bool:
            seen.append(received.topic)
            return isinstance(received.payload, NodeState) and received.payload.note == "end"

        await take_until(reader, is_end)
        assert topics.ProjectState(project="p") not in seen


async def test_a_snapshot_does_not_let_live_messages_in_that_nobody_subscribed(
    broker: BrokerService, site: str
) -> None:
    log = topics.Log(project="p", run=1, attempt=1)
    async with session(broker, site) as writer, session(broker, site) as reader:
        await connected(writer, reader)
        writer.publish(topics.ProjectState(project="p"), summary("p"))
        await writer.flush(DEADLINE)
        before = reader.counters.received
        while reader.counters.received < before + 50:
            for number in range(200):
                writer.publish(log, messages.LogChunk(offset=number, data=b"x"))
            found = await reader.snapshot(topics.PROJECT_TOPICS, DEADLINE)
            assert [received.topic for received in found] == [topics.ProjectState(project="p")]
        await reader.subscribe(topics.NODE_STATES)
        writer.publish(topics.NodeState(node="marker"), presence("marker"))
        assert (await take(reader, 1))[0].topic == topics.NodeState(node="marker")


async def test_snapshots_at_the_same_time_do_not_mix(broker: BrokerService, site: str) -> None:
    async with session(broker, site) as one:
        await connected(one)
        one.publish(topics.NodeState(node="ws1"), presence())
        one.publish(topics.ProjectState(project="p"), summary("p"))
        await one.flush(DEADLINE)
        nodes, projects = await asyncio.gather(
            one.snapshot(topics.NODE_STATES, DEADLINE), one.snapshot(topics.PROJECT_STATES, DEADLINE)
        )
        assert [received.topic for received in nodes] == [topics.NodeState(node="ws1")]
        assert [received.topic for received in projects] == [topics.ProjectState(project="p")]


@BOTH
async def test_after_a_killed_broker_own_state_and_subscriptions_come_back(
    broker_factory: BrokerFactory, site: str, kind: BrokerKind
) -> None:
    service = broker_factory(kind)
    async with session(service, site) as owner, session(service, site) as reader:
        await reader.subscribe(topics.EVERYTHING)
        await connected(owner, reader)
        owner.publish(topics.NodeState(node="ws1"), presence())
        owner.publish(
            topics.Progress(project="p", run=1, attempt=1), messages.Progress(phase=messages.Phase.RUN)
        )
        await take(reader, 2)
        owner.clear(topics.Progress(project="p", run=1, attempt=1))
        assert (await take(reader, 1))[0].payload is None
        for _ in range(2):
            service.kill()
            await owner.wait_disconnected()
            await reader.wait_disconnected()
            problem = owner.problem
            assert problem is not None
            assert service.url in str(problem)
            owner.publish(
                topics.PipelineNotice(name="meanwhile"), messages.PipelineNotice(name="meanwhile", revision=1)
            )
            service.start()
            await connected(owner, reader)
            back = await take(reader, 2)
            assert {received.topic for received in back} == {
                topics.NodeState(node="ws1"),
                topics.PipelineNotice(name="meanwhile"),
            }
        await owner.flush(DEADLINE)
        assert topics.NodeState(node="ws1") in {
            received.topic for received in await reader.snapshot(topics.EVERYTHING, DEADLINE)
        }
        assert owner.counters.connections == 3


async def test_shared_state_is_not_sent_again_over_what_others_wrote_since(
    mosquitto_broker: BrokerService, site: str
) -> None:
    topic = topics.ProjectState(project="p")
    async with session(mosquitto_broker, site, "first") as first, session(mosquitto_broker, site) as second:
        await connected(first, second)
        first.publish(topic, summary("p", revision=1))
        await first.flush(DEADLINE)
        second.publish(topic, summary("p", revision=2))
        await second.flush(DEADLINE)
        assert first._link is not None
        await first._link.abort()
        await until(lambda: first.counters.connections == 2)
        first.publish(topics.NodeState(node="ws1"), presence())
        await first.flush(DEADLINE)
        (found,) = await second.snapshot(topics.PROJECT_STATES, DEADLINE)
        assert isinstance(found.payload, messages.ProjectSummary)
        assert found.payload.revision == 2


@BOTH
async def test_a_session_begun_before_its_broker_connects_when_it_comes(
    broker_factory: BrokerFactory, site: str, kind: BrokerKind
) -> None:
    service = broker_factory(kind)
    service.stop()
    async with session(service, site) as early:
        with pytest.raises(BrokerUnreachable, match=service.url) as caught:
            await early.wait_connected(0.5)
        assert caught.value.hint
        assert caught.value.exit_code == 5
        with pytest.raises(BrokerUnreachable):
            await early.snapshot(topics.NODE_STATES, 0.1)
        early.publish(topics.NodeState(node="ws1"), presence())
        with pytest.raises(BrokerUnreachable):
            await early.flush(0.1)
        service.start()
        await early.flush(DEADLINE)
        assert len(await early.snapshot(topics.NODE_STATES, DEADLINE)) == 1


_VICTIM = textwrap.dedent(
    """
    import asyncio, sys
    from broker import topics
    from broker.session import Session, Will
    from winslow.node import NodeState, Presence

    async def main(url, site):
        def state(presence, note=""):
            return NodeState(node="ws1", node_uuid="u", instance="i", presence=presence, note=note)
        topic = topics.NodeState(node="ws1")
        will = Will(topic=topic, payload=state(Presence.OFFLINE, "will"))
        async with Session(url, client_id="victim", site=site, jitter=lambda: 0.0, will=will) as session:
            session.publish(topic, state(Presence.ONLINE))
            await session.flush(20)
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            await session.close(state(Presence.OFFLINE, "goodbye"))

    asyncio.run(main(*sys.argv[1:]))
    """
)


async def _victim(service: BrokerService, site: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _VICTIM,
        service.url,
        site,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    return process


async def test_the_will_is_published_when_the_process_is_killed(broker: BrokerService, site: str) -> None:
    async with session(broker, site) as watcher:
        process = await _victim(broker, site)
        await watcher.subscribe(topics.NODE_STATES)
        await connected(watcher)
        online = (await take(watcher, 1))[0]
        assert online.payload == presence(instance="i")
        process.kill()
        await process.wait()
        assert (await take(watcher, 1))[0].payload == presence(instance="i", online=False, note="will")
        (kept,) = await watcher.snapshot(topics.NODE_STATES, DEADLINE)
        assert isinstance(kept.payload, NodeState)
        assert kept.payload.note == "will"


async def test_a_clean_close_says_goodbye_and_no_will_follows(broker: BrokerService, site: str) -> None:
    async with session(broker, site) as watcher:
        await watcher.subscribe(topics.NODE_STATES)
        await connected(watcher)
        process = await _victim(broker, site)
        await process.communicate(b"\n")
        assert process.returncode == 0
        goodbye = await take_until(
            watcher, lambda received: isinstance(received.payload, NodeState) and received.payload.note != ""
        )
        assert goodbye.payload == presence(instance="i", online=False, note="goodbye")
        watcher.publish(topics.NodeState(node="marker"), presence("marker"))
        assert (await take(watcher, 1))[0].topic == topics.NodeState(node="marker")


async def test_closing_without_a_goodbye_publishes_the_wills_payload(
    broker: BrokerService, site: str
) -> None:
    topic = topics.NodeState(node="ws1")
    will = Will(topic=topic, payload=presence(online=False))
    async with session(broker, site) as watcher:
        async with session(broker, site, will=will) as owner:
            owner.publish(topic, presence())
            await owner.flush(DEADLINE)
        (kept,) = await watcher.snapshot(topics.NODE_STATES, DEADLINE)
        assert kept.payload == presence(online=False)
        await owner.close()
        with pytest.raises(BrokerUnreachable, match="closed"):
            await owner.wait_connected(1)
        assert [received async for received in owner.messages()] == []


async def test_a_slow_reader_loses_logs_before_state_and_every_drop_is_counted(
    broker: BrokerService, site: str
) -> None:
    log = topics.Log(project="p", run=1, attempt=1)
    reader = Session(
        broker.url, client_id="slow", site=site, jitter=random.Random(0).random, inbox=Inbox(max_messages=50)
    )
    async with reader, session(broker, site) as writer:
        await reader.subscribe(topics.EVERYTHING)
        await connected(reader, writer)
        for number in range(30):
            writer.publish(topics.NodeState(node=f"n{number}"), presence(f"n{number}"))
        for number in range(500):
            writer.publish(log, messages.LogChunk(offset=number, data=b"x"))
        await until(lambda: reader.counters.received == 530)
        assert reader.counters.dropped_stream == 480
        found = await take(reader, 50)
        states = [received for received in found if isinstance(received.payload, NodeState)]
        offsets = [
            received.payload.offset for received in found if isinstance(received.payload, messages.LogChunk)
        ]
        assert len(states) == 30
        assert offsets == list(range(480, 500))
        assert reader.counters.dropped_state == 0


async def test_live_messages_for_an_absent_broker_are_bounded_and_old_ones_never_sent(
    broker_factory: BrokerFactory, site: str
) -> None:
    service = broker_factory(BrokerKind.MOSQUITTO)
    log = topics.Log(project="p", run=1, attempt=1)
    now = [0.0]
    writer = Session(
        service.url,
        client_id="writer",
        site=site,
        jitter=random.Random(0).random,
        clock=lambda: now[0],
        outbox=Outbox(live_messages=10, live_seconds=5),
    )
    async with writer, session(service, site) as reader:
        await reader.subscribe(topics.EVERYTHING)
        await connected(writer, reader)
        service.stop()
        await writer.wait_disconnected()
        await reader.wait_disconnected()
        for number in range(100):
            now[0] = number / 10
            writer.publish(log, messages.LogChunk(offset=number, data=b"x"))
        assert writer.counters.dropped_live == 90
        now[0] = 14.55
        assert writer.counters.sent == 0
        reader_back = asyncio.create_task(reader.wait_connected(DEADLINE))
        service.start()
        await reader_back
        await writer.flush(DEADLINE)
        assert writer.counters.sent + writer.counters.expired_live == 10
        assert writer.counters.expired_live == 6  # those of 9.0 to 9.5 s
        assert writer.counters.dropped_live == 90


async def test_a_frozen_broker_is_noticed_by_the_missing_answer(
    broker_factory: BrokerFactory, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ACK_SECONDS", 2.0)
    monkeypatch.setattr(connection, "OPEN_SECONDS", 2.0)
    service = broker_factory(BrokerKind.MOSQUITTO)
    async with session(service, site) as owner:
        await connected(owner)
        os.kill(service.pid, signal.SIGSTOP)
        try:
            owner.publish(topics.NodeState(node="ws1"), presence())
            await owner.wait_disconnected()
            with pytest.raises(BrokerUnreachable):
                await owner.wait_connected(1.5)
        finally:
            os.kill(service.pid, signal.SIGCONT)
        await owner.flush(DEADLINE)
        await connected(owner)
        assert len(await owner.snapshot(topics.NODE_STATES, DEADLINE)) == 1


async def test_closing_is_quick_while_the_broker_is_frozen(broker_factory: BrokerFactory, site: str) -> None:
    service = broker_factory(BrokerKind.MOSQUITTO)
    topic = topics.NodeState(node="ws1")
    async with session(service, site) as watcher:
        await watcher.subscribe(topics.NODE_STATES)
        owner = session(service, site, will=Will(topic=topic, payload=presence(online=False, note="will")))
        async with owner:
            await connected(owner, watcher)
            owner.publish(topic, presence())
            await take(watcher, 1)
            os.kill(service.pid, signal.SIGSTOP)
            try:
                async with asyncio.timeout(DEADLINE):  # a frozen broker never answers
                    await owner.close(presence(online=False, note="goodbye"), deadline=0.3)
            finally:
                os.kill(service.pid, signal.SIGCONT)
        last = await take_until(
            watcher, lambda received: isinstance(received.payload, NodeState) and received.payload.note != ""
        )
        assert isinstance(last.payload, NodeState)
        assert last.payload.presence is Presence.OFFLINE


async def test_two_sessions_with_one_id_are_told_about_each_other(broker: BrokerService, site: str) -> None:
    twin = f"{site}-twin"
    async with session(broker, site, twin) as first:
        await connected(first)
        async with session(broker, site, twin) as second:
            await connected(second)
            await until(lambda: first.counters.connections + second.counters.connections >= 5)
            broken = first if first.problem else second
            await until(lambda: broken.problem is not None)
            problem = broken.problem
            assert problem is not None
            assert twin in problem.hint
        await first.wait_connected(DEADLINE)


@pytest.mark.parametrize("after_a_message", [False, True])
async def test_a_broker_that_hangs_up_is_asked_ever_more_slowly(site: str, after_a_message: bool) -> None:
    accepted: list[float] = []
    loop = asyncio.get_running_loop()

    async def accept_and_hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(loop.time())
        _, length = await reader.readexactly(2)  # CONNECT is shorter than 128 bytes here
        await reader.readexactly(length)
        writer.write(b"\x20\x03\x00\x00\x00")  # CONNACK: success
        await writer.drain()
        if after_a_message:
            await reader.read(1)
        writer.close()

    async with await asyncio.start_server(accept_and_hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        impatient = Session(f"mqtt://127.0.0.1:{port}", client_id="c", site=site, jitter=lambda: 0.5)
        async with impatient:
            impatient.publish(topics.NodeState(node="ws1"), presence())
            await until(lambda: len(accepted) == 4)
            if after_a_message:
                assert impatient.counters.connections >= 3
    assert accepted[3] - accepted[2] >= 0.85  # 0.3, 0.5, 0.9: a short connection does not reset the delay


async def test_a_subscription_is_waited_for_while_the_broker_says_something(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer comes behind all retained messages, which take longer on a slow line than a silence may."""
    monkeypatch.setattr(connection, "OPEN_SECONDS", 3.0)
    topic = f"winslow/{site}/nodes/ws1/state".encode()
    retained = len(topic).to_bytes(2, "big") + topic + b"\x00" + presence().model_dump_json().encode()
    assert 128 <= len(retained) < 128 * 128
    publish = bytes([0x31, len(retained) % 128 + 128, len(retained) // 128]) + retained

    async def speak_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, length = await reader.readexactly(2)
        await reader.readexactly(length)
        writer.write(b"\x20\x03\x00\x00\x00")  # CONNACK: success
        _, length = await reader.readexactly(2)
        identifier = (await reader.readexactly(length))[:2]
        for _ in range(40):
            writer.write(publish)
            await asyncio.sleep(0.1)
        writer.write(b"\x90\x04" + identifier + b"\x00\x00")  # SUBACK
        await reader.read()
        writer.close()

    async with await asyncio.start_server(speak_slowly, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"mqtt://127.0.0.1:{port}"
        async with Session(url, client_id="c", site=site, jitter=lambda: 0.0) as patient:
            await patient.subscribe(topics.NODE_STATES)
            await patient.wait_connected(DEADLINE)
            assert patient.counters.connections == 1
            assert patient.counters.received == 40


async def _raw_publish(service: BrokerService, sent: list[tuple[str, bytes, str, bool]]) -> None:
    async with aiomqtt.Client(service.host, service.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        for topic, data, content_type, retain in sent:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            if content_type:
                properties.ContentType = content_type
            await client.publish(topic, data, qos=1, retain=retain, properties=properties)


async def test_hostile_messages_are_counted_and_do_no_harm(broker: BrokerService, site: str) -> None:
    state = f"winslow/{site}/nodes/ws1/state"
    hostile = [
        (state, b"\xff\xfe", "", False),
        (state, b"[" * 50_000, "", False),
        (state, b'{"node":"ws2","node_uuid":"u","instance":"i","presence":"online"}', "", False),
        (state, presence().model_dump_json().encode(), "text/html", False),
        (f"winslow/{site}/nodes/ws1/metrics", b"\xdd\xff\xff\xff\xff", "", False),
        (f"winslow/{site}/nodes/../state", b"x", "", False),
        (f"winslow/{site}/nodes/ws 1/state", b"x", "", False),
        (f"winslow/{site}/projects/p/runs/1.1/log", b"no offset", "", False),
        (f"winslow/{site}/clients/other/echo", b"1", "", False),
        (f"winslow/{site}", b"x", "", False),
    ]
    async with session(broker, site) as reader:
        await reader.subscribe(topics.EVERYTHING)
        await connected(reader)
        await _raw_publish(
            broker, [*hostile, (state, presence(note="good").model_dump_json().encode(), "", False)]
        )
        (found,) = await take(reader, 1)
        assert isinstance(found.payload, NodeState)
        assert found.payload.note == "good"
        assert reader.counters.malformed == len(hostile) - 1  # another session's echo is no error
        assert reader.counters.connections == 1
        assert reader.counters.last_malformed


async def test_an_oversized_retained_message_does_not_break_sessions(
    broker: BrokerService, site: str
) -> None:
    state = f"winslow/{site}/nodes/big/state"
    await _raw_publish(broker, [(state, b"x" * (2 * MAX_BYTES), "", True)])
    try:
        async with session(broker, site) as reader:
            await reader.subscribe(topics.NODE_STATES)
            await connected(reader)
            reader.publish(topics.NodeState(node="ws1"), presence())
            (found,) = await take(reader, 1)
            assert found.topic == topics.NodeState(node="ws1")
            assert reader.counters.connections == 1
            snapshot = await reader.snapshot(topics.NODE_STATES, DEADLINE)
            assert [received.topic for received in snapshot] == [topics.NodeState(node="ws1")]
    finally:
        await _raw_publish(broker, [(state, b"", "", True)])


async def test_unsubscribing_ends_the_stream_also_after_a_reconnect(
    broker_factory: BrokerFactory, site: str
) -> None:
    service = broker_factory(BrokerKind.IOTCORE)
    async with session(service, site) as reader, session(service, site) as writer:
        await reader.subscribe(topics.NODE_STATES)
        await reader.subscribe(topics.PIPELINES)
        await connected(reader, writer)
        await reader.unsubscribe(topics.NODE_STATES)
        service.kill()
        await reader.wait_disconnected()
        await writer.wait_disconnected()
        service.start()
        await connected(reader, writer)
        writer.publish(topics.NodeState(node="ws1"), presence())
        await writer.flush(DEADLINE)
        writer.publish(topics.PipelineNotice(name="t"), messages.PipelineNotice(name="t", revision=1))
        assert (await take(reader, 1))[0].topic == topics.PipelineNotice(name="t")


async def test_what_cannot_be_sent_is_refused_at_once(broker: BrokerService, site: str) -> None:
    async with session(broker, site) as writer:
        with pytest.raises(InvalidInput, match="not retained"):
            writer.clear(topics.NodeMetrics(node="ws1"))
        with pytest.raises(InvalidInput, match="does not belong"):
            writer.publish(topics.NodeMetrics(node="ws1"), presence())
        with pytest.raises(InvalidInput, match="filter"):
            await writer.subscribe("nodes/#/state")
    with pytest.raises(InvalidInput, match="client id"):
        session(broker, site, "a/b")
    with pytest.raises(InvalidInput, match="site"):
        session(broker, "+")


async def test_reading_gives_other_tasks_a_turn(broker: BrokerService, site: str) -> None:
    log = topics.Log(project="p", run=1, attempt=1)
    async with session(broker, site) as both:
        await both.subscribe(topics.EVERYTHING)
        await connected(both)
        for number in range(2000):
            both.publish(log, messages.LogChunk(offset=number, data=b"x"))
        await until(lambda: both.counters.received == 2000)
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.create_task(count_turns())
        await take(both, 2000)
        counting.cancel()
        assert turns >= 10
