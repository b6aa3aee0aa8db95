"""Every topic below `winslow/<site>/`, built and parsed in one place (design 4).

A topic is a small frozen object; `path` is its text below the site's prefix, `parse` the way back.
Its class says how its messages travel:

    class            path                        travels
    NodeState        nodes/NODE/state            OWN, QoS 1
    NodeMetrics      nodes/NODE/metrics          LIVE, QoS 0
    NodeHistory      nodes/NODE/history          OWN, QoS 0
    NodeWish         nodes/NODE/wish             SHARED, QoS 1
    ProjectState     projects/ID/state           SHARED, QoS 1
    Activity         projects/ID/activity        LIVE, QoS 1
    Offer            projects/ID/offers/N.K      SHARED, QoS 1
    Bid              projects/ID/bids/N.K/NODE   LIVE, QoS 1
    Log              projects/ID/runs/N.K/log    LIVE, QoS 0
    Progress         projects/ID/runs/N.K/progress  OWN, QoS 0
    Stats            projects/ID/runs/N.K/stats  LIVE, QoS 0
    PipelineNotice   pipelines/NAME              SHARED, QoS 1
    Request          nodes/NODE/requests/CLIENT  LIVE, QoS 1
    Reply            clients/CLIENT/replies      LIVE, QoS 1
    Echo             clients/CLIENT/echo         LIVE, QoS 0: a session's message to itself

Names come from other machines: each one must match SEGMENT, so none can hold `/`, `+`, `#`, NUL, a
space or a control character, and none begins with `$` or `.`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from winslow.errors import InvalidInput

ROOT = "winslow"
SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
MAX_NUMBER = 10**9
_NUMBER = r"([1-9][0-9]{0,8}|0)"
_RUN_KEY = re.compile(_NUMBER + r"\." + _NUMBER)

# Filters for `Session.subscribe`, below the site's prefix.
NODE_STATES = "nodes/+/state"
NODE_METRICS = "nodes/+/metrics"
NODE_HISTORIES = "nodes/+/history"
NODE_WISHES = "nodes/+/wish"
PROJECT_TOPICS = "projects/#"
PROJECT_STATES = "projects/+/state"
ACTIVITY = "projects/+/activity"
OFFERS = "projects/+/offers/+"
BIDS = "projects/+/bids/+/+"
PROGRESS = "projects/+/runs/+/progress"
PIPELINES = "pipelines/+"
EVERYTHING = "#"


class Malformed(InvalidInput):
    """A topic or a payload from the wire that is none of ours; a session counts and drops it."""


class Travel(Enum):
    """How a topic's messages are kept and sent."""

    OWN = "own"
    """Retained, written by one owner alone, who publishes it again on every reconnect."""
    SHARED = "shared"
    """Retained, written by whoever wrote the document: delivered once. Sent again after a reconnect it could
    overwrite what somebody else has published since; the listing (design 4, anti-entropy) heals gaps."""
    LIVE = "live"
    """Not retained; may be lost."""


def check_name(value: str, what: str) -> str:
    """`value` if it can stand in a topic; raises InvalidInput naming `what` it is."""
    if not isinstance(value, str) or not SEGMENT.fullmatch(value):
        raise InvalidInput(
            f"{what} {str(value)[:140]!r} cannot be used in a topic",
            hint="use 1 to 128 letters, digits, '.', '_' or '-', beginning with a letter or digit",
        )
    return value


def _check_number(value: int, what: str) -> None:
    if not 0 <= value < MAX_NUMBER:
        raise InvalidInput(f"{what} {value} is out of range")


@dataclass(frozen=True)
class NodeState:
    """A node's presence; also the topic of its last will."""

    node: str
    travel: ClassVar[Travel] = Travel.OWN
    qos: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_name(self.node, "the node name")

    @property
    def path(self) -> str:
        """`nodes/NODE/state`."""
        return f"nodes/{self.node}/state"


@dataclass(frozen=True)
class NodeMetrics:
    """A node's newest sample."""

    node: str
    travel: ClassVar[Travel] = Travel.LIVE
    qos: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_name(self.node, "the node name")

    @property
    def path(self) -> str:
        """`nodes/NODE/metrics`."""
        return f"nodes/{self.node}/metrics"


@dataclass(frozen=True)
class NodeHistory:
    """A node's last ten minutes, thinned."""

    node: str
    travel: ClassVar[Travel] = Travel.OWN
    qos: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_name(self.node, "the node name")

    @property
    def path(self) -> str:
        """`nodes/NODE/history`."""
        return f"nodes/{self.node}/history"


@dataclass(frozen=True)
class NodeWish:
    """What people want of a node, whether or not it is there; written by whoever wrote the node's document."""

    node: str
    travel: ClassVar[Travel] = Travel.SHARED
    qos: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_name(self.node, "the node name")

    @property
    def path(self) -> str:
        """`nodes/NODE/wish`."""
        return f"nodes/{self.node}/wish"


@dataclass(frozen=True)
class ProjectState:
    """A project's summary."""

    project: str
    travel: ClassVar[Travel] = Travel.SHARED
    qos: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_name(self.project, "the project id")

    @property
    def path(self) -> str:
        """`projects/ID/state`."""
        return f"projects/{self.project}/state"


@dataclass(frozen=True)
class Activity:
    """What happened to a project, once per write of its document."""

    project: str
    travel: ClassVar[Travel] = Travel.LIVE
    qos: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_name(self.project, "the project id")

    @property
    def path(self) -> str:
        """`projects/ID/activity`."""
        return f"projects/{self.project}/activity"


@dataclass(frozen=True)
class _RunTopic:
    project: str
    run: int
    attempt: int

    def __post_init__(self) -> None:
        check_name(self.project, "the project id")
        _check_number(self.run, "the run")
        _check_number(self.attempt, "the attempt")


@dataclass(frozen=True)
class Offer(_RunTopic):
    """A run that waits for a node; `attempt` is the number the claim will get."""

    travel: ClassVar[Travel] = Travel.SHARED
    qos: ClassVar[int] = 1

    @property
    def path(self) -> str:
        """`projects/ID/offers/N.K`."""
        return f"projects/{self.project}/offers/{self.run}.{self.attempt}"


@dataclass(frozen=True)
class Bid(_RunTopic):
    """One node's answer to an offer."""

    node: str
    travel: ClassVar[Travel] = Travel.LIVE
    qos: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name(self.node, "the node name")

    @property
    def path(self) -> str:
        """`projects/ID/bids/N.K/NODE`."""
        return f"projects/{self.project}/bids/{self.run}.{self.attempt}/{self.node}"


@dataclass(frozen=True)
class Log(_RunTopic):
    """Log records of an attempt as they are written (design 7)."""

    travel: ClassVar[Travel] = Travel.LIVE
    qos: ClassVar[int] = 0

    @property
    def path(self) -> str:
        """`projects/ID/runs/N.K/log`."""
        return f"projects/{self.project}/runs/{self.run}.{self.attempt}/log"


@dataclass(frozen=True)
class Progress(_RunTopic):
    """How far an attempt is; cleared by its agent at the end."""

    travel: ClassVar[Travel] = Travel.OWN
    qos: ClassVar[int] = 0

    @property
    def path(self) -> str:
        """`projects/ID/runs/N.K/progress`."""
        return f"projects/{self.project}/runs/{self.run}.{self.attempt}/progress"


@dataclass(frozen=True)
class Stats(_RunTopic):
    """A container's newest usage sample."""

    travel: ClassVar[Travel] = Travel.LIVE
    qos: ClassVar[int] = 0

    @property
    def path(self) -> str:
        """`projects/ID/runs/N.K/stats`."""
        return f"projects/{self.project}/runs/{self.run}.{self.attempt}/stats"


@dataclass(frozen=True)
class PipelineNotice:
    """Says that a pipeline's definition changed."""

    name: str
    travel: ClassVar[Travel] = Travel.SHARED
    qos: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_name(self.name, "the pipeline name")

    @property
    def path(self) -> str:
        """`pipelines/NAME`."""
        return f"pipelines/{self.name}"


@dataclass(frozen=True)
class Request:
    """What a client asks of a node; the answers go to the client's own topic and nowhere else."""

    node: str
    client: str
    travel: ClassVar[Travel] = Travel.LIVE
    qos: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_name(self.node, "the node name")
        check_name(self.client, "the client id")

    @property
    def path(self) -> str:
        """`nodes/NODE/requests/CLIENT`."""
        return f"nodes/{self.node}/requests/{self.client}"


@dataclass(frozen=True)
class Reply:
    """What a node answers to a client."""

    client: str
    travel: ClassVar[Travel] = Travel.LIVE
    qos: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_name(self.client, "the client id")

    @property
    def path(self) -> str:
        """`clients/CLIENT/replies`."""
        return f"clients/{self.client}/replies"


@dataclass(frozen=True)
class Echo:
    """What a session sends to itself to learn that everything before it has arrived."""

    client: str
    travel: ClassVar[Travel] = Travel.LIVE
    qos: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_name(self.client, "the client id")

    @property
    def path(self) -> str:
        """`clients/CLIENT/echo`."""
        return f"clients/{self.client}/echo"


Topic = (
    NodeState
    | NodeMetrics
    | NodeHistory
    | NodeWish
    | ProjectState
    | Activity
    | Offer
    | Bid
    | Log
    | Progress
    | Stats
    | PipelineNotice
    | Request
    | Reply
    | Echo
)

_NODE_TOPICS: dict[str, type[NodeState | NodeMetrics | NodeHistory | NodeWish]] = {
    "state": NodeState,
    "metrics": NodeMetrics,
    "history": NodeHistory,
    "wish": NodeWish,
}
_RUN_TOPICS: dict[str, type[Log | Progress | Stats]] = {"log": Log, "progress": Progress, "stats": Stats}


def requests(node: str) -> str:
    """The filter for everything that is asked of a node. Raises InvalidInput."""
    return f"nodes/{check_name(node, 'the node name')}/requests/+"


def prefix(site: str) -> str:
    """`winslow/<site>/`. Raises InvalidInput."""
    return f"{ROOT}/{check_name(site, 'the site name')}/"


def build(site: str, topic: Topic) -> str:
    """The topic as the broker knows it."""
    return prefix(site) + topic.path


def build_filter(site: str, below: str) -> str:
    """A subscription filter from one below the site's prefix. Raises InvalidInput for an impossible one."""
    levels = below.split("/")
    for position, level in enumerate(levels):
        last = position == len(levels) - 1
        if level == "+" or (level == "#" and last) or SEGMENT.fullmatch(level):
            continue
        raise InvalidInput(
            f"{below[:200]!r} is not a topic filter",
            hint="levels are names or '+', separated by '/'; '#' may stand as the last one",
        )
    return prefix(site) + below


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a subscription to the filter gets this topic (MQTT 5, 4.7; no topic here begins with `$`)."""
    wanted, have = topic_filter.split("/"), topic.split("/")
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position == len(have) or level not in ("+", have[position]):
            return False
    return len(wanted) == len(have)


def parse(site: str, text: str) -> Topic:
    """The topic object of a full topic text; the exact inverse of `build`. Raises Malformed."""
    start = prefix(site)
    if not text.startswith(start):
        raise Malformed(f"{text[:200]!r} is not below {start}")
    try:
        match text[len(start) :].split("/"):
            case ["nodes", node, leaf] if leaf in _NODE_TOPICS:
                return _NODE_TOPICS[leaf](node=node)
            case ["projects", project, "state"]:
                return ProjectState(project=project)
            case ["projects", project, "activity"]:
                return Activity(project=project)
            case ["projects", project, "offers", key]:
                run, attempt = _run_key(key)
                return Offer(project=project, run=run, attempt=attempt)
            case ["projects", project, "bids", key, node]:
                run, attempt = _run_key(key)
                return Bid(project=project, run=run, attempt=attempt, node=node)
            case ["projects", project, "runs", key, leaf] if leaf in _RUN_TOPICS:
                run, attempt = _run_key(key)
                return _RUN_TOPICS[leaf](project=project, run=run, attempt=attempt)
            case ["pipelines", name]:
                return PipelineNotice(name=name)
            case ["nodes", node, "requests", client]:
                return Request(node=node, client=client)
            case ["clients", client, "replies"]:
                return Reply(client=client)
            case ["clients", client, "echo"]:
                return Echo(client=client)
    except InvalidInput as error:
        raise Malformed(str(error)) from error
    raise Malformed(f"{text[:200]!r} is no topic of Winslow")


def _run_key(text: str) -> tuple[int, int]:
    match = _RUN_KEY.fullmatch(text)
    if match is None:
        raise Malformed(f"{text[:40]!r} is not RUN.ATTEMPT")
    return int(match[1]), int(match[2])
