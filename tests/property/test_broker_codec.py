"""Round trips of topics and payloads, and what any other bytes do: raise Malformed, nothing else."""

from __future__ import annotations

import string
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import codec, messages, topics
from winslow import metrics, node
from winslow.errors import InvalidInput
from winslow.pipeline import GpuRequirement, Requirements
from winslow.project import RunState
from winslow.quantities import MAX_SIZE
from winslow.workspace import EntryType

ALNUM = string.ascii_letters + string.digits
names = st.builds(
    lambda first, rest: first + rest, st.sampled_from(ALNUM), st.text(ALNUM + "._-", max_size=30)
)
numbers = st.integers(0, 10**9 - 1)
texts = st.text(max_size=50)
amounts = st.floats(0, 1e15)
percents = st.floats(0, 100)
sizes = st.integers(0, 2**62)
asked_sizes = st.integers(0, MAX_SIZE)

all_topics: st.SearchStrategy[topics.Topic] = st.one_of(
    *(
        st.builds(kind, node=names)
        for kind in (topics.NodeState, topics.NodeMetrics, topics.NodeHistory, topics.NodeWish)
    ),
    st.builds(topics.ProjectState, project=names),
    st.builds(topics.Activity, project=names),
    *(
        st.builds(kind, project=names, run=numbers, attempt=numbers)
        for kind in (topics.Offer, topics.Log, topics.Progress, topics.Stats)
    ),
    st.builds(topics.Bid, project=names, run=numbers, attempt=numbers, node=names),
    st.builds(topics.PipelineNotice, name=names),
    st.builds(topics.Request, node=names, client=names),
    st.builds(topics.Reply, client=names),
    st.builds(topics.Echo, client=names),
)

gpu_samples = st.builds(metrics.GpuSample, uuid=texts, percent=percents, memory=sizes, memory_total=sizes)
points = st.builds(
    metrics.HistoryPoint, at=st.floats(0, 1e9), cpu=percents, memory=sizes, gpus=st.tuples(percents)
)

tokens = st.text(ALNUM, min_size=8, max_size=64)
live_files = st.builds(
    messages.LiveFile,
    path=texts,
    type=st.sampled_from(EntryType),
    mode=st.integers(0, 0o777),
    mtime_ns=st.integers(-(2**62), 2**62),
    size=sizes,
    target=texts,
    changed=st.booleans(),
)


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[topics.Topic, codec.Payload]:
    """A topic and a payload that belongs on it."""
    topic = draw(all_topics.filter(lambda topic: not isinstance(topic, topics.Echo)))
    payload: st.SearchStrategy[Any]
    match topic:
        case topics.NodeState():
            payload = st.builds(
                node.NodeState,
                node=st.just(topic.node),
                node_uuid=texts,
                instance=texts,
                presence=st.sampled_from(node.Presence),
                hardware=st.builds(node.Hardware, cpus=amounts, memory=sizes),
                runs=st.tuples(
                    st.builds(node.ActiveRun, project=names, run=numbers, attempt=numbers, stage=names)
                ),
                reserved=st.tuples(
                    st.builds(
                        node.Reservation,
                        project=names,
                        run=numbers,
                        attempt=numbers,
                        cpus=amounts,
                        memory=sizes,
                    )
                ),
                cached=st.none() | sizes,
                skew=st.none() | st.integers(-(10**9), 10**9),
                note=texts,
            )
        case topics.NodeMetrics():
            payload = st.builds(
                metrics.NodeSample,
                at=st.floats(-1e9, 1e9),
                cpus=st.lists(percents, max_size=8).map(tuple),
                memory=sizes,
                networks=st.tuples(st.builds(metrics.NetworkSample, name=texts, in_rate=amounts)),
                disks=st.tuples(st.builds(metrics.DiskSample, name=texts, used=sizes)),
                gpus=st.tuples(gpu_samples),
            )
        case topics.NodeHistory():
            payload = st.builds(
                metrics.NodeHistory,
                memory_total=sizes,
                points=st.lists(points, max_size=5).map(tuple),
                cores=st.lists(st.lists(st.integers(0, 100), max_size=5).map(tuple), max_size=5).map(tuple),
            )
        case topics.Stats():
            payload = st.builds(metrics.ContainerSample, at=st.floats(-1e9, 1e9), cpus=amounts, memory=sizes)
        case topics.ProjectState():
            payload = st.builds(
                messages.ProjectSummary,
                id=st.just(topic.project),
                revision=numbers,
                name=texts,
                state=texts,
                tags=st.lists(texts, max_size=4).map(tuple),
                next_stage=st.none() | texts,
                stages=st.lists(texts, max_size=4).map(tuple),
                active=st.tuples(
                    st.builds(
                        messages.ActiveSummary,
                        n=numbers,
                        k=numbers,
                        stage=names,
                        state=st.sampled_from(RunState),
                        percent=st.none() | percents,
                    )
                ),
            )
        case topics.Activity():
            payload = st.builds(
                messages.ActivityRecord,
                project=st.just(topic.project),
                name=texts,
                revision=numbers,
                id=texts,
                at=texts,
                by=texts,
                kind=names,
                n=st.none() | numbers,
                k=st.none() | numbers,
                text=texts,
            )
        case topics.Offer():
            payload = st.builds(
                messages.OfferHint,
                project=st.just(topic.project),
                run=st.just(topic.run),
                attempt=st.just(topic.attempt),
                stage=names,
                image=texts,
                requires=st.builds(
                    Requirements,
                    cpus=st.floats(0.1, 64),
                    memory=asked_sizes,
                    gpus=st.none() | st.builds(GpuRequirement, count=st.integers(1, 8), memory=asked_sizes),
                ),
                inputs=st.tuples(st.builds(messages.OfferInput, key=texts, size=sizes)),
                priority=st.integers(-5, 5),
            )
        case topics.Bid():
            payload = st.builds(
                messages.BidMessage,
                project=st.just(topic.project),
                run=st.just(topic.run),
                attempt=st.just(topic.attempt),
                node=st.just(topic.node),
                instance=texts,
                kind=st.sampled_from(["bid", "busy", "pass", "withdrawn"]),
                cost=st.none() | amounts,
                parts=st.dictionaries(texts, amounts, max_size=4),
                reason=texts,
            )
        case topics.Progress():
            payload = st.builds(
                messages.Progress,
                phase=st.sampled_from(messages.Phase),
                percent=st.none() | percents,
                bytes=sizes,
                eta=st.none() | amounts,
                text=texts,
            )
        case topics.NodeWish():
            payload = st.builds(
                messages.WishNotice,
                node=st.just(topic.node),
                revision=numbers,
                drain=st.none() | st.builds(messages.DrainNotice, reason=texts, by=texts),
                labels=st.lists(texts, max_size=3).map(tuple),
            )
        case topics.Request():
            payload = st.builds(
                messages.FilesRequest,
                id=tokens,
                op=st.sampled_from(["list", "copy", "stop"]),
                project=names,
                run=numbers,
                attempt=numbers,
                path=texts,
                deep=st.booleans(),
                token=st.just("") | tokens,
                paths=st.lists(texts, max_size=4).map(tuple),
            )
        case topics.Reply():
            payload = st.builds(
                messages.FilesReply,
                id=tokens,
                node=names,
                status=st.sampled_from(["working", "done", "missing", "refused", "over"]),
                files=st.lists(live_files, max_size=4).map(tuple),
                next=texts,
                left_out=st.dictionaries(texts, numbers, max_size=3),
                bytes=sizes,
                reason=texts,
            )
        case topics.PipelineNotice():
            payload = st.builds(messages.PipelineNotice, name=st.just(topic.name), revision=numbers)
        case _:
            payload = st.builds(
                messages.LogChunk, offset=st.integers(0, 10**17), data=st.binary(max_size=100)
            )
    return topic, draw(payload)


@given(names, all_topics)
def test_a_topic_survives_the_way_there_and_back(site: str, topic: topics.Topic) -> None:
    text = topics.build(site, topic)
    assert topics.parse(site, text) == topic
    assert topics.matches(topics.build_filter(site, "#"), text)
    assert topics.matches(topics.build_filter(site, topic.path), text)


@given(st.text(max_size=60) | st.lists(names | st.text(max_size=3), max_size=6).map("/".join))
def test_any_topic_text_is_parsed_exactly_or_malformed(below: str) -> None:
    text = f"winslow/main/{below}"
    try:
        topic = topics.parse("main", text)
    except topics.Malformed:
        return
    assert topics.build("main", topic) == text


@given(st.text(max_size=20))
def test_a_name_that_is_accepted_is_one_plain_level(name: str) -> None:
    try:
        text = topics.build("main", topics.NodeState(node=name))
    except InvalidInput:
        return
    assert text.count("/") == 4
    assert not set(text) & set("+#\0 \n\x1b$")


@given(exchanges())
def test_a_payload_survives_the_way_there_and_back(exchange: tuple[topics.Topic, codec.Payload]) -> None:
    topic, payload = exchange
    sent = codec.encode(topic, payload)
    back = codec.decode(
        topic, sent.data, content_type=sent.content_type, user_properties=sent.user_properties
    )
    assert back == payload


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**63) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
field_names = st.sampled_from(
    [
        "node",
        "node_uuid",
        "instance",
        "presence",
        "id",
        "name",
        "revision",
        "state",
        "kind",
        "at",
        "points",
        "cpus",
    ]
)
hostile_json = st.dictionaries(field_names | texts, plain, max_size=8)


def _pack(value: object) -> bytes:
    try:
        packed: bytes = msgpack.packb(value)
    except (OverflowError, ValueError):
        packed = b"\xc1"
    return packed


def _dump(value: object) -> bytes:
    import json

    return json.dumps(value).encode()


@given(
    all_topics,
    st.binary(max_size=200) | hostile_json.map(_dump) | hostile_json.map(_pack) | plain.map(_pack),
    st.sampled_from(["", codec.JSON, codec.MSGPACK, codec.OCTETS]) | texts,
    st.lists(st.tuples(st.just("offset") | texts, texts | st.just("12")), max_size=3),
)
def test_any_payload_is_decoded_or_malformed(
    topic: topics.Topic, data: bytes, content_type: str, user_properties: list[tuple[str, str]]
) -> None:
    try:
        payload = codec.decode(topic, data, content_type=content_type, user_properties=user_properties)
    except topics.Malformed:
        return
    if payload is not None:
        assert codec.encode(topic, payload).data or isinstance(payload, messages.LogChunk)


@pytest.mark.parametrize("kind", [topics.NodeState, topics.NodeMetrics])
@given(changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_payload_is_decoded_or_malformed(
    kind: type[topics.NodeState | topics.NodeMetrics], changes: list[tuple[int, int]]
) -> None:
    topic = kind(node="ws1")
    payload: codec.Payload = (
        node.NodeState(node="ws1", node_uuid="u", instance="i", presence=node.Presence.ONLINE)
        if isinstance(topic, topics.NodeState)
        else metrics.NodeSample(at=1.0, cpus=(1.0, 2.0), memory=5)
    )
    data = bytearray(codec.encode(topic, payload).data)
    for place, value in changes:
        data[place % len(data)] = value
    try:
        codec.decode(topic, bytes(data))
    except topics.Malformed:
        return


@given(st.lists(points, max_size=40), st.floats(1, 1000), st.floats(0.5, 60))
def test_thinning_keeps_order_range_and_the_newest_point(
    raw: list[metrics.HistoryPoint], window: float, step: float
) -> None:
    raw.sort(key=lambda point: point.at)
    thinned = metrics.thin(raw, window=window, step=step)
    assert bool(thinned) == bool(raw)
    if raw:
        assert thinned[-1].at == raw[-1].at
        assert len(thinned) <= window / step + 2
        times = [point.at for point in thinned]
        assert times == sorted(times)
        assert times[0] >= raw[-1].at - window
        assert min(p.cpu for p in raw) - 1e-9 <= thinned[0].cpu <= max(p.cpu for p in raw) + 1e-9
