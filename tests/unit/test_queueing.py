"""What people wish of the next run: requests laid over each other, questions, and a queue that others change."""

from __future__ import annotations

import pytest

from tests.unit import cli_projects as make
from winslow import lifecycle
from winslow.errors import Conflict, Refused
from winslow.events import (
    Confirmed,
    Dequeued,
    Enqueued,
    EnvChanged,
    Event,
    PipelineChanged,
    QueueMoved,
    RunQueued,
)
from winslow.lifecycle import ProjectState, state_of
from winslow.pipeline import GpuRequirement, parse
from winslow.project import Project
from winslow.steering import way_on

ASKING = """
name: traffic
stages:
  - {name: detect, image: img, confirmation: always}
  - {name: track, image: img, confirmation: always, require_env: [LANE]}
"""


def asking() -> Project:
    """Its stages ask: detect for a confirmation, track for a value first."""
    definition = parse(ASKING, source="test")
    return make.after(make.new(), PipelineChanged(id=make.event_id(), definition=definition, base=1))


def refused(project: Project, event: Event, error: type[Exception]) -> Exception:
    with pytest.raises(error) as caught:
        lifecycle.apply(project, event)
    return caught.value


def test_a_resumed_redo_is_again_like_its_blueprint() -> None:
    project = make.ended(single=True)
    project = make.after(
        project,
        RunQueued(id=make.event_id(), blueprint=1, image="other", confirmed=True),
    )
    changed = project.pipeline.definition.stages[0].model_copy(update={"image": "newer"})
    definition = project.pipeline.definition.model_copy(
        update={"stages": (changed, *project.pipeline.definition.stages[1:])}
    )
    project = make.ended_like(project, ok=False)
    project = make.after(project, PipelineChanged(id=make.event_id(), definition=definition, base=1))
    project = make.after(project, RunQueued(id=make.event_id()))
    assert (project.runs[-1].blueprint, project.runs[-1].stage.image) == (1, "other")


def test_gpus_asked_for_later_are_laid_over_those_asked_for_before() -> None:
    project = make.after(
        make.new(),
        Enqueued(id=make.event_id(), stage="track", requires={"gpus": {"count": 2}}),
        RunQueued(id=make.event_id(), requires={"gpus": {"name": "A5000"}}),
    )
    assert project.runs[-1].stage.requires.gpus == GpuRequirement(count=2, name="A5000")
    assert project.queue == ()


def test_a_run_that_waits_no_more_is_a_conflict_and_not_a_wrong_removal() -> None:
    project = make.after(make.queued(), Enqueued(id="wish-1", stage="track"))
    gone = make.after(project, Dequeued(id=make.event_id(), request="wish-1"))
    assert "meanwhile" in str(refused(gone, Dequeued(id="x", request="wish-1"), Conflict))
    assert "meanwhile" in str(refused(gone, QueueMoved(id="x", request="wish-1", position=0), Conflict))


def test_a_confirmation_of_another_stage_than_the_one_that_asks_is_a_conflict() -> None:
    project = make.after(asking(), RunQueued(id=make.event_id()))
    error = refused(project, Confirmed(id="x", stage="track"), Conflict)
    assert "'detect' asks by now, no longer 'track'" in str(error)
    assert make.after(project, Confirmed(id="y", stage="detect")).active


def test_starting_while_something_runs_says_how_to_let_it_come_after() -> None:
    error = refused(make.queued(), RunQueued(id="x", stage="track"), Conflict)
    assert isinstance(error, Conflict)
    assert "winslow queue add ulm-abcd --stage track" in error.hint
    error = refused(make.queued(), RunQueued(id="x", blueprint=1), Conflict)
    assert isinstance(error, Conflict)
    assert "winslow queue add ulm-abcd --like 1" in error.hint


@pytest.mark.parametrize(
    ("project", "command"),
    [
        (make.new(), "winslow start ulm-abcd"),
        (make.paused(), "winslow resume ulm-abcd"),
        (make.ended(ok=False), "winslow resume ulm-abcd"),
        (make.succeeded(), "winslow start ulm-abcd --stage NAME"),
        (make.after(asking(), RunQueued(id="a")), "winslow confirm ulm-abcd"),
        (make.after(asking(), RunQueued(id="a", stage="track")), "winslow answer ulm-abcd LANE=VALUE"),
    ],
    ids=["new", "paused", "failed", "succeeded", "confirmation", "values"],
)
def test_every_state_of_rest_has_a_way_on(project: Project, command: str) -> None:
    assert way_on(project) == command


def test_asking_again_without_an_answer_is_refused_with_the_way_on() -> None:
    project = make.after(asking(), RunQueued(id="a"))
    error = refused(project, RunQueued(id="b"), Refused)
    assert isinstance(error, Refused)
    assert "winslow confirm ulm-abcd" in error.hint


def test_values_set_for_the_project_are_no_longer_asked_for_and_start_nothing() -> None:
    project = make.after(asking(), RunQueued(id="a", stage="track", env={"CONF": "1"}, confirmed=True))
    two = ("LANE", "SPEED")
    track = project.pipeline.definition.stages[1].model_copy(update={"require_env": two})
    definition = project.pipeline.definition.model_copy(
        update={"stages": (project.pipeline.definition.stages[0], track)}
    )
    project = make.after(project, PipelineChanged(id="p", definition=definition, base=2))
    assert (project.control.needs, project.control.note) == (two, "stage 'track' needs LANE, SPEED")
    project = make.after(project, EnvChanged(id="b", set={"LANE": "1"}))
    assert project.control.needs == ("SPEED",)
    project = make.after(project, EnvChanged(id="c", set={"SPEED": "2"}))
    assert (state_of(project)[0], project.active) == (ProjectState.NEEDS_YOU, ())
    assert way_on(project) == "winslow confirm ulm-abcd"
    project = make.after(project, Confirmed(id="d", stage="track"))
    assert {name: value.value for name, value in project.runs[-1].env.items()} == {
        "LANE": "1",
        "SPEED": "2",
        "CONF": "1",
    }


def test_a_value_taken_away_before_a_confirmation_is_asked_for_first() -> None:
    project = make.after(
        asking(),
        EnvChanged(id="a", set={"LANE": "1"}),
        RunQueued(id="b", stage="track"),
        EnvChanged(id="c", unset=("LANE",)),
    )
    assert project.control.needs == ("LANE",)
    refused(project, Confirmed(id="d"), Refused)
