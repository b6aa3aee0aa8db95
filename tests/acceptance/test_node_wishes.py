"""What people want of nodes, heeded by real agents: draining, labels, removal (issue 3, nodes)."""

from __future__ import annotations

import pytest

from broker import topics
from tests.acceptance.conftest import FleetFactory
from tests.acceptance.fleet import PATIENCE, Fleet, Stage, waiting_lines
from tests.services.waiting import wait_until
from winslow.node import NodeState, Presence
from winslow.project import RunState
from winslow.store import layout
from winslow_tui.shown.explanation import explain


@pytest.fixture(scope="module")
def fleet(fleet_factory: FleetFactory) -> Fleet:
    """One node, idle between tests."""
    made = fleet_factory()
    made.agent("ws1", labels=["first"]).start().online()
    return made


def _shown(fleet: Fleet, node: str, presence: Presence) -> NodeState:
    """The node's state, once it says that."""
    wait_until(
        lambda: fleet.nodes()[node].presence is presence, seconds=PATIENCE, what=f"{node} {presence.value}"
    )
    return fleet.nodes()[node]


def test_a_drained_node_finishes_what_it_has_and_takes_nothing_new_until_it_is_told(fleet: Fleet) -> None:
    """Also over a restart of its agent, and told to take part while it was away."""
    wishes, agent = fleet.client.node_wishes, fleet.agents["ws1"]
    script, _ = waiting_lines()
    running = fleet.start(Stage(script))
    fleet.wait_live(running, b"line 199")
    wishes.drain("ws1", reason="a new disk")
    assert "a new disk" in _shown(fleet, "ws1", Presence.DRAINING).note
    waiting = fleet.start(Stage("true"))

    agent.stop()
    agent.offline()
    agent.start()
    state = _shown(fleet, "ws1", Presence.DRAINING)
    wait_until(lambda: fleet.nodes()["ws1"].runs, seconds=PATIENCE, what="the adoption")
    assert "draining for" in state.note and "a new disk" in state.note
    fleet.go(running)
    assert len(fleet.wait_state(running, RunState.SUCCEEDED).attempts) == 1
    wishes.wait_drained("ws1", timeout=PATIENCE)
    assert fleet.run(waiting).attempts == ()
    (told,) = explain(fleet.document(waiting), list(fleet.nodes().values()))["runs"]
    assert told["waits"] == "waits for ws1, which is draining"

    agent.stop()
    wishes.undrain("ws1")
    agent.start()
    fleet.wait_state(waiting, RunState.SUCCEEDED)
    wait_until(lambda: fleet.nodes()["ws1"].note == "", seconds=PATIENCE, what="no note any more")


def test_a_run_starts_by_itself_when_a_node_has_what_it_needs(fleet: Fleet) -> None:
    """By a label that somebody gives to a node, or by a node that joins."""
    quiet, fast = fleet.start(Stage("true", tags=("quiet",))), fleet.start(Stage("true", tags=("fast",)))
    (told,) = explain(fleet.document(quiet), list(fleet.nodes().values()))["runs"]
    assert told["waits"] == "needs the tag quiet; best node ws1 has no such tag"
    for project, tag in ((quiet, "quiet"), (fast, "fast")):
        (summary,) = fleet.retained(f"projects/{project}/state").values()
        assert summary.reason == f"needs the tag {tag}; best node ws1 has no such tag"
    assert fleet.client.node_wishes.label("ws1", add=["quiet"], remove=[]) == ("first", "quiet")
    run = fleet.wait_state(quiet, RunState.SUCCEEDED)
    assert run.attempt is not None and run.attempt.node == "ws1"
    assert fleet.nodes()["ws1"].labels == ("first", "quiet")

    assert fleet.run(fast).state is RunState.QUEUED
    fleet.agent("ws2", labels=["fast"]).start()
    run = fleet.wait_state(fast, RunState.SUCCEEDED)
    assert run.attempt is not None and run.attempt.node == "ws2"


def test_a_forgotten_node_is_gone_at_once_and_comes_back_as_a_new_one(fleet: Fleet) -> None:
    wishes = fleet.client.node_wishes
    agent = fleet.agent("ws3", labels=["third"]).start().online()
    wishes.label("ws3", add=["given"], remove=[])
    script, _ = waiting_lines()
    project = fleet.start(Stage(script, tags=("third",)))
    fleet.wait_live(project, b"line 199")
    agent.kill()
    agent.offline()
    assert [str(each) for each in wishes.forget("ws3")] == [f"{project} #1 one"]
    run = fleet.run(project)
    assert run.state is RunState.QUEUED and run.attempts[0].outcome == "lost"
    assert "ws3" not in fleet.nodes()
    assert "ws3" not in [
        topic.node for topic in fleet.retained("nodes/#") if isinstance(topic, topics.NodeWish)
    ]
    assert layout.alive("ws3") not in [info.key for info in fleet.store.walk(layout.ALIVE)]

    agent.start().online()
    wish = wishes.read("ws3")
    assert wish is not None and not wish.forgotten
    assert fleet.nodes()["ws3"].labels == ("third",)
    fleet.wait_state(project, RunState.RUNNING)
    wait_until(lambda: len(fleet.containers(project)) == 1, seconds=PATIENCE, what="the end of the old one")
    fleet.go(project)
    run = fleet.wait_state(project, RunState.SUCCEEDED)
    assert [each.outcome for each in run.attempts] == ["lost", "succeeded"]
    fleet.assert_clean()
    fleet.assert_topics_true()
