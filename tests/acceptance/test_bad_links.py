"""Agents behind a link that loses, doubles and holds back: nothing happens twice, nothing is lost (I1, I10)."""

from __future__ import annotations

import random
import threading

import pytest

from tests.acceptance.conftest import FleetBehind
from tests.acceptance.fleet import PATIENCE, Stage
from tests.faults.proxy import ProxyFault
from tests.services.waiting import wait_until
from winslow.project import RunState
from winslow.store import layout


@pytest.mark.parametrize("seed", [1])
def test_lost_and_doubled_requests_change_nothing(fleet_behind: FleetBehind, seed: int) -> None:
    rng, turn, harmed = random.Random(seed), threading.Lock(), 0
    faults = [
        *[ProxyFault.ANSWER_DROPPED] * 3,
        *[ProxyFault.TWICE] * 2,
        ProxyFault.REQUEST_DROPPED,
        ProxyFault.ANSWER_REPLACED,
    ]

    def plan(method: str, path: str) -> ProxyFault:
        nonlocal harmed
        with turn:
            document = method == "PUT" and "/documents/" in path
            if "/probe/" in path:
                return ProxyFault.NONE
            if rng.random() < (0.5 if document else 0.05):
                harmed += document
                return rng.choice(faults)
            return ProxyFault.NONE

    made = fleet_behind(plan)
    for name in ("ws1", "ws2"):
        made.agent(name, runtime="process").start()
    for agent in made.agents.values():
        agent.online()
    write = "cd $WINSLOW_DIR_WORKSPACE; echo $WINSLOW_STAGE_NAME >> starts; i=0;"
    script = write + " while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); done"
    names = ("one", "two", "three")
    projects = [made.start(*(Stage(script, name) for name in names)) for _ in range(3)]
    expected = b"".join(b"line %d\n" % number for number in range(50))
    for project in projects:
        document = made.wait_idle(project)
        assert [run.state for run in document.runs] == [RunState.SUCCEEDED] * 3
        assert [[each.outcome for each in run.attempts] for run in document.runs] == [["succeeded"]] * 3
        for run in document.runs:
            assert made.written(project, run=run.n) == expected
        assert made.files(project, run=3) == {"starts": b"one\ntwo\nthree\n"}
    assert harmed > 5
    made.assert_clean()
    made.assert_topics_true()


def test_an_agent_stops_at_once_in_the_middle_of_a_fetch(fleet_behind: FleetBehind) -> None:
    """The store holds an input back; the agent ends all the same, and the next one fetches it."""
    held = threading.Event()

    def plan(method: str, path: str) -> ProxyFault:
        if method == "GET" and "resources/slow" in path and not held.is_set():
            held.set()
            return ProxyFault.ANSWER_DELAYED
        return ProxyFault.NONE

    made = fleet_behind(plan)
    agent = made.agent(runtime="process").start().online()
    made.store.put(layout.resource("slow.bin"), b"slow" * 1000)
    project = made.start(Stage("cat $FILE | wc -c", env={"FILE": "res:slow.bin"}))
    assert held.wait(PATIENCE)
    agent.stop(within=25.0)  # the store holds its answer back for thirty
    agent.start()
    made.wait_state(project, RunState.SUCCEEDED)
    assert made.written(project).strip() == b"4000"
    wait_until(lambda: not agent.holds(project), seconds=PATIENCE)
