"""What a person's wish makes of the next run: one short story for each rule of `steering` and its neighbours."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from winslow import lineage, retention, steering
from winslow.errors import Conflict, InvalidInput, NotFound, Refused
from winslow.events import Event
from winslow.lifecycle import ProjectState, apply, create, state_of
from winslow.pipeline import PipelineDefinition, parse
from winslow.project import Origin, PauseReason, Project, Run, RunState

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
TEXT = """
name: traffic
env: {MODEL: v8}
stages:
  - {name: detect, image: i, requires: {gpus: {count: 1, memory: 8GiB}}}
  - {name: track, image: i, env: {CONF: '0.5'}}
  - {name: stats, image: i}
"""


class Story:
    """A project and what happens to it."""

    def __init__(self, text: str = TEXT) -> None:
        self.count = 0
        self.project = create(
            id="ulm-abcd", event_id="e0", name="Ulm", pipeline=parse(text, source="t"), source_revision=1
        )

    def send(self, kind: str, **fields: Any) -> Project:
        self.count += 1
        event = EVENT.validate_python({"kind": kind, "id": f"e{self.count}", "by": "ann", **fields})
        changed = apply(self.project, event)
        assert isinstance(changed, Project)
        self.project = changed
        return changed

    def start(self, stage: str | None = None, **fields: Any) -> Run:
        self.send("run_queued", stage=stage, confirmed=True, **fields)
        return self.project.runs[-1]

    def end(self, outcome: str = "succeeded", reason: str | None = None) -> Project:
        """The active run is claimed, runs and ends."""
        run = self.project.active[0]
        where = {"n": run.n, "k": run.next_k, "claim": f"c{run.n}.{run.next_k}"}
        self.send("claimed", **where, node="ws1", node_uuid="u")
        self.send("started", **where)
        self.send("exited", **where, exit_code=0)
        manifests = {"workspace": f"m{run.n}", "output": f"o{run.n}"}
        return self.send("ended", **where, outcome=outcome, reason=reason, manifests=manifests)

    def all(self) -> Project:
        """Start, and let everything go well to the end."""
        self.start()
        while self.project.active:
            self.end()
        return self.project


def definition(text: str) -> PipelineDefinition:
    return parse(text, source="t")


def test_redoing_a_stage_takes_over_the_stage_before_it_and_makes_later_runs_stale() -> None:
    story = Story()
    before = story.all()
    again = story.start("track")
    assert (again.n, again.workspace_from) == (4, 1)
    assert lineage.stale(story.project) == {}
    story.end()
    assert lineage.stale(story.project) == {3: 2}
    assert story.project.runs[4].workspace_from == 4  # stats goes on from the new one
    assert story.project.runs[:3] == before.runs


def test_what_was_made_from_a_stale_run_is_stale_too_and_a_choice_of_an_old_run_is_not() -> None:
    story = Story()
    story.all()
    story.start("detect", advance="single")
    story.end()
    assert lineage.stale(story.project) == {2: 1, 3: 2}
    chosen = story.start("track", workspace=1, advance="single")
    assert chosen.workspace_from == 1
    story.end()
    assert 5 not in lineage.stale(story.project)


def test_a_blueprint_repeats_a_run_as_it_was_but_for_what_is_changed() -> None:
    story = Story()
    story.start(env={"CONF": "0.1"}, image="other:2", advance="single")
    story.end()
    other = TEXT.replace("v8", "v9").replace("{name: detect, image: i", "{name: detect, image: new")
    story.send("pipeline_changed", definition=definition(other), base=1)
    like = story.start(blueprint=1, env={"CONF": "0.2"})
    assert like.stage == story.project.runs[0].stage
    assert {name: each.value for name, each in like.env.items()} == {"MODEL": "v8", "CONF": "0.2"}
    fresh = Story(other).start()
    assert (fresh.stage.image, fresh.env["MODEL"].value) == ("new", "v9")


def test_requirements_are_changed_key_by_key() -> None:
    story = Story()
    run = story.start(requires={"cpus": 4, "gpus": {"count": 2}})
    assert run.stage.requires.gpus is not None
    assert (run.stage.requires.cpus, run.stage.requires.gpus.count) == (4, 2)
    assert run.stage.requires.gpus.memory == 8 << 30
    with pytest.raises(InvalidInput, match=r"requires\.memory: not a size"):
        Story().start(requires={"memory": "16 gigs"})


def test_resuming_after_a_failure_keeps_what_was_changed_for_the_failed_run() -> None:
    story = Story()
    story.start(env={"CONF": "0.1"}, requires={"memory": "2GiB"})
    story.end("failed", "oom")
    story.send("run_queued", requires={"memory": "4GiB"})
    again = story.project.runs[-1]
    assert (again.n, again.stage.name, again.stage.requires.memory) == (2, "detect", 4 << 30)
    assert again.env["CONF"].value == "0.1" and again.env["CONF"].origin is Origin.RUN


def test_values_a_stage_needs_are_asked_for_and_nothing_fails() -> None:
    story = Story(
        TEXT.replace("{name: stats, image: i}", "{name: stats, image: i, require_env: [LIMIT, UNIT]}")
    )
    story.start()
    story.end()
    story.end()
    assert state_of(story.project) == (ProjectState.NEEDS_YOU, "stage 'stats' needs LIMIT, UNIT")
    assert [run.state for run in story.project.runs] == [RunState.SUCCEEDED] * 2
    with pytest.raises(Refused, match="needs LIMIT, UNIT"):
        story.send("run_queued")
    with pytest.raises(Refused, match="not for CONF"):
        story.send("answered", env={"CONF": "1"})
    story.send("answered", env={"LIMIT": "3"})
    assert story.project.control.needs == ("UNIT",)
    story.send("answered", env={"UNIT": "km/h"})
    run = story.project.active[0]
    assert (run.stage.name, run.env["LIMIT"].value, run.env["UNIT"].value) == ("stats", "3", "km/h")
    story.end()
    assert story.start("stats").env["LIMIT"].value == "3"  # asked once


def test_a_start_that_lacks_a_value_waits_with_all_it_was_asked() -> None:
    story = Story("require_env: [CAMERA]\n" + TEXT)
    story.send(
        "run_queued", confirmed=True, env={"CONF": "0.1"}, image="x:1", advance="single", comment="try"
    )
    assert story.project.runs == ()
    story.send("answered", env={"CAMERA": "south"})
    run = story.project.active[0]
    assert (run.stage.image, run.env["CONF"].value, run.advance, run.comment) == (
        "x:1",
        "0.1",
        "single",
        "try",
    )


def test_confirmations_never_once_and_always() -> None:
    text = TEXT.replace("env: {CONF: '0.5'}", "confirmation: once").replace(
        "stats, image: i", "stats, image: i, confirmation: always"
    )
    story = Story(text)
    story.start()
    story.end()
    assert state_of(story.project)[0] is ProjectState.NEEDS_YOU
    with pytest.raises(Refused, match="waits for a confirmation"):
        story.send("run_queued")
    story.send("confirmed")
    story.end()
    assert story.project.control.pending is not None and story.project.control.pending.stage == "stats"
    story.start("detect")
    story.end()
    assert story.project.active[0].stage.name == "track"  # confirmed once
    story.end()
    assert state_of(story.project) == (ProjectState.NEEDS_YOU, "stage 'stats' waits for a confirmation")


def test_a_pipelines_own_confirmation_holds_for_stages_that_say_nothing() -> None:
    story = Story(
        "confirmation: always\n" + TEXT.replace("stats, image: i", "stats, image: i, confirmation: never")
    )
    story.start()
    story.end()
    assert state_of(story.project)[0] is ProjectState.NEEDS_YOU
    story.send("confirmed")
    story.end()
    assert story.project.active[0].stage.name == "stats"


def test_the_queue_goes_before_the_pipeline_and_can_be_put_in_order() -> None:
    story = Story()
    story.start()
    for conf in ("0.1", "0.2", "0.3"):
        story.send("enqueued", stage="track", env={"CONF": conf})
    first, second, third = story.project.queue
    story.send("queue_moved", request=third.id, position=0)
    story.send("dequeued", request=second.id)
    with pytest.raises(Conflict, match="waits there no more"):
        story.send("dequeued", request=second.id)
    story.end()
    assert story.project.active[0].env["CONF"].value == "0.3"
    story.end()
    assert story.project.active[0].env["CONF"].value == "0.1"
    assert story.project.queue == ()
    story.end()
    assert story.project.active[0].stage.name == "stats"
    assert first.confirmed


def test_a_mistake_in_what_is_enqueued_is_said_at_once() -> None:
    story = Story()
    story.start()
    with pytest.raises(NotFound, match="no stage 'trak'"):
        story.send("enqueued", stage="trak")
    with pytest.raises(NotFound, match="no run #9"):
        story.send("enqueued", blueprint=9)


def test_what_cannot_be_queued_by_itself_waits_for_a_person_with_a_sentence() -> None:
    story = Story(TEXT.replace("stats, image: i", "stats, image: i, inputs: ['#detect:boxes.txt']"))
    story.start("track")
    story.end()
    state, why = state_of(story.project)
    assert state is ProjectState.PAUSED and "no run of 'detect' has succeeded" in why
    story.start("detect")
    story.end()
    story.end()
    assert story.project.active[0].input_runs == {"detect": 2}
    assert 2 in story.project.active[0].refs


def test_files_changed_for_the_next_run_are_taken_over_once() -> None:
    story = Story()
    story.start(advance="single")
    with pytest.raises(Refused, match="is being made"):
        story.send("workspace_edited", manifest="e", base=0)
    story.end()
    story.send("workspace_edited", manifest="edit-1", base=1, parent="m1")
    with pytest.raises(Conflict, match="changed meanwhile"):
        story.send("workspace_edited", manifest="edit-2", base=1, parent="m1")
    story.send("workspace_edited", manifest="edit-2", base=1, parent="edit-1")
    run = story.start(advance="single")
    assert (run.workspace_from, run.workspace_edited, story.project.edited) == (1, "edit-2", None)
    story.end()
    assert story.start("track").workspace_edited == ""


def test_dropping_changed_files_never_drops_what_a_run_took_over_meanwhile() -> None:
    story = Story()
    story.send("workspace_edited", manifest="zero", base=0)
    story.start("detect", advance="single")
    story.end()
    story.send("workspace_edited", manifest="edit", base=1, parent="m1")
    story.start()  # takes it over, while somebody wants to drop it
    with pytest.raises(Conflict, match="a run has taken them over"):
        story.send("workspace_restored", manifest="edit")
    assert story.project.initial is not None
    with pytest.raises(Refused, match="no files were changed"):
        story.send("workspace_restored", manifest="")


def test_files_put_before_anything_ran_are_run_0_for_good() -> None:
    story = Story()
    assert steering.next_workspace(story.project) == ("detect", 0, "")
    with pytest.raises(NotFound, match="there is no run 0"):
        story.start(workspace=0)
    story.send("workspace_edited", manifest="zero", base=0)
    for _ in range(2):
        run = story.start("detect", advance="single")
        assert (run.workspace_from, run.workspace_edited, run.refs) == (0, "zero", ())
        story.end()
    assert story.start("track", workspace="none").workspace_from is None


def test_another_copy_of_the_pipeline_is_a_conflict_for_who_saw_an_older_one() -> None:
    story = Story()
    story.start()
    story.send("pipeline_changed", definition=definition(TEXT.replace("v8", "v9")), base=1)
    with pytest.raises(Conflict, match="changed meanwhile by ann"):
        story.send("pipeline_changed", definition=definition(TEXT), base=1)
    assert story.project.active[0].env["MODEL"].value == "v8"
    assert (story.project.pipeline.edited, story.project.pipeline.edition) == (True, 2)
    story.send("pipeline_changed", definition=definition(TEXT), base=2, source="traffic", source_revision=5)
    assert (story.project.pipeline.edited, story.project.pipeline.source_revision) == (False, 5)


def test_a_changed_pipeline_goes_on_where_it_can() -> None:
    story = Story()
    story.start(advance="single")
    story.end()
    without = "\n".join(line for line in TEXT.splitlines() if "track" not in line)
    story.send("pipeline_changed", definition=definition(without), base=1)
    assert story.project.control.next_stage == "stats"
    story.start()
    story.end()
    assert state_of(story.project)[0] is ProjectState.SUCCEEDED
    longer = without + "\n  - {name: report, image: i}\n"
    story.send("pipeline_changed", definition=definition(longer), base=2)
    assert state_of(story.project) == (ProjectState.PAUSED, "user")
    assert story.start().stage.name == "report"


def test_an_abort_at_once_does_not_wait_for_the_node() -> None:
    story = Story()
    run = story.start()
    story.send("claimed", n=1, k=1, claim="c", node="ws1", node_uuid="u")
    story.send("abort_requested", n=run.n, now=True)
    ended = story.project.runs[0]
    assert (ended.state, ended.detail) == (RunState.FAILED, "aborted by ann, without waiting for node ws1")
    assert story.project.control.reason is PauseReason.STAGE_FAILED


def test_retention_keeps_the_latest_the_pinned_and_the_needed() -> None:
    story = Story("retention: {keep_last: 1, keep_failed: false}\n" + TEXT)
    for _ in range(3):
        story.start("detect", advance="single")
        story.end()
    story.start("detect", advance="single")
    story.end("failed", "oom")
    story.start("detect", advance="single")
    story.end()
    assert retention.prunable(story.project) == (1, 2, 3, 4)
    story.send("pins_changed", add=[2])
    story.start("track", workspace=1)
    assert retention.prunable(story.project) == (3, 4)
    with pytest.raises(Refused, match="run #1 stay: run #6"):
        story.send("files_pruned", runs=[1])
    with pytest.raises(Refused, match="run #2 is pinned"):
        story.send("files_pruned", runs=[2])
    story.send("files_pruned", runs=[3, 4])
    story.send("abort_requested")
    with pytest.raises(Refused, match="files of run #3 were removed"):
        story.start("track", workspace=3)
    assert retention.prunable(story.project) == (1,)


def test_a_discardable_workspace_may_go_once_a_later_stage_has_used_it() -> None:
    story = Story(TEXT.replace("{name: detect, image: i", "{name: detect, image: i, discardable: true"))
    story.start(advance="single")
    story.end()
    assert retention.prunable(story.project) == ()
    story.start(advance="single")
    assert retention.prunable(story.project) == ()
    story.end()
    assert retention.prunable(story.project) == (1,)
    story.send("files_pruned", runs=[1])
    with pytest.raises(Refused, match="were removed") as refused:
        story.start("track")
    assert refused.value.hint.endswith("start ulm-abcd --stage detect")


def test_an_archived_project_starts_nothing() -> None:
    story = Story()
    story.send("archived")
    with pytest.raises(Refused, match="is archived"):
        story.start()
    story.send("archived", archived=False)
    story.start()
    with pytest.raises(Refused, match="is QUEUED"):
        story.send("archived")


def test_two_renames_at_once_leave_one_loser() -> None:
    story = Story()
    story.send("renamed", before="Ulm", name="Ulm South")
    with pytest.raises(Conflict, match="'Ulm South' by now"):
        story.send("renamed", before="Ulm", name="Ulm North")


def test_events_are_told_in_sentences_without_values() -> None:
    story = Story()
    story.start(env={"TOKEN": "hush"}, image="x:1")
    story.send("env_changed", set={"PASSWORD": "hush"}, unset=["OLD"])
    told = [each.text for each in story.project.recent_events]
    assert told == [
        "created",
        "started what comes next with other TOKEN, image; #1 detect is queued",
        "environment: +PASSWORD -OLD",
    ]
    assert [each.revision for each in story.project.recent_events] == [1, 2, 3]
