"""A broker that is away for a minute, then a store: longer than keep-alives, time-outs and pauses between tries."""

from __future__ import annotations

from tests.acceptance.conftest import FragileSite
from tests.acceptance.fleet import PATIENCE, Fleet, Stage
from tests.services.waiting import wait_until
from winslow.project import RunState

MINUTE = 60  # lines of a stage that writes one each second
SCRIPT = (
    "i=0; while [ ! -e $HOME/go ]; do echo second $i; i=$((i+1)); sleep 1; done;"
    " echo 'WINSLOW_RESULT: seconds='$i; echo $i > /output/seconds"
)


def wait_for_line(fleet: Fleet, project: str, number: int) -> None:
    """Return when the stage has written it, by the word of its engine."""
    container = fleet.container(project)

    def written() -> bool:
        lines = container.logs(tail=1).split()
        return bool(lines) and int(lines[-1]) >= number

    wait_until(
        written,
        seconds=2 * MINUTE + PATIENCE,
        what=f"second {number} of {project}",
    )


def test_a_run_ends_well_though_the_broker_and_then_the_store_are_away_for_a_minute(
    fragile: FragileSite,
) -> None:
    fleet = fragile.fleet
    for name in ("ws1", "ws2"):
        fleet.agent(name).start()
    for agent in fleet.agents.values():
        agent.online()
    project = fleet.start(Stage(SCRIPT), Stage("echo second stage", "two"))
    fleet.wait_state(project, RunState.RUNNING)
    wait_for_line(fleet, project, 1)
    container = fleet.container(project).id

    fragile.broker.stop()
    wait_for_line(fleet, project, MINUTE + 1)
    fragile.broker.start()
    for agent in fleet.agents.values():
        agent.online()
    fragile.store.stop()
    wait_for_line(fleet, project, 2 * MINUTE + 2)
    assert [each.id for each in fleet.containers(project)] == [container]
    fleet.go(project)
    fragile.store.start()

    document = fleet.wait_idle(project)
    assert [run.state for run in document.runs] == [RunState.SUCCEEDED] * 2
    assert [[each.outcome for each in run.attempts] for run in document.runs] == [["succeeded"]] * 2
    seconds = int(document.runs[0].results["seconds"])
    assert seconds > 2 * MINUTE
    lines = [b"second %d\n" % number for number in range(seconds)]
    assert fleet.written(project) == b"".join([*lines, b"WINSLOW_RESULT: seconds=%d\n" % seconds])
    assert fleet.files(project, area="output") == {"seconds": b"%d\n" % seconds}
    assert fleet.written(project, run=2) == b"second stage\n"
    fleet.assert_topics_true()
    fleet.assert_clean()
    assert all(agent.running for agent in fleet.agents.values())
