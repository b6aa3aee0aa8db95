"""Agents that die or stop, and come back: stages go on, each run ends once, its log is whole (design 6, I1, I4, I6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.acceptance.fleet import PATIENCE, AgentProcess, Fleet, Stage, waiting_lines
from tests.services.waiting import wait_until
from winslow.project import RunState

ENDINGS: dict[str, Callable[[AgentProcess], None]] = {
    "SIGKILL": AgentProcess.kill,
    "SIGTERM": AgentProcess.stop,
}


@pytest.mark.parametrize(
    ("runtime", "ending"), [("docker", "SIGKILL"), ("docker", "SIGTERM"), ("process", "SIGKILL")]
)
def test_a_stage_goes_on_through_the_end_of_its_agent(fleet: Fleet, runtime: str, ending: str) -> None:
    """One stage ends while no agent runs, the other one later."""
    agent = fleet.agent(runtime=runtime).start().online()
    script, expected = waiting_lines()
    first, second = (fleet.start(Stage(script)) for _ in range(2))
    for project in (first, second):
        fleet.wait_state(project, RunState.RUNNING)
    before = {project: _containers(fleet, project) for project in (first, second)}

    ENDINGS[ending](agent)
    fleet.go(first)
    wait_until(lambda: fleet.has_ended(first), seconds=PATIENCE, what="the stage's end")
    agent.start()

    fleet.wait_state(first, RunState.SUCCEEDED)
    assert fleet.run(second).state is RunState.RUNNING
    assert _containers(fleet, second) == before[second]
    fleet.go(second)
    fleet.wait_state(second, RunState.SUCCEEDED)
    for project in (first, second):
        run = fleet.run(project)
        assert [attempt.outcome for attempt in run.attempts] == ["succeeded"]
        assert run.results == {"lines": "400"}
        started = fleet.event(project, "starting").data["container"]
        assert before[project] in ([started], [])
        assert fleet.written(project) == expected
        assert fleet.written(project, "stderr") == b"problem\n"
        assert fleet.files(project) == {"starts": b"start\n", "done": b"done\n"}
    fleet.assert_clean()
    fleet.assert_topics_true()


def _containers(fleet: Fleet, project: str) -> list[str | None]:
    return [container.id for container in fleet.containers(project)]
