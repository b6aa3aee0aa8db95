"""Payloads: what a document becomes on the wire, and what the codec refuses to send or to believe."""

from __future__ import annotations

import json

import pytest

from broker import codec, messages, topics
from tests.unit import cli_projects as make
from winslow import metrics, node
from winslow.errors import InvalidInput
from winslow.pipeline import GpuRequirement, PipelineDefinition, Requirements, StageDefinition
from winslow.project import Attempt, Control, Project, ProjectPipeline, Run, RunState, Tombstone

STAGE = StageDefinition(
    name="detect", image="lab/detect:1", requires=Requirements(cpus=2, gpus=GpuRequirement(count=1))
)
PROJECT = Project(
    id="ulm-abcd",
    revision=7,
    name="Ulm\x1b[31m",
    tags=("drone",),
    priority=2,
    pipeline=ProjectPipeline(
        definition=PipelineDefinition(name="traffic", stages=(STAGE,)), source_revision=1
    ),
    control=Control(paused=False, reason=None),
    runs=(Run(n=1, stage=STAGE), Run(n=2, stage=STAGE, state=RunState.SUCCEEDED)),
)
HELD = PROJECT.model_copy(
    update={
        "runs": (
            Run(
                n=1,
                stage=STAGE,
                state=RunState.RUNNING,
                attempts=(Attempt(k=1, claim="c", node="ws3", node_uuid="u"),),
            ),
        )
    }
)
BID = messages.BidMessage(
    project="ulm-abcd", run=1, attempt=1, node="ws1", instance="i", kind="bid", cost=3.5, parts={"load": 3.5}
)
BID_TOPIC = topics.Bid(project="ulm-abcd", run=1, attempt=1, node="ws1")
STATE = node.NodeState(node="ws1", node_uuid="u", instance="i", presence=node.Presence.ONLINE)
STATE_TOPIC = topics.NodeState(node="ws1")


def test_a_queued_run_in_a_summary_has_no_node_and_the_number_its_claim_will_get() -> None:
    summary = messages.ProjectSummary.of(PROJECT, updated="2026-01-02T03:04:05Z")
    assert (summary.id, summary.revision, summary.state, summary.tags) == (
        "ulm-abcd",
        7,
        "waiting",
        ("drone",),
    )
    assert summary.active == (
        messages.ActiveSummary(n=1, k=1, stage="detect", state=RunState.QUEUED, node="", percent=None),
    )


def test_a_summary_says_what_a_waiting_run_needs_that_no_node_has() -> None:
    small = STATE.model_copy(update={"hardware": node.Hardware(cpus=0.5, memory=64 << 30)})
    assert messages.ProjectSummary.of(PROJECT, nodes=[small]).reason == (
        "needs 1 GPU and 2 cores; best node ws1 has none and 0.5"
    )
    assert messages.ProjectSummary.of(PROJECT, nodes=[]).reason == "no node is known"
    gpu = node.Gpu(uuid="G1", memory=24 << 30)
    big = STATE.model_copy(update={"hardware": node.Hardware(cpus=8, memory=64 << 30, gpus=(gpu,))})
    assert messages.ProjectSummary.of(PROJECT, nodes=[small, big]).reason == ""
    assert messages.ProjectSummary.of(HELD, nodes=[small]).reason == ""


def test_a_held_run_in_a_summary_names_its_node_and_progress() -> None:
    summary = messages.ProjectSummary.of(HELD, percents={(1, 1): 40.0, (1, 2): 99.0})
    assert summary.state == "running"
    assert summary.active == (
        messages.ActiveSummary(n=1, k=1, stage="detect", state=RunState.RUNNING, node="ws3", percent=40.0),
    )


def test_a_tombstone_is_shown_as_being_deleted() -> None:
    summary = messages.ProjectSummary.of(Tombstone(id="ulm-abcd", revision=8, name="Ulm"))
    assert (summary.state, summary.revision, summary.active) == ("deleting", 8, ())


def test_a_summary_stays_small_whatever_the_document_holds() -> None:
    huge = PROJECT.model_copy(
        update={
            "name": "\x01" * 10**5,
            "tags": ("\x01" * 10**4,) * 1000,
            "author": "\x01" * 10**4,
            "comment": "\x01" * 10**6,
            "control": Control(needs=("N" * 10**4,) * 1000),
        }
    )
    topic = topics.ProjectState(project="ulm-abcd")
    sent = codec.encode(topic, messages.ProjectSummary.of(huge))
    assert len(sent.data) < codec.MAX_BYTES
    assert codec.decode(topic, sent.data) == messages.ProjectSummary.of(huge)


def test_a_usual_summary_is_a_few_hundred_bytes_and_has_what_a_list_shows() -> None:
    project = HELD.model_copy(update={"author": "ann", "comment": "lane 2 " * 100, "archived": True})
    summary = messages.ProjectSummary.of(project)
    assert (summary.author, summary.pipeline, summary.archived, summary.priority) == (
        "ann",
        "traffic",
        True,
        2,
    )
    assert (summary.runs, summary.queue) == (messages.RunCounts(total=1), 0)
    assert len(summary.comment) == 100
    assert len(codec.encode(topics.ProjectState(project="ulm-abcd"), summary).data) < 700


def test_a_summary_says_what_a_project_needs_of_a_person() -> None:
    summary = messages.ProjectSummary.of(make.needing())
    assert (summary.state, summary.needs) == ("needs you", ("LANE",))
    assert summary.runs == messages.RunCounts(total=1, succeeded=1)
    assert messages.ProjectSummary.of(make.ended(ok=False)).runs.failed == 1


def test_an_offer_says_what_the_run_needs() -> None:
    hint = messages.OfferHint.of(PROJECT, PROJECT.runs[0], inputs=[messages.OfferInput(key="k", size=5)])
    assert hint.requires == STAGE.requires
    assert (hint.run, hint.attempt, hint.image, hint.priority, hint.revision) == (1, 1, "lab/detect:1", 2, 7)


def test_the_largest_offer_can_be_sent() -> None:
    inputs = [messages.OfferInput(key="\x01" * 1024, size=2**62)] * 5000
    hint = messages.OfferHint.of(PROJECT, PROJECT.runs[0], inputs=inputs)
    topic = topics.Offer(project="ulm-abcd", run=1, attempt=1)
    assert codec.decode(topic, codec.encode(topic, hint).data) == hint


def test_the_largest_history_can_be_sent() -> None:
    points = [
        metrics.HistoryPoint(
            at=2.0 * i, cpu=33.3, memory=2**40, net_in=1e9 / 3, disk_read=1e9 / 7, gpus=(12.5,) * 16
        )
        for i in range(1000)
    ]
    history = metrics.NodeHistory(memory_total=2**41, gpus=("GPU-x" * 8,) * 16, points=metrics.thin(points))
    topic = topics.NodeHistory(node="ws1")
    sent = codec.encode(topic, history)
    assert codec.decode(topic, sent.data) == history
    assert len(history.points) in (120, 121)
    assert len(sent.data) < codec.MAX_BYTES / 4


def test_a_samples_cores_and_devices_become_one_point() -> None:
    sample = metrics.NodeSample(
        at=4.0,
        cpus=(0.0, 100.0),
        memory=7,
        networks=(metrics.NetworkSample(name="a", in_rate=1), metrics.NetworkSample(name="b", in_rate=2)),
        disks=(metrics.DiskSample(name="/", read_rate=5, write_rate=6),),
        gpus=(metrics.GpuSample(uuid="GPU-1", percent=30),),
    )
    assert sample.point() == metrics.HistoryPoint(
        at=4.0, cpu=50.0, memory=7, net_in=3, disk_read=5, disk_write=6, gpus=(30.0,)
    )
    assert metrics.NodeSample(at=0.0).cpu == 0.0


def test_thinning_averages_within_a_step_and_leaves_gaps() -> None:
    raw = [metrics.HistoryPoint(at=at, cpu=cpu) for at, cpu in [(0, 10), (2, 20), (4, 30), (5, 50), (21, 70)]]
    thinned = metrics.thin(raw, window=100, step=5)
    assert [(point.at, point.cpu) for point in thinned] == [(4, 20), (5, 50), (21, 70)]
    assert [point.at for point in metrics.thin(raw, window=16, step=5)] == [5, 21]


def test_state_is_json_that_people_can_read_and_logs_are_plain_bytes() -> None:
    sent = codec.encode(BID_TOPIC, BID)
    assert sent.content_type == "application/json"
    assert json.loads(sent.data)["parts"] == {"load": 3.5}
    log = codec.encode(
        topics.Log(project="p", run=1, attempt=1), messages.LogChunk(offset=12, data=b"\xff\x00line\n")
    )
    assert (log.data, log.content_type, log.user_properties) == (
        b"\xff\x00line\n",
        "application/octet-stream",
        (("offset", "12"),),
    )


def test_a_last_will_reads_as_an_offline_node() -> None:
    will = STATE.model_copy(update={"presence": node.Presence.OFFLINE})
    decoded = codec.decode(STATE_TOPIC, codec.encode(STATE_TOPIC, will).data)
    assert isinstance(decoded, node.NodeState)
    assert (decoded.presence, decoded.instance) == (node.Presence.OFFLINE, "i")


def test_an_unknown_field_of_a_newer_program_is_ignored() -> None:
    data = json.dumps({**BID.model_dump(), "mood": [1]}).encode()
    assert codec.decode(BID_TOPIC, data) == BID


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        (STATE_TOPIC, BID),
        (BID_TOPIC, messages.LogChunk(offset=0, data=b"x")),
        (topics.NodeState(node="ws2"), STATE),
        (topics.Bid(project="ulm-abcd", run=1, attempt=2, node="ws1"), BID),
        (topics.Echo(client="c"), STATE),
        (
            topics.Log(project="p", run=1, attempt=1),
            messages.LogChunk(offset=0, data=bytes(codec.MAX_BYTES + 1)),
        ),
    ],
)
def test_what_does_not_belong_on_a_topic_is_not_sent(topic: topics.Topic, payload: codec.Payload) -> None:
    with pytest.raises(InvalidInput):
        codec.encode(topic, payload)


@pytest.mark.parametrize(
    ("topic", "data", "reason"),
    [
        (STATE_TOPIC, b"not json", "not readable"),
        (STATE_TOPIC, b"[" * 100_000, "recursion"),
        (STATE_TOPIC, b'{"a":' * 50 + b"1" + b"}" * 50, "nested"),
        (STATE_TOPIC, b" " * (codec.MAX_BYTES + 1), "bytes are more"),
        (STATE_TOPIC, b"[]", "valid dictionary"),
        (STATE_TOPIC, STATE.model_dump_json().replace("ws1", "ws2").encode(), "something else"),
        (STATE_TOPIC, STATE.model_dump_json().replace('"cpus":0.0', '"cpus":NaN').encode(), "out of range"),
        (STATE_TOPIC, STATE.model_dump_json().replace('"cpus":0.0', '"cpus":1e999').encode(), "out of range"),
        (
            STATE_TOPIC,
            STATE.model_dump_json().replace('"disk":0', '"disk":' + "9" * 30).encode(),
            "out of range",
        ),
        (BID_TOPIC, BID.model_dump_json().replace("3.5", "-3.5").encode(), "cost"),
        (BID_TOPIC, BID.model_dump_json().replace('"bid"', '"win"').encode(), "kind"),
        (topics.NodeMetrics(node="ws1"), b"\x91" * 1000, "not readable"),
        (topics.NodeMetrics(node="ws1"), b"\xc1", "not readable"),
        (topics.NodeMetrics(node="ws1"), b"\x82\xa2at\x01\x91\x01\x02", "not readable"),
        (topics.NodeMetrics(node="ws1"), b"\xd6\xff\x00\x00\x00\x00", "not used"),
        (topics.NodeMetrics(node="ws1"), b"\x81\xa2at\xa3abc", "at"),
        (topics.Log(project="p", run=1, attempt=1), b"x", "offset"),
        (topics.Echo(client="c"), b"x", "no payload"),
    ],
)
def test_hostile_payloads_are_malformed_and_say_where(topic: topics.Topic, data: bytes, reason: str) -> None:
    with pytest.raises(topics.Malformed, match=reason) as caught:
        codec.decode(topic, data)
    assert topic.path in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("offset", ["-1", "1e3", "٣", "", "9" * 19, " 1"])
def test_a_log_chunk_without_a_plain_offset_is_malformed(offset: str) -> None:
    with pytest.raises(topics.Malformed, match="offset"):
        codec.decode(topics.Log(project="p", run=1, attempt=1), b"x", user_properties=[("offset", offset)])


def test_a_wrong_content_type_is_malformed_and_a_missing_one_is_fine() -> None:
    data = codec.encode(STATE_TOPIC, STATE).data
    assert codec.decode(STATE_TOPIC, data) == STATE
    assert codec.decode(STATE_TOPIC, data, content_type="application/json; charset=utf-8") == STATE
    with pytest.raises(topics.Malformed, match="content type"):
        codec.decode(STATE_TOPIC, data, content_type="text/html")
    assert codec.decode(STATE_TOPIC, b"") is None
