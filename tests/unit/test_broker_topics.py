"""Topics: the table of design 4, and names that must not become topics."""

from __future__ import annotations

import pytest

from broker import topics
from broker.topics import Travel
from winslow.errors import InvalidInput

TABLE = [
    (topics.NodeState(node="ws1"), "nodes/ws1/state", Travel.OWN, 1),
    (topics.NodeMetrics(node="ws1"), "nodes/ws1/metrics", Travel.LIVE, 0),
    (topics.NodeHistory(node="ws1"), "nodes/ws1/history", Travel.OWN, 0),
    (topics.NodeWish(node="ws1"), "nodes/ws1/wish", Travel.SHARED, 1),
    (topics.ProjectState(project="ulm-abcd"), "projects/ulm-abcd/state", Travel.SHARED, 1),
    (topics.Activity(project="ulm-abcd"), "projects/ulm-abcd/activity", Travel.LIVE, 1),
    (topics.Offer(project="ulm-abcd", run=3, attempt=1), "projects/ulm-abcd/offers/3.1", Travel.SHARED, 1),
    (
        topics.Bid(project="ulm-abcd", run=3, attempt=1, node="ws1"),
        "projects/ulm-abcd/bids/3.1/ws1",
        Travel.LIVE,
        1,
    ),
    (topics.Log(project="ulm-abcd", run=3, attempt=1), "projects/ulm-abcd/runs/3.1/log", Travel.LIVE, 0),
    (
        topics.Progress(project="ulm-abcd", run=3, attempt=1),
        "projects/ulm-abcd/runs/3.1/progress",
        Travel.OWN,
        0,
    ),
    (topics.Stats(project="ulm-abcd", run=3, attempt=1), "projects/ulm-abcd/runs/3.1/stats", Travel.LIVE, 0),
    (topics.PipelineNotice(name="traffic"), "pipelines/traffic", Travel.SHARED, 1),
    (topics.Request(node="ws1", client="cli-1"), "nodes/ws1/requests/cli-1", Travel.LIVE, 1),
    (topics.Reply(client="cli-1"), "clients/cli-1/replies", Travel.LIVE, 1),
    (topics.Echo(client="cli-1"), "clients/cli-1/echo", Travel.LIVE, 0),
]


@pytest.mark.parametrize(("topic", "path", "travel", "qos"), TABLE)
def test_the_table_of_the_design(topic: topics.Topic, path: str, travel: Travel, qos: int) -> None:
    assert (topic.path, topic.travel, topic.qos) == (path, travel, qos)
    assert topics.build("main", topic) == f"winslow/main/{path}"
    assert topics.parse("main", f"winslow/main/{path}") == topic


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a/b",
        "+",
        "#",
        "a+b",
        "a#",
        "a\0b",
        " a",
        "a b",
        "a\n",
        "$SYS",
        ".",
        "..",
        ".hidden",
        "-x",
        "ä",
        "\x1b",
        "a" * 129,
    ],
)
def test_a_hostile_name_becomes_no_topic(name: str) -> None:
    with pytest.raises(InvalidInput, match="node name"):
        topics.NodeState(node=name)
    with pytest.raises(InvalidInput, match="project id"):
        topics.Bid(project=name, run=1, attempt=1, node="ws1")
    with pytest.raises(InvalidInput, match="pipeline name"):
        topics.PipelineNotice(name=name)
    with pytest.raises(InvalidInput, match="site"):
        topics.build(name, topics.NodeState(node="ws1"))


@pytest.mark.parametrize(
    "text",
    [
        "winslow/main",
        "winslow/main/",
        "winslow/other/nodes/ws1/state",
        "winslow/main/nodes/ws1",
        "winslow/main/nodes/ws1/state/more",
        "winslow/main/nodes//state",
        "winslow/main/projects/p/offers/3",
        "winslow/main/projects/p/offers/03.1",
        "winslow/main/projects/p/offers/3.-1",
        "winslow/main/projects/p/offers/٣.1",
        "winslow/main/projects/p/runs/3.1/unknown",
        "winslow/main/projects/p/bids/3.1/..",
        "$SYS/broker/version",
        "",
    ],
)
def test_any_other_topic_is_malformed(text: str) -> None:
    with pytest.raises(topics.Malformed):
        topics.parse("main", text)


@pytest.mark.parametrize(
    ("below", "path", "match"),
    [
        (topics.NODE_STATES, "nodes/ws1/state", True),
        (topics.NODE_STATES, "nodes/ws1/metrics", False),
        (topics.BIDS, "projects/p/bids/3.1/ws1", True),
        (topics.OFFERS, "projects/p/offers/3.1", True),
        (topics.PROGRESS, "projects/p/runs/3.1/progress", True),
        (topics.PIPELINES, "pipelines/traffic", True),
        (topics.EVERYTHING, "nodes/ws1/state", True),
        ("nodes/#", "nodes/ws1/state", True),
        ("nodes/+", "nodes/ws1/state", False),
        ("nodes/ws1/state", "nodes/ws1", False),
    ],
)
def test_which_topics_a_filter_gets(below: str, path: str, match: bool) -> None:
    assert topics.matches(topics.build_filter("main", below), f"winslow/main/{path}") is match


@pytest.mark.parametrize("below", ["", "#/state", "nodes/+x/state", "nodes/#/x", "a//b", "nodes/\0", "$x"])
def test_a_filter_that_mqtt_does_not_allow_is_refused(below: str) -> None:
    with pytest.raises(InvalidInput, match="filter"):
        topics.build_filter("main", below)
