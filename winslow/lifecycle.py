"""Every way a project document changes: pure functions over one table (design 3, invariant I9).

`apply(document, event)` is the only thing that makes a new document from an old one. It reads no
clock and draws no random number: events carry their id, their time (for people) and their author.

A run moves along this table and no other way:

    transition   from                                to          event
    queue        (nothing)                           QUEUED      RunQueued, Answered, Confirmed; Ended of the run before
    claim        QUEUED                              PREPARING   Claimed
    start        PREPARING                           RUNNING     Started
    exit         RUNNING                             COLLECTING  Exited
    succeed      COLLECTING                          SUCCEEDED   Ended(succeeded)
    fail         PREPARING, RUNNING, COLLECTING      FAILED      Ended(failed), Lost, AbortRequested(now)
    retry        PREPARING, RUNNING, COLLECTING      QUEUED      Ended(failed), Lost: its retry rule holds
    disown       PREPARING, RUNNING, COLLECTING      QUEUED      Disowned (aborted: fail)
    abort        QUEUED                              FAILED      AbortRequested

An event about an attempt names its run, number and claim; when that is not the current attempt
it raises Superseded and changes nothing (fencing, invariant I2). What a person's wish makes of the next
run stands in `steering` and `queueing`, what else a person changes in `particulars` and `retention`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeVar

from pydantic import BaseModel

from winslow import consequences, particulars, queueing, retention, steering
from winslow.errors import Conflict, NotFound, Refused
from winslow.events import (
    AbortRequested,
    Answered,
    Archived,
    Claimed,
    CommentChanged,
    Confirmed,
    Deleted,
    Dequeued,
    Disowned,
    Ended,
    Enqueued,
    EnvChanged,
    Event,
    Exited,
    FilesPruned,
    Lost,
    ParticipantsChanged,
    Paused,
    PinsChanged,
    PipelineChanged,
    PriorityChanged,
    QueueMoved,
    Renamed,
    RetentionChanged,
    RunQueued,
    Started,
    TagsChanged,
    Unpaused,
    WorkspaceEdited,
    WorkspaceRestored,
    run_of,
    sentence,
)
from winslow.pipeline import PipelineDefinition
from winslow.project import (
    MAX_BIDS,
    MAX_RESULT_BYTES,
    MAX_RESULTS,
    RECENT_EVENTS,
    Attempt,
    Control,
    EventRecord,
    Manifests,
    PauseReason,
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


def create(
    *, id: str, event_id: str, name: str, pipeline: PipelineDefinition, source_revision: int,
    source: str = "", author: str = "", tags: tuple[str, ...] = (), env: dict[str, str] | None = None, at: str = "",
) -> Project:  # fmt: skip
    """A new project's first document (revision 1), paused before its first stage."""
    return Project(
        id=id,
        revision=1,
        name=name,
        author=author,
        tags=tags,
        created=at,
        recent_events=(
            EventRecord(id=event_id, revision=1, at=at, by=author, kind="created", text="created"),
        ),
        pipeline=ProjectPipeline(
            definition=pipeline, source=source or pipeline.name, source_revision=source_revision
        ),
        env=env or {},
        control=Control(next_stage=pipeline.stages[0].name),
    )


def clone(
    original: Project, *, id: str, event_id: str, name: str, author: str = "", at: str = "", with_input: bool = False,
) -> Project:  # fmt: skip
    """A new project (revision 1) with another's copy of the pipeline, environment, tags, participants and retention,
    paused before its first stage. `with_input`: addresses of the original's uploads become its own."""
    held = original.pipeline
    env = dict(original.env)
    definition = held.definition
    if with_input:
        env = _readdressed(env, original.id, id)
        stages = tuple(
            _with(stage, env=_readdressed(stage.env, original.id, id)) for stage in definition.stages
        )
        definition = _with(definition, env=_readdressed(definition.env, original.id, id), stages=stages)
    made = create(id=id, event_id=event_id, name=name, pipeline=definition, source_revision=held.source_revision,
                  source=original.source, author=author, tags=original.tags, env=env, at=at)  # fmt: skip
    (record,) = made.recent_events
    return made.changed(
        participants=original.participants,
        retention=original.retention,
        pipeline=_with(made.pipeline, edited=held.edited),
        recent_events=(_with(record, text=f"created as a clone of {original.id}"),),
    )


def _readdressed(env: dict[str, str], old: str, new: str) -> dict[str, str]:
    before, after = f"{old}:input/", f"{new}:input/"
    return {
        name: after + value.removeprefix(before) if value.startswith(before) else value
        for name, value in env.items()
    }


def apply(project: Project, event: Event) -> Project | Tombstone:
    """The document after `event`, one revision higher and with the event's id remembered.

    Raises Refused, IllegalTransition, Superseded or NotFound; then nothing changes.
    """
    if isinstance(event, Deleted):
        ids = (*(each.id for each in project.recent_events), event.id)[-RECENT_EVENTS:]
        return Tombstone(
            id=project.id, revision=project.revision + 1, name=project.name, deleted_at=event.at, by=event.by,
            recent_events=ids,
        )  # fmt: skip
    changed = _change(project, event)
    recent = (*project.recent_events, _record(project, event, changed))[-RECENT_EVENTS:]
    return changed.model_copy(update={"revision": project.revision + 1, "recent_events": recent})


def _record(project: Project, event: Event, changed: Project) -> EventRecord:
    n, k = run_of(event)
    made = consequences.queued(project, changed)
    if n is None and len(made) == 1:
        n = made[0].n
    return EventRecord(
        id=event.id, revision=project.revision + 1, at=event.at, by=event.by, kind=event.kind, n=n, k=k,
        text=sentence(event, consequences.consequence(project, changed)),
    )  # fmt: skip


def _change(project: Project, event: Event) -> Project:
    match event:
        case RunQueued():
            return steering.start(project, event)
        case Enqueued():
            return steering.enqueue(project, event)
        case Dequeued():
            return steering.dequeue(project, event)
        case QueueMoved():
            return steering.move_queue(project, event)
        case Answered():
            return steering.answer(project, event)
        case Confirmed():
            return steering.confirm(project, event)
        case Paused():
            return steering.pause(project, event)
        case Unpaused():
            return steering.unpause(project, event)
        case WorkspaceEdited():
            return steering.edit_workspace(project, event)
        case WorkspaceRestored():
            return steering.restore_workspace(project, event)
        case AbortRequested():
            return _abort(project, event)
        case Claimed() | Started() | Exited() | Ended() | Lost() | Disowned():
            return _report(project, event)
        case _:
            return _particular(project, event)


def _particular(project: Project, event: Event) -> Project:
    match event:
        case Renamed():
            return particulars.rename(project, event)
        case TagsChanged():
            return particulars.tag(project, event)
        case ParticipantsChanged():
            return particulars.participate(project, event)
        case EnvChanged():
            return particulars.set_env(project, event)
        case PriorityChanged():
            return project.changed(priority=event.priority)
        case CommentChanged():
            return project.changed(comment=event.comment)
        case Archived():
            return particulars.archive(project, event)
        case PipelineChanged():
            return particulars.change_pipeline(project, event)
        case RetentionChanged():
            return project.changed(retention=event.retention)
        case PinsChanged():
            return retention.pin(project, event)
        case FilesPruned():
            return retention.prune(project, event)
        case _:
            raise Refused(f"{project.id}: '{event.kind}' does not change a project")


def _report(project: Project, event: Claimed | Started | Exited | Ended | Lost | Disowned) -> Project:
    """What a node says of its attempt."""
    if isinstance(event, Claimed):
        return _claim(project, event)
    run, attempt = _current(project, event)
    match event:
        case Started():
            attempt = _with(attempt, started_at=event.at, image_digest=event.image_digest, gpus=event.gpus)
            return project.with_run(_move(run, "start", attempt))
        case Exited():
            return project.with_run(
                _move(run, "exit", _with(attempt, exited_at=event.at, exit_code=event.exit_code))
            )
        case Ended():
            return _end(project, run, attempt, event)
        case Lost():
            detail = event.detail or f"node {attempt.node} was lost"
            attempt = _with(
                attempt, ended_at=event.at, outcome="lost", reason=Reason.NODE_LOST, detail=detail
            )
            return _fail(project, run, attempt, at=event.at)
        case Disowned():
            attempt = _with(
                attempt, ended_at=event.at, outcome="disowned", reason=Reason.DISOWNED, detail=event.detail
            )
            if run.abort_requested:  # a person wants it stopped: it is, and is not offered again
                stopped = _with(attempt, reason=Reason.ABORTED, detail="aborted")
                return _fail(project, run, stopped, at=event.at)
            return project.with_run(_move(run, "disown", attempt))


def _abort(project: Project, event: AbortRequested) -> Project:
    runs = [run for run in project.active if event.n in (None, run.n)]
    if not runs:
        what = f"run #{event.n}" if event.n is not None else "no run"
        raise Refused(
            f"{project.id}: {what} is {'not ' if event.n is not None else ''}active, nothing to abort"
        )
    for run in runs:
        detail = f"aborted by {event.by}"
        if run.state is RunState.QUEUED:
            ended = _moved(run, "abort", abort_requested=True, reason=Reason.ABORTED, detail=detail)
            project = _after_failure(project.with_run(ended), ended)
        elif event.now:
            assert run.attempt is not None
            attempt = _with(
                run.attempt, ended_at=event.at, outcome="failed", reason=Reason.ABORTED,
                detail=f"{detail}, without waiting for node {run.attempt.node}",
            )  # fmt: skip
            project = _fail(project, _with(run, abort_requested=True), attempt, at=event.at)
        else:
            project = project.with_run(_with(run, abort_requested=True))
    return project


def _claim(project: Project, event: Claimed) -> Project:
    run = project.run(event.n)
    if run is None:
        raise NotFound(f"{project.id}: no run #{event.n}")
    if run.state is not RunState.QUEUED or run.next_k != event.k:
        raise Superseded(f"{project.id}: run #{event.n} is {run.state} at attempt {len(run.attempts)}")
    if event.adopts is not None and not any(
        (each.k, each.node_uuid, each.outcome) == (event.adopts, event.node_uuid, "lost")
        for each in run.attempts
    ):
        raise Refused(
            f"{project.id}: node {event.node} lost no attempt {event.n}.{event.adopts} to go on with"
        )
    bids = sorted(event.bids, key=lambda bid: (bid.cost is None, bid.cost or 0.0, bid.node))[:MAX_BIDS]
    attempt = Attempt(
        k=event.k,
        claim=event.claim,
        node=event.node,
        node_uuid=event.node_uuid,
        bids=tuple(bids),
        adopted_from=event.adopts,
        claimed_at=event.at,
    )
    return project.with_run(_moved(run, "claim", attempts=(*run.attempts, attempt), reason=None, detail=""))


def _end(project: Project, run: Run, attempt: Attempt, event: Ended) -> Project:
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
    return queueing.follow(project.with_run(run), run, event_id=event.id, at=event.at)


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
        return project.with_run(again)
    failed = _moved(
        run, "fail", attempts=(*run.attempts[:-1], attempt), reason=attempt.reason, detail=attempt.detail
    )
    return _after_failure(project.with_run(failed), failed)


def _after_failure(project: Project, run: Run) -> Project:
    note = f"run #{run.n} ({run.stage.name}): {run.detail or run.reason}"
    return project.halted(PauseReason.STAGE_FAILED, note=note, next_stage=run.stage.name)


def _bounded(results: dict[str, str]) -> dict[str, str]:
    kept = list(results.items())[:MAX_RESULTS]
    return {key: value for key, value in kept if len(value.encode()) <= MAX_RESULT_BYTES}


def _current(project: Project, event: Started | Exited | Ended | Lost | Disowned) -> tuple[Run, Attempt]:
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


class ProjectState(StrEnum):
    """What a person wants to know of a project at a glance."""

    NEW = "new"  # nothing was started yet
    WAITING = "waiting"  # a run waits for a node
    RUNNING = "running"  # a node has a run
    PAUSED = "paused"  # the next stage waits for a person to go on
    NEEDS_YOU = "needs you"  # the next stage waits for values or a confirmation
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
    if control.reason in (PauseReason.INPUT_REQUIRED, PauseReason.CONFIRMATION):
        return ProjectState.NEEDS_YOU, control.note
    if control.paused and (control.next_stage is not None or document.queue):
        refused = control.reason is PauseReason.REFUSED
        return ProjectState.PAUSED, control.note if refused else str(control.reason or "")
    return ProjectState.SUCCEEDED, ""
