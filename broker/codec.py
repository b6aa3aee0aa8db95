"""Payload bytes from models and back, by topic: pure (design 4).

What arrives may be anything. `decode` returns a model or raises `Malformed`, whatever the bytes are:
too large, not JSON, not msgpack, nested without end, of the wrong type, with numbers that are not
finite, or speaking of another node or run than their topic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgpack
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from broker import messages, topics
from broker.topics import Malformed, Topic
from winslow import metrics, node
from winslow.errors import InvalidInput

JSON = "application/json"
MSGPACK = "application/msgpack"
OCTETS = "application/octet-stream"
OFFSET = "offset"  # the user property of a log chunk

MAX_BYTES = 512 << 10
"""The largest payload; a log batch is 64 KiB, a history of 120 points about 20 KiB."""

_MAX_DEPTH = 32
_MAX_NUMBER = 2**63

Payload = (
    node.NodeState
    | metrics.NodeSample
    | metrics.NodeHistory
    | metrics.ContainerSample
    | messages.WishNotice
    | messages.ProjectSummary
    | messages.ActivityRecord
    | messages.OfferHint
    | messages.BidMessage
    | messages.Progress
    | messages.PipelineNotice
    | messages.FilesRequest
    | messages.FilesReply
    | messages.LogChunk
)

_JSON_MODELS: dict[type[Any], type[BaseModel]] = {
    topics.NodeState: node.NodeState,
    topics.NodeWish: messages.WishNotice,
    topics.ProjectState: messages.ProjectSummary,
    topics.Activity: messages.ActivityRecord,
    topics.Offer: messages.OfferHint,
    topics.Bid: messages.BidMessage,
    topics.Progress: messages.Progress,
    topics.PipelineNotice: messages.PipelineNotice,
    topics.Request: messages.FilesRequest,
    topics.Reply: messages.FilesReply,
}
_MSGPACK_MODELS: dict[type[Any], type[BaseModel]] = {
    topics.NodeMetrics: metrics.NodeSample,
    topics.NodeHistory: metrics.NodeHistory,
    topics.Stats: metrics.ContainerSample,
}


@dataclass(frozen=True)
class Encoded:
    """A payload as it goes on the wire; an empty `data` clears a retained topic."""

    data: bytes
    content_type: str = ""
    user_properties: tuple[tuple[str, str], ...] = ()


CLEARED = Encoded(data=b"")


def encode(topic: Topic, payload: Payload) -> Encoded:
    """The bytes of a payload. Raises InvalidInput when it does not belong to the topic or is too large."""
    kind = type(topic)
    model = _JSON_MODELS.get(kind) or _MSGPACK_MODELS.get(kind)
    if isinstance(payload, messages.LogChunk):
        if kind is not topics.Log:
            raise InvalidInput(f"a log chunk does not belong on {topic.path}")
        encoded = Encoded(
            data=payload.data, content_type=OCTETS, user_properties=((OFFSET, str(payload.offset)),)
        )
    elif model is None or not isinstance(payload, model):
        raise InvalidInput(f"a {type(payload).__name__} does not belong on {topic.path}")
    elif kind in _JSON_MODELS:
        encoded = Encoded(data=payload.model_dump_json(exclude_none=True).encode(), content_type=JSON)
    else:
        encoded = Encoded(data=_pack(payload.model_dump(exclude_defaults=True)), content_type=MSGPACK)
    _check_identity(topic, payload)
    if len(encoded.data) > MAX_BYTES:
        raise InvalidInput(
            f"{topic.path}: {len(encoded.data)} bytes are more than a message may have ({MAX_BYTES})"
        )
    return encoded


def decode(
    topic: Topic,
    data: bytes,
    *,
    content_type: str = "",
    user_properties: Iterable[tuple[str, str]] = (),
) -> Payload | None:
    """The payload of a message; None for an empty one (a retained topic was cleared). Raises Malformed only.

    A missing `content_type` is accepted, so that people can publish with a plain tool; a wrong one is not.
    """
    if len(data) > MAX_BYTES:
        raise Malformed(f"{topic.path}: {len(data)} bytes are more than a message may have ({MAX_BYTES})")
    if isinstance(topic, topics.Log):
        _check_type(topic, content_type, OCTETS)
        return messages.LogChunk(offset=_offset(topic, user_properties), data=bytes(data))
    if not data:
        return None
    kind = type(topic)
    try:
        if kind in _JSON_MODELS:
            _check_type(topic, content_type, JSON)
            payload = _JSON_MODELS[kind].model_validate(_harmless(from_json(data)))
        elif kind in _MSGPACK_MODELS:
            _check_type(topic, content_type, MSGPACK)
            payload = _MSGPACK_MODELS[kind].model_validate(_harmless(_unpack(data)))
        else:
            raise Malformed(f"{topic.path} carries no payload")
        _check_identity(topic, payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise Malformed(f"{topic.path}: {place[:200] or 'payload'}: {first['msg'][:200]}") from error
    except InvalidInput as error:
        raise Malformed(str(error)) from error
    except (
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        MemoryError,
        msgpack.UnpackException,
    ) as error:
        raise Malformed(f"{topic.path}: not readable: {str(error)[:200]}") from error
    return payload  # type: ignore[return-value]  # the tables hold members of Payload only


def _pack(value: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def _unpack(data: bytes) -> object:
    value: object = msgpack.unpackb(data, raw=False, strict_map_key=True)
    return value


def _harmless(value: object, depth: int = 0) -> object:
    """`value` itself, if it is a tree of plain values with finite numbers and bounded depth."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError("a key is not a text")
            _harmless(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _harmless(item, depth + 1)
    elif isinstance(value, int | float):
        if not math.isfinite(value) or abs(value) >= _MAX_NUMBER:
            raise ValueError("a number is out of range")
    elif value is not None and not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} values are not used")
    return value


def _check_type(topic: Topic, have: str, want: str) -> None:
    if have and have.partition(";")[0].strip().lower() != want:
        raise Malformed(f"{topic.path}: content type {have[:80]!r} instead of {want}")


def _offset(topic: Topic, user_properties: Iterable[tuple[str, str]]) -> int:
    found = [value for name, value in user_properties if name == OFFSET]
    if len(found) != 1 or not found[0].isascii() or not found[0].isdigit() or len(found[0]) > 18:
        raise Malformed(f"{topic.path}: no usable user property '{OFFSET}'")
    return int(found[0])


def _check_identity(topic: Topic, payload: object) -> None:
    """A payload that names its node, project or run names those of its topic: nobody speaks for another."""
    match topic, payload:
        case topics.NodeState(), node.NodeState():
            same = payload.node == topic.node
        case topics.NodeWish(), messages.WishNotice():
            same = payload.node == topic.node
        case topics.ProjectState(), messages.ProjectSummary():
            same = payload.id == topic.project
        case topics.Activity(), messages.ActivityRecord():
            same = payload.project == topic.project
        case topics.Bid(), messages.BidMessage():
            same = (payload.project, payload.run, payload.attempt, payload.node) == (
                topic.project,
                topic.run,
                topic.attempt,
                topic.node,
            )
        case topics.Offer(), messages.OfferHint():
            same = (payload.project, payload.run, payload.attempt) == (
                topic.project,
                topic.run,
                topic.attempt,
            )
        case topics.PipelineNotice(), messages.PipelineNotice():
            same = payload.name == topic.name
        case _:
            same = True
    if not same:
        raise InvalidInput(f"{topic.path}: the payload speaks of something else than its topic")
