"""A run that waits long for a busy node gets it before the small ones that come after it (design 5.6)."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.fleet import PATIENCE, Fleet, Stage, waiting_lines
from tests.services.waiting import wait_until
from winslow.project import RunState
from winslow_tui.shown.explanation import explain


def test_a_node_is_kept_free_for_what_has_waited_long_and_says_so(fleet: Fleet) -> None:
    fleet.agent("ws1", cpus=2.0, program=Path(__file__).with_name("impatient.py")).start().online()
    script, _ = waiting_lines()
    first = fleet.start(Stage(script, cpus=1.0))
    fleet.wait_state(first, RunState.RUNNING)
    big = fleet.start(Stage("true", cpus=2.0))
    wait_until(lambda: fleet.nodes()["ws1"].hold is not None, seconds=PATIENCE, what="the hold")
    hold = fleet.nodes()["ws1"].hold
    assert hold is not None and (hold.project, hold.run, hold.attempt) == (big, 1, 1)

    small = fleet.start(Stage("true", cpus=1.0))
    other = fleet.start(Stage("true", cpus=0.5))
    nodes = list(fleet.nodes().values())
    (told,) = explain(fleet.document(small), nodes)["runs"]
    assert told["waits"] == f"waits for ws1: is kept free for {big} #1"
    (told,) = explain(fleet.document(big), nodes)["runs"]
    assert told["waits"] == "waits for ws1: needs 2 cores, 1 free; ws1 is kept free for it"

    fleet.go(first)
    ended = {
        each: fleet.wait_state(each, RunState.SUCCEEDED).attempts[0] for each in (first, big, small, other)
    }
    assert ended[big].claimed_at > ended[first].exited_at
    assert min(ended[small].claimed_at, ended[other].claimed_at) > ended[big].exited_at
    assert fleet.nodes()["ws1"].hold is None
    fleet.assert_clean()
