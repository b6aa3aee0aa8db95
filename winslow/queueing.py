"""How a request becomes a run: its stage, environment and workspace, or what must be asked first. Pure functions.

In one way, whether a person started it, the queue held it or the stage before it succeeded:

    stage        the project's own copy of it, or with a blueprint that run's; then the request's image and requires
    environment  run > stage > pipeline > site; with a blueprint that run's, then the request's (requirements, end)
    workspace    the logical predecessor's unless another was chosen; what a person edited instead of it;
                 run 0 where there is no predecessor; empty where the stage says so
    questions    values that nobody set, then a confirmation: the project pauses and keeps the request

Nothing is recorded as failed for a question.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue, ValidationError

from winslow.errors import InvalidInput, NotFound, Refused
from winslow.lineage import latest_success, predecessor, refers_to
from winslow.pipeline import Confirmation, Env, PipelineDefinition, Requirements, StageDefinition
from winslow.project import EnvValue, Origin, PauseReason, Project, Run, RunChanges, RunRequest

CHANGES = frozenset(RunChanges.model_fields)


def request_run(project: Project, request: RunRequest) -> Project:
    """Queue the run, or pause with what must be asked first. Raises NotFound, Refused or InvalidInput."""
    stage, env = resolve(project, request)
    run = _run(project, request, stage, env)  # a mistake is said before anything is asked
    without = project.changed(queue=tuple(each for each in project.queue if each.id != request.id))
    needs = missing(project, stage, env)
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


def asked_anew(project: Project) -> Project:
    """The question that a project waits with, put again after its environment or its copy changed: for what is still
    missing, or with all values there for a confirmation, since nothing starts by such a change."""
    control = project.control
    if control.pending is None:
        return project
    stage, env = resolve(project, control.pending)
    needs = missing(project, stage, env)
    if needs == control.needs:
        return project
    reason = PauseReason.INPUT_REQUIRED if needs else PauseReason.CONFIRMATION
    what = f"needs {', '.join(needs)}" if needs else "has its values and waits for a confirmation"
    return project.halted(
        reason,
        note=f"stage '{stage.name}' {what}",
        needs=needs,
        next_stage=control.next_stage,
        pending=control.pending,
    )


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
        stage = stage_of(project, request.stage)
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
    """Every variable with its origin; precedence run > stage > project > pipeline > site (requirements, end)."""
    layers: tuple[tuple[Origin, dict[str, str]], ...] = (
        (Origin.SITE, project.site_env),
        (Origin.PIPELINE, project.pipeline.definition.env),
        (Origin.PROJECT, project.env),
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
    try:
        return Requirements.model_validate(laid_over(base.model_dump(), changes))
    except ValidationError as error:
        from winslow.validation import explain, shown

        faults = [
            f"{shown(('requires', *fault.path))}: {fault.message}" for fault in explain(error, Requirements)
        ]
        raise InvalidInput(f"{project_id}: {'; '.join(faults)}") from None


def laid_over(base: Mapping[str, JsonValue], changes: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """`changes` laid over `base`, tables (GPUs) key by key."""
    found = dict(base)
    for name, value in changes.items():
        old = found.get(name)
        found[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return found


def missing(project: Project, stage: StageDefinition, env: Mapping[str, EnvValue]) -> tuple[str, ...]:
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
        asked=RunChanges(**{name: getattr(request, name) for name in CHANGES}),
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
    check_kept(project, source)
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
        check_kept(project, run.n)
        found[name] = run.n
    return found


def check_kept(project: Project, n: int) -> None:
    if any(each.n == n for each in project.pruned):
        run = project.run(n)
        stage = run.stage.name if run else "NAME"
        raise Refused(
            f"{project.id}: the files of run #{n} were removed to free space",
            hint=f"make them anew: winslow start {project.id} --stage {stage}",
        )


def stage_of(project: Project, name: str) -> StageDefinition:
    definition = project.pipeline.definition
    stage = definition.stage(name)
    if stage is None:
        raise NotFound(
            f"{project.id}: pipeline '{definition.name}' has no stage '{name}'",
            hint="its stages: " + ", ".join(each.name for each in definition.stages),
        )
    return stage
