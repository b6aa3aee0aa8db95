"""Whose a container is: agents touch their own alone; a node without its memory gives its runs back (design 6)."""

from __future__ import annotations

import shutil

from docker.models.containers import Container

from tests.acceptance.fleet import PATIENCE, Fleet, Stage, let_go, waiting_lines
from tests.services.waiting import wait_until
from winslow.project import Reason, RunState


def _stranger(fleet: Fleet, **labels: str) -> Container:
    made: Container = fleet.docker.containers.run(
        fleet.image,
        ["sleep", "1000"],
        detach=True,
        labels={"test": fleet.site} | {f"winslow.{name}": value for name, value in labels.items()},
        init=True,
    )
    return made


def _started(container: Container) -> tuple[str, str]:
    container.reload()
    return container.status, container.attrs["State"]["StartedAt"]


def test_two_agents_on_one_engine_touch_only_their_own_containers(fleet: Fleet) -> None:
    """Also not those of other sites, of other nodes, and of people, at any point of a life."""
    script, expected = waiting_lines()
    first, second = (fleet.agent(name, labels=[name]).start().online() for name in ("ws1", "ws2"))
    projects = {each.name: fleet.start(Stage(script, tags=(each.name,))) for each in (first, second)}
    for project in projects.values():
        fleet.wait_state(project, RunState.RUNNING)
    uuid = (first.data / "node.uuid").read_text().strip()
    like = {"project": projects["ws1"], "run": "1", "attempt": "1", "claim": "0" * 16}
    strangers = [
        fleet.container(projects["ws2"]),
        _stranger(fleet),
        _stranger(fleet, site=f"{fleet.site}-other", node=uuid, **like),
        _stranger(fleet, site=fleet.site, node="f" * 32, **like),
    ]
    own = _stranger(fleet, site=fleet.site, node=uuid, **like)
    before = [_started(each) for each in strangers]

    first.kill()
    first.start()
    wait_until(
        lambda: own.id not in [each.id for each in fleet.containers()],
        seconds=PATIENCE,
        what="the end of this node's container that nothing explains",
    )
    assert [_started(each) for each in strangers] == before
    _go(fleet, projects["ws1"], uuid)
    fleet.wait_state(projects["ws1"], RunState.SUCCEEDED)
    fleet.client.projects.delete(projects["ws1"])
    first.wait_unused()
    first.stop()
    assert [_started(each) for each in strangers] == before
    fleet.go(projects["ws2"])
    fleet.wait_state(projects["ws2"], RunState.SUCCEEDED)
    assert fleet.written(projects["ws2"]) == expected


def _go(fleet: Fleet, project: str, uuid: str) -> None:
    (container,) = (each for each in fleet.containers(project) if each.labels["winslow.node"] == uuid)
    let_go(container)


def test_a_node_that_lost_its_memory_gives_its_run_back(fleet: Fleet) -> None:
    """Same name, new disk: the claim is unknown there, so the run is queued again and no retry is used up."""
    agent = fleet.agent().start().online()
    script, expected = waiting_lines()
    project = fleet.start(Stage(script))
    fleet.wait_state(project, RunState.RUNNING)
    old = fleet.container(project)
    agent.kill()
    agent.offline()
    shutil.move(agent.data, agent.home / "lost")

    agent.start()
    wait_until(lambda: len(fleet.run(project).attempts) == 2, seconds=PATIENCE, what="a second attempt")
    run = fleet.wait_state(project, RunState.RUNNING)
    assert run.retries_used == 0
    assert (run.attempts[0].outcome, run.attempts[0].reason) == ("disowned", Reason.DISOWNED)
    assert run.attempts[0].detail == "node ws1 does not know this claim"
    assert run.attempts[0].node_uuid != run.attempts[1].node_uuid
    old.remove(force=True)  # nobody who knows it is left
    fleet.go(project)
    run = fleet.wait_state(project, RunState.SUCCEEDED)
    assert fleet.written(project, attempt=2) == expected
    assert run.manifests.workspace.startswith(f"projects/{project}/runs/1.2/")
    fleet.assert_clean()
    fleet.assert_topics_true()


def test_a_second_node_under_the_same_name_is_refused(fleet: Fleet) -> None:
    agent = fleet.agent().start().online()
    double = fleet.agent("double", name="ws1").start()
    wait_until(lambda: not double.running, seconds=PATIENCE, what="the second one's end")
    assert "another node is online as 'ws1'" in double.log
    assert "give this agent another name" in double.log
    assert agent.running


def test_a_node_remembers_what_it_gave_away(fleet: Fleet) -> None:
    """After a restart, the cores of adopted stages are not given out a second time."""
    agent = fleet.agent(cpus=1.0).start().online()
    script, _ = waiting_lines()
    project = fleet.start(Stage(script, cpus=1.0))
    fleet.wait_state(project, RunState.RUNNING)
    agent.kill()
    waiting = fleet.start(Stage("echo next", cpus=1.0))
    agent.offline()
    agent.start().online()
    node = fleet.nodes()["ws1"]
    assert node.free.cpus == 0.0
    assert [(each.project, each.run, each.cpus) for each in node.reserved] == [(project, 1, 1.0)]
    assert node.skew is not None  # it has asked the store before it takes part
    assert fleet.run(waiting).state is RunState.QUEUED
    fleet.go(project)
    fleet.wait_state(project, RunState.SUCCEEDED)
    fleet.wait_state(waiting, RunState.SUCCEEDED)
    assert fleet.written(waiting) == b"next\n"
