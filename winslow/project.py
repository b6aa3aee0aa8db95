"""The project document: one JSON object that holds the truth about one project (design 3).

It changes only by `lifecycle.apply` and a conditional PUT. Models are frozen and keep unknown
fields, so an older program rewrites a newer one's document without loss.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from winslow.address import secret_name
from winslow.errors import InvalidInput
from winslow.pipeline import Env, PipelineDefinition, Retention, StageDefinition

SCHEMA = 1
RECENT_EVENTS = 64
MAX_QUEUE = 1000  # runs that may wait for their turn in one project
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
    CONFIRMATION = "confirmation"  # the next stage asks a person first
    INPUT_REQUIRED = "input_required"  # the next stage needs values that nobody has set
    STAGE_FAILED = "stage_failed"
    REFUSED = "refused"  # the next stage cannot be queued as things stand; the note says why


class Origin(StrEnum):
    """Where a stage's environment value comes from, strongest first."""

    INTERNAL = "internal"  # WINSLOW_*, and addresses replaced by paths
    RUN = "run"
    STAGE = "stage"
    PROJECT = "project"  # the project itself, by its --env or an answer
    PIPELINE = "pipeline"  # the project's own copy of the pipeline
    SITE = "site"


class EnvValue(_Model):
    """One variable as the stage gets it, and who set it."""

    value: str
    origin: Origin


class EventRecord(_Model):
    """What one write did, for the rule that nothing is applied twice and for people: `text` is one sentence
    without values of the environment, `revision` that of the document the write made."""

    id: str
    revision: int = 0
    at: str = ""
    by: str = ""
    kind: str = ""
    n: int | None = None
    k: int | None = None
    text: str = ""


def _record(value: object) -> object:
    return {"id": value} if isinstance(value, str) else value


Records = tuple[Annotated[EventRecord, BeforeValidator(_record)], ...]


class RunChanges(_Model):
    """What a person changes of a stage for one run. `requires` are keys of `pipeline.Requirements` laid over the
    stage's own; `workspace`: the run whose workspace is taken over, `auto` for the logical predecessor."""

    env: Env = {}
    image: str = ""  # empty: the stage's own
    requires: dict[str, JsonValue] = {}
    workspace: int | Literal["auto", "none"] = "auto"


class RunRequest(RunChanges):
    """A run as a person or the pipeline asked for it, before it is one. `id` is that of the event that asked.

    With `blueprint` it is a run like that one: its stage and environment as they were, then the changes."""

    id: str
    stage: str
    blueprint: int | None = None
    advance: Literal["auto", "single"] = "auto"
    comment: str = ""
    by: str = ""
    at: str = ""
    confirmed: bool = False  # a person asked for just this stage


class EditedWorkspace(_Model):
    """Files that a person changed for the next run: `manifest` is its key, `base` the run it came from, 0 where it
    began empty; `stage` is the one it is meant for."""

    manifest: str
    base: int
    stage: str
    by: str = ""
    at: str = ""


class Pruned(_Model):
    """A run whose workspace files were removed; its record, results, logs and manifests stay."""

    n: int
    at: str = ""
    by: str = ""


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
    adopted_from: int | None = None  # the lost attempt whose container goes on under this number
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
    asked: RunChanges = RunChanges()  # what was changed for this run; `env` holds the outcome
    blueprint: int | None = None  # the run it was made like
    workspace_from: int | None = (
        None  # the run whose workspace it takes over; 0: what a person put there; None: empty
    )
    workspace_edited: str = ""  # key of the manifest a person edited, taken over instead of that run's own
    input_runs: dict[str, int] = {}  # for `#STAGE:PATH` inputs: the run each stage's files are taken from
    refs: tuple[int, ...] = ()  # earlier runs whose objects its workspace and inputs may point to
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
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that its environment refers to, in order."""
        names = (secret_name(each.value) for each in self.env.values())
        return tuple(sorted({name for name in names if name is not None}))

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
    needs: tuple[str, ...] = ()  # names of the values a person must set
    pending: RunRequest | None = None  # what goes on when a person has answered or confirmed


class ProjectPipeline(_Model):
    """The project's own copy of its pipeline, free to change."""

    definition: PipelineDefinition
    source: str = ""  # the pipeline it was copied from; empty: that of the definition's name
    source_revision: int
    edition: int = Field(default=1, ge=1)  # rises with every change of the copy
    edited: bool = False  # it differs from what was copied


class Project(_Model):
    """The document `documents/projects/<id>.json`."""

    schema_: int = Field(default=SCHEMA, alias="schema", strict=True)
    id: str
    revision: int = Field(ge=1, lt=10**9)
    name: str
    author: str = ""
    participants: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    created: str = ""
    comment: str = ""
    archived: bool = False
    recent_events: Records = ()
    pipeline: ProjectPipeline
    env: Env = {}  # set for this project; stands over the pipeline's own
    site_env: Env = {}  # as the site had it at the last start
    control: Control = Control()
    queue: tuple[RunRequest, ...] = Field(default=(), max_length=MAX_QUEUE)
    confirmed: tuple[str, ...] = ()  # stages with `confirmation: once` that were confirmed; "" the pipeline's
    priority: int = Field(default=0, ge=-(10**9), le=10**9)
    retention: Retention | None = None  # None: the pipeline's
    pinned: tuple[int, ...] = ()  # runs that retention does not touch
    pruned: tuple[Pruned, ...] = ()
    initial: EditedWorkspace | None = (
        None  # "run 0": what a person put there for stages without a predecessor
    )
    edited: EditedWorkspace | None = None  # for the next run that would take over its `base`
    runs: tuple[Run, ...] = ()

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, serialize_by_alias=True)

    def run(self, n: int) -> Run | None:
        """Run number `n`, or None."""
        return next((run for run in self.runs if run.n == n), None)

    @property
    def active(self) -> tuple[Run, ...]:
        """Runs that have not ended."""
        return tuple(run for run in self.runs if not run.state.ended)

    @property
    def source(self) -> str:
        """The name of the pipeline that its copy came from."""
        return self.pipeline.source or self.pipeline.definition.name

    def holds(self, event_id: str) -> bool:
        """Whether that event is known to have been applied: the last 64 are remembered."""
        return any(record.id == event_id for record in self.recent_events)

    def changed(self, **changes: Any) -> Project:
        """A copy with these fields."""
        return self.model_copy(update=changes)

    def with_run(self, run: Run) -> Project:
        """A copy in which `run` stands in the place of the one with its number."""
        return self.changed(runs=tuple(run if each.n == run.n else each for each in self.runs))

    def going(self, next_stage: str | None) -> Project:
        """A copy in which what follows starts by itself; nothing is asked of a person."""
        return self.changed(control=Control(paused=False, reason=None, next_stage=next_stage))

    def halted(
        self,
        reason: PauseReason | None,
        *,
        next_stage: str | None,
        note: str = "",
        needs: tuple[str, ...] = (),
        pending: RunRequest | None = None,
    ) -> Project:
        """A copy in which the next stage waits for a person."""
        control = Control(
            paused=True, reason=reason, note=note, next_stage=next_stage, needs=needs, pending=pending
        )
        return self.changed(control=control)


class Tombstone(_Model):
    """What is left of a deleted project; its objects and topics are swept until it is 30 days old."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    id: str
    revision: int = Field(ge=1, lt=10**9)
    name: str
    deleting: Literal[True] = True
    deleted_at: str = ""
    by: str = ""
    recent_events: tuple[str, ...] = ()  # ids alone: a tombstone stays small

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, serialize_by_alias=True)

    def __str__(self) -> str:
        """That it was deleted, by whom and when, for people."""
        who = f" by {self.by}" if self.by else ""
        return f"project '{self.id}' was deleted{who}" + (f", {self.deleted_at}" if self.deleted_at else "")

    def holds(self, event_id: str) -> bool:
        """Whether that event is known to have been applied."""
        return event_id in self.recent_events


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
    document = _plain_project(data) or _looked_at(data, key=key)
    if project_id is not None and document.id != project_id:
        raise InvalidInput(
            f"{key}: is the document of another project ({document.id[:80]!r})",
            hint="documents cannot be copied or renamed: remove it, and create a project",
        )
    return document


def _plain_project(data: bytes) -> Project | None:
    """A project that this program can read, from the bytes in one pass: an election waits for that. None for
    everything else."""
    try:
        project = Project.model_validate_json(data)
    except ValidationError:
        return None
    known = "schema_" in project.model_fields_set and project.schema_ <= SCHEMA
    return project if known and "deleting" not in (project.model_extra or {}) else None


def _looked_at(data: bytes, *, key: str) -> Project | Tombstone:
    """Any document, or what is wrong with it."""
    try:
        raw = json.loads(data)
        schema = raw.get("schema") if isinstance(raw, dict) else None
        if not isinstance(schema, int) or not isinstance(raw, dict):
            raise InvalidInput(f"{key}: not a project document")
        check_schema(schema, key=key)
        model = Tombstone if raw.get("deleting") else Project
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:200]
        raise InvalidInput(f"{key}: not a valid project document: {place}: {first['msg'][:200]}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{key}: not a project document: {str(error)[:200]}") from error
