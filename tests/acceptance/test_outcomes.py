"""How a stage can end: each outcome has a state, a reason and a sentence in the document (R1440, R1460)."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.conftest import FleetFactory
from tests.acceptance.fleet import MIB, PATIENCE, Fleet, Stage
from tests.services.waiting import wait_until
from winslow.lifecycle import ProjectState, state_of
from winslow.project import PauseReason, Reason, Run, RunState, Tombstone
from winslow.store import layout

RUNTIMES = ("docker", "process")
_STUBBORN = (
    "trap '' TERM; sh -c 'trap \"\" TERM; echo child up; while true; do sleep 0.1; done' &"
    " while true; do sleep 0.1; done"
)


@pytest.fixture(scope="module")
def fleet(fleet_factory: FleetFactory) -> Fleet:
    """One node with Docker, one with plain processes, told apart by their labels."""
    made = fleet_factory()
    for runtime in RUNTIMES:
        made.agent(
            runtime, runtime=runtime, labels=[runtime], images=["winslow-test/*", "127.0.0.1:*"]
        ).start()
    for agent in made.agents.values():
        agent.online()
    return made


def _failed(fleet: Fleet, project: str) -> Run:
    """The run, failed, with the project waiting for a person who is told why."""
    document = fleet.wait_idle(project)
    (run,) = document.runs
    assert run.state is RunState.FAILED
    assert run.attempt is None or (run.attempt.outcome, run.attempt.reason) == ("failed", run.reason)
    assert document.control.reason is PauseReason.STAGE_FAILED
    assert document.control.next_stage == "one"
    state, why = state_of(document)
    assert state is ProjectState.FAILED
    assert why == f"run #1 (one): {run.detail}"
    return run


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_exit_code(fleet: Fleet, runtime: str) -> None:
    script = "echo half > $WINSLOW_DIR_WORKSPACE/half; echo bad >&2; exit 3"
    project = fleet.start(Stage(script, tags=(runtime,)))
    run = _failed(fleet, project)
    assert (run.reason, run.detail) == (Reason.EXIT_CODE, "exit code 3")
    assert run.attempt is not None and run.attempt.exit_code == 3
    assert fleet.written(project, "stderr") == b"bad\n"
    assert fleet.files(project) == {"half": b"half\n"}, "what a failed stage left can be looked at"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_command_that_is_not_there(fleet: Fleet, runtime: str) -> None:
    run = _failed(fleet, fleet.start(Stage("", command=("no-such-program", "-x"), tags=(runtime,))))
    assert run.reason is Reason.RUNTIME_ERROR
    assert "no-such-program" in run.detail
    assert "command" in run.detail


def test_a_shell_that_does_not_find_a_command(fleet: Fleet) -> None:
    run = _failed(fleet, fleet.start(Stage("no-such-program", tags=("docker",))))
    assert (run.reason, run.detail) == (Reason.EXIT_CODE, "exit code 127: command not found")


def test_an_image_that_cannot_be_had(fleet: Fleet) -> None:
    run = _failed(fleet, fleet.start(Stage("true", image="127.0.0.1:1/absent:1", tags=("docker",))))
    assert run.reason is Reason.IMAGE_UNAVAILABLE
    assert run.detail.startswith("image '127.0.0.1:1/absent:1' is not on this node and cannot be pulled:")


def test_an_image_that_the_node_does_not_allow(fleet: Fleet) -> None:
    run = _failed(fleet, fleet.start(Stage("true", image="elsewhere/tool:1", tags=("docker",))))
    assert run.reason is Reason.REFUSED_BY_NODE
    assert run.detail == "node docker does not allow the image elsewhere/tool:1"


def test_too_little_memory(fleet: Fleet) -> None:
    run = _failed(fleet, fleet.start(Stage("exec tail -c 100m /dev/zero", memory=16 * MIB, tags=("docker",))))
    assert (run.reason, run.detail) == (Reason.OOM, "killed: used 16.0 of 16 MiB")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_input_that_does_not_exist(fleet: Fleet, runtime: str) -> None:
    project = fleet.start(Stage("true", tags=(runtime,), env={"VIDEO": "res:traffic/none.mp4"}))
    run = _failed(fleet, project)
    assert run.reason is Reason.INPUT_MISSING
    assert run.detail == "res:traffic/none.mp4: there is no such file in the store"


def test_abort_while_it_waits_for_a_node(fleet: Fleet) -> None:
    project = fleet.start(Stage("true", tags=("nobody",)))
    fleet.client.runs.abort(project)
    run = _failed(fleet, project)
    assert run.reason is Reason.ABORTED
    assert run.attempts == ()
    assert run.detail.startswith("aborted by ")


@pytest.fixture
def silent_registry() -> Iterator[str]:
    """An address at which connections are taken and nothing is ever answered."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_abort_while_it_prepares(fleet: Fleet, silent_registry: str) -> None:
    project = fleet.start(Stage("true", image=f"{silent_registry}/slow:1", tags=("docker",)))
    fleet.wait_state(project, RunState.PREPARING)
    fleet.client.runs.abort(project)
    run = _failed(fleet, project)
    assert (run.reason, run.detail) == (Reason.ABORTED, "aborted before it started")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_abort_while_it_runs(fleet: Fleet, runtime: str) -> None:
    script = "trap 'echo tidy; exit 0' TERM; echo up; while true; do sleep 0.05; done"
    project = fleet.start(Stage(script, tags=(runtime,)))
    fleet.wait_state(project, RunState.RUNNING)
    fleet.wait_live(project, b"up\n")
    fleet.client.runs.abort(project)
    run = _failed(fleet, project)
    assert (run.reason, run.detail) == (Reason.ABORTED, "aborted")
    assert fleet.written(project) == b"up\ntidy\n", "it was asked to end, and could"


@dataclass(frozen=True)
class Stubborn:
    """An aborted stage whose processes do not end when they are asked to; `pids` on the host."""

    project: str
    pids: tuple[int, ...]


@pytest.fixture(scope="module", autouse=True)
def stubborn(fleet: Fleet) -> Stubborn:
    """It takes ten seconds to end, so it begins before the other tests."""
    project = fleet.start(Stage(_STUBBORN, tags=("docker",)))
    fleet.wait_state(project, RunState.RUNNING)
    fleet.wait_live(project, b"child up\n")
    processes = fleet.container(project).top()["Processes"]
    fleet.client.runs.abort(project)
    return Stubborn(project=project, pids=tuple(int(process[1]) for process in processes))


def _lives(pid: int) -> bool:
    try:
        return "docker" in Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_delete_while_it_runs(fleet: Fleet, runtime: str) -> None:
    script = "echo up; echo x > $WINSLOW_DIR_OUTPUT/x; while true; do sleep 0.05; done"
    project = fleet.start(Stage(script, tags=(runtime,)))
    fleet.wait_state(project, RunState.RUNNING)
    fleet.store.put(layout.project_input(project, "clip.mp4"), b"clip")
    agent = fleet.agents[runtime]
    fleet.client.projects.delete(project)

    document = fleet.client.documents.read(project).document
    assert isinstance(document, Tombstone)
    wait_until(lambda: not agent.holds(project), seconds=PATIENCE, what="the attempt's end on its node")
    assert fleet.containers(project) == []
    wait_until(lambda: not list(fleet.store.walk(layout.project(project))), seconds=PATIENCE)
    wait_until(
        lambda: not [t for t in fleet.retained() if getattr(t, "project", "") == project], seconds=PATIENCE
    )
    assert isinstance(fleet.client.documents.read(project).document, Tombstone)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_inputs_cannot_be_changed(fleet: Fleet, runtime: str) -> None:
    """Not by writing, removing, renaming or changing modes, whoever the stage is in its container (I3)."""
    content = b"precious" * 1000
    fleet.store.put(layout.resource("pool/clip.mp4"), content)
    script = """
        touched=0
        for file in $CLIP $WINSLOW_DIR_INPUT/own.txt; do
            for change in "eval echo x > $file" "eval echo x >> $file" "rm -f $file" "mv $file $file.2" \
                "chmod 666 $file" "truncate -s 0 $file" "touch $(dirname $file)/new" "ln -f /etc/passwd $file"
            do
                if ($change) 2>/dev/null; then echo "allowed: $change"; touched=1; fi
            done
            cat $file > $WINSLOW_DIR_OUTPUT/$(basename $file)
        done
        exit $touched
    """
    project = fleet.project(Stage(script, tags=(runtime,), env={"CLIP": "res:pool/clip.mp4"}))
    fleet.store.put(layout.project_input(project, "own.txt"), b"mine\n")
    fleet.client.runs.start(project)
    document = fleet.wait_idle(project)
    assert fleet.written(project) == b""
    assert document.runs[0].state is RunState.SUCCEEDED
    assert fleet.files(project, area="output") == {"clip.mp4": content, "own.txt": b"mine\n"}
    cached = [path for path in (fleet.agents[runtime].data / "cache").rglob("*") if path.is_file()]
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in cached}
    assert hashlib.sha256(content).hexdigest() in digests


def test_a_container_that_somebody_removes(fleet: Fleet) -> None:
    """Its attempt is lost, which uses up the retry, and the agent goes on."""
    project = fleet.start(Stage("[ -e /workspace/on ] || sleep 1000", tags=("docker",)))
    fleet.wait_state(project, RunState.RUNNING)
    fleet.container(project).remove(force=True)
    wait_until(lambda: len(fleet.run(project).attempts) == 2, seconds=PATIENCE, what="the second attempt")
    run = fleet.run(project)
    assert run.retries_used == 1
    assert (run.attempts[0].outcome, run.attempts[0].reason) == ("lost", Reason.NODE_LOST)
    assert "its container" in run.attempts[0].detail
    fleet.client.runs.abort(project)
    fleet.wait_idle(project)


def test_abort_of_children_that_ignore_sigterm(fleet: Fleet, stubborn: Stubborn) -> None:
    assert len(stubborn.pids) >= 3  # init, the stage, its child
    assert _failed(fleet, stubborn.project).reason is Reason.ABORTED
    wait_until(lambda: not fleet.containers(stubborn.project), seconds=PATIENCE)
    assert not any(_lives(pid) for pid in stubborn.pids)


def test_nothing_is_left(fleet: Fleet) -> None:
    """After all of the above."""
    fleet.assert_clean()
    fleet.assert_topics_true()
    assert all(agent.running for agent in fleet.agents.values())
