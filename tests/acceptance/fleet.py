"""A site of a test's own: real broker and store, real agent processes, and eyes on what they leave behind.

Everything of a fleet is found by its site's name, which is drawn anew, so tests share servers and engine.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import docker
from docker.models.containers import Container

from broker import topics
from broker.topics import Topic
from node_agent.clock import Clock
from node_agent.journal import AttemptJournal, Journals
from tests.faults.link import Link
from tests.services.engine import DockerService
from tests.services.servers import BrokerService, StoreService
from tests.services.waiting import wait_until
from tests.stores import config_of, connected
from winslow import config, logs
from winslow.logs import RunEvent, Stream
from winslow.metrics import ContainerSample
from winslow.node import NodeState, Presence
from winslow.project import Project, Run, RunState, Tombstone
from winslow.store import layout
from winslow.store.daemon import Daemon
from winslow.store.s3 import S3Store
from winslow.store.wishes import Wishes
from winslow.workspace import Manifest, decode, unquote_path
from winslow_tui.facade import live
from winslow_tui.facade.client import Client

T = TypeVar("T")
MIB = 1 << 20
PATIENCE = 120.0
"""Seconds until a wait is a failure: far more than anything here takes on an idle machine."""


class AgentProcess:
    """One agent: `python -m node_agent` with a configuration of its own, as a site on one machine starts it; or a
    `program` that changes something in it."""

    def __init__(
        self,
        fleet: Fleet,
        name: str,
        settings: Mapping[str, object],
        *,
        site: str,
        program: Path | None = None,
    ) -> None:
        self.name = name
        self.home = fleet.folder / name
        self.data = self.home / "data"
        self._fleet = fleet
        self.home.mkdir(parents=True)
        self.config = self.home / "config.toml"
        agent = {"name": name, "data_dir": str(self.data), "allow_process": True, **settings}
        lines = [f"{key} = {json.dumps(value)}" for key, value in agent.items()]
        self.config.touch(mode=0o600)
        self.config.write_text("\n".join([site, "[agent]", *lines, ""]))
        started = ["-m", "node_agent"] if program is None else [str(program)]
        self._started = ""
        self._daemon = self._made([sys.executable, "-P", *started])

    def _made(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Daemon:
        return Daemon(
            name=f"agent {self.name}",
            command=command,
            log=self.home / "agent.log",
            environment={
                **self._fleet.engine.environment,
                **(environment or {}),
                "WINSLOW_CONFIG": str(self.config),
            },
            grace_seconds=60.0,
        )

    @property
    def running(self) -> bool:
        return self._daemon.running

    @property
    def log(self) -> str:
        """What it said."""
        return (self.home / "agent.log").read_text(errors="replace")

    @property
    def journals(self) -> tuple[AttemptJournal, ...]:
        """What it remembers of attempts; torn or strange ones are an AssertionError."""
        while True:
            with suppress(FileNotFoundError):  # an attempt that ended while it was looked at
                loaded = Journals(self.data / "attempts").load()
                break
        assert not loaded.bad
        return loaded.journals

    def start(self) -> AgentProcess:
        """Start it; it is not yet online."""
        self._started = Clock().wall()
        self._daemon.start()
        return self

    def start_doomed(self, moment: str) -> None:
        """Start one that kills itself at a moment of `tests.acceptance.doomed`, and wait for that."""
        self.doomed(moment)()

    def doomed(self, moment: str) -> Callable[[], None]:
        """Start such a one; what to call to wait for its death."""
        doomed = self._made(
            [sys.executable, "-P", str(Path(__file__).with_name("doomed.py"))], {"DOOM": moment}
        )
        doomed.start()
        self._fleet.ends.append(doomed.stop)
        return lambda: wait_until(
            lambda: not doomed.running, seconds=PATIENCE, what=f"{self.name}'s death {moment}"
        )

    def online(self) -> AgentProcess:
        """Return when the others can see it, started now and not earlier."""

        def there() -> bool:
            assert self.running, f"{self.name} has ended: {self.log[-2000:]}"
            state = self._fleet.nodes().get(self.name)
            if state is None or state.wall < self._started:  # the last word of one that was killed
                return False
            return state.presence is Presence.ONLINE

        wait_until(there, seconds=PATIENCE, what=f"{self.name} online")
        return self

    def offline(self) -> None:
        """Return when the broker says that it is away."""
        wait_until(
            lambda: self._fleet.nodes()[self.name].presence is Presence.OFFLINE,
            seconds=PATIENCE,
            what=f"{self.name} offline",
        )

    def holds(self, project: str) -> bool:
        """Whether anything of a project is left in its data directory."""
        below = [self.data / "attempts" / project, *(self.data / "spool").glob(f"{project}.*")]
        return any(path.exists() for path in below)

    def wait_unused(self) -> None:
        """Return when it holds no attempt any more."""
        attempts = self.data / "attempts"
        wait_until(
            lambda: not any(attempts.iterdir()), seconds=PATIENCE, what=f"the end of {self.name}'s attempts"
        )

    def kill(self) -> None:
        """SIGKILL."""
        self._daemon.kill()

    def stop(self, *, within: float | None = None) -> None:
        """SIGTERM; returns when it has ended, which must be `within` seconds."""
        begun = time.monotonic()
        self._daemon.stop()
        assert within is None or time.monotonic() - begun < within, "it took too long"


@dataclass(frozen=True)
class Stage:
    """A stage of a test's pipeline: `script` for `sh -c`; `more` are further keys of its definition."""

    script: str
    name: str = "one"
    image: str = ""
    cpus: float = 0.5
    memory: int = 64 * MIB
    tags: tuple[str, ...] = ()
    env: Mapping[str, str] | None = None
    command: tuple[str, ...] = ()
    more: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Cable:
    """One agent's ways to broker and store, which a test can cut and mend."""

    broker: Link
    store: Link

    def cut(self) -> None:
        """The agent hears and reaches nobody."""
        self.broker.cut()
        self.store.cut()

    def mend(self) -> None:
        """It does again."""
        self.broker.mend()
        self.store.mend()


class Fleet:
    """See the module; made by `fleet`."""

    def __init__(
        self,
        folder: Path,
        *,
        broker: BrokerService,
        store: StoreService,
        engine: DockerService,
        image: str,
        agents_store: StoreService | None = None,
    ) -> None:
        self.folder = folder
        self.site = f"test-{secrets.token_hex(4)}"
        self.engine = engine
        self.image = image
        self.docker = engine.client()
        self.store = S3Store(config_of(store), read_timeout=30.0)
        self.agents: dict[str, AgentProcess] = {}
        self.ends: list[Callable[[], None]] = []
        self.said: list[str] = []
        self._servers = (broker.url, agents_store or store)
        path = folder / "client.toml"
        path.touch(mode=0o600)
        path.write_text(self._settings(broker.url, store))
        self.config = config.load(environ={"WINSLOW_CONFIG": str(path)})
        self.client = Client(self.config, say=self.said.append, store=self.store)

    def _settings(self, broker: str, store: StoreService) -> str:
        return (
            f'site = "{self.site}"\n[broker]\nurl = "{broker}"\n[store]\n'
            f'url = "{store.endpoint}/{store.bucket}"\naccess_key = "{store.access_key}"\n'
            f'secret_key = "{store.secret_key}"\n'
        )

    # -- agents

    def agent(
        self,
        name: str = "ws1",
        /,
        *,
        cpus: float = 2.0,
        memory: int = 512 * MIB,
        cable: Cable | None = None,
        program: Path | None = None,
        **settings: object,
    ) -> AgentProcess:
        """A new agent, not started, with more of its `[agent]` section. Docker unless `runtime` says otherwise."""
        more = {"cpus": cpus, "memory": memory, "runtime": "docker", "cache_limit": 4 << 30, **settings}
        broker, store = self._servers
        if cable is not None:
            broker, store = cable.broker.url, replace(store, endpoint=cable.store.url)
        site = self._settings(broker, store)
        self.agents[name] = AgentProcess(self, name, more, site=site, program=program)
        return self.agents[name]

    def cable(self) -> Cable:
        """For one agent; it lasts as long as the fleet."""
        broker, store = self._servers
        made = Cable(broker=Link(broker), store=Link(store.endpoint))
        self.ends += [made.broker.close, made.store.close]
        return made

    def nodes(self) -> dict[str, NodeState]:
        """The nodes as the broker shows them."""
        return {node.node: node for node in self.client.nodes.all()}

    # -- projects

    def project(self, *stages: Stage, env: Mapping[str, str] | None = None) -> str:
        """A new project with a pipeline of these stages, not started; its id."""
        name = f"p{secrets.token_hex(4)}"
        definition = {
            "name": name,
            "stages": [
                {
                    "name": stage.name,
                    "image": stage.image or self.image,
                    "command": list(stage.command or ("sh", "-c", stage.script)),
                    "requires": {
                        "cpus": stage.cpus,
                        "memory": f"{stage.memory >> 20}MiB",
                        "tags": list(stage.tags),
                    },
                    "env": dict(stage.env or {}),
                    **stage.more,
                }
                for stage in stages
            ],
        }
        self.client.pipelines.apply(json.dumps(definition), source=name)  # JSON is YAML
        return self.client.projects.create(name, pipeline=name, env=env).id

    def start(self, *stages: Stage, env: Mapping[str, str] | None = None) -> str:
        """A new project, started; its id."""
        project = self.project(*stages, env=env)
        self.client.runs.start(project)
        return project

    def document(self, project: str) -> Project:
        """As it stands in the store."""
        found = self.client.documents.read(project).document
        assert isinstance(found, Project)
        return found

    def run(self, project: str, n: int = 1) -> Run:
        """One run of a document."""
        run = self.document(project).run(n)
        assert run is not None, f"{project} has no run #{n}"
        return run

    def wait_state(self, project: str, state: RunState, n: int = 1) -> Run:
        """The run, once it is in this state; AssertionError at once when it ended in another one."""

        def reached() -> bool:
            run = self.document(project).run(n)
            if run is None or run.state is not state:
                assert run is None or not run.state.ended, f"#{n} {run.state}: {run.reason}: {run.detail}"
                return False
            return True

        self._wait(reached, project, f"#{n} {state}")
        return self.run(project, n)

    def wait_idle(self, project: str) -> Project:
        """The document, once nothing of it is active."""
        self._wait(lambda: not self.document(project).active, project, "idle")
        return self.document(project)

    def _wait(self, condition: Callable[[], object], project: str, what: str) -> None:
        """Wait; an AssertionError tells what the agents said."""
        try:
            wait_until(condition, seconds=PATIENCE, what=f"{project} {what}")
        except AssertionError as error:
            runs = [f"#{run.n} {run.state} {run.detail}" for run in self.document(project).runs]
            logs = [f"{name}: {agent.log[-1500:]}" for name, agent in self.agents.items() if agent.journals]
            raise AssertionError("\n".join([str(error), *runs, *logs])) from None

    # -- what a run left

    def archive(self, project: str, run: int = 1, attempt: int = 1) -> bytes:
        """The log as the store has it; its segments must join without a hole."""
        return self._joined(layout.logs(project, run, attempt))

    def written(self, project: str, stream: Stream = "stdout", run: int = 1, attempt: int = 1) -> bytes:
        """The bytes that a stage wrote, from the archive."""
        return logs.inverse(self.archive(project, run, attempt), stream)

    def events(self, project: str, run: int = 1, attempt: int = 1) -> list[RunEvent]:
        """Our own events about an attempt."""
        lines = self._joined(layout.events(project, run, attempt)).splitlines()
        return [RunEvent.model_validate_json(line) for line in lines]

    def event(self, project: str, kind: str, run: int = 1, attempt: int = 1) -> RunEvent:
        """The one event of a kind."""
        (found,) = (each for each in self.events(project, run, attempt) if each.event == kind)
        return found

    def _joined(self, prefix: str) -> bytes:
        joined = b""
        for info in self.store.walk(prefix):
            start = layout.segment_start(info.key)
            assert start is not None and start[0] == len(joined), f"{info.key} after {len(joined)} bytes"
            joined += self.store.get(info.key).data
        return joined

    def wait_used(self, project: str, *, memory: int) -> None:
        """Return when the first run's stage was seen to use more than so many bytes."""
        topic = topics.Stats(project=project, run=1, attempt=1)

        async def seen() -> None:
            async with live.session(self.config) as broker:
                await live.connected(broker)
                await broker.subscribe(topic.path)
                async for each in broker.messages():
                    if isinstance(each.payload, ContainerSample) and each.payload.memory > memory:
                        return

        asyncio.run(asyncio.wait_for(seen(), PATIENCE))

    def wait_live(self, project: str, line: bytes, run: int = 1) -> None:
        """Return when the store has a line of a stage that still runs."""
        self._wait(lambda: line in self.written(project, run=run), project, f"has written {line!r}")

    def manifest(self, project: str, run: int = 1, area: layout.Area = "workspace") -> Manifest:
        """What a run left, as its document points to it."""
        manifests = self.run(project, run).manifests
        key = manifests.workspace if area == "workspace" else manifests.output
        return decode(self.store.get(key).data, key=key, project=project)

    def files(self, project: str, run: int = 1, area: layout.Area = "workspace") -> dict[str, bytes]:
        """The files of a workspace or an output with their bytes."""
        return {
            unquote_path(entry.path).decode(): self.store.get(entry.object).data if entry.object else b""
            for entry in self.manifest(project, run, area).entries
            if entry.type == "file"
        }

    # -- what stands around

    def containers(self, project: str = "") -> list[Container]:
        """Every container of this site, running or not."""
        labels = [f"winslow.site={self.site}"] + [f"winslow.project={project}"] * bool(project)
        found: list[Container] = self.docker.containers.list(
            all=True, filters={"label": labels}, ignore_removed=True
        )
        return found

    def container(self, project: str) -> Container:
        """The one container of a project's newest run: that of the run before may not be removed yet."""
        (found,) = _of_newest_run(self.containers(project), lambda each: int(each.labels["winslow.run"]))
        return found

    def volumes(self) -> list[str]:
        """Every volume of this site."""
        found = self.docker.volumes.list(filters={"label": f"winslow.site={self.site}"})
        return [volume.name for volume in found]

    def go(self, project: str) -> None:
        """Let a stage of `waiting_lines` go on."""
        if self.containers(project):
            let_go(self.container(project))
        else:
            (self.process_folder(project) / "home" / "go").touch()

    def process_folder(self, project: str) -> Path:
        """Where the plain process of a project's newest run has its files: as for `container`."""
        folders = [
            path
            for agent in self.agents.values()
            for path in (agent.data / "attempts" / project).glob("*/process")
        ]
        (found,) = _of_newest_run(folders, lambda path: int(path.parent.name.partition(".")[0]))
        return found

    def has_ended(self, project: str) -> bool:
        """Whether a stage has ended by the word of its engine, which no agent need have heard."""
        if self.containers(project):
            return bool(self.container(project).status == "exited")
        return (self.process_folder(project) / "exit.json").exists()

    def retained(self, *below: str) -> dict[Topic, Any]:
        """What the broker keeps under filters (all of the site by default)."""
        found = live.retained(self.config, *(below or (topics.EVERYTHING,)))
        return {each.topic: each.payload for each in found}

    def assert_clean(self) -> None:
        """Wait until nothing of ended attempts is left on the nodes: containers, volumes, directories."""

        def left() -> list[object]:
            places = [agent.data / name for agent in self.agents.values() for name in ("attempts", "spool")]
            files = [path for place in places if place.is_dir() for path in place.iterdir()]
            return [*self.containers(), *self.volumes(), *files]

        with suppress(AssertionError):
            wait_until(lambda: not left(), seconds=PATIENCE)
        assert left() == [], f"left behind: {left()}"

    def assert_topics_true(self) -> None:
        """Wait until the broker's retained topics say what the documents say, and nothing else."""
        stored = {each: self.client.documents.read(each).document for each in self._ids()}
        wishes = [Wishes(self.store).read(node).document for node in self.client.documents.listing().nodes]

        def wrong() -> list[str]:
            shown = self.retained(topics.PROJECT_TOPICS)
            told = {each.node: each.revision for each in self.retained(topics.NODE_WISHES).values()}
            wanted = {wish.node: wish.revision for wish in wishes if not wish.forgotten}
            found = [f"wishes for nodes are at {wanted}, shown: {told}"] * (told != wanted)
            states = {
                topic.project: each for topic, each in shown.items() if type(topic) is topics.ProjectState
            }
            for project, document in stored.items():
                summary = states.pop(project, None)
                if isinstance(document, Tombstone):
                    found += [f"{project} is deleted, not its state"] * (summary is not None)
                elif summary is None or summary.revision != document.revision:
                    found.append(f"{project} is at {document.revision}, shown: {summary}")
            found += [f"state of unknown {project}" for project in states]
            documents = [each for each in stored.values() if isinstance(each, Project)]
            runs = [(each.id, run) for each in documents for run in each.active]
            standing: set[Topic] = {
                topics.Offer(project=id, run=run.n, attempt=run.next_k) for id, run in runs
            }
            standing |= {
                topics.Progress(project=id, run=run.n, attempt=len(run.attempts))
                for id, run in runs
                if run.state.held
            }
            for topic in shown:
                if isinstance(topic, topics.Offer | topics.Progress):
                    found += [f"{topic} stands"] * (topic not in standing)
            return found

        with suppress(AssertionError):
            wait_until(lambda: not wrong(), seconds=PATIENCE)
        assert wrong() == [], f"shown: {wrong()}"

    def _ids(self) -> Iterator[str]:
        yield from self.client.documents.project_etags()

    # -- the end

    def close(self) -> None:
        """End every agent, then every container and process of this site."""
        for agent in self.agents.values():
            if agent.running:
                agent.kill()
            agent.stop()
        for end in self.ends:
            end()
        wait_until(self._emptied, seconds=PATIENCE, what="the end of its containers")
        for name in self.volumes():
            with suppress(docker.errors.NotFound):
                self.docker.volumes.get(name).remove(force=True)
        self.docker.close()
        self.store.close()

    def _emptied(self) -> bool:
        """Remove every container of this site, the tests' own among them; whether there was none any more."""
        strangers = self.docker.containers.list(
            all=True, filters={"label": f"test={self.site}"}, ignore_removed=True
        )
        left = [*self.containers(), *strangers]
        for container in left:
            try:
                container.remove(force=True, v=True)
            except docker.errors.APIError as error:
                if error.status_code not in (
                    404,
                    409,
                ):  # gone, or going: an agent that was killed had begun to
                    raise
        return not left


@contextmanager
def fleet(
    folder: Path,
    *,
    broker: BrokerService,
    store: StoreService,
    engine: DockerService,
    image: str,
    agents_store: StoreService | None = None,
) -> Iterator[Fleet]:
    """A fleet without agents yet; all of it but the empty bucket is gone at the end. `agents_store` is another way
    to the store, for the agents alone."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Fleet(folder, broker=broker, store=store, engine=engine, image=image, agents_store=agents_store)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


class Buckets:
    """Buckets of one server, used again: the first agent of a new one races for seconds to trust it."""

    def __init__(self, server: StoreService) -> None:
        self._server = server
        self._free: list[StoreService] = []

    @contextmanager
    def one(self) -> Iterator[StoreService]:
        """A bucket that nobody else uses meanwhile, with nothing in it but the sign that it can be trusted."""
        bucket = self._free.pop() if self._free else self._server.with_new_bucket()
        try:
            yield bucket
        finally:
            with connected(bucket) as store:
                for prefix in ("documents/", "projects/", "pipelines/", "resources/", "alive/"):
                    store.delete_prefix(prefix)
            self._free.append(bucket)


def _of_newest_run(found: Sequence[T], run_of: Callable[[T], int]) -> list[T]:
    """What belongs to the newest run of it all: a node cleans up after a run while the next one begins."""
    newest = max(map(run_of, found), default=0)
    return [each for each in found if run_of(each) == newest]


def let_go(container: Container) -> None:
    """As `Fleet.go`, for one container."""
    assert container.client is not None
    api = container.client.api
    begun = api.exec_create(container.id, ["sh", "-c", "touch /tmp/go $HOME/go"])["Id"]
    said = api.exec_start(begun)
    # The end of its output is told before it has an exit code.
    wait_until(lambda: not api.exec_inspect(begun)["Running"], seconds=PATIENCE, what="the end of touch")
    assert api.exec_inspect(begun)["ExitCode"] == 0, said


def waiting_lines(first: int = 200, last: int = 200) -> tuple[str, bytes]:
    """A script that writes numbered lines, waits for `Fleet.go`, and writes more; and what stdout gets.

    It also leaves a file `done` in the workspace, and counts its starts in `starts`."""
    script = (
        "cd $WINSLOW_DIR_WORKSPACE; echo start >> starts;"
        f" i=0; while [ $i -lt {first} ]; do echo line $i; i=$((i+1)); done;"
        " printf '\\377\\000 no newline'; echo problem >&2;"
        " while [ ! -e $HOME/go ]; do sleep 0.02; done; echo;"
        f" while [ $i -lt {first + last} ]; do echo line $i; i=$((i+1)); done;"
        " echo 'WINSLOW_RESULT: lines='$i; echo done > done"
    )
    lines = [b"line %d\n" % number for number in range(first + last)]
    total = b"WINSLOW_RESULT: lines=%d\n" % (first + last)
    return script, b"".join([*lines[:first], b"\xff\x00 no newline\n", *lines[first:], total])
