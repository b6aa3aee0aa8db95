"""The lifecycle under every command and fault in any order: the table holds, ended runs never change."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from winslow.errors import Conflict, Refused
from winslow.events import (
    AbortRequested,
    Claimed,
    Deleted,
    Disowned,
    Ended,
    Event,
    Exited,
    Lost,
    Paused,
    RunQueued,
    Started,
    Unpaused,
)
from winslow.lifecycle import TRANSITIONS, ProjectState, Superseded, apply, create, state_of
from winslow.pipeline import PipelineDefinition, Retry, RetryOn, StageDefinition
from winslow.project import Project, Reason, Run, RunState, Tombstone, decode, encode

PIPELINE = PipelineDefinition(
    name="p",
    env={"A": "pipeline", "B": "pipeline"},
    stages=(
        StageDefinition(name="one", image="i", env={"A": "stage"}),
        StageDefinition(name="two", image="i", retry=Retry(max=2, on=(RetryOn.NODE_LOST, RetryOn.STORAGE))),
        StageDefinition(name="three", image="i"),
    ),
)
ALLOWED = {(source, target) for sources, target in TRANSITIONS.values() for source in sources}


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

    def send(self, event: Event) -> None:
        before = self.project
        result = apply(before, event)
        assert isinstance(result, Project)
        assert result.revision == before.revision + 1
        assert result.holds(event.id)
        for run in result.runs:
            old = before.run(run.n)
            if old is not None and old.state is not run.state:
                assert (old.state, run.state) in ALLOWED
            if old is None:
                assert run.state is RunState.QUEUED
        self.project = result

    def held(self) -> Run | None:
        return next((run for run in self.project.active if run.state.held), None)

    @precondition(lambda self: not self.project.active)
    @rule(
        stage=st.sampled_from(["one", "two", "three"]),
        advance=st.sampled_from(["auto", "single"]),
        env=st.dictionaries(st.sampled_from(["A", "B", "C"]), st.text(max_size=3)),
    )
    def start(self, stage: str, advance: str, env: dict[str, str]) -> None:
        self.send(
            RunQueued.model_validate({"id": self.event_id(), "stage": stage, "advance": advance, "env": env})
        )
        assert all(self.project.runs[-1].env[name].value == value for name, value in env.items())

    @precondition(lambda self: bool(self.project.active))
    @rule()
    def a_second_start_is_refused(self) -> None:
        with pytest.raises(Conflict, match="is "):
            apply(self.project, RunQueued(id=self.event_id()))

    @rule()
    def pause(self) -> None:
        try:
            self.send(Paused(id=self.event_id()))
        except Refused:
            assert not self.project.active

    @rule()
    def unpause(self) -> None:
        try:
            self.send(Unpaused(id=self.event_id()))
        except Refused:
            assert not self.project.active or not self.project.control.paused

    @rule()
    def abort(self) -> None:
        try:
            self.send(AbortRequested(id=self.event_id()))
        except Refused:
            assert not self.project.active

    @precondition(lambda self: any(r.state is RunState.QUEUED for r in self.project.active))
    @rule(node=st.sampled_from(["ws1", "ws2"]))
    def claim(self, node: str) -> None:
        run = next(run for run in self.project.active if run.state is RunState.QUEUED)
        claim = f"c{self.event_id()}"
        self.old_attempts.append((run.n, run.next_k, claim))
        self.send(Claimed(id=self.event_id(), n=run.n, k=run.next_k, claim=claim, node=node, node_uuid=node))

    @precondition(lambda self: self.held() is not None)
    @rule(
        action=st.sampled_from(["started", "exited", "succeeded", "failed", "storage", "lost", "disowned"]),
    )
    def the_node_reports(self, action: str) -> None:
        run = self.held()
        assert run is not None and run.attempt is not None
        where = {"id": self.event_id(), "n": run.n, "k": run.attempt.k, "claim": run.attempt.claim}
        event: Event
        match action:
            case "started":
                event = Started.model_validate(where)
            case "exited":
                event = Exited.model_validate({**where, "exit_code": 0})
            case "lost":
                event = Lost.model_validate(where)
            case "disowned":
                event = Disowned.model_validate(where)
            case "succeeded":
                event = Ended.model_validate({**where, "outcome": "succeeded"})
            case _:
                reason = Reason.STORAGE if action == "storage" else Reason.EXIT_CODE
                event = Ended.model_validate({**where, "outcome": "failed", "reason": reason})
        used = run.retries_used
        try:
            self.send(event)
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
        state, _ = state_of(self.project)
        if self.held() is not None:
            assert state is ProjectState.RUNNING
        elif self.project.active:
            assert state is ProjectState.WAITING
        elif self.project.runs and self.project.runs[-1].state is RunState.FAILED:
            assert state is ProjectState.FAILED


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


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
        "B": ("project", "pipeline"),
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
