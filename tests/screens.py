"""The full-screen program on a site that is always the same: a store in memory, news that a test tells, no clock.

`site()` is a small site in the middle of its work; `app(site)` is the program on it, for `run_test`.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image, ImageDraw
from textual.screen import Screen

from broker.codec import Payload
from broker.messages import Phase, Progress, ProjectSummary
from broker.session import Received
from broker.topics import Topic
from winslow import lifecycle
from winslow.config import BrokerSettings, Config, Settings, StoreSettings
from winslow.events import Claimed, Ended, Enqueued, Event, Exited, RunQueued, Started
from winslow.logs import Record, encode
from winslow.metrics import (
    ContainerSample,
    DiskSample,
    GpuSample,
    HistoryPoint,
    NetworkSample,
    NodeHistory,
    NodeSample,
    UsagePast,
    UsagePoint,
)
from winslow.node import ActiveRun, FreeResources, Gpu, Hardware, NodeState, Presence, Reservation
from winslow.project import Manifests, Peak, Project, Reason, Tombstone
from winslow.store import layout
from winslow.store.memory import MemoryStore
from winslow.workspace import Entry, EntryType, Manifest
from winslow.workspace import encode as encode_manifest
from winslow_tui.facade.activity import About, Subject
from winslow_tui.facade.activity import Entry as Happened
from winslow_tui.facade.client import Client
from winslow_tui.facade.link import Link
from winslow_tui.program.activityfeed import ActivityFeed
from winslow_tui.program.app import WinslowApp
from winslow_tui.program.sitewatch import Server, SiteWatch
from winslow_tui.program.surroundings import Surroundings
from winslow_tui.program.transfers import State, Transfer
from winslow_tui.program.unfinished import Direction, Errand

CONFIG = Config(
    settings=Settings(
        site="main",
        broker=BrokerSettings(url="mqtt://broker.example:1883"),
        store=StoreSettings(url="http://store.example:9000/winslow"),
    ),
    origins={},
)
NOWHERE = Config(settings=Settings(), origins={})
NOON = datetime(2026, 6, 12, 12, 0, tzinfo=UTC)
GIB = 1 << 30
TRAFFIC = """\
name: traffic
description: who drives where   # and how fast
env: {MODEL: v8, CONF: "0.35"}
stages:
  - name: detect
    image: registry.example/detect:3
    command: [detect, --video, $VIDEO]
    requires: {cpus: 4, memory: 8GiB, gpus: {count: 1, memory: 24GiB}}
  - name: track
    image: registry.example/track:3
    requires: {cpus: 2, memory: 4GiB}
  - name: clean
    image: registry.example/clean:1
    require_env: [THRESHOLD]
    requires: {cpus: 1, memory: 1GiB}
  - name: stats
    image: registry.example/stats:2
    requires: {cpus: 1, memory: 1GiB}
"""
CAREFUL = """\
name: careful
stages:
  - {name: bill, image: registry.example/bill:1, confirmation: always}
"""


class Told(SiteWatch):
    """What is new comes from the test."""

    def start(self) -> None:
        """Nothing is connected."""

    def close(self) -> None:
        """Nothing was."""

    def tell(
        self,
        *,
        projects: Mapping[str, ProjectSummary | None] | None = None,
        nodes: Mapping[str, NodeState | None] | None = None,
        samples: Mapping[str, NodeSample] | None = None,
        histories: Mapping[str, NodeHistory] | None = None,
        progress: Mapping[tuple[str, int, int], Progress] | None = None,
        broker: Server | None = None,
        store: Server | None = None,
    ) -> None:
        """Something is new."""
        with self._lock:
            news = self._news
            news.projects |= projects or {}
            news.nodes |= nodes or {}
            news.samples |= samples or {}
            news.histories |= histories or {}
            news.progress |= progress or {}
            news.broker, news.store = broker or news.broker, store or news.store

    def hear(self, topic: Topic, payload: Payload) -> None:
        """A message of a topic that a screen listens to."""
        self._handle(Received(topic=topic, payload=payload, retained=False))


class OwnLink(Link):
    """A person's way to the store in memory; what a command changes is heard at once."""

    def __init__(
        self, config: Config, store: MemoryStore, hear: Callable[[ProjectSummary, bool], None]
    ) -> None:
        numbers = itertools.count()
        super().__init__(config, store=store, new_id=lambda: f"command-{next(numbers)}")
        self._hear = hear

    @property
    def author(self) -> str:
        return "anna"

    def now(self) -> str:
        return NOON.isoformat()

    def tell(self, old: Project | None, new: Project | Tombstone) -> None:
        self._hear(ProjectSummary.of(new, updated=self.now()), isinstance(new, Tombstone))

    def broker(self, tell: Callable[[], None]) -> None:
        """There is none."""


class Happenings(ActivityFeed):
    """A few things that happened, told once."""

    def __init__(self, entries: Iterable[Happened]) -> None:
        self.problem = ""
        self._entries = list(entries)

    def close(self) -> None:
        """Nothing was begun."""

    def take(self) -> list[Happened]:
        found, self._entries = self._entries, []
        return found


@dataclass
class Site:
    """A site in memory. `seconds` is what its monotonic clock shows."""

    store: MemoryStore = field(default_factory=MemoryStore)
    watch: Told | None = None
    seconds: float = 10_000.0
    broker: Server = field(default_factory=lambda: Server(up=True, since=9_000.0))
    happened: list[Happened] = field(default_factory=list)

    def client(self, config: Config) -> Client:
        """A facade for the program."""
        return Client(config, link=OwnLink(config, self.store, self.hear))

    def hear(self, summary: ProjectSummary, gone: bool) -> None:
        """A project was changed by somebody on this site."""
        if self.watch is not None:
            self.watch.tell(projects={summary.id: None if gone else summary})

    def listen(self, config: Config, client: Client) -> Told:
        """News for the program: broker and store are there."""
        self.watch = Told(config, client)
        self.watch.tell(broker=self.broker, store=Server(up=True, since=9_000.0))
        return self.watch

    def tell_all(self) -> None:
        """Everything there is, as news."""
        assert self.watch is not None
        self.watch.tell(
            projects=dict(self.summaries), nodes=dict(self.nodes), samples=self.samples, histories=self.histories,
            progress=self.progress,
        )  # fmt: skip

    def put(self, project: Project, *, updated: str = "2026-06-12T11:20:00Z") -> Project:
        """A project's document, and its summary among the news."""
        self.client(CONFIG).documents.create(project)
        self.summaries[project.id] = ProjectSummary.of(project, updated=updated)
        return project

    def __post_init__(self) -> None:
        self.summaries: dict[str, ProjectSummary] = {}
        self.nodes: dict[str, NodeState] = {}
        self.samples: dict[str, NodeSample] = {}
        self.histories: dict[str, NodeHistory] = {}
        self.progress: dict[tuple[str, int, int], Progress] = {}


def app(
    site: Site,
    folder: Path,
    *,
    readonly: bool = False,
    config: Config = CONFIG,
    load: Callable[[], Config] | None = None,
) -> WinslowApp:
    """The program on a site, what it remembers kept in `folder`."""
    made = WinslowApp(load or (lambda: config), readonly=readonly, around=around(site, folder))
    site.tell_all()
    return made


def around(site: Site, folder: Path) -> Surroundings:
    """What the program finds around it there."""
    return Surroundings(
        clock=lambda: site.seconds,
        wall=lambda: NOON,
        person="anna@lab",
        state=folder,
        client=site.client,
        watch=site.listen,
        activity=lambda _config, _client: Happenings(site.happened),
    )


def every(above: type[Screen[object]] = Screen) -> Iterator[type[Screen[object]]]:
    """Every screen of the program: those of its kinds that nothing is derived from."""
    for each in above.__subclasses__():
        if each.__module__.startswith("winslow_tui.") and not each.__subclasses__():
            yield each
        yield from every(each)


# -- projects


def after(project: Project, *events: Event) -> Project:
    """The project after some events."""
    for event in events:
        changed = lifecycle.apply(project, event)
        assert isinstance(changed, Project)
        project = changed
    return project


class Story:
    """A project's life, told event by event."""

    def __init__(
        self,
        id_: str,
        name: str,
        *,
        tags: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        definition: str = TRAFFIC,
    ) -> None:
        from winslow.pipeline import parse

        self._numbers = itertools.count()
        self._id = id_
        self.project = lifecycle.create(
            id=id_, event_id=self._event()["id"], name=name, pipeline=parse(definition, source="test"),
            source_revision=3, source="traffic", author="anna", tags=tags, env=dict(env or {}),
            at="2026-06-11T08:00:00Z",
        )  # fmt: skip

    def _event(self, at: str = "") -> dict[str, str]:
        return {"id": f"{self._id}-{next(self._numbers)}", "at": at, "by": "anna"}

    def start(self, stage: str | None = None, *, at: str = "", env: Mapping[str, str] | None = None) -> Story:
        """A run is queued."""
        self.project = after(
            self.project,
            RunQueued(
                stage=stage,
                confirmed=stage is not None,
                advance="single",
                env=dict(env or {}),
                **self._event(at),
            ),
        )
        return self

    def run(self, node: str, *, at: str) -> Story:
        """A node runs it."""
        n = self.project.runs[-1].n
        self.project = after(
            self.project,
            Claimed(n=n, k=1, claim="c", node=node, node_uuid=f"uuid-{node}", **self._event(at)),
            Started(n=n, k=1, claim="c", image_digest="sha256:4f53cda18c2baa0c", **self._event(at)),
        )
        return self

    def end(
        self, *, at: str, reason: Reason | None = None, detail: str = "", workspace: bool = True
    ) -> Story:
        """It has ended."""
        n = self.project.runs[-1].n
        left = (
            Manifests(workspace=layout.manifest(self._id, n, 1, "workspace"))
            if workspace and not reason
            else None
        )
        self.project = after(
            self.project,
            Exited(n=n, k=1, claim="c", exit_code=1 if reason else 0, **self._event(at)),
            Ended(
                n=n, k=1, claim="c", outcome="failed" if reason else "succeeded", reason=reason, detail=detail,
                exit_code=1 if reason else 0, manifests=left or Manifests(), peak=Peak(memory=3 * GIB, cpus=3.5),
                results={} if reason else {"vehicles": "1204"}, **self._event(at),
            ),
        )  # fmt: skip
        return self

    def queue(self, stage: str) -> Story:
        """Another run is to come after the active one."""
        self.project = after(self.project, Enqueued(stage=stage, **self._event("2026-06-12T11:00:00Z")))
        return self


def log(store: MemoryStore, project: str, n: int, lines: Iterable[str]) -> None:
    """A run's log as its node left it; what begins with `!` is on stderr."""
    records = [
        Record(
            time=f"2026-06-12T10:{at // 60:02}:{at % 60:02}.000000000Z",
            stream="stderr" if line.startswith("!") else "stdout",
            complete=True,
            data=line.removeprefix("!").encode(),
        )
        for at, line in enumerate(lines)
    ]
    key = layout.log_segment(project, n, 1, first_byte=0, first_line=0)
    store.put(key, b"".join(encode(record) for record in records))


def workspace(store: MemoryStore, project: str, n: int, files: Mapping[str, bytes]) -> None:
    """What a run left."""
    entries: list[Entry] = []
    for path, data in files.items():
        key = layout.object_(project, n, 1, "workspace", f"o-{len(entries)}")
        store.put(key, data)
        entries.append(Entry(path=path, type=EntryType.FILE, object=key, size=len(data), sha256="0" * 64))
    manifest = Manifest(project=project, run=n, attempt=1, area="workspace", entries=tuple(entries))
    store.put(layout.manifest(project, n, 1, "workspace"), encode_manifest(manifest))


def image() -> bytes:
    """A crossing from above, with what drove over it: 120 × 72, PNG."""
    drawn = Image.new("RGB", (120, 72), (52, 84, 58))
    pen = ImageDraw.Draw(drawn)
    for road in ((0, 26, 119, 45), (48, 0, 71, 71)):
        pen.rectangle(road, fill=(90, 92, 98))
    for x in range(2, 120, 12):
        pen.rectangle((x, 35, x + 5, 36), fill=(225, 225, 215))
    for at, colour in enumerate(((240, 90, 70), (250, 200, 60), (90, 180, 250))):
        pen.line([(2, 30 + 5 * at), (54 + 4 * at, 30 + 5 * at), (54 + 4 * at, 70)], fill=colour, width=2)
    into = io.BytesIO()
    drawn.save(into, "PNG")
    return into.getvalue()


# -- nodes


def node(
    name: str,
    *runs: ActiveRun,
    presence: Presence = Presence.ONLINE,
    gpus: int = 0,
    note: str = "",
    skew: int | None = None,
) -> NodeState:
    """A node of 16 cores and 64 GiB."""
    found = tuple(Gpu(uuid=f"GPU-{name}-{place}", name="RTX 4090", memory=24 * GIB) for place in range(gpus))
    return NodeState(
        node=name, node_uuid=f"uuid-{name}", instance="i", presence=presence, host=f"{name}.lab.example",
        version="0.1.0", runtime=("docker",), labels=("fast-disk",) if gpus else (), runs=runs, note=note, skew=skew,
        cached=180 * GIB if runs else 0,
        reserved=tuple(
            Reservation(
                project=run.project, run=run.run, attempt=run.attempt, cpus=4, memory=8 * GIB,
                gpus=tuple(gpu.uuid for gpu in found[:1]),
            )
            for run in runs
        ),
        hardware=Hardware(cpus=16, memory=64 * GIB, disk=900 * GIB, gpus=found, cpu_model="Ryzen 9 7950X"),
        free=FreeResources(cpus=16 - 4 * len(runs), memory=(64 - 8 * len(runs)) * GIB, disk=500 * GIB),
    )  # fmt: skip


def sample(cpu: float, *, gpus: int = 0) -> NodeSample:
    """A node at one moment."""
    return NodeSample(
        at=600.0,
        cpus=tuple(min(100.0, cpu + 7 * (place % 4)) for place in range(16)),
        memory=int(cpu * 0.5 * GIB),
        memory_total=64 * GIB,
        networks=(NetworkSample(name="eth0", in_rate=117e6, out_rate=3.2e6),),
        disks=(DiskSample(name="/", used=400 * GIB, total=900 * GIB, read_rate=2e6, write_rate=48e6),),
        gpus=tuple(
            GpuSample(
                uuid=f"GPU-{place}", percent=88.0, memory=19 * GIB, memory_total=24 * GIB, temperature=71.0
            )
            for place in range(gpus)
        ),
    )


def history(*, gpus: int = 0) -> NodeHistory:
    """Ten minutes of a node that works in waves."""
    points = tuple(
        HistoryPoint(
            at=5.0 * place,
            cpu=float(20 + (place * 7) % 71),
            memory=(20 + place % 30) * GIB,
            net_in=1e6 * (place % 23),
            net_out=1e5 * (place % 7),
            disk_read=1e6 * (place % 5),
            disk_write=4e6 * (place % 11),
            gpus=(float((place * 3) % 97),) * gpus,
        )
        for place in range(120)
    )
    cores = tuple(tuple((core * 11 + place * 3) % 101 for place in range(60)) for core in range(16))
    return NodeHistory(memory_total=64 * GIB, points=points, cores=cores)


def usage() -> ContainerSample:
    """What the run on ws2 uses, with an hour before it."""
    points = tuple(
        UsagePoint(
            cpus=1.2 + (place % 9) / 12,
            memory=int((1.5 + (place % 31) / 16) * GIB),
            read_rate=4e6 * (place % 5),
            write_rate=1e6 * (place % 3),
            net_in=9e6 if place < 6 else 0.0,
            processes=3 + place % 2,
        )
        for place in range(60)
    )
    return ContainerSample(
        at=4000.0, cpus=1.9, memory=3 * GIB, memory_limit=4 * GIB, read_rate=9e6, write_rate=2e6, processes=4,
        past=UsagePast(since=400.0, each=60, points=points),
    )  # fmt: skip


def transfers() -> list[Transfer]:
    """Files on their way, and some that stopped."""

    def one(
        number: int,
        direction: Direction,
        local: str,
        state: State,
        done: int,
        *,
        rate: float = 0.0,
        why: str = "",
    ) -> Transfer:
        return Transfer(
            id=str(number), errand=Errand(direction, f"/home/anna/{local}", f"{ULM}:input/"), key=str(number),
            state=state, total=500 << 20, done=done << 20, rate=rate, problem=why,
        )  # fmt: skip

    return [
        one(1, Direction.SEND, "videos/north.mp4", State.RUNNING, 212, rate=48e6),
        one(2, Direction.SEND, "videos/south.mp4", State.WAITING, 0),
        one(3, Direction.FETCH, "results", State.FAILED, 20, why="no room is left in /home/anna/results"),
        one(4, Direction.SEND, "videos/west.mp4", State.STOPPED, 97),
        one(5, Direction.SEND, "videos/east.mp4", State.DONE, 500),
    ]


# -- a whole one

ULM = "ulm-crossing-7k2f"


def site() -> Site:
    """Three nodes, projects in every state, two pipelines, some resources, and a history."""
    made = Site()
    ulm = Story(ULM, "Ulm crossing, 12 June", tags=("ulm", "2026"), env={"VIDEO": "res:ulm/north.mp4"})
    ulm.start("detect", at="2026-06-12T07:55:00Z").run("ws3", at="2026-06-12T08:00:00Z")
    ulm.end(at="2026-06-12T08:31:00Z", reason=Reason.OOM, detail="killed: used 8 of 8 GiB")
    ulm.start("detect", at="2026-06-12T08:40:00Z", env={"CONF": "0.5"}).run("ws1", at="2026-06-12T08:41:00Z")
    ulm.end(at="2026-06-12T10:30:00Z")
    ulm.start("track", at="2026-06-12T10:31:00Z").run("ws2", at="2026-06-12T10:33:00Z").queue("clean")
    made.put(ulm.project, updated="2026-06-12T10:33:00Z")
    night = Story("b10-night-d2aa", "B10 by night", tags=("b10",))
    for stage in ("detect", "track"):
        night.start(stage, at="2026-06-11T20:00:00Z").run("ws1", at="2026-06-11T20:01:00Z").end(
            at="2026-06-12T02:58:00Z"
        )
    made.put(night.start(at="2026-06-12T02:58:00Z").project, updated="2026-06-12T02:58:00Z")
    made.put(
        Story("a8-ramp-c9xw", "A8 ramp", tags=("a8",)).start("detect", at="2026-06-12T11:20:00Z").project
    )
    failed = Story("test-e5kd", "test").start("detect").run("ws3", at="2026-06-12T11:40:00Z")
    failed.end(at="2026-06-12T11:41:00Z", reason=Reason.EXIT_CODE, detail="exit code 137")
    made.put(failed.project, updated="2026-06-12T11:41:00Z")
    made.put(
        Story("kempten-north-aa2b", "Kempten north", tags=("b19", "2026")).project,
        updated="2026-06-10T09:00:00Z",
    )
    log(
        made.store,
        ULM,
        3,
        [
            "loading model v8",
            "!warning: 3 frames skipped",
            *(f"frame {n * 360}/36000 {n} %" for n in range(1, 82)),
        ],
    )
    workspace(
        made.store, ULM, 2, {"boxes.csv": b"frame,x,y\n1,20,30\n2,21,31\n", "model/weights.bin": bytes(4096)}
    )
    for path, size in {
        "ulm/north.mp4": 300_000,
        "ulm/south.mp4": 280_000,
        "models/v8.bin": 90_000,
        "readme.txt": 40,
    }.items():
        made.store.put(layout.resource(path), b"x" * size)
    client = made.client(CONFIG)
    client.pipelines.apply(TRAFFIC, source="traffic.yaml")
    client.pipelines.apply(TRAFFIC.replace("0.35", "0.4"), source="traffic.yaml")
    client.pipelines.apply("name: hello\nstages:\n  - {name: hi, image: busybox}\n", source="hello.yaml")
    running = ActiveRun(project=ULM, run=3, attempt=1, stage="track", phase="run")
    made.nodes = {
        "ws1": node("ws1", skew=0),
        "ws2": node("ws2", running, gpus=2, skew=-1),
        "ws3": node("ws3", presence=Presence.DRAINING, gpus=1, skew=48),
        "ws4": node("ws4", presence=Presence.OFFLINE, note="gone since Tuesday"),
    }
    made.samples = {"ws1": sample(4), "ws2": sample(71, gpus=2), "ws3": sample(12, gpus=1)}
    made.histories = {"ws2": history(gpus=2)}
    made.progress = {(ULM, 3, 1): Progress(phase=Phase.RUN, percent=81.0)}
    made.happened = [
        Happened(
            Subject(About.PIPELINE, "traffic"),
            1,
            "2026-06-12T08:00:00Z",
            "anna",
            "pipeline_applied",
            "applied revision 2",
        ),
        Happened(
            Subject(About.NODE, "ws3"), 1, "2026-06-12T09:10:00Z", "ben", "drained", "is to take nothing new"
        ),
        Happened(
            Subject(About.PROJECT, ULM),
            2,
            "2026-06-12T10:33:00Z",
            "ws2",
            "started",
            "run #3 (track) started",
            "Ulm crossing",
        ),
    ]
    return made
