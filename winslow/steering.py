"""What a person's wish makes of the next run: queued, put off, or waiting for an answer. Pure functions.

A request becomes a run here, in one way, whether a person started it, the queue held it or the stage
before it succeeded:

    stage        the project's own copy of it, or with a blueprint that run's; then the request's image and requires
    environment  run > stage > pipeline > site; with a blueprint that run's, then the request's (requirements, end)
    workspace    the logical predecessor's unless another was chosen; what a person edited instead of it;
                 run 0 where there is no predecessor; empty where the stage says so
    questions    values that nobody set, then a confirmation: the project pauses and keeps the request

Nothing is recorded as failed for a question. `lifecycle.apply` calls these.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue, ValidationError

from winslow.errors import Conflict, InvalidInput, NotFound, Refused
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
from winslow.lineage import latest_success, predecessor, refers_to
from winslow.pipeline import Confirmation, Env, PipelineDefinition, Requirements, StageDefinition
from winslow.project import (
    MAX_QUEUE,
    EditedWorkspace,
    EnvValue,
    Origin,
    PauseReason,
    Project,
    Run,
    RunChanges,
    RunRequest,
)

_CHANGES = frozenset(RunChanges.model_fields)
_ASKING = (PauseReason.INPUT_REQUIRED, PauseReason.CONFIRMATION)


# -- what people send


def start(project: Project, event: RunQueued) -> Project:
    """A person starts, resumes or redoes. Raises Conflict while a run is active, Refused while a question stands
    and the event does not answer it, NotFound for an unknown stage or blueprint."""
    _check_not_archived(project)
    for run in project.active:
        raise Conflict(
            f"{project.id}: run #{run.n} ({run.stage.name}) is {run.state}{_by(run.by, run.queued_at)}",
            hint=f"let it come after that one: winslow queue {project.id} add; or stop it: winslow abort {project.id}",
        )
    project = project.changed(site_env=event.site_env)
    request = _requested(project, event)
    after = request_run(project, request)
    if not after.active and not event.confirmed and project.control.pending is not None:
        same = (project.control.reason, project.control.needs) == (after.control.reason, after.control.needs)
        if same and project.control.next_stage == after.control.next_stage:
            raise Refused(f"{project.id}: {after.control.note}", hint=_way_on(after))
    return after


def _requested(project: Project, event: RunQueued) -> RunRequest:
    """What exactly is asked for. Without a stage it is what comes next: what waits for an answer, the failed
    stage again with what was changed for it, the queue's first, the stage after the last."""
    given = {"id": event.id, "by": event.by, "at": event.at}
    fields = [*_CHANGES, "advance", "comment", "blueprint"]
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
        base = RunRequest(id=event.id, stage=control.next_stage, **failed.asked.model_dump())
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
        changed["requires"] = {**base.requires, **event.requires}
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
        stage = _stage(project, event.stage).name
    else:
        raise InvalidInput(f"{project.id}: name the stage to run, or the run to repeat")
    changes = {name: getattr(event, name) for name in _CHANGES}
    request = RunRequest(
        id=event.id, stage=stage, blueprint=event.blueprint, advance=event.advance, comment=event.comment,
        by=event.by, at=event.at, confirmed=True, **changes,
    )  # fmt: skip
    resolve(project, request)  # a mistake is said now, not when its turn comes
    place = len(project.queue) if event.position is None else event.position
    queue = (*project.queue[:place], request, *project.queue[place:])
    return project.changed(queue=queue, site_env=event.site_env)


def dequeue(project: Project, event: Dequeued) -> Project:
    """Take a request out. Raises NotFound."""
    taken = _queued(project, event.request)
    return project.changed(queue=tuple(each for each in project.queue if each is not taken))


def move_queue(project: Project, event: QueueMoved) -> Project:
    """Put a request at another place. Raises NotFound."""
    taken = _queued(project, event.request)
    rest = [each for each in project.queue if each is not taken]
    rest.insert(event.position, taken)
    return project.changed(queue=tuple(rest))


def _queued(project: Project, request: str) -> RunRequest:
    for each in project.queue:
        if each.id == request:
            return each
    raise NotFound(
        f"{project.id}: no such run waits in the queue any more",
        hint=f"look at it: winslow queue {project.id}",
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
    still = _missing(project, *resolve(project, pending))
    # A stage's own empty value, or a blueprint's, stands over the project's: the answer is for this run then.
    own = {name: value for name, value in event.env.items() if name in still}
    return request_run(project, pending.model_copy(update={"env": {**pending.env, **own}}))


def confirm(project: Project, event: Confirmed) -> Project:
    """Go on with the stage that asked. Raises Refused where none did."""
    control = project.control
    if control.reason is not PauseReason.CONFIRMATION or control.pending is None:
        raise Refused(f"{project.id}: nothing waits for a confirmation{_state_hint(project)}")
    return request_run(project, control.pending.model_copy(update={"confirmed": True}))


def pause(project: Project, event: Paused) -> Project:
    """No next stage after what is active. Raises Refused where nothing is."""
    if not project.active:
        if project.control.next_stage is None and not project.queue:
            raise Refused(f"{project.id}: nothing runs and the pipeline has ended")
        raise Refused(f"{project.id}: is paused already", hint=f"go on with: winslow resume {project.id}")
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
    """Drop what was edited. Raises Refused where nothing was."""
    if project.edited is not None:
        return project.changed(edited=None)
    if project.initial is not None and not any(run.workspace_from == 0 for run in project.runs):
        return project.changed(initial=None)
    raise Refused(f"{project.id}: no files were changed for the next run")


def next_workspace(project: Project) -> tuple[str, int, str]:
    """What the next run would take over: its stage, the run it comes from (0: none) and the manifest's key (empty
    for none). Raises Refused where nothing comes next, or the files are gone."""
    stage = _next_stage(project)
    if stage is None:
        raise Refused(
            f"{project.id}: the pipeline has ended, no run comes next",
            hint=f"choose where to go on: winslow start {project.id} --stage NAME --workspace-from N",
        )
    source = predecessor(project, stage)
    if source is None:
        return stage, 0, project.initial.manifest if project.initial else ""
    _check_kept(project, source.n)
    edited = project.edited
    if edited is not None and edited.base == source.n:
        return stage, source.n, edited.manifest
    return stage, source.n, source.manifests.workspace


def _next_stage(project: Project) -> str | None:
    control = project.control
    if control.pending is not None:
        return control.pending.stage
    if project.queue and control.reason is not PauseReason.STAGE_FAILED:
        return project.queue[0].stage
    return control.next_stage


# -- from a request to a run


def request_run(project: Project, request: RunRequest) -> Project:
    """Queue the run, or pause with what must be asked first. Raises NotFound, Refused or InvalidInput."""
    stage, env = resolve(project, request)
    run = _run(project, request, stage, env)  # a mistake is said before anything is asked
    without = project.changed(queue=tuple(each for each in project.queue if each.id != request.id))
    needs = _missing(project, stage, env)
    if needs:
        return without.halted(
            PauseReason.INPUT_REQUIRED, note=f"stage '{stage.name}' needs {', '.join(needs)}", needs=needs,
            next_stage=stage.name, pending=request,
        )  # fmt: skip
    kind, scope = _confirmation(project.pipeline.definition, stage)
    asks = kind is Confirmation.ALWAYS or (kind is Confirmation.ONCE and scope not in project.confirmed)
    if asks and not request.confirmed:
        return without.halted(
            PauseReason.CONFIRMATION, note=f"stage '{stage.name}' waits for a confirmation",
            next_stage=stage.name, pending=request,
        )  # fmt: skip
    following = without.pipeline.definition.after(stage.name)
    made = without.changed(
        runs=(*without.runs, run),
        edited=None if run.workspace_edited and run.workspace_from else without.edited,
        confirmed=(*without.confirmed, scope) if asks and kind is Confirmation.ONCE else without.confirmed,
    )
    return made.going(following.name if following else None)


def follow(project: Project, run: Run, *, event_id: str, at: str) -> Project:
    """What comes after a run that succeeded: the queue's first, else the next stage, unless the project pauses."""
    following = project.pipeline.definition.after(run.stage.name)
    after = following.name if following else None
    if after is None and not project.queue:
        return project.going(None)
    if project.control.paused:
        return project.halted(project.control.reason, note=project.control.note, next_stage=after)
    if run.advance == "single":
        return project.halted(PauseReason.SINGLE, next_stage=after)
    request = RunRequest(id=event_id, stage=after, by=run.by, at=at) if after else None
    if project.queue:
        request = project.queue[0].model_copy(update={"at": at})
    assert request is not None
    try:
        return request_run(project, request)
    except (NotFound, Refused, InvalidInput) as error:  # the pipeline changed since: a person has to look
        dropped = tuple(each for each in project.queue if each.id != request.id)
        return project.changed(queue=dropped).halted(PauseReason.REFUSED, note=str(error), next_stage=after)


def resolve(project: Project, request: RunRequest) -> tuple[StageDefinition, dict[str, EnvValue]]:
    """The stage as it would run, and its whole environment. Raises NotFound and InvalidInput."""
    if request.blueprint is None:
        stage = _stage(project, request.stage)
        env = environment(project, stage, request.env)
    else:
        old = blueprint(project, request.blueprint)
        stage = old.stage
        env = {**old.env, **_of_run(request.env)}
    changes: dict[str, object] = {}
    if request.image:
        changes["image"] = request.image
    if request.requires:
        changes["requires"] = _required(project.id, stage.requires, request.requires)
    return stage.model_copy(update=changes), env


def environment(project: Project, stage: StageDefinition, run_env: Env) -> dict[str, EnvValue]:
    """Every variable with its origin; precedence run > stage > pipeline > site (requirements, end)."""
    layers: tuple[tuple[Origin, dict[str, str]], ...] = (
        (Origin.SITE, project.site_env),
        (Origin.PIPELINE, project.pipeline.definition.env),
        (Origin.PIPELINE, project.env),
        (Origin.STAGE, stage.env),
    )
    values = {
        name: EnvValue(value=value, origin=origin) for origin, env in layers for name, value in env.items()
    }
    return values | _of_run(run_env)


def blueprint(project: Project, n: int) -> Run:
    """The run to make another like. Raises NotFound."""
    run = project.run(n)
    if run is None:
        raise NotFound(f"{project.id}: no run #{n}", hint=f"winslow runs {project.id} shows its runs")
    return run


def _of_run(env: Mapping[str, str]) -> dict[str, EnvValue]:
    return {name: EnvValue(value=value, origin=Origin.RUN) for name, value in env.items()}


def _required(project_id: str, base: Requirements, changes: Mapping[str, JsonValue]) -> Requirements:
    """`changes` laid over the stage's requirements; GPUs key by key. Raises InvalidInput naming the key."""
    data = base.model_dump()
    for name, value in changes.items():
        old = data.get(name)
        data[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    try:
        return Requirements.model_validate(data)
    except ValidationError as error:
        from winslow.validation import explain, shown

        faults = [
            f"{shown(('requires', *fault.path))}: {fault.message}" for fault in explain(error, Requirements)
        ]
        raise InvalidInput(f"{project_id}: {'; '.join(faults)}") from None


def _missing(project: Project, stage: StageDefinition, env: Mapping[str, EnvValue]) -> tuple[str, ...]:
    wanted = dict.fromkeys((*project.pipeline.definition.require_env, *stage.require_env))
    return tuple(name for name in wanted if name not in env or not env[name].value)


def _confirmation(definition: PipelineDefinition, stage: StageDefinition) -> tuple[Confirmation, str]:
    """The rule for a stage, and the name under which a single confirmation is remembered."""
    if stage.confirmation is not None:
        return stage.confirmation, stage.name
    return definition.confirmation, ""


def _run(project: Project, request: RunRequest, stage: StageDefinition, env: dict[str, EnvValue]) -> Run:
    source, edited = _workspace(project, request, stage)
    inputs = _input_runs(project, stage)
    given = [project.run(n) for n in dict.fromkeys((source or 0, *inputs.values())) if n]
    return Run(
        n=max((run.n for run in project.runs), default=0) + 1,
        stage=stage,
        env=env,
        asked=RunChanges(**{name: getattr(request, name) for name in _CHANGES}),
        blueprint=request.blueprint,
        advance=request.advance,
        workspace_from=source,
        workspace_edited=edited,
        input_runs=inputs,
        refs=tuple(sorted({n for run in given if run for n in (run.n, *refers_to(run))})),
        comment=request.comment,
        by=request.by,
        queued_at=request.at,
    )


def _workspace(project: Project, request: RunRequest, stage: StageDefinition) -> tuple[int | None, str]:
    """The run whose workspace is taken over (0: what a person put there; None: empty) and the manifest's key where
    it is an edited one."""
    if request.workspace == "none" or (request.workspace == "auto" and stage.workspace == "empty"):
        return None, ""
    if request.workspace == "auto":
        found = predecessor(project, stage.name)
        source = found.n if found else 0
    else:
        source = request.workspace
    if source == 0:
        if project.initial is not None:
            return 0, project.initial.manifest
        if request.workspace == 0:
            raise NotFound(
                f"{project.id}: there is no run 0: nobody put files into its first workspace",
                hint=f"winslow files put FILE {project.id}#next:",
            )
        return None, ""
    run = blueprint(project, source)
    if request.workspace != "auto" and not run.manifests.workspace:
        raise Refused(
            f"{project.id}: run #{source} left no workspace", hint=f"winslow runs {project.id} shows the runs"
        )
    _check_kept(project, source)
    if request.workspace == "auto" and project.edited is not None and project.edited.base == source:
        return source, project.edited.manifest
    return source, ""


def _input_runs(project: Project, stage: StageDefinition) -> dict[str, int]:
    """The latest succeeded run of every stage that `inputs:` names as `#STAGE:PATH`. Raises Refused."""
    found: dict[str, int] = {}
    for text in stage.inputs:
        if not text.startswith("#"):
            continue
        name = text[1:].partition(":")[0]
        run = latest_success(project, name)
        if run is None:
            raise Refused(
                f"{project.id}: stage '{stage.name}' reads {text}, and no run of '{name}' has succeeded",
                hint=f"winslow start {project.id} --stage {name}",
            )
        _check_kept(project, run.n)
        found[name] = run.n
    return found


def _check_kept(project: Project, n: int) -> None:
    if any(each.n == n for each in project.pruned):
        run = project.run(n)
        stage = run.stage.name if run else "NAME"
        raise Refused(
            f"{project.id}: the files of run #{n} were removed to free space",
            hint=f"make them anew: winslow start {project.id} --stage {stage}",
        )


def _check_not_archived(project: Project) -> None:
    if project.archived:
        raise Refused(
            f"{project.id}: is archived", hint=f"take it back: winslow project archive {project.id} --undo"
        )


def _stage(project: Project, name: str) -> StageDefinition:
    definition = project.pipeline.definition
    stage = definition.stage(name)
    if stage is None:
        raise NotFound(
            f"{project.id}: pipeline '{definition.name}' has no stage '{name}'",
            hint="its stages: " + ", ".join(each.name for each in definition.stages),
        )
    return stage


def _way_on(project: Project) -> str:
    control = project.control
    if control.reason is PauseReason.INPUT_REQUIRED:
        return f"winslow answer {project.id} " + " ".join(f"{name}=VALUE" for name in control.needs)
    return f"winslow confirm {project.id}"


def _state_hint(project: Project) -> str:
    return f"; it waits for {', '.join(project.control.needs)}" if project.control.needs else ""


def _by(who: str, at: str) -> str:
    return f" (by {who}{', ' + at if at else ''})" if who else ""
