"""Everything that can happen to a project, as frozen models (design 3); `lifecycle.apply` says what each does.

Every event carries a random id, its time (RFC 3339 UTC, only shown) and who sent it: a person or a node.
`sentence` is what people read of it later; it names variables of the environment, never their values.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from winslow.pipeline import Env, EnvName, PipelineDefinition, Retention
from winslow.project import BidRecord, Manifests, Peak, Reason

MAX_SENTENCE = 200


class _Event(BaseModel):
    """`id` is random and unique; `at` is RFC 3339 UTC and only shown; `by` is a person or a node."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    at: str = ""
    by: str = ""


# -- a person steers


class _Asked(_Event):
    """What a person changes for one run; see `project.RunRequest`."""

    env: Env = {}
    site_env: Env = {}
    image: str = ""
    requires: dict[str, JsonValue] = {}
    workspace: int | Literal["auto", "none"] = "auto"
    blueprint: int | None = None
    advance: Literal["auto", "single"] = "auto"
    comment: str = ""


class RunQueued(_Asked):
    """A person starts, resumes or redoes; `stage` None is what comes next. Only while nothing is active.

    `confirmed`: the person means just this stage, so that it asks for no confirmation."""

    kind: Literal["run_queued"] = "run_queued"
    stage: str | None = None
    confirmed: bool = False


class Enqueued(_Asked):
    """A run to come after the active one, before the pipeline goes on; its request's id is the event's."""

    kind: Literal["enqueued"] = "enqueued"
    stage: str | None = None  # needed without a blueprint
    position: int | None = Field(default=None, ge=0)  # None: last


class Dequeued(_Event):
    """Take a request out of the queue."""

    kind: Literal["dequeued"] = "dequeued"
    request: str


class QueueMoved(_Event):
    """Put a request at another place of the queue, counted from 0; past the end is the end."""

    kind: Literal["queue_moved"] = "queue_moved"
    request: str
    position: int = Field(ge=0)


class Answered(_Event):
    """The values a stage asked for; with the last of them it goes on."""

    kind: Literal["answered"] = "answered"
    env: Env


class Confirmed(_Event):
    """Go on with the stage that asked; `stage` is the one the person saw, empty for whatever asks."""

    kind: Literal["confirmed"] = "confirmed"
    stage: str = ""


class Paused(_Event):
    """No next stage after the running one."""

    kind: Literal["paused"] = "paused"
    note: str = ""


class Unpaused(_Event):
    """Take a pause back while a stage is active (without one, resume is RunQueued)."""

    kind: Literal["unpaused"] = "unpaused"


class AbortRequested(_Event):
    """Stop run `n`, or every active run when None. `now`: it counts as ended at once, whatever its node says."""

    kind: Literal["abort_requested"] = "abort_requested"
    n: int | None = None
    now: bool = False


class WorkspaceEdited(_Event):
    """Other files for the next run: `manifest` (its key) was made from `parent` (a key, empty for none), which is
    what the next run would have taken over; `base` is the run it came from, 0 for none."""

    kind: Literal["workspace_edited"] = "workspace_edited"
    manifest: str
    base: int = Field(ge=0)
    parent: str = ""


class WorkspaceRestored(_Event):
    """Drop what was edited, its `manifest` (key): the next run takes over what the run before it left."""

    kind: Literal["workspace_restored"] = "workspace_restored"
    manifest: str


# -- a person changes the project


class Renamed(_Event):
    """`before` is the name the person saw."""

    kind: Literal["renamed"] = "renamed"
    before: str
    name: str


class TagsChanged(_Event):
    """Adding what is there and removing what is not is fine."""

    kind: Literal["tags_changed"] = "tags_changed"
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class ParticipantsChanged(_Event):
    """As `TagsChanged`."""

    kind: Literal["participants_changed"] = "participants_changed"
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class EnvChanged(_Event):
    """The project's environment; what runs now keeps the values it has."""

    kind: Literal["env_changed"] = "env_changed"
    set: Env = {}
    unset: tuple[EnvName, ...] = ()


class PriorityChanged(_Event):
    """Offers of a higher priority are bid on first."""

    kind: Literal["priority_changed"] = "priority_changed"
    priority: int = Field(ge=-(10**9), le=10**9)


class CommentChanged(_Event):
    """A text about the project."""

    kind: Literal["comment_changed"] = "comment_changed"
    comment: str


class Archived(_Event):
    """Put away, or back: an archived project is not listed and starts nothing."""

    kind: Literal["archived"] = "archived"
    archived: bool = True


class PipelineChanged(_Event):
    """Another own copy: edited, or copied from a definition (then `source` and `source_revision` say which).

    `base` is the edition the person worked on: with another one in the document it is a Conflict."""

    kind: Literal["pipeline_changed"] = "pipeline_changed"
    definition: PipelineDefinition
    base: int
    source: str | None = None
    source_revision: int | None = None


class RetentionChanged(_Event):
    """Which runs keep their files; None: as the pipeline says."""

    kind: Literal["retention_changed"] = "retention_changed"
    retention: Retention | None


class PinsChanged(_Event):
    """Runs that retention does not touch."""

    kind: Literal["pins_changed"] = "pins_changed"
    add: tuple[int, ...] = ()
    remove: tuple[int, ...] = ()


class FilesPruned(_Event):
    """The workspaces of these runs are no longer needed; whoever wrote this removes their objects."""

    kind: Literal["files_pruned"] = "files_pruned"
    runs: tuple[int, ...] = Field(min_length=1)


class Deleted(_Event):
    """The document becomes a tombstone."""

    kind: Literal["deleted"] = "deleted"


# -- a node reports


class _AttemptEvent(_Event):
    n: int
    k: int
    claim: str


class Claimed(_AttemptEvent):
    """A node takes a queued run; `k` must be the run's next attempt number. `adopts` is the number of an attempt
    that was lost and whose container is still on this node: it goes on under the new number."""

    kind: Literal["claimed"] = "claimed"
    node: str
    node_uuid: str
    bids: tuple[BidRecord, ...] = ()
    adopts: int | None = None


class Started(_AttemptEvent):
    """The container runs."""

    kind: Literal["started"] = "started"
    image_digest: str = ""
    gpus: tuple[str, ...] = ()


class Exited(_AttemptEvent):
    """The container and all its processes ended."""

    kind: Literal["exited"] = "exited"
    exit_code: int | None = None


class Ended(_AttemptEvent):
    """The attempt is over and everything it left is stored. `reason` is needed where it failed."""

    kind: Literal["ended"] = "ended"
    outcome: Literal["succeeded", "failed"]
    reason: Reason | None = None
    detail: str = ""
    exit_code: int | None = None
    manifests: Manifests = Manifests()
    results: dict[str, str] = {}
    peak: Peak = Peak()


class Lost(_AttemptEvent):
    """An observer counted the node's silence to the end, or the node came back without the container."""

    kind: Literal["lost"] = "lost"
    detail: str = ""


class Disowned(_AttemptEvent):
    """The node has no record of this claim (it crashed between journal and PUT, or lost its disk)."""

    kind: Literal["disowned"] = "disowned"
    detail: str = ""


Event = Annotated[
    RunQueued
    | Enqueued
    | Dequeued
    | QueueMoved
    | Answered
    | Confirmed
    | Paused
    | Unpaused
    | AbortRequested
    | WorkspaceEdited
    | WorkspaceRestored
    | Renamed
    | TagsChanged
    | ParticipantsChanged
    | EnvChanged
    | PriorityChanged
    | CommentChanged
    | Archived
    | PipelineChanged
    | RetentionChanged
    | PinsChanged
    | FilesPruned
    | Deleted
    | Claimed
    | Started
    | Exited
    | Ended
    | Lost
    | Disowned,
    Field(discriminator="kind"),
]


def run_of(event: Event) -> tuple[int | None, int | None]:
    """The run and the attempt an event is about, where it names them."""
    return getattr(event, "n", None), getattr(event, "k", None)


def sentence(event: Event, consequence: str = "") -> str:
    """What happened and what came of it, for people, without who and when; at most 200 characters."""
    return shortened("; ".join(part for part in (_sentence(event), consequence) if part))


def shortened(text: str) -> str:
    """The text, or as much of it as a sentence may have."""
    return text if len(text) <= MAX_SENTENCE else text[: MAX_SENTENCE - 1] + "…"


def _sentence(event: Event) -> str:
    match event:
        case RunQueued():
            return _asked("started", event.stage or "what comes next", event)
        case Enqueued():
            return _asked("enqueued", event.stage or "a run", event)
        case Dequeued():
            return "took a run out of the queue"
        case QueueMoved():
            return f"moved a run to place {event.position + 1} of the queue"
        case Answered():
            return f"set {', '.join(event.env)}"
        case Confirmed():
            return f"confirmed {event.stage}".rstrip()
        case Paused():
            return f"paused{': ' + event.note if event.note else ''}"
        case Unpaused():
            return "took the pause back"
        case AbortRequested():
            what = f"run #{event.n}" if event.n is not None else "what runs"
            return f"aborted {what}{' at once' if event.now else ''}"
        case WorkspaceEdited():
            return "changed files for the next run"
        case WorkspaceRestored():
            return "dropped the changed files for the next run"
        case Renamed():
            return f"renamed it from '{event.before}' to '{event.name}'"
        case TagsChanged():
            return f"tags: {_signed(event.add, event.remove)}"
        case ParticipantsChanged():
            return f"participants: {_signed(event.add, event.remove)}"
        case EnvChanged():
            return f"environment: {_signed(tuple(event.set), event.unset)}"
        case PriorityChanged():
            return f"priority {event.priority}"
        case CommentChanged():
            return "changed the comment"
        case Archived():
            return "archived" if event.archived else "took it back from the archive"
        case PipelineChanged(source=None):
            return "changed its copy of the pipeline"
        case PipelineChanged():
            return f"took over pipeline {event.source} revision {event.source_revision}"
        case RetentionChanged():
            return "changed what is kept"
        case PinsChanged():
            return f"pins: {_signed(_numbers(event.add), _numbers(event.remove))}"
        case FilesPruned():
            return f"removed the files of {', '.join(_numbers(event.runs))}"
        case Deleted():
            return "deleted"
        case _:
            return _report(event)


def _report(event: Event) -> str:
    match event:
        case Claimed():
            adopts = f", with the container of attempt {event.adopts}" if event.adopts is not None else ""
            return f"run #{event.n}: claimed by {event.node} (attempt {event.k}{adopts})"
        case Started():
            return f"run #{event.n}: started"
        case Exited():
            return f"run #{event.n}: ended with exit code {event.exit_code}"
        case Ended(outcome="succeeded"):
            return f"run #{event.n}: succeeded"
        case Ended():
            return f"run #{event.n}: failed: {event.detail or event.reason or 'no reason was told'}"
        case Lost():
            return f"run #{event.n}: attempt {event.k} was lost{': ' + event.detail if event.detail else ''}"
        case Disowned():
            return f"run #{event.n}: attempt {event.k} is not known to its node"
        case _:
            raise ValueError(f"no sentence for '{event.kind}'")


def _asked(verb: str, stage: str, event: _Asked) -> str:
    what = f"run like #{event.blueprint}" if event.blueprint is not None else stage
    changed = [*event.env, *(["image"] if event.image else []), *event.requires]
    if event.workspace != "auto":
        changed.append(f"workspace from {event.workspace}")
    return f"{verb} {what}{' with other ' + ', '.join(changed) if changed else ''}"


def _signed(add: tuple[str, ...], remove: tuple[str, ...]) -> str:
    return " ".join([*(f"+{each}" for each in add), *(f"-{each}" for each in remove)])


def _numbers(runs: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"#{n}" for n in runs)
