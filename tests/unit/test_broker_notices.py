"""What a write of a project's document makes its writer publish."""

from __future__ import annotations

from broker.messages import ActivityRecord, ProjectSummary
from broker.notices import notices
from broker.topics import Activity, Offer, Progress, ProjectState
from tests.unit.cli_projects import after, event_id, new, queued, running
from winslow import lifecycle
from winslow.events import Claimed, Deleted, Renamed
from winslow.project import EventRecord


def test_one_write_tells_of_one_event_whatever_the_writer_knew_before() -> None:
    before = new()
    project = running()
    for old in (None, before, project):
        told = [payload for topic, payload in notices(old=old, new=project, project_id=project.id)
                if isinstance(topic, Activity)]  # fmt: skip
        assert told == [
            ActivityRecord(
                project="ulm-abcd", name="Ulm", revision=4, id=project.recent_events[-1].id,
                at="2026-01-01T10:00:00.123Z", kind="started", n=1, k=1, text="run #1: started",
            )
        ]  # fmt: skip


def test_a_claim_clears_the_offer_before_it_is_told() -> None:
    before = queued()
    claimed = after(before, Claimed(id=event_id(), n=1, k=1, claim="c", node="ws1", node_uuid="u"))
    assert [
        (topic, payload is None) for topic, payload in notices(old=before, new=claimed, project_id=before.id)
    ] == [
        (Offer(project=before.id, run=1, attempt=1), True),
        (Activity(project=before.id), False),
        (ProjectState(project=before.id), False),
    ]


def test_a_deletion_clears_everything_and_is_told() -> None:
    before = running()
    gone = lifecycle.apply(before, Deleted(id=event_id(), by="ann", at="2026-01-01T11:00:00Z"))
    told = notices(old=before, new=gone, project_id=before.id)
    assert [(topic, payload is None) for topic, payload in told] == [
        (Progress(project=before.id, run=1, attempt=1), True),
        (Activity(project=before.id), False),
        (ProjectState(project=before.id), True),
    ]
    (record,) = (payload for _, payload in told if isinstance(payload, ActivityRecord))
    assert (record.kind, record.by, record.revision, record.name) == ("deleted", "ann", 5, "Ulm")
    assert notices(old=gone, new=None, project_id=before.id) == [(ProjectState(project=before.id), None)]


def test_what_is_told_is_bounded_whatever_a_document_holds() -> None:
    project = after(new(), Renamed(id=event_id(), before="Ulm", name="x" * 200))
    record = EventRecord(
        id="i" * 9000, revision=2, at="a" * 9000, by="b" * 9000, kind="k" * 9000, text="t" * 9000
    )
    told = ActivityRecord.of(project, record)
    assert len(told.model_dump_json()) < 3000
    assert isinstance(notices(old=None, new=project, project_id=project.id)[-1][1], ProjectSummary)
