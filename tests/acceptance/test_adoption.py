"""A node that was given up for lost and still has the container: it goes on with it, unless somebody else has the run
already (design 6, Loss; I1, I2, I6)."""

from __future__ import annotations

from tests.acceptance.fleet import PATIENCE, Fleet, Stage, waiting_lines
from tests.acceptance.test_loss import wait_forgotten
from tests.services.waiting import wait_until
from winslow.project import RunState
from winslow.store import layout

LOSABLE = {"retry": {"max": 1, "on": ["node_lost"]}, "lost_after": "5s"}


def wait_lost(fleet: Fleet, project: str) -> None:
    """Return when the first attempt was given up for lost."""
    wait_until(
        lambda: fleet.run(project).attempts[0].outcome == "lost",
        seconds=PATIENCE,
        what="the first attempt lost",
    )


def assert_went_on(fleet: Fleet, project: str, expected: bytes) -> None:
    """One result of a stage that was started once, stored whole under the number it went on as and no other."""
    run = fleet.wait_state(project, RunState.SUCCEEDED)
    assert [each.outcome for each in run.attempts] == ["lost", "succeeded"]
    lost, adopted = run.attempts
    assert adopted.adopted_from == 1
    assert (adopted.node, adopted.started_at, adopted.image_digest) == (
        lost.node,
        lost.started_at,
        lost.image_digest,
    )
    assert adopted.peak.memory > 0
    assert len(fleet.document(project).runs) == 1
    assert fleet.written(project, attempt=2) == expected
    assert fleet.written(project, "stderr", attempt=2) == b"problem\n"
    assert fleet.files(project) == {"starts": b"start\n", "done": b"done\n"}
    assert list(fleet.store.walk(layout.attempt(project, 1, 1))) == []
    kinds = [each.event for each in fleet.events(project, attempt=2)]
    once = ["claimed", "starting", "exited", "adopted", "ended"]
    assert sorted(each for each in kinds if each in once) == sorted(once)
    assert kinds[-1] == "ended"


def test_a_node_that_was_cut_off_goes_on_where_nobody_took_over(fleet: Fleet) -> None:
    """Three stages on the same node: for two no other node is suitable, and one of these ends while the node is cut
    off; the third is taken over meanwhile."""
    cable = fleet.cable()
    first = fleet.agent("ws1", labels=["camera"], cable=cable).start().online()
    script, expected = waiting_lines()
    kept = fleet.start(Stage(script, tags=("camera",), more=LOSABLE))
    over = fleet.start(Stage(script, tags=("camera",), more=LOSABLE))
    taken = fleet.start(Stage(script, more=LOSABLE))
    for project in (kept, over, taken):
        fleet.wait_live(project, b"line 199\n")
    container, displaced = fleet.container(kept), fleet.container(taken)
    second = fleet.agent("ws2").start().online()

    cable.cut()
    fleet.go(over)
    for project in (kept, over, taken):
        wait_lost(fleet, project)
    wait_until(lambda: len(fleet.run(taken).attempts) == 2, seconds=PATIENCE, what="the takeover")
    assert fleet.run(kept).state is RunState.QUEUED
    assert {each.id for each in fleet.containers()} >= {container.id, displaced.id}

    cable.mend()
    run = fleet.wait_state(kept, RunState.RUNNING)
    assert [each.id for each in fleet.containers(kept)] == [container.id]
    assert [bid.parts for bid in run.attempts[1].bids if bid.node == "ws1"] == [{"held": 0.0}]
    wait_until(
        lambda: displaced.id not in {each.id for each in fleet.containers(taken)},
        seconds=PATIENCE,
        what="the displaced container's removal",
    )
    for project in (kept, taken):
        fleet.wait_state(project, RunState.RUNNING)
        fleet.go(project)
    for project in (kept, over):
        assert_went_on(fleet, project, expected)
    adopted = fleet.event(kept, "adopted", attempt=2)
    assert adopted.text.startswith(
        "adopted from attempt 1, whose container goes on; claimed by ws1; bids: ws1 0 s"
    )

    run = fleet.wait_state(taken, RunState.SUCCEEDED)
    assert [(each.node, each.outcome, each.adopted_from) for each in run.attempts] == [
        ("ws1", "lost", None),
        ("ws2", "succeeded", None),
    ]
    assert fleet.written(taken, attempt=2) == expected
    assert list(fleet.store.walk(layout.attempt(taken, 1, 1))) == []
    wait_forgotten(first, second)
    fleet.assert_clean()
    fleet.assert_topics_true()


def test_an_agent_killed_at_any_step_of_going_on_goes_on(fleet: Fleet) -> None:
    """With a plain process, whose container is what its directory says."""
    first = fleet.agent("ws1", labels=["camera"], runtime="process").start().online()
    observer = fleet.agent("ws2").start().online()
    script, expected = waiting_lines()
    project = fleet.start(Stage(script, tags=("camera",), more=LOSABLE))
    fleet.wait_live(project, b"line 199\n")
    shim = (fleet.process_folder(project) / "shim.json").read_bytes()
    first.kill()
    wait_lost(fleet, project)
    observer.stop()  # it would give up the dead one for lost again

    for moment in ("after WANTED", "after claimed", "after NUMBER"):
        first.start_doomed(moment)
        assert (fleet.process_folder(project) / "shim.json").read_bytes() == shim
        assert len(fleet.run(project).attempts) == (1 if moment == "after WANTED" else 2), moment
    first.start()
    fleet.wait_state(project, RunState.RUNNING)
    fleet.go(project)
    assert_went_on(fleet, project, expected)
    wait_forgotten(first)
    fleet.assert_clean()
    fleet.assert_topics_true()
