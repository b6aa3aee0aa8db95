"""The project document: one JSON object that holds the truth about one project (design 3).

It changes only by `lifecycle.apply` and a conditional PUT. Models are frozen and keep unknown
fields, so an older program rewrites a newer one's document without loss.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from winslow.errors import InvalidInput
from winslow.pipeline import Env, PipelineDefinition, StageDefinition

SCHEMA = 1
RECENT_EVENTS = 64
MAX_BIDS = 16
MAX_RESULTS = 100
MAX_RESULT_BYTES = 4096


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class RunState(StrEnum):
    """Where a run is; docs/architecture.md has the diagram."""

    QUEUED = "QUEUED"  # an offer: waits for a node
    PREPARING = "PREPARING"  # claimed: image and inputs are being fetched
    RUNNING = "RUNNING"  # its container runs
    COLLECTING = "COLLECTING"  # the container ended; results are being stored
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def ended(self) -> bool:
        """Nothing more happens to such a run."""
        return self in (RunState.SUCCEEDED, RunState.FAILED)

    @property
    def held(self) -> bool:
        """A node has it."""
        return self in (RunState.PREPARING, RunState.RUNNING, RunState.COLLECTING)


class Reason(StrEnum):
    """Why a run or an attempt ended as it did; the sentence for people stands beside it in `detail`."""

    EXIT_CODE = "exit_code"  # the command ended with another code than 0
    OOM = "oom"  # killed for its memory limit
    LOG_PATTERN = "log_pattern"  # it wrote a line that its stage calls a failure (`fail_on`)
    TIMEOUT = "timeout"  # it ran longer than its stage allows
    STALLED = "stalled"  # it wrote nothing for longer than its stage allows
    ABORTED = "aborted"  # a person stopped it
    NODE_LOST = "node_lost"  # the node was silent too long, or came back without the container
    IMAGE_UNAVAILABLE = "image_unavailable"
    INPUT_MISSING = "input_missing"
    DISK_FULL = "disk_full"
    RUNTIME_ERROR = "runtime_error"  # the container engine refused, or the command was not found
    REFUSED_BY_NODE = "refused_by_node"  # the node's own configuration does not allow it
    STORAGE = "storage"  # results could not be stored for a reason that waiting does not heal
    DISOWNED = "disowned"  # the node does not know this claim; the run is queued again, no retry is used up


class PauseReason(StrEnum):
    """Why the next stage of a project does not start by itself."""

    NEW = "new"  # nothing was ever started
    USER = "user"
    SINGLE = "single"  # started with --single
    STAGE_FAILED = "stage_failed"


class Origin(StrEnum):
    """Where a stage's environment value comes from, strongest first."""

    INTERNAL = "internal"  # WINSLOW_*, and addresses replaced by paths
    RUN = "run"
    STAGE = "stage"
    PIPELINE = "pipeline"  # the project's own copy of the pipeline, changed by its --env
    SITE = "site"


class EnvValue(_Model):
    """One variable as the stage gets it, and who set it."""

    value: str
    origin: Origin


class BidRecord(_Model):
    """A bid as it stood when the run was claimed; `cost` in seconds, `parts` its sum's parts by name."""

    node: str
    kind: Literal["bid", "busy", "pass"]
    cost: float | None = None
    parts: dict[str, float] = {}
    reason: str = ""


class Peak(_Model):
    """The most an attempt used: `memory` in bytes, `cpus` in cores."""

    memory: int = 0
    cpus: float = 0.0


class Attempt(_Model):
    """One try of a run on one node. Times are RFC 3339 UTC, for people only."""

    k: int
    claim: str
    node: str
    node_uuid: str
    bids: tuple[BidRecord, ...] = ()
    claimed_at: str = ""
    started_at: str = ""
    exited_at: str = ""
    ended_at: str = ""
    image_digest: str = ""
    gpus: tuple[str, ...] = ()
    exit_code: int | None = None
    outcome: Literal["succeeded", "failed", "lost", "disowned"] | None = None
    reason: Reason | None = None
    detail: str = ""
    peak: Peak = Peak()


class Manifests(_Model):
    """Keys of the manifests of what a run left; empty while it has not ended."""

    workspace: str = ""
    output: str = ""


class Run(_Model):
    """One execution of a stage, numbered per project; never altered once it has ended."""

    n: int = Field(ge=1, lt=10**9)
    stage: StageDefinition
    env: dict[str, EnvValue] = {}
    advance: Literal["auto", "single"] = "auto"
    workspace_from: int | None = None  # the run whose workspace it takes over; None: empty
    refs: tuple[int, ...] = ()  # earlier runs whose objects its workspace may point to
    comment: str = ""
    by: str = ""
    queued_at: str = ""
    state: RunState = RunState.QUEUED
    reason: Reason | None = None
    detail: str = ""  # a sentence for people
    attempts: tuple[Attempt, ...] = ()
    retries_used: int = 0
    abort_requested: bool = False
    manifests: Manifests = Manifests()
    results: dict[str, str] = {}

    @property
    def attempt(self) -> Attempt | None:
        """The current (latest) attempt; None before the first claim."""
        return self.attempts[-1] if self.attempts else None

    @property
    def next_k(self) -> int:
        """The number the next claim gets."""
        return len(self.attempts) + 1


class Control(_Model):
    """What happens after the current stage. `next_stage` None: the pipeline's end was reached."""

    paused: bool = True
    reason: PauseReason | None = PauseReason.NEW
    note: str = ""
    next_stage: str | None = None


class ProjectPipeline(_Model):
    """The project's own copy of its pipeline, free to change."""

    definition: PipelineDefinition
    source_revision: int


class Project(_Model):
    """The document `documents/projects/<id>.json`."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    id: str
    revision: int = Field(ge=1, lt=10**9)
    name: str
    author: str = ""
    tags: tuple[str, ...] = ()
    created: str = ""
    recent_events: tuple[str, ...] = ()
    pipeline: ProjectPipeline
    env: Env = {}  # set for this project; stands over the pipeline's own
    site_env: Env = {}  # as the site had it at the last start
    control: Control = Control()
    priority: int = Field(default=0, ge=-(10**9), le=10**9)
    runs: tuple[Run, ...] = ()

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, serialize_by_alias=True)

    def run(self, n: int) -> Run | None:
        """Run number `n`, or None."""
        return next((run for run in self.runs if run.n == n), None)

    @property
    def active(self) -> tuple[Run, ...]:
        """Runs that have not ended."""
        return tuple(run for run in self.runs if not run.state.ended)


class Tombstone(_Model):
    """What is left of a deleted project; its objects and topics are swept until it is 30 days old."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    id: str
    revision: int = Field(ge=1, lt=10**9)
    name: str
    deleting: Literal[True] = True
    deleted_at: str = ""
    by: str = ""
    recent_events: tuple[str, ...] = ()

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, serialize_by_alias=True)


def encode(document: Project | Tombstone) -> bytes:
    """The document's bytes: UTF-8 JSON, indented, so that `aws s3 cp - ` shows it readably."""
    return (document.model_dump_json(indent=1, exclude_defaults=False) + "\n").encode()


def check_schema(schema: int, *, key: str) -> None:
    """Raises InvalidInput naming `key` for a document that a newer program wrote."""
    if schema > SCHEMA:
        raise InvalidInput(
            f"{key}: written by a newer Winslow (schema {schema}, this program knows {SCHEMA})",
            hint="install the newer version here",
        )


def decode(data: bytes, *, key: str, project_id: str | None = None) -> Project | Tombstone:
    """Read and validate a document; `project_id` is the id its key stands for.

    Raises InvalidInput naming `key`, in one short sentence, whatever the bytes are; a newer `schema` is refused.
    """
    try:
        raw = json.loads(data)
        schema = raw.get("schema") if isinstance(raw, dict) else None
        if not isinstance(schema, int) or not isinstance(raw, dict):
            raise InvalidInput(f"{key}: not a project document")
        check_schema(schema, key=key)
        model = Tombstone if raw.get("deleting") else Project
        document = model.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:200]
        raise InvalidInput(f"{key}: not a valid project document: {place}: {first['msg'][:200]}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{key}: not a project document: {str(error)[:200]}") from error
    if project_id is not None and document.id != project_id:
        raise InvalidInput(
            f"{key}: is the document of another project ({document.id[:80]!r})",
            hint="documents cannot be copied or renamed: remove it, and create a project",
        )
    return document
