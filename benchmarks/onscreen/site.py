"""A site with many projects and nodes and one long log, and the process that keeps all of it busy."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from broker import topics
from broker.codec import Payload
from broker.embedded import EmbeddedBroker
from broker.messages import LogChunk, ProjectSummary
from broker.session import Session
from winslow import lifecycle
from winslow.config import BrokerSettings, Config, Settings, StoreSettings
from winslow.events import Claimed, Event, RunQueued, Started
from winslow.logs import Segment
from winslow.metrics import NodeSample
from winslow.node import FreeResources, Hardware, NodeState, Presence
from winslow.pipeline import parse
from winslow.project import Project
from winslow.store import layout
from winslow.store.embedded import EmbeddedStore
from winslow_tui.facade import live
from winslow_tui.facade.client import Client

PROJECT = "bench-aaaa"  # the one whose log is read
RARE = "needle-in-a-haystack"
BATCH_SECONDS = 0.05  # as an agent sends its logs; a project changes as often
SEGMENT_BYTES = 1 << 20
CHUNK_BYTES = 64_000
FILLED = "filled"
GIB = 1 << 30
_NOON = "2026-06-12T10:00:00Z"
_STATES = ("running", "waiting", "failed", "needs you", "succeeded", "paused", "new")
_REST = " of many frames, each with some more words so that a line has about two hundred bytes, as they have in life"


def config_of(broker: str, store: Sequence[str]) -> Config:
    """The site's; the store's URL and its two keys."""
    url, access, secret = store
    settings = Settings.model_validate(
        {
            "site": "bench",
            "broker": BrokerSettings(url=broker),
            "store": StoreSettings.model_validate({"url": url, "access_key": access, "secret_key": secret}),
        }
    )
    return Config(settings=settings, origins={})


@contextmanager
def servers(folder: Path) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """A broker and a store, as `config_of` takes them, that end with the block."""
    access, secret = secrets.token_hex(8), secrets.token_hex(16)
    store = EmbeddedStore(folder / "store", access_key=access, secret_key=secret, bucket="bench")
    broker = EmbeddedBroker(folder / "broker")
    store.start()
    try:
        broker.start()
        try:
            yield broker.url, (f"http://127.0.0.1:{store.port}/bench", access, secret)
        finally:
            broker.stop()
    finally:
        store.stop()


# -- the log


def record(number: int, text: str) -> bytes:
    """A line of 200 bytes."""
    seconds, rest = divmod(number, 1000)
    hours, minutes = divmod(seconds // 60, 60)
    time_ = f"2026-06-12T{hours % 24:02}:{minutes:02}:{seconds % 60:02}.{rest:03}000000Z"
    return f"{time_} stdout F {text}{_REST}".ljust(199).encode() + b"\n"


def hits(lines: int) -> tuple[int, int]:
    """The lines of the stored log that have the rare word."""
    return lines // 7, lines // 2


def store_log(client: Client, lines: int) -> Project:
    """A project with a run that has written so many lines."""
    project: Project = lifecycle.create(
        id=PROJECT, event_id="0", name="The log that is read", source_revision=1,
        pipeline=parse("name: bench\nstages: [{name: work, image: img}]\n", source="bench"),
    )  # fmt: skip
    events: tuple[Event, ...] = (
        RunQueued(id="1"),
        Claimed(id="2", n=1, k=1, claim="c", node="ws001", node_uuid="u"),
        Started(id="3", n=1, k=1, claim="c"),
    )
    for event in events:
        changed = lifecycle.apply(project, event)
        assert isinstance(changed, Project)
        project = changed
    client.documents.create(project)
    segment, data, written, rare = Segment(0, 0), bytearray(), 0, hits(lines)
    for number in range(lines):
        data += record(number, f"{RARE if number in rare else 'frame'} {number}")
        if len(data) >= SEGMENT_BYTES or number == lines - 1:
            key = layout.log_segment(
                PROJECT, 1, 1, first_byte=segment.first_byte, first_line=segment.first_line
            )
            client.store.put(key, bytes(data))
            written += len(data)
            segment, data = Segment(written, number + 1), bytearray()
    return project


# -- the load


def summary(number: int, revision: int) -> ProjectSummary:
    """One of many projects."""
    return ProjectSummary(
        id=f"project-{number:05}", revision=revision, name=f"Project {number}", author="anna", tags=("bench",),
        state=_STATES[(number + revision) % len(_STATES)], updated=_NOON,
    )  # fmt: skip


def _node(number: int) -> NodeState:
    return NodeState(
        node=f"ws{number:03}", node_uuid=f"uuid-{number}", instance="i", presence=Presence.ONLINE,
        hardware=Hardware(cpus=16, memory=64 * GIB), free=FreeResources(cpus=16, memory=64 * GIB),
    )  # fmt: skip


def fill(config: Config, *, project: Project, projects: int, nodes: int) -> None:
    """What the broker retains of the site."""
    for at in range(0, projects, 2_000):
        messages: list[tuple[topics.Topic, Payload]] = [
            (topics.ProjectState(project=f"project-{n:05}"), summary(n, 1))
            for n in range(at, min(projects, at + 2_000))
        ]
        live.publish(config, messages)
    live.publish(config, [(topics.NodeState(node=f"ws{n:03}"), _node(n)) for n in range(nodes)])
    live.publish(
        config, [(topics.ProjectState(project=project.id), ProjectSummary.of(project, updated=_NOON))]
    )


def load(config: Config, *, lines: int, rate: int, projects: int, nodes: int) -> None:
    """The other process: store the log and fill the broker, say so, and from the first line on stdin until its end keep
    all of it busy: 20 changes of state a second, each node's sample every two seconds, so many lines of the log."""
    client = Client(config)
    project = store_log(client, lines)
    fill(config, project=project, projects=projects, nodes=nodes)
    print(FILLED, flush=True)
    sys.stdin.readline()
    asyncio.run(_lively(config, lines=lines, rate=rate, projects=projects, nodes=nodes))


async def _lively(config: Config, *, lines: int, rate: int, projects: int, nodes: int) -> None:
    over = asyncio.create_task(asyncio.to_thread(sys.stdin.read), name="until stdin ends")
    batches = round(1 / BATCH_SECONDS)
    log = Log(rate)
    log.lines, log.offset = lines, 200 * lines
    async with live.session(config) as session:
        await live.connected(session)
        begun = time.monotonic()
        for turn in count():
            if over.done():
                break
            log.send(session)
            number = turn * 7919 % projects
            changed = summary(number, 2 + turn // projects)
            session.publish(topics.ProjectState(project=changed.id), changed)
            for n in range(turn % (2 * batches), nodes, 2 * batches):
                session.publish(topics.NodeMetrics(node=f"ws{n:03}"), _sample(n, turn))
            await asyncio.sleep(max(0.0, begun + (turn + 1) * BATCH_SECONDS - time.monotonic()))
        await session.flush(10.0)


class Log:
    """A log that grows; each line says at which second of the machine's monotonic clock it was written."""

    def __init__(self, rate: int) -> None:
        self.lines = 0
        self.offset = 0
        self._each = int(rate * BATCH_SECONDS)

    def send(self, session: Session) -> None:
        """The next batch."""
        now = time.monotonic()
        data = b"".join(
            record(n, f"frame {n} at {now:.3f}") for n in range(self.lines, self.lines + self._each)
        )
        topic = topics.Log(project=PROJECT, run=1, attempt=1)
        for start in range(0, len(data), CHUNK_BYTES):
            session.publish(
                topic, LogChunk(offset=self.offset + start, data=data[start : start + CHUNK_BYTES])
            )
        self.lines += self._each
        self.offset += len(data)


def _sample(number: int, turn: int) -> NodeSample:
    return NodeSample(
        at=turn * BATCH_SECONDS, cpus=tuple(float((number + turn + core) % 100) for core in range(16)),
        memory=(number % 60) * GIB, memory_total=64 * GIB,
    )  # fmt: skip
