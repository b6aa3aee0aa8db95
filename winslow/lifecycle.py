"""Every way a project document changes: pure functions over one table (design 3, invariant I9).

`apply(document, event)` is the only thing that makes a new document from an old one. It reads no
clock and draws no random number: events carry their id, their time (for people) and their author.

A run moves along this table and no other way:

    transition   from                                to          event
    queue        (nothing)                           QUEUED      RunQueued; Ended of the run before it
    claim        QUEUED                              PREPARING   Claimed
    start        PREPARING                           RUNNING     Started
    exit         RUNNING                             COLLECTING  Exited
    succeed      COLLECTING                          SUCCEEDED   Ended(succeeded)
    fail         PREPARING, RUNNING, COLLECTING      FAILED      Ended(failed), Lost
    retry        PREPARING, RUNNING, COLLECTING      QUEUED      Ended(failed), Lost: its retry rule holds
    disown       PREPARING, RUNNING, COLLECTING      QUEUED      Disowned (aborted: fail)
    abort        QUEUED                              FAILED      AbortRequested

An event about an attempt names its run, number and claim; when that is not the current attempt
it raises Superseded and changes nothing (fencing, invariant I2).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from winslow.errors import Conflict, NotFound, Refused
from winslow.pipeline import Env, PipelineDefinition, StageDefinition
from winslow.project import (
    MAX_BIDS,
    MAX_RESULT_BYTES,
    MAX_RESULTS,
    RECENT_EVENTS,
    Attempt,
    BidRecord,
    Control,
    EnvValue,
    Manifests,
    Origin,
    PauseReason,
    Peak,
    Project,
    ProjectPipeline,
    Reason,
    Run,
    RunState,
    Tombstone,
)

M = TypeVar("M", bound=BaseModel)


class IllegalTransition(Refused):
    """The table has no such row."""


class Superseded(Conflict):
    """The event speaks for an attempt that is no longer the current one."""


TRANSITIONS: dict[str, tuple[frozenset[RunState], RunState]] = {
    "claim": (frozenset({RunState.QUEUED}), RunState.PREPARING),
    "start": (frozenset({RunState.PREPARING}), RunState.RUNNING),
    "exit": (frozenset({RunState.RUNNING}), RunState.COLLECTING),
    "succeed": (frozenset({RunState.COLLECTING}), RunState.SUCCEEDED),
    "fail": (frozenset({RunState.PREPARING, RunState.RUNNING, RunState.COLLECTING}), RunState.FAILED),
    "retry": (frozenset({RunState.PREPARING, RunState.RUNNING, RunState.COLLECTING}), RunState.QUEUED),
    "disown": (frozenset({RunState.PREPARING, RunState.RUNNING, RunState.COLLECTING}), RunState.QUEUED),
    "abort": (frozenset({RunState.QUEUED}), RunState.FAILED),
}


class _Event(BaseModel):
    """`id` is random and unique; `at` is RFC 3339 UTC and only shown; `by` is a person or a node."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    at: str = ""
    by: str = ""


class RunQueued(_Event):
    """A person starts or resumes; `stage` None is the one that is next. Only while nothing is active."""

    kind: Literal["run_queued"] = "run_queued"
    stage: str | None = None
    env: Env = {}
    site_env: Env = {}
    advance: Literal["auto", "single"] = "auto"
    comment: str = ""


class Paused(_Event):
    """No next stage after the running one."""

    kind: Literal["paused"] = "paused"
    note: str = ""


class Unpaused(_Event):
    """Take a pause back while a stage is active (without one, resume is RunQueued)."""

    kind: Literal["unpaused"] = "unpaused"


class AbortRequested(_Event):
    """Stop run `n`, or every active run when None."""

    kind: Literal["abort_requested"] = "abort_requested"
    n: int | None = None


class Deleted(_Event):
    """The document becomes a tombstone."""

    kind: Literal["deleted"] = "deleted"


class _AttemptEvent(_Event):
    n: int
    k: int
    claim: str


class Claimed(_AttemptEvent):
    """A node takes a queued run; `k` must be the run's next attempt number."""

    kind: Literal["claimed"] = "claimed"
    node: str
    node_uuid: str
    bids: tuple[BidRecord, ...] = ()


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
    | Paused
    | Unpaused
    | AbortRequested
    | Deleted
    | Claimed
    | Started
    | Exited
    | Ended
    | Lost
    | Disowned,
    Field(discriminator="kind"),
]


def create(
    *, id: str, event_id: str, name: str, pipeline: PipelineDefinition, source_revision: int,
    author: str = "", tags: tuple[str, ...] = (), env: dict[str, str] | None = None, at: str = "",
) -> Project:  # fmt: skip
    """A new project's first document (revision 1), paused before its first stage."""
    return Project(
        id=id,
        revision=1,
        name=name,
        author=author,
        tags=tags,
        created=at,
        recent_events=(event_id,),
        pipeline=ProjectPipeline(definition=pipeline, source_revision=source_revision),
        env=env or {},
        control=Control(next_stage=pipeline.stages[0].name),
    )


def apply(project: Project, event: Event) -> Project | Tombstone:
    """The document after `event`, one revision higher and with the event's id remembered.

    Raises Refused, IllegalTransition, Superseded or NotFound; then nothing changes.
    """
    recent = (*project.recent_events, event.id)[-RECENT_EVENTS:]
    if isinstance(event, Deleted):
        return Tombstone(
            id=project.id, revision=project.revision + 1, name=project.name, deleted_at=event.at, by=event.by,
            recent_events=recent,
        )  # fmt: skip
    changed = _change(project, event)
    return changed.model_copy(update={"revision": project.revision + 1, "recent_events": recent})


def _change(project: Project, event: Event) -> Project:
    match event:
        case RunQueued():
            return _queue_by_person(project, event)
        case Paused():
            return _pause(project, event)
        case Unpaused():
            if not project.active or not project.control.paused:
                raise Refused(f"{project.id}: there is no pause to take back")
            return _control(project, paused=False, reason=None, note="")
        case AbortRequested():
            return _abort(project, event)
        case Claimed():
            return _claim(project, event)
        case Started():
            run, attempt = _current(project, event)
            attempt = _with(attempt, started_at=event.at, image_digest=event.image_digest, gpus=event.gpus)
            return _replace(project, _move(run, "start", attempt))
        case Exited():
            run, attempt = _current(project, event)
            return _replace(
                project, _move(run, "exit", _with(attempt, exited_at=event.at, exit_code=event.exit_code))
            )
        case Ended():
            return _end(project, event)
        case Lost():
            run, attempt = _current(project, event)
            detail = event.detail or f"node {attempt.node} was lost"
            attempt = _with(
                attempt, ended_at=event.at, outcome="lost", reason=Reason.NODE_LOST, detail=detail
            )
            return _fail(project, run, attempt, at=event.at)
        case Disowned():
            run, attempt = _current(project, event)
            attempt = _with(
                attempt, ended_at=event.at, outcome="disowned", reason=Reason.DISOWNED, detail=event.detail
            )
            if run.abort_requested:  # a person wants it stopped: it is, and is not offered again
                stopped = _with(attempt, reason=Reason.ABORTED, detail="aborted")
                return _fail(project, run, stopped, at=event.at)
            return _replace(project, _move(run, "disown", attempt))
        case _:
            raise Refused(f"{project.id}: '{event.kind}' does not change a project")


def _queue_by_person(project: Project, event: RunQueued) -> Project:
    for run in project.active:
        raise Refused(
            f"{project.id}: run #{run.n} ({run.stage.name}) is {run.state}",
            hint=f"wait for it (winslow wait {project.id}) or stop it (winslow abort {project.id})",
        )
    definition = project.pipeline.definition
    name = event.stage or project.control.next_stage
    if name is None:
        raise Refused(
            f"{project.id}: the pipeline has ended",
            hint=f"redo a stage: winslow start {project.id} --stage NAME",
        )
    stage = definition.stage(name)
    if stage is None:
        raise NotFound(
            f"{project.id}: pipeline '{definition.name}' has no stage '{name}'",
            hint="its stages: " + ", ".join(each.name for each in definition.stages),
        )
    project = (
        project.model_copy(update={"site_env": event.site_env})
        if event.site_env != project.site_env
        else project
    )
    run = _new_run(
        project,
        stage,
        run_env=event.env,
        advance=event.advance,
        comment=event.comment,
        by=event.by,
        at=event.at,
    )
    project = project.model_copy(update={"runs": (*project.runs, run)})
    return _control(project, paused=False, reason=None, note="", next_stage=_next_name(project, stage))


def _new_run(
    project: Project, stage: StageDefinition, *, run_env: dict[str, str], advance: Literal["auto", "single"],
    comment: str, by: str, at: str,
) -> Run:  # fmt: skip
    source = predecessor(project, stage.name)
    return Run(
        n=max((run.n for run in project.runs), default=0) + 1,
        stage=stage,
        env=environment(project, stage, run_env),
        advance=advance,
        workspace_from=source.n if source else None,
        refs=tuple(sorted({source.n, *source.refs})) if source else (),
        comment=comment,
        by=by,
        queued_at=at,
    )


def predecessor(project: Project, stage: str) -> Run | None:
    """The latest succeeded run of the nearest earlier stage, never simply the newest run (requirements)."""
    names = [each.name for each in project.pipeline.definition.stages]
    for earlier in reversed(names[: names.index(stage)] if stage in names else []):
        for run in reversed(project.runs):
            if run.stage.name == earlier and run.state is RunState.SUCCEEDED:
                return run
    return None


def environment(project: Project, stage: StageDefinition, run_env: dict[str, str]) -> dict[str, EnvValue]:
    """Every variable with its origin; precedence run > stage > pipeline > site (requirements, end)."""
    layers: tuple[tuple[Origin, dict[str, str]], ...] = (
        (Origin.SITE, project.site_env),
        (Origin.PIPELINE, project.pipeline.definition.env),
        (Origin.PIPELINE, project.env),
        (Origin.STAGE, stage.env),
        (Origin.RUN, run_env),
    )
    return {
        name: EnvValue(value=value, origin=origin) for origin, env in layers for name, value in env.items()
    }


def _pause(project: Project, event: Paused) -> Project:
    if not project.active:
        if project.control.next_stage is None:
            raise Refused(f"{project.id}: nothing runs and the pipeline has ended")
        raise Refused(f"{project.id}: is paused already", hint=f"go on with: winslow resume {project.id}")
    return _control(project, paused=True, reason=PauseReason.USER, note=event.note)


def _abort(project: Project, event: AbortRequested) -> Project:
    runs = [run for run in project.active if event.n in (None, run.n)]
    if not runs:
        what = f"run #{event.n}" if event.n is not None else "no run"
        raise Refused(
            f"{project.id}: {what} is {'not ' if event.n is not None else ''}active, nothing to abort"
        )
    for run in runs:
        if run.state is RunState.QUEUED:
            ended = _moved(
                run, "abort", abort_requested=True, reason=Reason.ABORTED, detail=f"aborted by {event.by}"
            )
            project = _after_failure(_replace(project, ended), ended)
        else:
            project = _replace(project, _with(run, abort_requested=True))
    return project


def _claim(project: Project, event: Claimed) -> Project:
    run = project.run(event.n)
    if run is None:
        raise NotFound(f"{project.id}: no run #{event.n}")
    if run.state is not RunState.QUEUED or run.next_k != event.k:
        raise Superseded(f"{project.id}: run #{event.n} is {run.state} at attempt {len(run.attempts)}")
    bids = sorted(event.bids, key=lambda bid: (bid.cost is None, bid.cost or 0.0, bid.node))[:MAX_BIDS]
    attempt = Attempt(
        k=event.k,
        claim=event.claim,
        node=event.node,
        node_uuid=event.node_uuid,
        bids=tuple(bids),
        claimed_at=event.at,
    )
    return _replace(project, _moved(run, "claim", attempts=(*run.attempts, attempt), reason=None, detail=""))


def _end(project: Project, event: Ended) -> Project:
    run, attempt = _current(project, event)
    aborted = run.abort_requested
    succeeded = event.outcome == "succeeded" and not aborted
    reason = None if succeeded else (Reason.ABORTED if aborted else event.reason or Reason.RUNTIME_ERROR)
    detail = "" if succeeded else (event.detail or ("aborted" if aborted else ""))
    attempt = _with(
        attempt, ended_at=event.at, outcome="succeeded" if succeeded else "failed", reason=reason,
        detail=detail, exit_code=attempt.exit_code if event.exit_code is None else event.exit_code, peak=event.peak,
    )  # fmt: skip
    run = _with(run, manifests=event.manifests, results=_bounded(event.results))
    if not succeeded:
        return _fail(project, run, attempt, at=event.at)
    run = _move(run, "succeed", attempt)
    project = _replace(project, run)
    following = _following(project, run.stage)
    if following is None:
        return _control(project, paused=False, reason=None, next_stage=None)
    if project.control.paused:
        return _control(project, next_stage=following.name)
    if run.advance == "single":
        return _control(project, paused=True, reason=PauseReason.SINGLE, next_stage=following.name)
    queued = _new_run(project, following, run_env={}, advance="auto", comment="", by=run.by, at=event.at)
    project = project.model_copy(update={"runs": (*project.runs, queued)})
    return _control(project, next_stage=_next_name(project, following))


def _fail(project: Project, run: Run, attempt: Attempt, *, at: str) -> Project:
    """FAILED and paused, or QUEUED again where the stage's retry rule covers the reason."""
    retry = run.stage.retry
    assert attempt.reason is not None
    covered = attempt.reason.value in {reason.value for reason in retry.on}
    if covered and run.retries_used < retry.max and not run.abort_requested:
        again = _moved(
            run, "retry", attempts=(*run.attempts[:-1], attempt), retries_used=run.retries_used + 1,
            queued_at=at, reason=attempt.reason, detail=attempt.detail, manifests=Manifests(), results={},
        )  # fmt: skip
        return _replace(project, again)
    failed = _moved(
        run, "fail", attempts=(*run.attempts[:-1], attempt), reason=attempt.reason, detail=attempt.detail
    )
    return _after_failure(_replace(project, failed), failed)


def _after_failure(project: Project, run: Run) -> Project:
    note = f"run #{run.n} ({run.stage.name}): {run.detail or run.reason}"
    return _control(
        project, paused=True, reason=PauseReason.STAGE_FAILED, note=note, next_stage=run.stage.name
    )


def _following(project: Project, stage: StageDefinition) -> StageDefinition | None:
    return project.pipeline.definition.after(stage.name)


def _next_name(project: Project, stage: StageDefinition) -> str | None:
    following = _following(project, stage)
    return following.name if following else None


def _bounded(results: dict[str, str]) -> dict[str, str]:
    kept = list(results.items())[:MAX_RESULTS]
    return {key: value for key, value in kept if len(value.encode()) <= MAX_RESULT_BYTES}


def _current(project: Project, event: _AttemptEvent) -> tuple[Run, Attempt]:
    run = project.run(event.n)
    if run is None:
        raise NotFound(f"{project.id}: no run #{event.n}")
    attempt = run.attempt
    if attempt is None or not run.state.held or (attempt.k, attempt.claim) != (event.k, event.claim):
        raise Superseded(f"{project.id}: attempt {event.n}.{event.k} ({event.claim}) is not the current one")
    return run, attempt


def _with(model: M, **changes: Any) -> M:
    return model.model_copy(update=changes)


def _move(run: Run, transition: str, attempt: Attempt) -> Run:
    return _moved(run, transition, attempts=(*run.attempts[:-1], attempt))


def _moved(run: Run, transition: str, **changes: Any) -> Run:
    allowed, target = TRANSITIONS[transition]
    if run.state not in allowed:
        raise IllegalTransition(f"run #{run.n} is {run.state}: '{transition}' is not possible")
    return _with(run, state=target, **changes)


def _replace(project: Project, run: Run) -> Project:
    return _with(project, runs=tuple(run if each.n == run.n else each for each in project.runs))


def _control(project: Project, **changes: Any) -> Project:
    return _with(project, control=_with(project.control, **changes))


class ProjectState(StrEnum):
    """What a person wants to know of a project at a glance."""

    NEW = "new"  # nothing was started yet
    WAITING = "waiting"  # a run waits for a node
    RUNNING = "running"  # a node has a run
    PAUSED = "paused"  # the next stage waits for a person
    FAILED = "failed"  # the last run failed
    SUCCEEDED = "succeeded"  # the pipeline's last stage succeeded
    DELETING = "deleting"


def state_of(document: Project | Tombstone) -> tuple[ProjectState, str]:
    """The project's state and, where there is one, the reason in words."""
    if isinstance(document, Tombstone):
        return ProjectState.DELETING, ""
    active = document.active
    if any(run.state.held for run in active):
        return ProjectState.RUNNING, ""
    if active:
        return ProjectState.WAITING, active[0].detail
    control = document.control
    if control.reason is PauseReason.NEW:
        return ProjectState.NEW, ""
    if control.reason is PauseReason.STAGE_FAILED:
        return ProjectState.FAILED, control.note
    if control.paused and control.next_stage is not None:
        return ProjectState.PAUSED, str(control.reason or "")
    return ProjectState.SUCCEEDED, ""
