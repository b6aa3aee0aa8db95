"""What people want of a node: that it drains, the labels they gave it, that it is forgotten (design 3, 6).

One small document per node, `documents/nodes/<name>.json`. It changes only by `apply` and a conditional write,
whether the node is there or not; a node that was away reads it when it comes back. None means that nobody ever
wanted anything of the node.

    event         who              what comes of it
    DrainWished   a person         the node takes nothing new; what runs there finishes
    DrainEnded    a person         it takes part again
    Labelled      a person         labels beside those of the node's own configuration
    Forgotten     a person         a tombstone: the node is not there and does not come back
    Returned      the node itself  it did come back: a new node, of which nobody wants anything
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from winslow.errors import InvalidInput, NotFound, Refused
from winslow.events import shortened
from winslow.project import RECENT_EVENTS, SCHEMA, EventRecord, Records, check_schema

MAX_LABELS = 64
MAX_LABEL = 128
MAX_REASON = 400


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, serialize_by_alias=True)


def check_label(label: str) -> str:
    """The label, if it can be one. Raises InvalidInput."""
    if (
        not label
        or len(label) > MAX_LABEL
        or label != label.strip()
        or not label.isprintable()
        or "," in label
        or label.startswith("-")
        or label.endswith("-")
    ):
        raise InvalidInput(
            f"{label[:MAX_LABEL]!r} cannot be a label",
            hint=f"a label is 1 to {MAX_LABEL} printable characters without a comma or a '-' at either end",
        )
    return label


def _checked(labels: tuple[str, ...]) -> tuple[str, ...]:
    for label in labels:
        try:
            check_label(label)
        except InvalidInput as error:
            raise ValueError(str(error)) from error
    return labels


Labels = Annotated[tuple[str, ...], AfterValidator(_checked)]


class Drain(_Model):
    """Why a node is to take nothing new, who said so, and when (for people)."""

    reason: str = ""
    by: str = ""
    at: str = ""

    @property
    def sentence(self) -> str:
        """`draining for ann: a new disk`."""
        return (f"draining for {self.by}" if self.by else "draining") + (
            f": {self.reason}" if self.reason else ""
        )


class NodeWish(_Model):
    """The document. `by` and `at` are of the last change, for people; `labels` are sorted."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    node: str
    revision: int = Field(ge=1, lt=10**9)
    drain: Drain | None = None
    labels: Labels = ()
    forgotten: bool = False
    by: str = ""
    at: str = ""
    recent_events: Records = ()

    def holds(self, event_id: str) -> bool:
        """Whether that event is known to have been applied: the last 64 are remembered, and nothing older."""
        return any(record.id == event_id for record in self.recent_events)


class _Event(BaseModel):
    """`id` is random and unique; `at` is RFC 3339 UTC and only shown; `by` is a person or a node."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    at: str = ""
    by: str = ""


class DrainWished(_Event):
    """Take nothing new; again only changes the reason."""

    kind: Literal["drain_wished"] = "drain_wished"
    reason: str = ""


class DrainEnded(_Event):
    """Take part again."""

    kind: Literal["drain_ended"] = "drain_ended"


class Labelled(_Event):
    """Add and remove labels; adding one that is there is harmless."""

    kind: Literal["labelled"] = "labelled"
    add: Labels = ()
    remove: tuple[str, ...] = ()


class Forgotten(_Event):
    """The node is gone for good."""

    kind: Literal["forgotten"] = "forgotten"


class Returned(_Event):
    """The node's agent has started all the same."""

    kind: Literal["returned"] = "returned"


Event = DrainWished | DrainEnded | Labelled | Forgotten | Returned


def apply(wish: NodeWish | None, event: Event, *, node: str) -> NodeWish:
    """The wish after `event`, one revision higher and with the event's id remembered.

    Raises Refused for what makes no sense, NotFound for a node that was forgotten; then nothing changes.
    """
    held = wish or NodeWish(node=node, revision=1)
    if held.forgotten and not isinstance(event, Forgotten | Returned):
        raise NotFound(
            f"node '{node}' was removed from the site", hint=f"it comes back when an agent starts as '{node}'"
        )
    changed = _change(held, event)
    revision = held.revision + (wish is not None)
    record = EventRecord(
        id=event.id, revision=revision, at=event.at, by=event.by, kind=event.kind, text=sentence(event)
    )
    return changed.model_copy(
        update={
            "revision": revision,
            "by": event.by,
            "at": event.at,
            "recent_events": (*held.recent_events, record)[-RECENT_EVENTS:],
        }
    )


def sentence(event: Event) -> str:
    """What happened to the node, for people, without who and when; at most 200 characters."""
    return shortened(_sentence(event))


def _sentence(event: Event) -> str:
    match event:
        case DrainWished():
            return "asked it to drain" + (f": {event.reason}" if event.reason else "")
        case DrainEnded():
            return "let it take part again"
        case Labelled():
            return f"labels: {' '.join([*(f'+{each}' for each in event.add), *(f'-{each}' for each in event.remove)])}"
        case Forgotten():
            return "removed it from the site"
        case Returned():
            return "came back as a new node"


def _change(wish: NodeWish, event: Event) -> NodeWish:
    match event:
        case DrainWished():
            drain = Drain(reason=event.reason[:MAX_REASON], by=event.by, at=event.at)
            return wish.model_copy(update={"drain": drain})
        case DrainEnded():
            if wish.drain is None:
                raise Refused(f"nobody asked node '{wish.node}' to drain: there is nothing to take back")
            return wish.model_copy(update={"drain": None})
        case Labelled():
            return _label(wish, event)
        case Forgotten():
            return wish.model_copy(update={"forgotten": True, "drain": None, "labels": ()})
        case Returned():
            if not wish.forgotten:
                raise Refused(f"node '{wish.node}' was not removed from the site")
            return wish.model_copy(update={"forgotten": False})


def _label(wish: NodeWish, event: Labelled) -> NodeWish:
    for label in event.remove:
        if label not in wish.labels:
            given = ", ".join(wish.labels)
            raise Refused(
                f"nobody gave node '{wish.node}' the label '{label}'",
                hint=f"it was given: {given}" if given else "winslow node show says which labels it has",
            )
    labels = tuple(sorted(set(wish.labels) - set(event.remove) | set(event.add)))
    if len(labels) > MAX_LABELS:
        raise Refused(f"node '{wish.node}' would have more than {MAX_LABELS} labels")
    return wish.model_copy(update={"labels": labels})


def effective_labels(own: tuple[str, ...], wish: NodeWish | None) -> tuple[str, ...]:
    """The labels of the node's configuration, then those that people added."""
    added = wish.labels if wish is not None else ()
    return tuple(dict.fromkeys((*own, *added)))


def encode(wish: NodeWish) -> bytes:
    """The document's bytes: UTF-8 JSON, indented."""
    return (wish.model_dump_json(indent=1) + "\n").encode()


def decode(data: bytes, *, key: str, node: str | None = None) -> NodeWish:
    """Read and validate a document; `node` is the name its key stands for. Raises InvalidInput naming `key`."""
    try:
        wish = NodeWish.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:200]
        raise InvalidInput(f"{key}: not a node's document: {place}: {first['msg'][:200]}") from error
    check_schema(wish.schema_, key=key)
    if node is not None and wish.node != node:
        raise InvalidInput(f"{key}: is the document of another node ({wish.node[:80]!r})")
    return wish
