"""What people see of a project's state: runs, stages, explanations, and waiting for a state (R1460)."""

from __future__ import annotations

import pytest

from tests.unit import cli_projects as make
from winslow.errors import NotFound, StoreUnreachable
from winslow.events import Enqueued, FilesPruned, PinsChanged, RunQueued
from winslow.node import FreeResources, Gpu, Hardware, Hold, NodeState, Presence
from winslow.pipeline import Requirements
from winslow.project import Project, Tombstone
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore
from winslow.store.port import Blob
from winslow_tui.facade.waiting import Goal, OutOfReach, judge, wait
from winslow_tui.shown.explanation import explain, shown_state, silent, state_with_nodes
from winslow_tui.shown.runlist import after_queue, begins_with_queue, coming, rows, stages, upcoming

REACHED, CAN, CANNOT = "reached", "can", "cannot"
NODE = NodeState(
    node="ws1",
    node_uuid="uuid-ws1",
    instance="i",
    presence=Presence.ONLINE,
    hardware=Hardware(cpus=8, memory=32 << 30, gpus=(Gpu(uuid="G1", name="A5000", memory=24 << 30),)),
    free=FreeResources(cpus=1, memory=32 << 30, gpus=("G1",)),
)


@pytest.mark.parametrize(
    ("project", "succeeded", "failed", "paused", "idle"),
    [
        (make.new(), CANNOT, CANNOT, REACHED, REACHED),
        (make.queued(), CAN, CAN, CAN, CAN),
        (make.running(), CAN, CAN, CAN, CAN),
        (make.ended(), CAN, CAN, CAN, CAN),
        (make.ended(ok=False), CANNOT, REACHED, REACHED, REACHED),
        (make.ended(single=True), CANNOT, CANNOT, REACHED, REACHED),
        (make.paused(), CANNOT, CANNOT, REACHED, REACHED),
        (make.aborted(), CANNOT, REACHED, REACHED, REACHED),
        (make.needing(), CANNOT, CANNOT, REACHED, REACHED),
        (make.succeeded(), REACHED, CANNOT, CANNOT, REACHED),
        (make.deleted(), CANNOT, CANNOT, CANNOT, CANNOT),
    ],
    ids=[
        "new",
        "queued",
        "running",
        "between",
        "failed",
        "single",
        "paused",
        "aborted",
        "needs-you",
        "succeeded",
        "deleted",
    ],
)
def test_what_can_be_waited_for(
    project: Project | Tombstone, succeeded: str, failed: str, paused: str, idle: str
) -> None:
    answers = {}
    for goal in Goal:
        try:
            answers[goal] = REACHED if judge(project, goal) else CAN
        except OutOfReach as error:
            assert project.id in str(error)
            answers[goal] = CANNOT
    assert answers == {Goal.SUCCEEDED: succeeded, Goal.FAILED: failed, Goal.PAUSED: paused, Goal.IDLE: idle}


def test_waiting_for_a_project_that_waits_for_a_person_says_what_it_needs() -> None:
    with pytest.raises(OutOfReach, match=r"needs you \(stage 'track' needs LANE\)") as caught:
        judge(make.needing(), Goal.SUCCEEDED)
    assert caught.value.hint == "go on with: winslow answer ulm-abcd LANE=VALUE"
    assert judge(make.needing(), Goal.PAUSED)


class _Flow:
    """A document that changes by one step each time somebody sleeps, and a clock that goes on."""

    def __init__(self, *steps: Project) -> None:
        self.store = _Shaky()
        self.documents = Documents(self.store)
        self._steps = list(steps)
        self.now = 0.0
        self.said: list[str] = []
        self.sleep(0)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self._steps:
            project = self._steps.pop(0)
            self.store.put(f"documents/projects/{project.id}.json", make_bytes(project))

    def wait(self, goal: Goal, timeout: float | None = None) -> Project | Tombstone:
        return wait(
            self.documents,
            "ulm-abcd",
            goal,
            timeout=timeout,
            say=self.said.append,
            clock=lambda: self.now,
            sleep=self.sleep,
        )


class _Shaky(MemoryStore):
    """Is away for the next `away` reads."""

    away = 0

    def get(self, key: str) -> Blob:
        if self.away:
            self.away -= 1
            raise StoreUnreachable("the store does not answer")
        return super().get(key)


def make_bytes(project: Project) -> bytes:
    from winslow.project import encode

    return encode(project)


def test_waiting_ends_when_the_state_is_there() -> None:
    flow = _Flow(make.queued(), make.running(), make.ended(), make.succeeded())
    document = flow.wait(Goal.SUCCEEDED)
    assert isinstance(document, Project)
    assert len(document.runs) == 2


def test_waiting_ends_when_the_state_cannot_come() -> None:
    flow = _Flow(make.queued(), make.running(), make.ended(ok=False))
    with pytest.raises(OutOfReach, match="exit code 7"):
        flow.wait(Goal.SUCCEEDED)


def test_waiting_ends_with_the_time() -> None:
    flow = _Flow(make.queued())
    with pytest.raises(OutOfReach, match=r"within 30 s") as caught:
        flow.wait(Goal.SUCCEEDED, timeout=30)
    assert caught.value.exit_code == 1
    assert 30 <= flow.now < 32


def test_waiting_outlives_a_store_that_is_away_and_says_so_once() -> None:
    flow = _Flow(make.queued(), make.running(), make.running(), make.running(), make.succeeded())
    flow.store.away = 3
    flow.wait(Goal.SUCCEEDED)
    assert flow.said == ["the store does not answer; waiting for it"]


def test_waiting_for_what_is_not_there() -> None:
    flow = _Flow(make.new("other-abcd"))
    with pytest.raises(NotFound):
        flow.wait(Goal.IDLE)


def test_the_next_stage_of_a_paused_project_is_paused() -> None:
    assert upcoming(make.running()) is None
    assert upcoming(make.succeeded()) is None
    assert upcoming(make.new()) == {
        "stage": "detect",
        "state": "PAUSED",
        "reason": "new",
        "note": "",
        "needs": [],
        "way_on": "winslow start ulm-abcd",
    }
    paused = upcoming(make.paused())
    assert paused is not None
    assert (paused["stage"], paused["reason"], paused["note"]) == ("track", "user", "look first")


@pytest.mark.parametrize(
    ("project", "states"),
    [
        (make.new(), ["PAUSED", ""]),
        (make.running(), ["RUNNING", ""]),
        (make.ended(), ["SUCCEEDED", "QUEUED"]),
        (make.ended(single=True), ["SUCCEEDED", "PAUSED"]),
        (make.ended(ok=False), ["FAILED", ""]),
        (make.succeeded(), ["SUCCEEDED", "SUCCEEDED"]),
    ],
)
def test_every_stage_has_a_state(project: Project, states: list[str]) -> None:
    assert [stage["state"] for stage in stages(project)] == states


def test_a_run_whose_node_is_silent_is_unknown() -> None:
    project = make.running()
    away = NODE.model_copy(update={"presence": Presence.OFFLINE})
    assert silent(project, [NODE]) == frozenset()
    assert silent(project, None) == frozenset()  # nobody could be asked: nothing is claimed
    assert silent(project, [away]) == silent(project, []) == {"ws1"}
    assert shown_state(project.runs[0], {"ws1"}) == "UNKNOWN"
    assert shown_state(make.queued().runs[0], {"ws1"}) == "QUEUED"
    assert rows(project, {"ws1"})[0]["state"] == "UNKNOWN"


def test_rows_say_what_ended_how() -> None:
    failed, fine = rows(make.ended(ok=False), ())[0], rows(make.ended(), ())[0]
    assert (failed["state"], failed["reason"], failed["detail"], failed["exit_code"]) == (
        "FAILED",
        "exit_code",
        "exit code 7",
        7,
    )
    assert fine["results"] == {"cars": "3"}
    assert fine["node"] == "ws1"


def test_an_explanation_of_a_run_that_waits() -> None:
    told = explain(make.queued(), [NODE])
    run = told["runs"][0]
    assert run["waits"] == "needs 2 GPUs with 24 GiB; best node ws1 has 1"
    assert run["nodes"]["ws1"]["answer"] == "pass"
    assert told["state"] == "waiting"


def test_an_explanation_without_a_broker_says_so() -> None:
    assert "broker" in explain(make.queued(), None)["runs"][0]["waits"]


def test_an_explanation_names_the_bids_with_their_parts() -> None:
    told = explain(make.running(), [NODE])["runs"][0]
    assert "waits" not in told
    bids = told["attempts"][0]["bids"]
    assert bids[0] == {
        "node": "ws1",
        "kind": "bid",
        "cost": 1.5,
        "parts": {"fetch": 1.0, "load": 0.5},
        "reason": "",
    }
    assert bids[1]["reason"] == "needs 2 cores, 1 free"


def test_a_waiting_projects_reason_is_what_it_waits_for() -> None:
    """The stage needs two GPUs with 24 GiB; the node has one."""
    needs = "needs 2 GPUs with 24 GiB; best node ws1 has 1"
    assert state_with_nodes(make.queued(), [NODE]) == ("waiting", needs)
    assert state_with_nodes(make.queued(), None) == ("waiting", "")
    assert explain(make.queued(), [NODE])["reason"] == needs
    for project in (make.running(), make.paused(), make.succeeded()):
        assert needs not in state_with_nodes(project, [NODE])


def test_an_explanation_of_a_project_that_waits_for_a_person_says_the_way_on() -> None:
    told = explain(make.needing(), [NODE])
    assert (told["state"], told["needs"]) == ("needs you", ["LANE"])
    assert told["way_on"] == "winslow answer ulm-abcd LANE=VALUE"


def test_a_run_whose_input_was_redone_is_marked_stale_and_what_came_from_it_too() -> None:
    project = make.story("detect", "track", "detect")
    assert [row["marks"] for row in rows(project, ())] == [[], ["stale: #1 was redone"], []]
    assert [row["stale"] for row in rows(project, ())] == [None, 1, None]


def test_pins_and_removed_files_are_marked() -> None:
    project = make.story("detect", "detect", "detect")
    project = make.after(
        project,
        PinsChanged(id=make.event_id(), add=(3,)),
        FilesPruned(id=make.event_id(), runs=(1,)),
    )
    assert [row["marks"] for row in rows(project, ())] == [["files removed"], [], ["pinned"]]


def test_what_waits_in_the_queue_says_what_was_changed() -> None:
    project = make.after(
        make.running(),
        Enqueued(
            id="wish-1",
            stage="detect",
            env={"CONF": "0.3"},
            requires={"cpus": 4, "gpus": {"count": 1}},
            workspace="none",
            advance="single",
        ),
        Enqueued(id="wish-2", blueprint=1, image="img:2", workspace=0, requires={"gpus": None}),
    )
    first, second = coming(project)
    assert (first["position"], first["id"], first["stage"]) == (1, "wish-1", "detect")
    assert first["changes"] == "CONF=0.3, cpus=4, gpus.count=1, empty workspace, pauses then"
    assert second["changes"] == "like #1, image img:2, gpus=none, workspace of #0"
    assert after_queue(project) == "track"
    assert after_queue(make.running()) is None


def test_an_explanation_says_what_a_node_is_kept_free_for() -> None:
    """The other project's run waits for four cores; the node has two free, and keeps them."""
    waits = make.after(make.new("ulm-abcd"), RunQueued(id=make.event_id(), stage="track"))
    hold = Hold(project="big-abcd", run=3, attempt=1, requires=Requirements(cpus=4))
    keeper = NODE.model_copy(update={"free": NODE.free.model_copy(update={"cpus": 2.0}), "hold": hold})
    (told,) = explain(waits, [keeper])["runs"]
    assert told["waits"] == "waits for ws1: is kept free for big-abcd #3"
    assert told["nodes"]["ws1"]["reasons"] == ["is kept free for big-abcd #3"]
    own = hold.model_copy(update={"project": "ulm-abcd", "run": 1, "requires": Requirements(cpus=2)})
    busy = keeper.model_copy(update={"free": NODE.free, "hold": own})
    (told,) = explain(waits, [busy])["runs"]
    assert told["waits"] == "waits for ws1: needs 2 cores, 1 free; ws1 is kept free for it"
    assert told["nodes"]["ws1"]["reasons"] == ["needs 2 cores, 1 free", "is kept free for it"]


def test_the_queues_first_is_what_a_paused_project_goes_on_with() -> None:
    project = make.ended(make.after(make.new(), Enqueued(id="wish-1", stage="detect")), single=True)
    project = make.after(project, Enqueued(id="wish-2", stage="detect"))
    following = upcoming(project)
    assert following is not None and (following["stage"], following["reason"]) == ("detect", "single")
    assert begins_with_queue(project)
    failed = make.after(make.ended(ok=False), Enqueued(id="wish-3", stage="track"))
    following = upcoming(failed)
    assert following is not None and following["stage"] == "detect"
    assert not begins_with_queue(failed)
