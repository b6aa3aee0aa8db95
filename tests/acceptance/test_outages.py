"""Broker and store go away under running stages: the runs end well, state, log and topics are right (I4, I6)."""

from __future__ import annotations

from tests.acceptance.conftest import FragileSite
from tests.acceptance.fleet import PATIENCE, Stage, waiting_lines
from tests.services.waiting import wait_until
from winslow.node import NodeState, Presence
from winslow.project import RunState


def _without_store(node: NodeState) -> bool:
    """It is seen, says what it lacks, and takes no part."""
    return node.presence is Presence.DRAINING and node.note.startswith("store http://127.0.0.1:")


def test_the_broker_then_the_store_go_away_under_a_run(fragile: FragileSite) -> None:
    """The agents find no store at first; later the broker dies and forgets all, then the store; the stage ends
    meanwhile; both come back."""
    fleet = fragile.fleet
    fragile.store.stop()
    for name in ("ws1", "ws2"):
        fleet.agent(name).start()
    wait_until(
        lambda: [_without_store(node) for node in fleet.nodes().values()] == [True, True],
        seconds=PATIENCE,
        what="two nodes that wait for their store",
    )
    fragile.store.start()
    for agent in fleet.agents.values():
        agent.online()
    script, expected = waiting_lines()
    project = fleet.start(Stage(script), Stage("cat /workspace/done; echo out > /output/out", "two"))
    fleet.wait_state(project, RunState.RUNNING)
    fleet.wait_live(project, b"line 199\n")
    container = fleet.container(project)

    fragile.broker.kill()
    fragile.store.kill()
    fleet.go(project)
    container.wait(timeout=PATIENCE)
    fragile.store.start()
    document = fleet.wait_idle(project)  # the second stage's election needs no broker either
    fragile.broker.start()

    assert [run.state for run in document.runs] == [RunState.SUCCEEDED] * 2
    assert [len(run.attempts) for run in document.runs] == [1, 1]
    assert document.runs[0].results == {"lines": "400"}
    assert fleet.written(project) == expected
    assert fleet.written(project, "stderr") == b"problem\n"
    assert fleet.written(project, run=2) == b"done\n"
    assert fleet.files(project, run=2, area="output") == {"out": b"out\n"}
    fleet.assert_topics_true()
    wait_until(
        lambda: (
            [
                (node.presence, node.runs, node.free.cpus == node.hardware.cpus)
                for node in fleet.nodes().values()
            ]
            == [(Presence.ONLINE, (), True)] * 2
        ),
        seconds=PATIENCE,
        what="both nodes online and idle",
    )
    fleet.assert_clean()
    assert all(agent.running for agent in fleet.agents.values())


def test_without_a_broker_a_run_starts_and_is_aborted(fragile_broker: FragileSite) -> None:
    """What a person wants reaches the agent by the store alone, and the topics are true when the broker is back."""
    fleet = fragile_broker.fleet
    agent = fleet.agent().start().online()
    gone = fleet.project(Stage("true"))
    fragile_broker.broker.stop()

    project = fleet.start(Stage("sleep 1000"))
    assert "done, but the broker was not told" in fleet.said[-1]
    fleet.client.projects.delete(gone)
    fleet.wait_state(project, RunState.RUNNING)
    fleet.client.runs.abort(project)
    run = fleet.wait_idle(project).runs[0]
    assert (run.state, run.detail) == (RunState.FAILED, "aborted")

    fragile_broker.broker.start()
    fleet.assert_topics_true()
    fleet.assert_clean()
    assert agent.running
