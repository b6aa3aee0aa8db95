"""A project deleted in each of its states (R1250, I8): nothing of it is left but its tombstone, whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.conftest import FleetBehind
from tests.acceptance.fleet import PATIENCE, Fleet, Stage, waiting_lines
from tests.faults.proxy import ProxyFault
from tests.services.waiting import wait_until
from winslow import address
from winslow.lifecycle import ProjectState, state_of
from winslow.project import RunState, Tombstone
from winslow.store import layout
from winslow_tui.facade import workspace_editing
from winslow_tui.facade.activity import Wanted
from winslow_tui.facade.changes import Changes

WAIT = waiting_lines(5, 5)[0]
LEAVE = "echo x > $WINSLOW_DIR_OUTPUT/x; echo y > $WINSLOW_DIR_WORKSPACE/y"


@dataclass
class Gate:
    """Holds the agents' requests for chosen keys until it is opened."""

    shut: set[tuple[str, str]] = field(default_factory=set)  # method and a part of the path
    waiting: set[tuple[str, str]] = field(default_factory=set)
    opened: threading.Event = field(default_factory=threading.Event)

    def plan(self, method: str, path: str) -> ProxyFault:
        for each in tuple(self.shut):
            if method == each[0] and each[1] in path:
                self.waiting.add(each)
                assert self.opened.wait(PATIENCE)
        return ProxyFault.NONE


@dataclass(frozen=True)
class State:
    """How a project gets into a state, on the node of that name, and how it is deleted."""

    state: ProjectState
    stage: str = "true"
    second: Mapping[str, object] | None = None  # keys of a second stage
    run: RunState | None = None  # of the first run; None: nothing is active any more
    gate: tuple[str, str] | None = (
        None  # the request at which the agent is held, its path below the project's
    )
    node: str = "ws1"
    started: bool = True
    single: bool = False
    killed: bool = False  # the client dies right after its write


STATES = {
    "new": State(ProjectState.NEW, started=False),
    "new, client killed": State(ProjectState.NEW, started=False, killed=True),
    "queued": State(ProjectState.WAITING, run=RunState.QUEUED, node="nowhere"),
    "queued, client killed": State(ProjectState.WAITING, run=RunState.QUEUED, node="nowhere", killed=True),
    "preparing": State(ProjectState.RUNNING, run=RunState.PREPARING, gate=("GET", "input/slow")),
    "running": State(ProjectState.RUNNING, WAIT, run=RunState.RUNNING),
    "running, client killed": State(ProjectState.RUNNING, WAIT, run=RunState.RUNNING, killed=True),
    "running, agent killed": State(ProjectState.RUNNING, WAIT, run=RunState.RUNNING, node="ws2"),
    "collecting": State(
        ProjectState.RUNNING, LEAVE, run=RunState.COLLECTING, gate=("PUT", "runs/1.1/output/")
    ),
    "paused": State(ProjectState.PAUSED, LEAVE, {}, single=True),
    "needs you": State(ProjectState.NEEDS_YOU, LEAVE, {"confirmation": "always"}, killed=True),
    "failed": State(ProjectState.FAILED, f"{LEAVE}; exit 3", killed=True),
    "succeeded": State(ProjectState.SUCCEEDED, LEAVE),
}


def begin(fleet: Fleet, gate: Gate, wanted: State, folder: Path) -> str:
    """A project in that state, with an input, an edited workspace, a copy of a live file and an open upload."""
    stages = [Stage(wanted.stage, cpus=0.1, tags=(wanted.node,))]
    if wanted.second is not None:
        stages.append(Stage("true", "two", cpus=0.1, more=wanted.second))
    project = fleet.project(*stages)
    below = layout.project(project)
    fleet.store.put(below + "input/slow", b"x")
    fleet.store.put(layout.live_copy(project, 1, 1, "token", "name"), b"x")
    upload = fleet.store.create_upload(below + "input/big")
    fleet.store.upload_part(below + "input/big", upload, 1, b"x")
    fleet.client.projects.set_env(project, {"SLOW": f"{project}:input/slow"})
    sources, _ = workspace_editing.plan([folder / "edited"], address.parse(f"{project}#next:edited"))
    workspace_editing.put(fleet.client.link, fleet.document(project), sources, lambda _more: None)
    if wanted.started:
        held = (wanted.gate[0], below + wanted.gate[1]) if wanted.gate else None
        if held:
            gate.shut.add(held)
        fleet.client.runs.start(project, changes=Changes(single=wanted.single))
        if wanted.run is not None:
            fleet.wait_state(project, wanted.run)
        else:
            fleet.wait_idle(project)
        wait_until(
            lambda: held is None or held in gate.waiting, seconds=PATIENCE, what=f"{project} at the gate"
        )
    assert state_of(fleet.document(project))[0] is wanted.state
    return project


def delete(fleet: Fleet, project: str, *, killed: bool) -> None:
    """By a client that lives, or by one that dies when the tombstone is written."""
    if not killed:
        fleet.client.projects.delete(project)
        return
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "tests.acceptance.doomed_client", "project", "delete", project, "--yes"],
        env={
            **os.environ,
            "DOOM": "after deleted",
            "WINSLOW_CONFIG": str(fleet.folder / "client.toml"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def left_of(fleet: Fleet, project: str) -> list[object]:
    """Everything that is left of a deleted project, wherever it could be, but its tombstone."""
    below = layout.project(project)
    nodes = [f"{name}: its directories" for name, agent in fleet.agents.items() if agent.holds(project)]
    topics = [topic for topic in fleet.retained() if getattr(topic, "project", "") == project]
    keys = [info.key for info in fleet.store.walk(below)]
    return [*keys, *fleet.store.list_uploads(below), *topics, *fleet.containers(project), *nodes]


def test_a_project_deleted_in_any_state_leaves_its_tombstone_alone(
    fleet_behind: FleetBehind, tmp_path: Path
) -> None:
    gate = Gate()
    fleet = fleet_behind(gate.plan)
    for name in ("ws1", "ws2"):
        fleet.agent(name, labels=[name]).start()
    for agent in fleet.agents.values():
        agent.online()
    (tmp_path / "edited").write_text("by hand")
    with ThreadPoolExecutor(4) as pool:
        begun = {name: pool.submit(begin, fleet, gate, wanted, tmp_path) for name, wanted in STATES.items()}
        projects = {name: each.result() for name, each in begun.items()}
        kept = fleet.project(Stage("true"))
        fleet.store.put(f"projects/{kept}/input/x", b"x")
        fleet.agents["ws2"].kill()
        deleting = [
            pool.submit(delete, fleet, projects[name], killed=wanted.killed)
            for name, wanted in STATES.items()
        ]
        for each in deleting:
            each.result()
    gate.opened.set()
    fleet.store.put(f"projects/{projects['succeeded']}/input/late", b"x")  # an upload that was under way
    fleet.agents["ws2"].start()

    def left() -> dict[str, list[object]]:
        found = {name: left_of(fleet, project) for name, project in projects.items()}
        return {name: things for name, things in found.items() if things}

    wait_until(lambda: not left(), seconds=PATIENCE, what="the end of all that was deleted")
    assert left() == {}
    ids = set(projects.values())
    assert [key for key in _keys(fleet) if any(project in key for project in ids)] == sorted(
        layout.project_document(project) for project in ids
    )
    for project in ids:
        assert isinstance(fleet.client.documents.read(project).document, Tombstone)
    dumped = _dump(fleet)
    assert [line for line in dumped if any(project in line for project in ids)] == []
    assert f"projects/{kept}/input/x" in _keys(fleet) and any(kept in line for line in dumped)
    told = [entry for entry in fleet.client.activity.back(Wanted()) if entry.subject.id in ids]
    assert sorted((entry.subject.id, entry.kind) for entry in told) == [
        (each, "deleted") for each in sorted(ids)
    ]


def _keys(fleet: Fleet) -> list[str]:
    return [info.key for info in fleet.store.walk("")]


def _dump(fleet: Fleet) -> list[str]:
    """What the broker keeps, past our own code; the first sample that a node sends is the end of it."""
    where = f"{fleet.config.settings.broker.url}/winslow/{fleet.site}/#"
    command = ["mosquitto_sub", "-L", where, "-F", "%t %p", "--retained-only", "-W", str(int(PATIENCE))]
    return (
        subprocess.run(command, capture_output=True, timeout=2 * PATIENCE)
        .stdout.decode(errors="replace")
        .splitlines()
    )
