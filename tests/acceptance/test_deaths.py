"""An agent killed at each step of an attempt, and started again: one success, nothing left behind (design 6, I1)."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.acceptance.conftest import FleetFactory
from tests.acceptance.fleet import PATIENCE, Fleet, Stage
from winslow.project import Project

# In the order in which an attempt meets them; `doomed` says what they are.
MOMENTS = (
    "after INTENT",
    "after claimed",
    "after PLACED",
    "before CREATED",
    "after CREATED",
    "before STARTED",
    "after STARTED",
    "before EXITED",
    "after EXITED",
    "before COLLECTED",
    "after COLLECTED",
    "after ended",
    "before remove",
)
_LATE = ("after ended", "before remove")
"""Moments when the next stage is queued already: there is one then."""

_AT_ONCE = 5
_SCRIPT = "echo start >> /workspace/starts; echo one; echo two; echo three > /output/three"


@pytest.fixture(scope="module")
def fleet(fleet_factory: FleetFactory) -> Fleet:
    """One for all moments: each has a node of its own that alone takes its project."""
    return fleet_factory()


@pytest.fixture(scope="module")
def deaths(fleet: Fleet) -> Mapping[str, Future[str]]:
    """The project of each moment, once its agent has died and another one has brought it to its end."""

    def stages(moment: str, node: str) -> list[Stage]:
        following = Stage("cat /workspace/starts", "two", tags=(node,))
        return [Stage(_SCRIPT, tags=(node,))] + [following] * (moment in _LATE)

    def die(number: int, moment: str) -> str:
        node = f"ws{number}"
        agent = fleet.agent(node, labels=[node])
        project = fleet.start(*stages(moment, node))
        agent.start_doomed(moment)
        agent.start()
        try:
            fleet.wait_idle(project)
            agent.wait_unused()
        finally:
            agent.kill()
        return project

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return {moment: pool.submit(die, number, moment) for number, moment in enumerate(MOMENTS)}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_death_costs_nothing(fleet: Fleet, deaths: Mapping[str, Future[str]], moment: str) -> None:
    project = deaths[moment].result(PATIENCE)
    document = fleet.document(project)
    states = [run.state.value for run in document.runs]
    assert states == ["SUCCEEDED"] * (2 if moment in _LATE else 1), _why(document)
    for run in document.runs:
        assert [attempt.outcome for attempt in run.attempts] == ["succeeded"]
        assert run.retries_used == 0
    assert fleet.written(project) == b"one\ntwo\n"
    assert fleet.files(project) == {"starts": b"start\n"}, "the stage ran again"
    assert fleet.files(project, area="output") == {"three": b"three\n"}
    assert moment not in _LATE or fleet.written(project, run=2) == b"start\n"


def test_nothing_of_the_dead_is_left(fleet: Fleet, deaths: Mapping[str, Future[str]]) -> None:
    for each in deaths.values():
        each.result(PATIENCE)
    fleet.assert_clean()


def _why(document: Project) -> list[str]:
    return [f"#{run.n} {run.state}: {run.detail}" for run in document.runs]
