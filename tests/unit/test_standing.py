"""What becomes of an attempt, by what its document says."""

from __future__ import annotations

import pytest

from node_agent.journal import AttemptJournal, Step
from node_agent.standing import Standing, standing
from winslow.events import (
    AbortRequested,
    Claimed,
    Deleted,
    Disowned,
    Ended,
    Event,
    Exited,
    Lost,
    RunQueued,
    Started,
)
from winslow.lifecycle import apply, create
from winslow.pipeline import PipelineDefinition, Retry, RetryOn, StageDefinition
from winslow.project import Project, Reason, Tombstone

ONE = {"n": 1, "k": 1, "claim": "c1"}
LOST = Lost.model_validate({"id": "lost", **ONE})


def claimed(k: int, claim: str, *, node: str = "ws1", adopts: int | None = None) -> Event:
    return Claimed(id=claim, n=1, k=k, claim=claim, node=node, node_uuid=node, adopts=adopts)


def after(*events: Event, retries: int = 1) -> Project | Tombstone:
    """The document of a project whose first run was claimed by ws1 as attempt 1, and then these."""
    retry = Retry(max=retries, on=(RetryOn.NODE_LOST, RetryOn.STORAGE))
    stages = (StageDefinition(name="one", image="i", retry=retry),)
    document: Project | Tombstone = create(
        id="p-abcd",
        event_id="e0",
        name="P",
        pipeline=PipelineDefinition(name="p", stages=stages),
        source_revision=1,
    )
    for event in (RunQueued(id="q"), claimed(1, "c1"), *events):
        assert isinstance(document, Project)
        document = apply(document, event)
    return document


def remembered(step: Step = Step.STARTED) -> AttemptJournal:
    return AttemptJournal(
        project="p-abcd", run=1, attempt=1, claim="c1", step=step, node_uuid="ws1", boot_id="b"
    )


def test_it_is_current_while_the_document_names_it() -> None:
    started = Started.model_validate({"id": "s", **ONE})
    for events in ((), (started,), (started, AbortRequested(id="a"))):
        assert standing(remembered(), after(*events)) is Standing.CURRENT


@pytest.mark.parametrize("step", [Step.STARTED, Step.EXITED, Step.COLLECTED])
def test_lost_with_a_container_it_may_go_on(step: Step) -> None:
    assert standing(remembered(step), after(LOST)) is Standing.LOST


@pytest.mark.parametrize("step", [Step.INTENT, Step.CLAIMED, Step.PLACED, Step.CREATED])
def test_lost_before_its_start_it_is_over(step: Step) -> None:
    assert standing(remembered(step), after(LOST)) is Standing.DISPLACED


def test_it_may_go_on_though_others_have_lost_the_run_too() -> None:
    second = Lost(id="lost2", n=1, k=2, claim="c2")
    disowned = Disowned(id="d", n=1, k=3, claim="c3")
    events = (LOST, claimed(2, "c2", node="ws2"), second, claimed(3, "c3", node="ws3"), disowned)
    assert standing(remembered(), after(*events, retries=2)) is Standing.LOST


STARTED = Started.model_validate({"id": "s", **ONE})
EXITED = Exited.model_validate({"id": "x", **ONE})
STORAGE = Ended.model_validate({"id": "f", **ONE, "outcome": "failed", "reason": Reason.STORAGE})


@pytest.mark.parametrize(
    "document",
    [
        None,
        after(Deleted(id="d")),
        after(LOST, Deleted(id="d")),
        after(LOST, AbortRequested(id="a")),
        after(AbortRequested(id="a"), LOST),
        after(LOST, retries=0),
        after(LOST, claimed(2, "c2", node="ws2")),
        after(LOST, claimed(2, "unwanted")),
        after(Disowned.model_validate({"id": "d", **ONE})),
        after(STORAGE),
        after(STARTED, EXITED, Ended.model_validate({"id": "f", **ONE, "outcome": "succeeded"})),
    ],
    ids=[
        "no document",
        "deleted",
        "deleted after the loss",
        "aborted after the loss",
        "aborted before the loss",
        "failed by the loss",
        "another node's",
        "another claim of this node",
        "disowned",
        "failed and queued again",
        "succeeded",
    ],
)
def test_otherwise_it_is_displaced(document: Project | Tombstone | None) -> None:
    assert standing(remembered(Step.COLLECTED), document) is Standing.DISPLACED


def test_the_claim_that_it_asked_for_is_its_own() -> None:
    document = after(LOST, claimed(2, "c2", adopts=1))
    wanting = remembered().wanting(2, "c2")
    assert standing(wanting, document) is Standing.WON
    assert standing(wanting.renumbered(), document) is Standing.CURRENT
    assert standing(remembered().wanting(2, "c9"), document) is Standing.DISPLACED
    assert standing(remembered().wanting(3, "c2"), document) is Standing.DISPLACED


def test_a_run_that_is_not_there_displaces_it() -> None:
    assert standing(remembered().model_copy(update={"run": 2}), after()) is Standing.DISPLACED


def test_what_it_has_ended_displaces_it_no_more() -> None:
    committed = remembered(Step.COMMITTED)
    assert standing(committed, after(STORAGE)) is Standing.CURRENT
    assert standing(committed, after(LOST)) is Standing.CURRENT
