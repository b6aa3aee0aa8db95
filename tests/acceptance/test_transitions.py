"""Every row of the lifecycle's table and every reason is met by people who have `winslow`, an MQTT client and an S3
client, and by nothing else (I9). A row that is added without a way to reach it here fails the test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.conftest import FleetBehind
from tests.acceptance.fleet import PATIENCE, AgentProcess, Fleet
from tests.acceptance.people import Person
from tests.acceptance.witness import Move, Witness
from tests.faults.proxy import ProxyFault
from tests.services.waiting import wait_until
from winslow.lifecycle import TRANSITIONS
from winslow.project import Reason

FOR_EVER = "while :; do sleep 0.05; done"
LIMITS = {"stop_grace": "0s"}
REFUSED_PATH = "refused-by-the-store"
"""A project of this name cannot store what its runs leave."""

NEVER_FETCHED = "never-fetched"
"""A resource of this name is there, and no node gets it: what needs it prepares for ever."""


@dataclass(frozen=True)
class World:
    """One site, somebody who uses it, and what can be seen of it from outside."""

    fleet: Fleet
    anna: Person
    witness: Witness

    def project(self, name: str, **stages: dict[str, object]) -> str:
        """A new project with these stages; its id."""
        told = [
            {"name": each, "image": self.fleet.image, "requires": needs()} | keys
            for each, keys in stages.items()
        ]
        (self.anna.folder / "p.yaml").write_text(json.dumps({"name": name, "stages": told}))
        self.anna("pipeline", "apply", "p.yaml")
        return self.anna("project", "create", name, "--pipeline", name).strip()

    def fails(self, project: str, stage: str) -> str:
        """Start a stage that fails; the sentence that people get."""
        self.anna("start", project, "--stage", stage)
        self._wait(lambda: self.witness.idle(project), f"the end of {stage}", project)
        run = self.witness.document(project)["runs"][-1]
        assert (run["stage"]["name"], run["state"]) == (stage, "FAILED"), run["detail"]
        return str(run["detail"])

    def reach(self, project: str, state: str, n: int = 1) -> None:
        """Wait for a run's state."""
        self._wait(lambda: self.witness.state(project, n) == state, f"{project} #{n} {state}", project)

    def _wait(self, condition: Callable[[], bool], what: str, project: str) -> None:
        try:
            wait_until(condition, seconds=PATIENCE, what=what)
        except AssertionError as error:
            said = [self.anna("explain", project), *(each.log[-1500:] for each in self.fleet.agents.values())]
            raise AssertionError("\n".join([str(error), *said])) from None


def needs(*, cpus: float = 0.1, memory: str = "32MiB", tag: str = "roomy") -> dict[str, object]:
    return {"cpus": cpus, "memory": memory, "tags": [tag]}


def sh(script: str, **keys: object) -> dict[str, object]:
    return {"command": ["sh", "-c", script], **keys}


@pytest.fixture
def world(fleet_behind: FleetBehind, tmp_path: Path) -> Iterator[World]:
    def plan(method: str, path: str) -> ProxyFault:
        if method == "GET" and f"/resources/{NEVER_FETCHED}" in path:
            return ProxyFault.REQUEST_DROPPED
        refused = method == "PUT" and f"/projects/{REFUSED_PATH}" in path and "/workspace/" in path
        return ProxyFault.REFUSED if refused else ProxyFault.NONE

    fleet = fleet_behind(plan)
    anna = Person("anna", fleet.folder / "client.toml", tmp_path)
    with Witness(fleet.config) as witness:
        yield World(fleet=fleet, anna=anna, witness=witness)


def test_every_transition_and_every_reason_is_met(world: World) -> None:
    images = ["winslow-test/*", "127.0.0.1:*"]
    node = world.fleet.agent("ws1", images=images, labels=["roomy"])
    crowded = Path(__file__).with_name("crowded.py")
    full = world.fleet.agent("ws2", images=images, labels=["full"], program=crowded).start()
    projects = [*_a_node_forgets_and_is_forgotten(world, node), *_stages_fail(world)]
    assert full.running

    rows = {
        (name, before.value, to.value) for name, (sources, to) in TRANSITIONS.items() for before in sources
    }
    told = {(_row(move), move.before, move.after) for move in world.witness.moves()}
    recorded = {each for project in projects for each in _recorded(world.witness.document(project))}
    assert told and told <= rows, "the broker told of a move that the table does not have"
    assert recorded == rows
    runs = [run for project in projects for run in world.witness.document(project)["runs"]]
    reasons = {run["reason"] for run in runs} | {each["reason"] for run in runs for each in run["attempts"]}
    assert reasons - {None} == set(Reason)
    world.fleet.assert_clean()
    world.fleet.assert_topics_true()


def _a_node_forgets_and_is_forgotten(world: World, node: AgentProcess) -> list[str]:
    """The node dies when one run prepares, one runs and one is to be collected, twice: once it comes back without
    its memory, once it is removed from the site."""
    anna, retry = world.anna, {"retry": {"max": 1, "on": ["node_lost"]}}
    (anna.folder / NEVER_FETCHED).write_text("x")
    anna("files", "put", NEVER_FETCHED, f"res:{NEVER_FETCHED}")
    prepares = world.project("prepares", one=sh("true", env={"FILE": f"res:{NEVER_FETCHED}"}, **retry))
    runs = world.project("runs", one=sh(FOR_EVER, **retry, **LIMITS))
    ends = world.project("ends", one=sh("true", retry={"max": 0}))

    died = node.doomed("after exited")
    for project, state in ((prepares, "PREPARING"), (runs, "RUNNING")):
        anna("start", project)
        world.reach(project, state)
    anna("start", ends)
    died()
    assert [world.witness.state(each, 1) for each in (prepares, runs, ends)] == [
        "PREPARING",
        "RUNNING",
        "COLLECTING",
    ]
    for project in (prepares, runs, ends):
        shutil.rmtree(node.data / "attempts" / project)
        shutil.rmtree(node.data / "spool" / f"{project}.1.1")
        for container in world.fleet.containers(project):
            container.remove(force=True, v=True)
    node.start().online()
    world.reach(ends, "SUCCEEDED")
    world.reach(runs, "RUNNING")
    world.reach(prepares, "PREPARING")
    assert [len(world.witness.document(each)["runs"][0]["attempts"]) for each in (prepares, runs, ends)] == [
        2,
        2,
        2,
    ]

    node.kill()
    died = node.doomed("after exited")
    anna("start", ends, "--stage", "one")
    died()
    node.offline()
    said = anna.try_("node", "forget", "ws1", "--yes").err
    assert said.count("is lost") == 3
    assert world.witness.state(ends, 2) == "FAILED"
    assert {world.witness.state(each, 1) for each in (prepares, runs)} == {"QUEUED"}
    node.start().online()
    world.reach(runs, "RUNNING")
    world.reach(prepares, "PREPARING")
    anna("abort", runs, "--now")
    anna("abort", prepares)
    world.reach(runs, "FAILED")
    world.reach(prepares, "FAILED")
    return [prepares, runs, ends]


def _stages_fail(world: World) -> list[str]:
    """One stage for each way to fail that needs no accident."""
    anna = world.anna
    project = world.project(
        "faults",
        exit_code=sh("exit 3"),
        oom=sh("exec tail -c 100m /dev/zero", requires=needs(memory="16MiB")),
        log_pattern=sh("echo ERROR: no frames", fail_on=["^ERROR"]),
        timeout=sh(FOR_EVER, timeout="0.2s", **LIMITS),
        stalled=sh(FOR_EVER, stall_timeout="0.2s", **LIMITS),
        image={"image": "127.0.0.1:1/absent:1", "retry": {"max": 1, "on": ["image_unavailable"]}},
        input=sh("true", env={"VIDEO": "res:none.mp4"}),
        command={"command": ["no-such-program"]},
        refused={"image": "elsewhere/tool:1"},
        disk=sh("true", env={"FILE": "res:given"}, requires=needs(tag="full")),
        nobody=sh("true", requires=needs(cpus=64)),
    )
    assert world.fails(project, "exit_code") == "exit code 3"
    assert world.fails(project, "oom") == "killed: used 16.0 of 16 MiB"
    assert world.fails(project, "log_pattern") == "wrote 'ERROR: no frames' (fail_on '^ERROR')"
    assert world.fails(project, "timeout") == "stopped after 0.2 s: the stage's timeout"
    assert world.fails(project, "stalled") == "no output for 0.2 s: the stage's stall_timeout"
    assert "cannot be pulled" in world.fails(project, "image")
    assert world.fails(project, "input") == "res:none.mp4: there is no such file in the store"
    assert "no-such-program" in world.fails(project, "command")
    assert world.fails(project, "refused").endswith("does not allow the image elsewhere/tool:1")
    (anna.folder / "given").write_text("given")
    anna("files", "put", "given", "res:given")
    assert "the disk is full" in world.fails(project, "disk")
    anna("start", project, "--stage", "nobody")
    anna("abort", project)
    assert world.witness.document(project)["runs"][-1]["detail"] == "aborted by anna"

    left = sh("echo x > $WINSLOW_DIR_WORKSPACE/x", retry={"max": 1, "on": ["storage"]})
    refused = world.project(REFUSED_PATH, one=left)
    assert "changed meanwhile (HTTP 409" in world.fails(refused, "one")
    return [project, refused]


def _row(move: Move) -> str:
    """The row of the table that a write was: its docstring says which event is which."""
    match move.kind:
        case "claimed":
            return "claim"
        case "started":
            return "start"
        case "exited":
            return "exit"
        case "abort_requested" if move.before == "QUEUED":
            return "abort"
        case "disowned" if move.after == "QUEUED":
            return "disown"
        case "ended" if move.after == "SUCCEEDED":
            return "succeed"
        case _:
            return "retry" if move.after == "QUEUED" else "fail"


def _recorded(document: dict[str, object]) -> Iterator[tuple[str, str, str]]:
    """The rows by which the runs of a document came to be what they are, as their attempts keep it."""
    runs = document["runs"]
    assert isinstance(runs, list)
    for run in runs:
        for attempt in run["attempts"]:
            state = "PREPARING"
            yield ("claim", "QUEUED", state)
            for name, when, after in (
                ("start", "started_at", "RUNNING"),
                ("exit", "exited_at", "COLLECTING"),
            ):
                if attempt[when]:
                    yield (name, state, after)
                    state = after
            if attempt["k"] < len(run["attempts"]):
                yield ("disown" if attempt["outcome"] == "disowned" else "retry", state, "QUEUED")
            else:
                name = "succeed" if attempt["outcome"] == "succeeded" else "fail"
                yield (name, state, run["state"])
        if not run["attempts"]:
            yield ("abort", "QUEUED", run["state"])
