"""The lifecycle under every command and fault in any order: the table holds, ended runs never change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pydantic import TypeAdapter

from winslow import lineage, retention, steering
from winslow.errors import Conflict, Refused, WinslowError
from winslow.events import Deleted, Ended, Event, RunQueued
from winslow.lifecycle import TRANSITIONS, ProjectState, Superseded, apply, create, state_of
from winslow.pipeline import Confirmation, PipelineDefinition, Retention, Retry, RetryOn, StageDefinition
from winslow.project import PauseReason, Project, Reason, Run, RunState, Tombstone, decode, encode

PIPELINE = PipelineDefinition(
    name="p",
    env={"A": "pipeline", "B": "pipeline"},
    retention=Retention(keep_last=1, keep_failed=False),
    stages=(
        StageDefinition(name="one", image="i", env={"A": "stage"}, discardable=True),
        StageDefinition(
            name="two",
            image="i",
            retry=Retry(max=2, on=(RetryOn.NODE_LOST, RetryOn.STORAGE)),
            confirmation=Confirmation.ONCE,
            inputs=("#one:boxes",),
        ),
        StageDefinition(name="three", image="i", require_env=("NEED",), confirmation=Confirmation.ALWAYS),
    ),
)
OTHER = PIPELINE.model_copy(
    update={
        "stages": (
            PIPELINE.stages[1].model_copy(update={"inputs": ()}),
            PIPELINE.stages[2],
            StageDefinition(name="four", image="i"),
        )
    }
)
NAMES = ("one", "two", "three", "four")
ALLOWED = {(source, target) for sources, target in TRANSITIONS.values() for source in sources}
QUEUES = {"run_queued", "answered", "confirmed", "ended"}
"""Events that may make a run."""

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "env": st.dictionaries(st.sampled_from(["A", "B", "NEED"]), st.text(max_size=3), max_size=2),
        "image": st.just("other:2"),
        "requires": st.sampled_from(
            [{"cpus": 2.0}, {"gpus": {"count": 2}}, {"memory": "2GiB"}, {"cpus": -1}]
        ),
        "workspace": st.sampled_from(["auto", "auto", "auto", "none", 0, 1]),
        "advance": st.sampled_from(["auto", "single"]),
    },
)


class Lifecycle(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.project = create(id="p-abcd", event_id="e0", name="P", pipeline=PIPELINE, source_revision=1)
        self.count = 0
        self.old_attempts: list[tuple[int, int, str]] = []
        self.ended: dict[int, str] = {}

    def event_id(self) -> str:
        self.count += 1
        return f"e{self.count}"

    def send(self, kind: str, **fields: Any) -> Project:
        """Apply an event, which must keep every rule that binds two versions of a document."""
        before = self.project
        event = EVENT.validate_python({"kind": kind, "id": self.event_id(), "by": "ann", **fields})
        result = apply(before, event)
        assert isinstance(result, Project)
        assert result.revision == before.revision + 1
        assert result.holds(event.id)
        record = result.recent_events[-1]
        assert (record.id, record.revision, record.kind) == (event.id, result.revision, kind)
        assert record.by == "ann" and 0 < len(record.text) <= 200
        for run in result.runs:
            old = before.run(run.n)
            if old is None:
                assert run.state is RunState.QUEUED and kind in QUEUES
                self.check_new(result, run)
            elif old.state is not run.state:
                assert (old.state, run.state) in ALLOWED
            if old is not None:  # what was resolved when it was queued stays, whatever is changed later
                kept = {"stage", "env", "asked", "workspace_from", "workspace_edited", "input_runs", "refs"}
                assert old.model_dump(include=kept) == run.model_dump(include=kept)
        fresh = {each.n for each in result.pruned} - {each.n for each in before.pruned}
        assert not any(fresh & {run.n, *lineage.refers_to(run)} for run in before.active)
        self.project = result
        return result

    def check_new(self, project: Project, run: Run) -> None:
        """A run that was just queued reads nothing that is gone, and everything it needs is set."""
        gone = {each.n for each in project.pruned}
        for n in lineage.sources(run):
            source = project.run(n)
            assert source is not None and n not in gone
        if run.stage.name == "three":
            assert run.env["NEED"].value
        if run.stage.name == "two" and run.stage.inputs:
            newest = lineage.latest_success(project, "one")
            assert newest is not None and run.input_runs == {"one": newest.n} and newest.n in run.refs

    def attempt(self, kind: str, **fields: Any) -> bool:
        """As `send`; False where the command was refused in a sentence, and then nothing changed."""
        before = self.project
        try:
            self.send(kind, **fields)
        except WinslowError as error:
            assert str(error)
            assert self.project is before
            return False
        return True

    def held(self) -> Run | None:
        return next((run for run in self.project.active if run.state.held), None)

    # -- a person steers

    @precondition(lambda self: not self.project.active)
    @rule(stage=st.sampled_from([None, *NAMES]), confirmed=st.booleans(), changes=CHANGES)
    def start(self, stage: str | None, confirmed: bool, changes: dict[str, Any]) -> None:
        active = bool(self.project.active)
        if self.attempt("run_queued", stage=stage, confirmed=confirmed, **changes):
            assert not active
            asked = self.project.control.pending or self.project.active[0].asked
            assert changes.get("env", {}).items() <= asked.env.items()
            if self.project.active:
                run = self.project.active[0]
                assert all(run.env[name].value == value for name, value in changes.get("env", {}).items())
                assert not changes.get("image") or run.stage.image == changes["image"]

    @precondition(lambda self: bool(self.project.active))
    @rule()
    def a_second_start_is_a_conflict(self) -> None:
        with pytest.raises(Conflict, match="is "):
            apply(self.project, RunQueued(id=self.event_id()))
        for kind, fields in [("answered", {"env": {"A": "x"}}), ("confirmed", {})]:
            assert not self.attempt(kind, **fields)

    @precondition(lambda self: bool(self.project.runs))
    @rule(data=st.data(), changes=CHANGES)
    def redo(self, data: st.DataObject, changes: dict[str, Any]) -> None:
        n = data.draw(st.integers(1, len(self.project.runs) + 1))
        old = self.project.run(n)
        if self.attempt("run_queued", blueprint=n, confirmed=True, **changes) and self.project.active:
            run = self.project.active[0]
            assert old is not None and run.blueprint == n and run.stage.name == old.stage.name
            assert run.stage.command == old.stage.command
            changed = changes.get("env", {})
            assert {k: v for k, v in run.env.items() if k not in changed} == {
                k: v for k, v in old.env.items() if k not in changed
            }

    @rule(stage=st.sampled_from(NAMES), changes=CHANGES, position=st.sampled_from([None, 0, 1, 9]))
    def enqueue(self, stage: str, changes: dict[str, Any], position: int | None) -> None:
        waiting = len(self.project.queue)
        if self.attempt("enqueued", stage=stage, position=position, **changes):
            place = waiting if position is None else min(position, waiting)
            assert self.project.queue[place].id == f"e{self.count}"

    @precondition(lambda self: bool(self.project.queue))
    @rule(data=st.data(), position=st.integers(0, 4))
    def reorder(self, data: st.DataObject, position: int) -> None:
        ids = [each.id for each in self.project.queue]
        request = data.draw(st.sampled_from([*ids, "nobody's"]))
        if self.attempt("queue_moved", request=request, position=position):
            assert sorted(each.id for each in self.project.queue) == sorted(ids)
            assert self.project.queue[min(position, len(ids) - 1)].id == request
        else:
            assert request == "nobody's"

    @precondition(lambda self: bool(self.project.queue))
    @rule(data=st.data())
    def dequeue(self, data: st.DataObject) -> None:
        ids = [each.id for each in self.project.queue]
        request = data.draw(st.sampled_from([*ids, "nobody's"]))
        assert self.attempt("dequeued", request=request) == (request != "nobody's")
        assert [each.id for each in self.project.queue] == [each for each in ids if each != request]

    @precondition(lambda self: self.project.control.reason is PauseReason.INPUT_REQUIRED)
    @rule(env=st.dictionaries(st.sampled_from(["NEED", "A"]), st.sampled_from(["", "x"]), min_size=1))
    def answer(self, env: dict[str, str]) -> None:
        asks = self.project.control.reason is PauseReason.INPUT_REQUIRED
        done = self.attempt("answered", env=env)
        if done and all(env.values()):
            assert asks and self.project.active and self.project.env["NEED"] == "x"

    @precondition(lambda self: self.project.control.reason is PauseReason.CONFIRMATION)
    @rule()
    def confirm(self) -> None:
        control = self.project.control
        if self.attempt("confirmed"):
            assert control.pending is not None and control.reason is PauseReason.CONFIRMATION
            assert self.project.active[0].stage.name == control.pending.stage

    @precondition(lambda self: bool(self.project.active))
    @rule()
    def pause(self) -> None:
        if not self.attempt("paused"):
            assert not self.project.active

    @precondition(lambda self: bool(self.project.active))
    @rule()
    def unpause(self) -> None:
        if not self.attempt("unpaused"):
            assert not self.project.active or not self.project.control.paused

    @precondition(lambda self: bool(self.project.active))
    @rule(n=st.sampled_from([None, 1, 3]), now=st.booleans())
    def abort(self, n: int | None, now: bool) -> None:
        active = [run.n for run in self.project.active]
        if self.attempt("abort_requested", n=n, now=now):
            assert n is None or n in active
            assert not now or not self.project.active
        else:
            assert not active or n not in (None, *active)

    @precondition(lambda self: not self.project.active and len(self.project.runs) != 1)
    @rule(outdated=st.booleans())
    def edit_workspace(self, outdated: bool) -> None:
        try:
            _, base, parent = steering.next_workspace(self.project)
        except Refused:
            return
        fields = {"manifest": f"m{self.count}", "base": base, "parent": "old" if outdated else parent}
        if self.attempt("workspace_edited", **fields):
            assert not outdated
            assert steering.next_workspace(self.project)[1:] == (base, fields["manifest"])
        else:
            assert outdated or self.project.active

    @precondition(lambda self: self.project.edited is not None or self.project.initial is not None)
    @rule(outdated=st.booleans())
    def restore_workspace(self, outdated: bool) -> None:
        last = self.project.edited or self.project.initial
        assert last is not None
        if self.attempt("workspace_restored", manifest="old" if outdated else last.manifest):
            assert not outdated
            assert last not in (self.project.edited, self.project.initial)

    # -- a person changes the project

    @rule(
        what=st.sampled_from(["name", "tags", "environment", "priority", "archive", "retention"]),
        names=st.tuples(st.sampled_from("PQ"), st.sampled_from("PQ")),
        add=st.sets(st.sampled_from("abc")),
        remove=st.sets(st.sampled_from("abc")),
        value=st.sampled_from(["", "x", None]),
        retention_=st.sampled_from([None, Retention(), Retention(keep_last=2)]),
    )
    def change_a_particular(
        self,
        what: str,
        names: tuple[str, str],
        add: set[str],
        remove: set[str],
        value: str | None,
        retention_: Retention | None,
    ) -> None:
        match what:
            case "name":
                called = self.project.name
                assert self.attempt("renamed", before=names[0], name=names[1]) == (names[0] == called)
            case "tags":
                now = set(self.project.tags)
                self.send("tags_changed", add=sorted(add), remove=sorted(remove))
                self.send("participants_changed", add=sorted(add), remove=sorted(remove))
                assert set(self.project.tags) == (now | add) - remove
            case "environment":
                given: dict[str, Any] = {"unset": ["NEED"]} if value is None else {"set": {"NEED": value}}
                self.send("env_changed", **given)
                assert self.project.env.get("NEED") == value
            case "priority":
                self.send("priority_changed", priority=len(add))
                self.send("comment_changed", comment="c" * 500)
            case "retention":
                self.send("retention_changed", retention=retention_)
            case _:
                if not self.attempt("archived"):
                    assert self.project.active
                elif value is None:  # now and then it stays away for a while
                    assert not self.attempt("run_queued", stage="one")
                if self.project.archived:
                    self.send("archived", archived=False)

    @precondition(lambda self: len(self.project.runs) > 1)
    @rule(definition=st.sampled_from([PIPELINE, OTHER]), behind=st.booleans(), copied=st.booleans())
    def change_pipeline(self, definition: PipelineDefinition, behind: bool, copied: bool) -> None:
        base = self.project.pipeline.edition - behind
        source = {"source": "p", "source_revision": 7} if copied else {}
        assert self.attempt("pipeline_changed", definition=definition, base=base, **source) is not behind

    @precondition(lambda self: bool(self.project.runs))
    @rule(n=st.integers(1, 4), away=st.booleans())
    def pin(self, n: int, away: bool) -> None:
        self.attempt("pins_changed", **{"remove" if away else "add": [n]})

    @precondition(lambda self: bool(self.project.runs))
    @rule()
    def prune_by_the_rule(self) -> None:
        runs = retention.prunable(self.project)
        if runs:
            self.send("files_pruned", runs=runs)
            assert not retention.prunable(self.project)

    @precondition(lambda self: bool(self.project.runs))
    @rule(n=st.integers(1, 4))
    def prune_by_hand(self, n: int) -> None:
        if self.attempt("files_pruned", runs=[n]):
            assert n not in retention.needed(self.project) and n not in self.project.pinned

    # -- a node reports

    @precondition(lambda self: any(r.state is RunState.QUEUED for r in self.project.active))
    @rule(node=st.sampled_from(["ws1", "ws2"]))
    def a_node_claims(self, node: str) -> None:
        self.claim(node)

    def claim(self, node: str) -> None:
        run = next(run for run in self.project.active if run.state is RunState.QUEUED)
        claim = f"c{self.count}"
        self.old_attempts.append((run.n, run.next_k, claim))
        self.send("claimed", n=run.n, k=run.next_k, claim=claim, node=node, node_uuid=node)

    @precondition(lambda self: any(r.state is RunState.QUEUED and r.attempts for r in self.project.active))
    @rule(node=st.sampled_from(["ws1", "ws2"]), data=st.data())
    def adopt(self, node: str, data: st.DataObject) -> None:
        """A node goes on with what it lost, and with nothing else."""
        run = next(run for run in self.project.active if run.state is RunState.QUEUED)
        old = data.draw(st.sampled_from(run.attempts))
        claimed: dict[str, Any] = {
            "n": run.n,
            "k": run.next_k,
            "claim": f"c{self.count}",
            "node": node,
            "node_uuid": node,
        }
        if (old.node, old.outcome) != (node, "lost"):
            with pytest.raises(Refused, match="lost no attempt"):
                self.send("claimed", **claimed, adopts=old.k)
            return
        self.old_attempts.append((run.n, run.next_k, claimed["claim"]))
        self.send("claimed", **claimed, adopts=old.k)
        now = self.project.run(run.n)
        assert now is not None and now.attempt is not None
        assert (now.attempt.adopted_from, now.attempts[:-1]) == (old.k, run.attempts)

    @precondition(lambda self: self.held() is not None)
    @rule(
        action=st.sampled_from(
            ["started", "exited", "succeeded", "succeeded", "failed", "storage", "lost", "disowned"]
        ),
    )
    def the_node_reports(self, action: str) -> None:
        run = self.held()
        assert run is not None and run.attempt is not None
        where: dict[str, Any] = {"n": run.n, "k": run.attempt.k, "claim": run.attempt.claim}
        used = run.retries_used
        ends = {"manifests": {"workspace": f"m-{run.n}"}}
        told: dict[str, tuple[str, dict[str, Any]]] = {
            "started": ("started", {}),
            "exited": ("exited", {"exit_code": 0}),
            "lost": ("lost", {}),
            "disowned": ("disowned", {}),
            "succeeded": ("ended", {"outcome": "succeeded", **ends}),
            "failed": ("ended", {"outcome": "failed", "reason": "exit_code", **ends}),
            "storage": ("ended", {"outcome": "failed", "reason": "storage"}),
        }
        kind, fields = told[action]
        try:
            self.send(kind, **where, **fields)
        except Refused:
            assert (run.state, action) in {
                (RunState.RUNNING, "started"),
                (RunState.COLLECTING, "started"),
                (RunState.PREPARING, "exited"),
                (RunState.COLLECTING, "exited"),
                (RunState.PREPARING, "succeeded"),
                (RunState.RUNNING, "succeeded"),
            }
            return
        after = self.project.run(run.n)
        assert after is not None
        if action == "disowned":
            assert after.state is (RunState.FAILED if run.abort_requested else RunState.QUEUED)
            assert after.retries_used == used
        if run.abort_requested and after.state.ended:
            assert after.reason is Reason.ABORTED or action == "lost"

    @precondition(lambda self: bool(self.project.active))
    @rule(stages=st.integers(1, 3))
    def all_goes_well(self, stages: int) -> None:
        self.go_well(stages)

    def go_well(self, stages: int) -> None:
        """The way most runs take; without it few examples would come to the later stages."""
        for _ in range(stages):
            if any(run.state is RunState.QUEUED for run in self.project.active):
                self.claim("ws3")
            run = self.held()
            if run is None or run.attempt is None:
                return
            where = {"n": run.n, "k": run.attempt.k, "claim": run.attempt.claim}
            if run.state is RunState.PREPARING:
                self.send("started", **where)
            if run.state in (RunState.PREPARING, RunState.RUNNING):
                self.send("exited", **where, exit_code=0)
            self.send("ended", **where, outcome="succeeded", manifests={"workspace": f"m-{run.n}"})

    @precondition(lambda self: not self.project.active and self.project.control.pending is None)
    @rule(stages=st.integers(0, 3), redo=st.booleans())
    def somebody_goes_on(self, stages: int, redo: bool) -> None:
        """A person starts what comes next, or the latest run again, and most often it goes well."""
        runs = self.project.runs
        again = {"blueprint": runs[-1].n} if redo and runs else {}
        self.attempt("run_queued", confirmed=True, env={"NEED": "x"}, **again)
        self.go_well(stages)

    @precondition(lambda self: len(self.old_attempts) > 0)
    @rule(data=st.data())
    def an_old_attempt_reports(self, data: st.DataObject) -> None:
        n, k, claim = data.draw(st.sampled_from(self.old_attempts))
        run = self.project.run(n)
        assert run is not None
        if run.state.held and run.attempt is not None and run.attempt.claim == claim:
            return
        with pytest.raises(Superseded):
            apply(self.project, Ended(id=self.event_id(), n=n, k=k, claim=claim, outcome="succeeded"))

    # -- what always holds

    @invariant()
    def ended_runs_never_change(self) -> None:
        for run in self.project.runs:
            if run.state.ended:
                assert self.ended.setdefault(run.n, run.model_dump_json()) == run.model_dump_json()

    @invariant()
    def at_most_one_run_is_active_and_numbers_rise(self) -> None:
        assert len(self.project.active) <= 1
        assert [run.n for run in self.project.runs] == list(range(1, len(self.project.runs) + 1))

    @invariant()
    def it_survives_being_written(self) -> None:
        assert decode(encode(self.project), key="k") == self.project

    @invariant()
    def the_state_is_true(self) -> None:
        state, reason = state_of(self.project)
        control = self.project.control
        asks = control.reason in (PauseReason.INPUT_REQUIRED, PauseReason.CONFIRMATION)
        if self.held() is not None:
            assert state is ProjectState.RUNNING
        elif self.project.active:
            assert state is ProjectState.WAITING
        elif asks:
            assert state is ProjectState.NEEDS_YOU and reason
        elif control.reason is PauseReason.STAGE_FAILED:
            assert state is ProjectState.FAILED

    @invariant()
    def a_question_stands_only_where_somebody_can_answer(self) -> None:
        control = self.project.control
        asks = control.reason in (PauseReason.INPUT_REQUIRED, PauseReason.CONFIRMATION)
        assert (control.pending is not None) == asks
        assert bool(control.needs) == (control.reason is PauseReason.INPUT_REQUIRED)
        assert not asks or (
            control.paused and control.pending and control.next_stage == control.pending.stage
        )

    @invariant()
    def the_next_stage_is_one_of_the_pipeline(self) -> None:
        control, definition = self.project.control, self.project.pipeline.definition
        blueprints = {run.stage.name for run in self.project.runs}
        assert (
            control.next_stage is None
            or definition.stage(control.next_stage)
            or control.next_stage in blueprints
        )

    @invariant()
    def what_is_needed_is_never_pruned(self) -> None:
        gone = {each.n for each in self.project.pruned}
        for run in self.project.active:
            assert not gone & set(lineage.sources(run))
        assert not gone & set(self.project.pinned)

    @invariant()
    def a_stale_run_was_given_something_older(self) -> None:
        for n, source in lineage.stale(self.project).items():
            run = self.project.run(n)
            assert run is not None and run.state.ended and source in lineage.sources(run)


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)


def test_environment_precedence_and_origins() -> None:
    project = create(
        id="p", event_id="e", name="P", pipeline=PIPELINE, source_revision=1, env={"B": "project", "D": "d"}
    )
    event = RunQueued(id="x", env={"D": "run"}, site_env={"A": "site", "S": "site"})
    result = apply(project, event)
    assert isinstance(result, Project)
    shown = {name: (value.value, value.origin.value) for name, value in result.runs[0].env.items()}
    assert shown == {
        "A": ("stage", "stage"),
        "B": ("project", "project"),
        "D": ("run", "run"),
        "S": ("site", "site"),
    }


def test_deleting_leaves_a_tombstone() -> None:
    project = create(id="p", event_id="e", name="P", pipeline=PIPELINE, source_revision=1)
    gone = apply(project, Deleted(id="d", by="anna"))
    assert isinstance(gone, Tombstone) and gone.revision == 2
    assert decode(encode(gone), key="k") == gone


def test_unknown_fields_of_a_newer_program_are_kept() -> None:
    project = create(id="p", event_id="e", name="P", pipeline=PIPELINE, source_revision=1)
    raw = encode(project).replace(b'"revision": 1', b'"revision": 1, "novelty": [1]')
    read = decode(raw, key="k")
    assert isinstance(read, Project)
    after = apply(read, RunQueued(id="x"))
    assert b'"novelty"' in encode(after)
