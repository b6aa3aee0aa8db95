"""What of all that the broker says is new: each thing once, whatever is lost, doubled or overtaken."""

from __future__ import annotations

import pytest

from broker import messages, topics
from broker.codec import Payload
from broker.session import Received
from broker.topics import Topic
from winslow.node import NodeState, Presence
from winslow_tui.facade.activity import About, Entry, Subject
from winslow_tui.facade.activity_stream import Ledger

PROJECT = Subject(About.PROJECT, "p-a")


def told(topic: Topic, payload: Payload | None, *, retained: bool = False) -> Received:
    return Received(topic=topic, payload=payload, retained=retained)


def record(revision: int, project: str = "p-a") -> Received:
    message = messages.ActivityRecord(
        project=project,
        name="A",
        revision=revision,
        id=f"e{revision}",
        by="ann",
        kind="paused",
        text="paused",
    )
    return told(topics.Activity(project=project), message)


def summary(revision: int) -> messages.ProjectSummary:
    return messages.ProjectSummary(id="p-a", revision=revision, name="A", state="new")


def node(presence: Presence, *, instance: str = "i1", retained: bool = False) -> Received:
    state = NodeState(node="ws1", node_uuid="u", instance=instance, presence=presence, host="lab")
    return told(topics.NodeState(node="ws1"), state, retained=retained)


def entry(place: int) -> Entry:
    return Entry(subject=PROJECT, place=place, at="", by="", kind="", text="")


@pytest.fixture
def ledger() -> Ledger:
    """Project p-a stands at 5."""
    made = Ledger(wall=lambda: "2026-01-01T00:00:00Z")
    made.begin({PROJECT: 5})
    return made


def test_a_message_that_continues_is_shown_and_its_copy_is_not(ledger: Ledger) -> None:
    (shown,) = ledger.heard(record(6))
    assert (shown.subject, shown.place, shown.by, shown.text, shown.title) == (
        PROJECT,
        6,
        "ann",
        "paused",
        "A",
    )
    assert ledger.missing(record(6)) is None
    assert ledger.heard(record(6)) == []
    assert ledger.heard(record(3)) == []


def test_after_a_gap_the_document_is_read_and_what_comes_twice_is_shown_once(ledger: Ledger) -> None:
    assert ledger.heard(record(8)) == []
    assert ledger.missing(record(8)) == PROJECT
    assert [each.place for each in ledger.heard(record(6))] == [6]  # it was only overtaken
    assert [each.place for each in ledger.read([entry(place) for place in (6, 7, 8)])] == [7, 8]
    assert ledger.missing(record(8)) is None


def test_a_project_that_nobody_knew_is_shown_from_its_first_event(ledger: Ledger) -> None:
    assert [each.place for each in ledger.heard(record(1, "p-new"))] == [1]
    assert ledger.missing(record(2, "p-newer")) == Subject(About.PROJECT, "p-newer")


@pytest.mark.parametrize(
    ("topic", "payload", "subject"),
    [
        (topics.ProjectState(project="p-a"), summary(6), PROJECT),
        (topics.ProjectState(project="p-a"), summary(5), None),
        (topics.ProjectState(project="p-a"), None, PROJECT),
        (topics.NodeWish(node="ws1"), messages.WishNotice(node="ws1", revision=1), Subject(About.NODE, "ws1")),
        (topics.NodeWish(node="ws1"), None, Subject(About.NODE, "ws1")),
        (topics.PipelineNotice(name="t"), messages.PipelineNotice(name="t", revision=1), Subject(About.PIPELINE, "t")),
        (topics.PipelineNotice(name="t"), None, Subject(About.PIPELINE, "t")),
        (topics.Progress(project="p-a", run=1, attempt=1), None, None),
    ],
)  # fmt: skip
def test_notices_tell_which_document_to_read(
    ledger: Ledger, topic: Topic, payload: Payload | None, subject: Subject | None
) -> None:
    assert ledger.heard(told(topic, payload)) == []
    assert ledger.missing(told(topic, payload)) == subject


def test_nodes_that_come_and_go(ledger: Ledger) -> None:
    def heard(*received: Received) -> list[tuple[str, str]]:
        return [(each.kind, each.text) for one in received for each in ledger.heard(one)]

    assert heard(node(Presence.OFFLINE)) == []  # it was away before
    assert heard(node(Presence.DRAINING), node(Presence.ONLINE), node(Presence.ONLINE)) == [
        ("node_draining", "takes nothing new on lab"),
        ("node_online", "takes part on lab"),
    ]
    assert heard(node(Presence.OFFLINE, instance="i0")) == []  # a late will
    assert heard(node(Presence.ONLINE, instance="i2")) == [("node_online", "takes part on lab")]
    assert heard(node(Presence.OFFLINE, instance="i2")) == [("node_offline", "went away")]
    assert heard(told(topics.NodeState(node="ws1"), None)) == []


def test_a_node_that_is_there_already_is_no_news(ledger: Ledger) -> None:
    assert ledger.heard(node(Presence.ONLINE, retained=True)) == []
    assert [each.kind for each in ledger.heard(node(Presence.OFFLINE))] == ["node_offline"]
