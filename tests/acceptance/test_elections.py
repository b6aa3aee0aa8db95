"""Two agents: who gets a stage, why, and where it can be read (design 5)."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.acceptance.conftest import FleetFactory
from tests.acceptance.fleet import MIB, PATIENCE, Fleet, Stage
from tests.services.waiting import wait_until
from winslow.placement import LOAD_SECONDS
from winslow.project import BidRecord, Run, RunState
from winslow.store import layout
from winslow_tui.shown.explanation import explain

_CLIP_BYTES = 96 * MIB


@pytest.fixture(scope="module")
def fleet(fleet_factory: FleetFactory) -> Fleet:
    """Two nodes of two cores each, idle between tests; they hear each other however busy the machine is."""
    made = fleet_factory()
    for name in ("ws1", "ws2"):
        made.agent(name, cpus=2.0, program=Path(__file__).with_name("patient.py")).start()
    for agent in made.agents.values():
        agent.online()
    return made


def _bids(run: Run) -> dict[str, BidRecord]:
    assert run.attempt is not None
    return {bid.node: bid for bid in run.attempt.bids}


def _won(run: Run) -> str:
    assert run.attempt is not None
    return run.attempt.node


def test_every_bid_with_its_parts_can_be_read(fleet: Fleet) -> None:
    """In the document, in the run's events and in what `explain` shows."""
    project = fleet.start(Stage("true"), Stage("true", "two"))
    document = fleet.wait_idle(project)
    for run in document.runs:
        bids = _bids(run)
        assert bids.keys() == {"ws1", "ws2"}
        assert bids[_won(run)].kind == "bid"
        for bid in bids.values():
            assert set(bid.parts) == {"fetch", "pull", "load", "waste"}
            assert bid.cost == pytest.approx(sum(bid.parts.values()))
        claimed = fleet.event(project, "claimed", run=run.n)
        assert [each["node"] for each in claimed.data["bids"]] == list(bids)
        for name, bid in bids.items():
            assert f"{name} {bid.cost:g} s (fetch " in claimed.text
    (told,) = explain(document, None)["runs"]
    assert [each["node"] for each in told["attempts"][-1]["bids"]] == list(_bids(document.runs[-1]))


def test_a_stage_goes_where_its_input_is_cached(fleet: Fleet) -> None:
    """The one that has the file is cheaper and gets the stage, and fetches nothing."""
    clip = secrets.token_bytes(MIB) * (_CLIP_BYTES // MIB)
    fleet.store.put(layout.resource("traffic/clip.mp4"), clip)
    stage = Stage("[ $(wc -c < $CLIP) = 100663296 ]", env={"CLIP": "res:traffic/clip.mp4"})
    first = fleet.wait_idle(fleet.start(stage)).runs[0]
    assert first.state is RunState.SUCCEEDED, first.detail
    home = _won(first)
    assert _bids(first)[home].parts["fetch"] == pytest.approx(_CLIP_BYTES / 100e6, abs=0.001)
    wait_until(
        lambda: (fleet.nodes()[home].cached or 0) >= _CLIP_BYTES, seconds=PATIENCE, what="the cache's bytes"
    )
    for _ in range(2):
        project = fleet.start(stage)
        run = fleet.wait_idle(project).runs[0]
        assert run.state is RunState.SUCCEEDED, run.detail
        bids = _bids(run)
        (other,) = bids.keys() - {home}
        assert bids[home].parts["fetch"] == 0.0
        assert bids[other].parts["fetch"] > 0.5
        assert _won(run) == home
        assert fleet.event(project, "fetched").data == {"files": 1, "bytes": _CLIP_BYTES, "fetched": 0}


def test_a_busy_node_loses_to_an_idle_one_and_waiting_is_explained(fleet: Fleet) -> None:
    running = fleet.start(Stage("sleep 1000", cpus=1.0))
    busy = _won(fleet.wait_state(running, RunState.RUNNING))
    idle = "ws2" if busy == "ws1" else "ws1"
    wait_until(lambda: fleet.nodes()[busy].free.cpus == 1.0, seconds=PATIENCE, what="the taken core")

    second = fleet.start(Stage("sleep 1000", cpus=1.0))
    run = fleet.wait_state(second, RunState.RUNNING)
    assert _won(run) == idle
    assert _bids(run)[busy].parts["load"] >= LOAD_SECONDS / 2

    waiting = fleet.start(Stage("echo at last", cpus=2.0))
    huge = fleet.start(Stage("true", cpus=64.0))
    wait_until(lambda: fleet.nodes()[idle].free.cpus == 1.0, seconds=PATIENCE, what="both taken")
    nodes = list(fleet.nodes().values())
    (told,) = explain(fleet.document(waiting), nodes)["runs"]
    assert told["waits"] == "waits for ws1 or ws2: needs 2 cores, 1 free"
    assert {name: each["answer"] for name, each in told["nodes"].items()} == {"ws1": "busy", "ws2": "busy"}
    (told,) = explain(fleet.document(huge), nodes)["runs"]
    assert told["waits"] == "needs 64 cores; best node ws1 has 2"
    assert fleet.run(waiting).state is RunState.QUEUED

    fleet.client.runs.abort(huge)
    fleet.client.runs.abort(running)
    run = fleet.wait_state(waiting, RunState.SUCCEEDED)
    assert _won(run) == busy, "the node that became free takes it"
    fleet.client.runs.abort(second)
    fleet.wait_idle(second)
    fleet.assert_clean()
    fleet.assert_topics_true()
