"""Nodes that die with work on them: others take it over, and who comes back does no harm (design 6, Loss; I2)."""

from __future__ import annotations

import json
import secrets

import docker
import pytest

from tests.acceptance.fleet import PATIENCE, AgentProcess, Fleet
from tests.services.waiting import wait_until
from winslow.project import Reason, RunState
from winslow.store import layout

SCRIPT = (
    "echo start >> /workspace/starts; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo done > /output/done"
)


def start(fleet: Fleet, *, retries: int, lost_after: str = "5s", tag: str = "") -> str:
    """A project whose one stage waits for `Fleet.go`; its id."""
    name = f"p{secrets.token_hex(4)}"
    stage = {
        "name": "one",
        "image": fleet.image,
        "command": ["sh", "-c", SCRIPT],
        "requires": {"cpus": 0.5, "memory": "64MiB", "tags": [tag] if tag else []},
        "retry": {"max": retries, "on": ["node_lost"]},
        "lost_after": lost_after,
    }
    fleet.client.pipelines.apply(json.dumps({"name": name, "stages": [stage]}), source=name)
    project = fleet.client.projects.create(name, pipeline=name).id
    fleet.client.runs.start(project)
    return project


def mark_stands(fleet: Fleet, agent: AgentProcess, *, stopped: bool) -> None:
    mark = json.loads(fleet.store.get(layout.alive(agent.name)).data)
    assert mark["counter"] > 0
    assert mark["stopped"] is stopped


def wait_forgotten(*agents: AgentProcess) -> None:
    """Return when nothing of any attempt is on these nodes: an attempt's directory goes last."""

    def empty() -> bool:
        return not any([*(agent.data / "attempts").iterdir()] for agent in agents)

    wait_until(empty, seconds=PATIENCE, what="the attempts' removal")


def test_another_node_takes_over_and_the_lost_one_leaves_no_trace(fleet: Fleet) -> None:
    first = fleet.agent("ws1").start().online()
    project = start(fleet, retries=1)
    fleet.wait_state(project, RunState.RUNNING)
    lost = fleet.container(project)
    second = fleet.agent("ws2").start().online()

    first.kill()
    first.offline()
    mark_stands(fleet, first, stopped=False)
    wait_until(lambda: len(fleet.run(project).attempts) == 2, seconds=PATIENCE, what="the takeover")
    fleet.wait_state(project, RunState.RUNNING)
    assert [each.node for each in fleet.run(project).attempts] == ["ws1", "ws2"]
    assert fleet.run(project).attempts[0].detail.startswith("node ws1 gave no sign of life for ")
    lost.reload()
    assert lost.status == "running", "nobody but its own node may touch it"

    first.start()
    wait_forgotten(first)
    with pytest.raises(docker.errors.NotFound):
        lost.reload()
    assert list(fleet.store.walk(layout.attempt(project, 1, 1))) == []

    fleet.go(project)
    run = fleet.wait_state(project, RunState.SUCCEEDED)
    assert [each.outcome for each in run.attempts] == ["lost", "succeeded"]
    assert len(fleet.document(project).runs) == 1
    assert fleet.files(project) == {"starts": b"start\n"}
    assert fleet.files(project, area="output") == {"done": b"done\n"}
    assert list(fleet.store.walk(layout.attempt(project, 1, 1))) == []
    wait_forgotten(first, second)
    fleet.assert_clean()
    fleet.assert_topics_true()


def test_a_clean_stop_and_never_are_no_loss_where_a_death_is_one(fleet: Fleet) -> None:
    """The killed node's loss shows that the others' silence was long enough to be one."""
    stopped = fleet.agent("ws1", labels=["stopped"]).start().online()
    killed = fleet.agent("ws2", labels=["killed"]).start().online()
    fleet.agent("ws3", labels=["observer"]).start().online()
    kept = start(fleet, retries=1, tag="stopped")
    never = start(fleet, retries=1, lost_after="never", tag="killed")
    gone = start(fleet, retries=0, tag="killed")
    for project in (kept, never, gone):
        fleet.wait_state(project, RunState.RUNNING)

    stopped.stop()
    mark_stands(fleet, stopped, stopped=True)
    killed.kill()
    wait_until(lambda: not fleet.document(gone).active, seconds=PATIENCE, what="the loss")
    failed = fleet.run(gone)
    assert (failed.state, failed.reason) == (RunState.FAILED, Reason.NODE_LOST)
    assert [each.outcome for each in failed.attempts] == ["lost"]

    stopped.start()
    killed.start()
    for project in (kept, never):
        assert fleet.run(project).state is RunState.RUNNING
        fleet.go(project)
        run = fleet.wait_state(project, RunState.SUCCEEDED)
        assert [each.outcome for each in run.attempts] == ["succeeded"]
        assert fleet.files(project) == {"starts": b"start\n"}
    wait_forgotten(stopped, killed)
    fleet.assert_clean()
    fleet.assert_topics_true()
