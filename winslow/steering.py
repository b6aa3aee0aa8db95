"""What people wish of the next run, and what comes of it: start, queue, answers, pauses, edited files. Pure functions.

`queueing` makes a run of a request; `lifecycle.apply` calls these.
"""

from __future__ import annotations

from winslow.errors import Conflict, InvalidInput, Refused
from winslow.events import (
    Answered,
    Confirmed,
    Dequeued,
    Enqueued,
    Paused,
    QueueMoved,
    RunQueued,
    Unpaused,
    WorkspaceEdited,
    WorkspaceRestored,
)
from winslow.lineage import predecessor
from winslow.project import (
    MAX_QUEUE,
    EditedWorkspace,
    PauseReason,
    Project,
    Run,
    RunRequest,
)
from winslow.queueing import (
    CHANGES,
    blueprint,
    check_kept,
    laid_over,
    missing,
    request_run,
    resolve,
    stage_of,
)

# -- what people send


def start(project: Project, event: RunQueued) -> Project:
    """A person starts, resumes or redoes. Raises Conflict while a run is active, Refused while a question stands
    and the event does not answer it, NotFound for an unknown stage or blueprint."""
    _check_not_archived(project)
    for run in project.active:
        raise Conflict(
            f"{project.id}: run #{run.n} ({run.stage.name}) is {run.state}{_by(run.by, run.queued_at)}",
            hint=f"let it come after that one: winslow queue add {project.id} {_asked(event, run)}; "
            f"or stop it: winslow abort {project.id}",
        )
    project = project.changed(site_env=event.site_env)
    request = _requested(project, event)
    after = request_run(project, request)
    if not after.active and not event.confirmed and project.control.pending is not None:
        same = (project.control.reason, project.control.needs) == (after.control.reason, after.control.needs)
        if same and project.control.next_stage == after.control.next_stage:
            raise Refused(f"{project.id}: {after.control.note}", hint=f"go on with: {way_on(after)}")
    return after


def _asked(event: RunQueued, active: Run) -> str:
    """The options that name what is asked for; without any the stage that runs stands as an example."""
    if event.blueprint is not None:
        return f"--like {event.blueprint}"
    return f"--stage {event.stage or active.stage.name}"


def _requested(project: Project, event: RunQueued) -> RunRequest:
    """What exactly is asked for. Without a stage it is what comes next: what waits for an answer, the failed
    stage again with what was changed for it, the queue's first, the stage after the last."""
    given = {"id": event.id, "by": event.by, "at": event.at}
    fields = [*CHANGES, "advance", "comment", "blueprint"]
    changed = {
        name: getattr(event, name)
        for name in fields
        if getattr(event, name) != type(event).model_fields[name].default
    }
    if event.blueprint is not None:
        stage = blueprint(project, event.blueprint).stage.name
        return RunRequest(**given, **changed, stage=stage, confirmed=event.confirmed)
    if event.stage is not None:
        return RunRequest(**given, **changed, stage=event.stage, confirmed=event.confirmed)
    control = project.control
    if control.pending is not None:
        base = control.pending
    elif control.reason is PauseReason.STAGE_FAILED and control.next_stage is not None:
        failed = next(run for run in reversed(project.runs) if run.stage.name == control.next_stage)
        base = RunRequest(
            id=event.id, stage=control.next_stage, blueprint=failed.blueprint, **failed.asked.model_dump()
        )
    elif project.queue:
        base = project.queue[0]
    elif control.next_stage is not None:
        base = RunRequest(id=event.id, stage=control.next_stage)
    else:
        raise Refused(
            f"{project.id}: the pipeline has ended",
            hint=f"redo a stage: winslow start {project.id} --stage NAME",
        )
    if "env" in changed:
        changed["env"] = {**base.env, **event.env}
    if "requires" in changed:
        changed["requires"] = laid_over(base.requires, event.requires)
    queued = base.id if project.queue and base is project.queue[0] else ""
    keep = base.comment if "comment" not in changed else event.comment
    update = {**given, **changed, "comment": keep, "confirmed": event.confirmed or base.confirmed}
    return base.model_copy(update=update | ({"id": queued} if queued else {}))


def enqueue(project: Project, event: Enqueued) -> Project:
    """A run to come before the pipeline goes on. Raises Refused where the queue is full, NotFound for an unknown
    stage or blueprint, InvalidInput where none is named."""
    _check_not_archived(project)
    if len(project.queue) >= MAX_QUEUE:
        raise Refused(f"{project.id}: {MAX_QUEUE} runs wait already", hint="wait until some have run")
    if event.blueprint is not None:
        stage = blueprint(project, event.blueprint).stage.name
    elif event.stage is not None:
        stage = stage_of(project, event.stage).name
    else:
        raise InvalidInput(f"{project.id}: name the stage to run, or the run to repeat")
    changes = {name: getattr(event, name) for name in CHANGES}
    request = RunRequest(
        id=event.id, stage=stage, blueprint=event.blueprint, advance=event.advance, comment=event.comment,
        by=event.by, at=event.at, confirmed=True, **changes,
    )  # fmt: skip
    resolve(project, request)  # a mistake is said now, not when its turn comes
    place = len(project.queue) if event.position is None else event.position
    queue = (*project.queue[:place], request, *project.queue[place:])
    return project.changed(queue=queue, site_env=event.site_env)


def dequeue(project: Project, event: Dequeued) -> Project:
    """Take a request out. Raises Conflict where it waits no more."""
    taken = _queued(project, event.request)
    return project.changed(queue=tuple(each for each in project.queue if each is not taken))


def move_queue(project: Project, event: QueueMoved) -> Project:
    """Put a request at another place. Raises Conflict where it waits no more."""
    taken = _queued(project, event.request)
    rest = [each for each in project.queue if each is not taken]
    rest.insert(event.position, taken)
    return project.changed(queue=tuple(rest))


def _queued(project: Project, request: str) -> RunRequest:
    for each in project.queue:
        if each.id == request:
            return each
    raise Conflict(
        f"{project.id}: the queue was changed meanwhile: that run waits there no more",
        hint=f"nothing was changed; look at it again: winslow queue {project.id}",
    )


def answer(project: Project, event: Answered) -> Project:
    """Values for a stage that asked. They become the project's; with the last one the stage goes on.

    Raises Refused where nothing is asked, or another name."""
    control = project.control
    if control.reason is not PauseReason.INPUT_REQUIRED or control.pending is None:
        raise Refused(
            f"{project.id}: asks for no value",
            hint=f"change its environment: winslow project env {project.id} NAME=VALUE",
        )
    wrong = [name for name in event.env if name not in control.needs]
    if wrong:
        raise Refused(f"{project.id}: asks for {', '.join(control.needs)}, not for {', '.join(wrong)}")
    project = project.changed(env={**project.env, **event.env})
    pending = control.pending.model_copy(update={"confirmed": True})
    still = missing(project, *resolve(project, pending))
    # A stage's own empty value, or a blueprint's, stands over the project's: the answer is for this run then.
    own = {name: value for name, value in event.env.items() if name in still}
    return request_run(project, pending.model_copy(update={"env": {**pending.env, **own}}))


def confirm(project: Project, event: Confirmed) -> Project:
    """Go on with the stage that asked. Raises Refused where none did, Conflict where another one asks by now."""
    control = project.control
    if control.reason is not PauseReason.CONFIRMATION or control.pending is None:
        waits = control.pending is not None
        raise Refused(
            f"{project.id}: nothing waits for a confirmation" + (f": {control.note}" if waits else ""),
            hint=f"go on with: {way_on(project)}" if waits else "",
        )
    if event.stage not in ("", control.pending.stage):
        raise Conflict(
            f"{project.id}: stage '{control.pending.stage}' asks by now, no longer '{event.stage}'",
            hint=f"confirm it if you mean it: {way_on(project)}",
        )
    return request_run(project, control.pending.model_copy(update={"confirmed": True}))


def pause(project: Project, event: Paused) -> Project:
    """No next stage after what is active. Raises Refused where nothing is."""
    if not project.active:
        if project.control.next_stage is None and not project.queue:
            raise Refused(f"{project.id}: nothing runs and the pipeline has ended")
        raise Refused(f"{project.id}: is paused already", hint=f"go on with: {way_on(project)}")
    return project.halted(PauseReason.USER, note=event.note, next_stage=project.control.next_stage)


def unpause(project: Project, event: Unpaused) -> Project:
    """Take a pause back. Raises Refused where there is none."""
    if not project.active or not project.control.paused:
        raise Refused(f"{project.id}: there is no pause to take back")
    return project.going(project.control.next_stage)


def edit_workspace(project: Project, event: WorkspaceEdited) -> Project:
    """Other files for the next run. Raises Conflict where what the next run would take over is no longer what the
    person changed, Refused while that is still being made."""
    for run in project.active:
        raise Refused(
            f"{project.id}: run #{run.n} ({run.stage.name}) is {run.state}: what the next one takes over is being made",
            hint=f"pause after it: winslow pause {project.id}; wait: winslow wait {project.id} --for idle",
        )
    stage, base, parent = next_workspace(project)
    if (event.base, event.parent) != (base, parent):
        last = project.edited or project.initial
        raise Conflict(
            f"{project.id}: the files for the next run were changed meanwhile{_by(last.by, last.at) if last else ''}",
            hint="nothing was changed: look at them, and repeat it",
        )
    made = EditedWorkspace(manifest=event.manifest, base=base, stage=stage, by=event.by, at=event.at)
    return project.changed(**{"edited" if base else "initial": made})


def restore_workspace(project: Project, event: WorkspaceRestored) -> Project:
    """Drop what was edited. Raises Refused where nothing was, Conflict where it is no longer what the person saw:
    others have changed it, or a run has taken it over."""
    last = project.edited
    if last is None and not any(run.workspace_from == 0 for run in project.runs):
        last = project.initial
    if last is None and not event.manifest:
        raise Refused(f"{project.id}: no files were changed for the next run")
    if last is None or last.manifest != event.manifest:
        told = _by(last.by, last.at) if last else ": a run has taken them over"
        raise Conflict(
            f"{project.id}: the files for the next run are no longer those you saw{told}",
            hint="nothing was changed: look at them, and repeat it",
        )
    return project.changed(**{"edited" if last is project.edited else "initial": None})


def next_workspace(project: Project) -> tuple[str, int, str]:
    """What the next run would take over: its stage, the run it comes from (0: none) and the manifest's key (empty
    for none). Raises Refused where nothing comes next, or the files are gone."""
    stage = next_stage(project)
    if stage is None:
        raise Refused(
            f"{project.id}: the pipeline has ended, no run comes next",
            hint=f"choose where to go on: winslow start {project.id} --stage NAME --workspace-from N",
        )
    source = predecessor(project, stage)
    if source is None:
        return stage, 0, project.initial.manifest if project.initial else ""
    check_kept(project, source.n)
    edited = project.edited
    if edited is not None and edited.base == source.n:
        return stage, source.n, edited.manifest
    return stage, source.n, source.manifests.workspace


def next_stage(project: Project) -> str | None:
    """The stage that a person goes on with: what waits for an answer, the failed one again, the queue's first, the
    pipeline's next; None at its end."""
    control = project.control
    if control.pending is not None:
        return control.pending.stage
    if project.queue and control.reason is not PauseReason.STAGE_FAILED:
        return project.queue[0].stage
    return control.next_stage


def way_on(project: Project) -> str:
    """The command that takes a project on from where it rests; what it asks for stands there as VALUE or NAME."""
    control = project.control
    if control.reason is PauseReason.INPUT_REQUIRED and control.pending is not None:
        return f"winslow answer {project.id} " + " ".join(f"{name}=VALUE" for name in control.needs)
    if control.reason is PauseReason.CONFIRMATION and control.pending is not None:
        return f"winslow confirm {project.id}"
    if control.reason is PauseReason.NEW:
        return f"winslow start {project.id}"
    if control.next_stage is None and not project.queue:
        return f"winslow start {project.id} --stage NAME"
    return f"winslow resume {project.id}"


def _check_not_archived(project: Project) -> None:
    if project.archived:
        raise Refused(
            f"{project.id}: is archived", hint=f"take it back: winslow project archive {project.id} --undo"
        )


def _by(who: str, at: str) -> str:
    return f" (by {who}{', ' + at if at else ''})" if who else ""
