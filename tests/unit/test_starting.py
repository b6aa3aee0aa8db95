"""What the form for a run shows is what runs: what was asked for before is in it, and is asked for again."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.unit.test_steering import Story
from winslow.errors import NotFound, UsageError
from winslow.project import Run
from winslow_tui.facade.changes import Changes
from winslow_tui.screens.starting import Plan


def values(plan: Plan, **changed: str) -> Mapping[str, str]:
    """The form as it opens, some of its fields changed; `env_NAME` is that of a variable."""
    env = {f"env {name}": each.value for name, each in plan.env.items()}
    env |= {f"env {name}": "" for name in plan.needed if name not in plan.env}
    asked = plan.request
    opened = {
        "more": "", "image": plan.stage.image, "requires": "", "workspace": str(asked.workspace),
        "after": asked.advance, "comment": "",
    }  # fmt: skip
    return env | opened | {name.replace("env_", "env "): value for name, value in changed.items()}


def started(story: Story, plan: Plan, changes: Changes) -> Run:
    """The run that the form starts."""
    which = {"blueprint": plan.request.blueprint} if plan.request.blueprint else {"stage": plan.stage.name}
    story.send(
        "run_queued", confirmed=True, env=changes.env, image=changes.image, requires=changes.requires,
        workspace=changes.workspace, **which,
    )  # fmt: skip
    return story.project.runs[-1]


@pytest.fixture
def failed() -> Story:
    """Its second stage was asked for with changes, and failed."""
    story, env = Story(), {"CONF": "0.9", "LIMIT": "two words"}
    story.start(advance="single")
    story.end()
    story.start("track", env=env, image="i:2", requires={"memory": "64MiB"}, workspace="none")
    story.end("failed", "exit_code")
    return story


def test_a_plain_start_changes_nothing() -> None:
    plan = Plan.of(Story().project)
    assert (plan.stage.name, plan.request.blueprint) == ("detect", None)
    assert plan.changes(values(plan)).none


def test_what_has_failed_is_shown_and_run_again_as_it_was_asked_for(failed: Story) -> None:
    plan = Plan.of(failed.project)
    assert (plan.stage.name, plan.stage.image, plan.env["CONF"].value) == ("track", "i:2", "0.9")
    again = started(failed, plan, plan.changes(values(plan, requires="memory=128MiB")))
    assert (again.env["CONF"].value, again.env["LIMIT"].value) == ("0.9", "two words")
    assert (again.stage.image, again.workspace_from) == ("i:2", None)
    assert again.stage.requires.memory == 128 << 20


def test_what_was_asked_for_is_taken_back_in_the_form(failed: Story) -> None:
    plan = Plan.of(failed.project)
    again = started(failed, plan, plan.changes(values(plan, env_CONF="0.5", image="i", workspace="auto")))
    assert (again.env["CONF"].value, again.stage.image, again.workspace_from) == ("0.5", "i", 1)
    assert again.stage.requires == failed.project.pipeline.definition.stages[1].requires


def test_another_stage_has_nothing_of_that(failed: Story) -> None:
    plan = Plan.of(failed.project, stage="stats")
    assert "CONF" not in plan.env
    assert plan.changes(values(plan)).none


def test_an_old_run_is_shown_with_its_own_values(failed: Story) -> None:
    plan = Plan.of(failed.project, like=2)
    assert (plan.request.blueprint, plan.env["CONF"].value, plan.stage.image) == (2, "0.9", "i:2")
    again = started(failed, plan, plan.changes(values(plan, more="EXTRA='1 2'")))
    assert (again.blueprint, again.env["EXTRA"].value, again.env["CONF"].value) == (2, "1 2", "0.9")
    with pytest.raises(NotFound):
        Plan.of(failed.project, like=9)


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("more", "two words", "two: write NAME=VALUE"),
        ("more", "MODEL-", "MODEL-: a run has"),
        ("more", "A='x", "quotation mark"),
        ("requires", "memory=much", "requirements memory=much"),
        ("requires", "memmory=1GiB", "did you mean memory"),
    ],
)
def test_what_cannot_be_meant_is_refused(field: str, text: str, said: str) -> None:
    plan = Plan.of(Story().project)
    with pytest.raises(UsageError, match=said):
        plan.changes(values(plan, **{field: text}))


def test_the_question_of_a_stage_is_answered_with_what_was_asked_for_it() -> None:
    story = Story("""
name: asks
stages:
  - {name: a, image: i, require_env: [LIMIT], env: {CONF: '1'}}
""")
    story.send("run_queued", stage="a", confirmed=True, env={"CONF": "2"})
    assert not story.project.runs
    plan = Plan.of(story.project)
    assert (plan.env["CONF"].value, plan.needed) == ("2", frozenset({"LIMIT"}))
    run = started(story, plan, plan.changes(values(plan, env_LIMIT="7")))
    assert (run.env["CONF"].value, run.env["LIMIT"].value) == ("2", "7")
