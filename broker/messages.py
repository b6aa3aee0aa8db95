"""The payloads that Winslow sends over MQTT, as frozen models (design 4).

`winslow.node.NodeState` (as a last will with no more than its required fields) and the samples of
`winslow.metrics` are payloads too; `codec.py` says which topic carries which. Everything here may come
from a stranger: texts and lists are bounded, numbers finite. Unknown fields are ignored, so that a
newer program can say more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from winslow.lifecycle import ProjectState, state_of
from winslow.node import NodeState
from winslow.node_wish import NodeWish
from winslow.pipeline import Requirements
from winslow.placement import unfit_summary
from winslow.project import EventRecord, Project, Run, RunState, Tombstone
from winslow.workspace import EntryType

MAX_TEXT = 2048
MAX_SENTENCE = 400  # what a summary keeps of a reason: it stays a few hundred bytes
MAX_COMMENT = 100  # characters of a project's comment in its summary
MAX_LIST = 64
MAX_INPUTS = (
    64  # with keys of 1 KiB, the most S3 allows, a hint stays below codec.MAX_BYTES whatever the keys hold
)
MAX_FILES = 8192  # in one answer
MAX_COPIES = 256  # files of one request

Text = Annotated[str, Field(max_length=MAX_TEXT)]
Token = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{8,64}$")]  # drawn by whoever asks
LivePath = Annotated[str, Field(max_length=65_536)]  # 64 names of 255 bytes each, all of them escaped
Count = Annotated[int, Field(ge=0, lt=10**9)]
Bytes = Annotated[int, Field(ge=0, lt=2**63)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Priority = Annotated[int, Field(ge=-(10**9), le=10**9)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ActiveSummary(_Message):
    """A run that has not ended, as a project's summary shows it; `node` is empty while it is queued."""

    n: Count
    k: Count
    stage: Text
    state: RunState
    node: Text = ""
    percent: Percent | None = None


class RunCounts(_Message):
    """How many runs a project has had, and how they ended."""

    total: Count = 0
    succeeded: Count = 0
    failed: Count = 0

    @classmethod
    def of(cls, runs: Sequence[Run]) -> RunCounts:
        """Count them."""
        states = Counter(run.state for run in runs)
        return cls(total=len(runs), succeeded=states[RunState.SUCCEEDED], failed=states[RunState.FAILED])


class ProjectSummary(_Message):
    """`projects/ID/state`: what a list of projects shows. `state` is one of `lifecycle.ProjectState`, kept as
    text so that a newer program's word does not make the message unreadable. `pipeline` is the name of its copy,
    `stages` those of its stages in their order (none where there are more than 64), `needs` the values a person must
    set, `queue` how many runs wait for their turn; a long comment is cut."""

    id: Text
    revision: Count
    name: Text
    tags: tuple[Text, ...] = Field(default=(), max_length=MAX_LIST)
    state: Text
    reason: Text = ""
    next_stage: Text | None = None
    needs: tuple[Text, ...] = Field(default=(), max_length=MAX_LIST)
    active: tuple[ActiveSummary, ...] = Field(default=(), max_length=MAX_LIST)
    runs: RunCounts = RunCounts()
    queue: Count = 0
    pipeline: Text = ""
    stages: tuple[Text, ...] = Field(default=(), max_length=MAX_LIST)
    author: Text = ""
    priority: Priority = 0
    archived: bool = False
    comment: Text = ""
    updated: Text = ""  # RFC 3339 UTC, for people

    @classmethod
    def of(
        cls,
        document: Project | Tombstone,
        *,
        updated: str = "",
        percents: Mapping[tuple[int, int], float] | None = None,
        nodes: Sequence[NodeState] | None = None,
    ) -> ProjectSummary:
        """The summary of a document as it stands; `percents` by (run, attempt), where they are known. With all
        `nodes` the reason says what a waiting run needs that none of them has."""
        state, reason = state_of(document)
        if nodes is not None and state is ProjectState.WAITING and isinstance(document, Project):
            lacking = (unfit_summary(nodes, run.stage.requires, run.secrets) for run in document.active)
            reason = next(filter(None, lacking), reason)
        if isinstance(document, Tombstone):
            return cls(
                id=document.id,
                revision=document.revision,
                name=_cut(document.name),
                state=state,
                updated=updated,
            )
        stages = tuple(stage.name for stage in document.pipeline.definition.stages)
        return cls(
            id=document.id,
            revision=document.revision,
            name=_cut(document.name),
            tags=tuple(_cut(tag) for tag in document.tags[:MAX_LIST]),
            state=state,
            reason=_cut(reason),
            next_stage=document.control.next_stage,
            needs=tuple(_cut(name) for name in document.control.needs[:MAX_LIST]),
            active=tuple(_active(run, percents or {}) for run in document.active[:MAX_LIST]),
            runs=RunCounts.of(document.runs),
            queue=len(document.queue),
            pipeline=document.pipeline.definition.name,
            stages=stages if len(stages) <= MAX_LIST else (),
            author=_cut(document.author),
            priority=document.priority,
            archived=document.archived,
            comment=_cut(document.comment, MAX_COMMENT),
            updated=updated,
        )


class ActivityRecord(_Message):
    """`projects/ID/activity`: what one write of a project's document did; see `project.EventRecord`. `name` is the
    project's. Revisions rise by one: who misses one reads the document."""

    project: Text
    name: Text = ""
    revision: Count
    id: Text
    at: Text = ""
    by: Text = ""
    kind: Text = ""
    n: Count | None = None
    k: Count | None = None
    text: Text = ""

    @classmethod
    def of(cls, document: Project | Tombstone, record: EventRecord) -> ActivityRecord:
        """The message about one record of a document."""
        return cls(
            project=document.id,
            name=_cut(document.name),
            revision=record.revision,
            id=_cut(record.id),
            at=_cut(record.at),
            by=_cut(record.by),
            kind=_cut(record.kind),
            n=record.n,
            k=record.k,
            text=_cut(record.text),
        )


class DrainNotice(_Message):
    """Why a node is to take nothing new, and who said so."""

    reason: Text = ""
    by: Text = ""


class WishNotice(_Message):
    """`nodes/NODE/wish`: what people want of a node. A hint that it should read its document; `drain` is left
    out while nobody wants it to drain."""

    node: Text
    revision: Count
    drain: DrainNotice | None = None
    labels: tuple[Text, ...] = Field(default=(), max_length=MAX_LIST)

    @classmethod
    def of(cls, wish: NodeWish) -> WishNotice:
        """The notice of a wish as it stands; that of a forgotten node is the empty payload."""
        drain = wish.drain
        return cls(
            node=wish.node,
            revision=wish.revision,
            drain=DrainNotice(reason=_cut(drain.reason), by=_cut(drain.by)) if drain is not None else None,
            labels=wish.labels,
        )


class OfferInput(_Message):
    """A file the run will read: its store key and size in bytes (0: not known)."""

    key: Annotated[str, Field(max_length=1024)]
    size: Bytes = 0


class OfferHint(_Message):
    """`projects/ID/offers/N.K`: says that a run waits. A hint that one should read the document, never an
    order; `inputs` are the first 64."""

    project: Text
    run: Count
    attempt: Count
    stage: Text
    image: Text
    requires: Requirements = Requirements()
    inputs: tuple[OfferInput, ...] = Field(default=(), max_length=MAX_INPUTS)
    priority: Priority = 0
    revision: Count = 0

    @classmethod
    def of(cls, project: Project, run: Run, *, inputs: Sequence[OfferInput] = ()) -> OfferHint:
        """The offer of a queued run."""
        return cls(
            project=project.id,
            run=run.n,
            attempt=run.next_k,
            stage=run.stage.name,
            image=run.stage.image,
            requires=run.stage.requires,
            inputs=tuple(inputs[:MAX_INPUTS]),
            priority=project.priority,
            revision=project.revision,
        )


BidKind = Literal[
    "bid",  # would run it at this cost
    "busy",  # fits the node, but not now
    "pass",  # does not fit the node
    "withdrawn",  # takes an earlier bid back: the next rank goes at once
]


class BidMessage(_Message):
    """`projects/ID/bids/N.K/NODE`. `cost` in seconds is the sum of `parts`; None unless `kind` is `bid`."""

    project: Text
    run: Count
    attempt: Count
    node: Text
    instance: Text
    round: Count = 1  # of the election (design 5.3): answers of an earlier one count for nothing
    kind: BidKind
    cost: Amount | None = None
    parts: dict[Annotated[str, Field(max_length=64)], Amount] = Field(default={}, max_length=64)
    reason: Text = ""


class Phase(StrEnum):
    """What an attempt does at the moment."""

    PULL = "pull"  # fetches the image
    FETCH = "fetch"  # fetches inputs and workspace
    RUN = "run"
    COLLECT = "collect"  # stores results


class Progress(_Message):
    """`projects/ID/runs/N.K/progress`. `bytes` of `total` (0: not known), `rate` in bytes per second, `eta`
    in seconds; `text` is the stage's own last progress line."""

    phase: Phase
    percent: Percent | None = None
    bytes: Bytes = 0
    total: Bytes = 0
    rate: Amount = 0.0
    eta: Amount | None = None
    text: Text = ""


class PipelineNotice(_Message):
    """`pipelines/NAME`: this revision is the newest. An empty payload says that the pipeline was deleted."""

    name: Text
    revision: Count


class FilesRequest(_Message):
    """`nodes/NODE/requests/CLIENT`: show, or put into the store, files of an attempt that the node holds.

    `list` shows what lies at `path` behind `after`; `copy` puts the files `paths` under the store's prefix
    `projects/ID/runs/N.K/live/TOKEN/`; `stop` ends the request `id`. Paths are percent-encoded bytes.
    """

    id: Token
    op: Literal["list", "copy", "stop"]
    project: Text
    run: Count
    attempt: Count
    area: Literal["workspace", "output"] = "workspace"
    path: LivePath = ""
    deep: bool = False  # all levels
    after: LivePath = ""
    token: Annotated[str, Field(pattern=r"^([A-Za-z0-9]{8,64})?$")] = ""
    paths: tuple[LivePath, ...] = Field(default=(), max_length=MAX_COPIES)


class LiveFile(_Message):
    """One path of a running stage as it was when the node looked. A copy has `key` and `sha256`, and `changed` when
    it was written to while it was read; `problem` says why there is none."""

    path: LivePath
    type: EntryType
    mode: Annotated[int, Field(ge=0, le=0o777)] = 0
    mtime_ns: Annotated[int, Field(gt=-(2**63), lt=2**63)] = 0
    size: Bytes = 0
    target: LivePath = ""
    key: Annotated[str, Field(max_length=1024)] = ""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    changed: bool = False
    problem: Text = ""


class FilesReply(_Message):
    """`clients/CLIENT/replies`: the node's answer to the request `id`.

    While it works on it, it says so every two seconds, with the `bytes` copied so far. `next`: ask again with
    this as `after`. `left_out` counts, by what they are, what is not shown.
    """

    id: Token
    node: Text
    status: Literal[
        "working",
        "done",
        "missing",  # there is nothing at `path`
        "refused",  # `reason` is a sentence
        "over",  # refused since the node does not hold this attempt (any more)
    ]
    files: tuple[LiveFile, ...] = Field(default=(), max_length=MAX_FILES)
    next: LivePath = ""
    left_out: dict[Annotated[str, Field(max_length=200)], Count] = Field(default={}, max_length=16)
    bytes: Bytes = 0
    reason: Text = ""


@dataclass(frozen=True)
class LogChunk:
    """`projects/ID/runs/N.K/log`: archive records as bytes; `data` begins at `offset` of the whole log."""

    offset: int
    data: bytes


def _active(run: Run, percents: Mapping[tuple[int, int], float]) -> ActiveSummary:
    held = run.attempt if run.state.held else None
    k = held.k if held else run.next_k
    return ActiveSummary(
        n=run.n,
        k=k,
        stage=run.stage.name,
        state=run.state,
        node=held.node if held else "",
        percent=percents.get((run.n, k)),
    )


def _cut(text: str, most: int = MAX_SENTENCE) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
