"""What a person changes of a project itself: name, tags, environment, its copy of the pipeline. Pure functions.

None of it alters a run that was queued: runs hold their own resolved stage and environment.
"""

from __future__ import annotations

from winslow.errors import Conflict, InvalidInput, Refused
from winslow.events import (
    Archived,
    EnvChanged,
    ParticipantsChanged,
    PipelineChanged,
    Renamed,
    TagsChanged,
)
from winslow.project import PauseReason, Project, ProjectPipeline, RunState
from winslow.queueing import asked_anew

MAX_TAGS = 64


def rename(project: Project, event: Renamed) -> Project:
    """Raises Conflict where somebody renamed it meanwhile."""
    if project.name != event.before:
        raise Conflict(
            f"{project.id}: is called '{project.name}' by now, not '{event.before}'",
            hint="nothing was changed: rename it again if you still want to",
        )
    return project.changed(name=event.name)


def tag(project: Project, event: TagsChanged) -> Project:
    """Raises InvalidInput for more than 64 tags."""
    return project.changed(tags=_listed(project.tags, event.add, event.remove, what=f"{project.id}: tags"))


def participate(project: Project, event: ParticipantsChanged) -> Project:
    """Raises InvalidInput for more than 64 participants."""
    people = _listed(project.participants, event.add, event.remove, what=f"{project.id}: participants")
    return project.changed(participants=people)


def _listed(
    now: tuple[str, ...], add: tuple[str, ...], remove: tuple[str, ...], *, what: str
) -> tuple[str, ...]:
    kept = tuple(dict.fromkeys(each for each in (*now, *add) if each not in remove))
    if len(kept) > MAX_TAGS:
        raise InvalidInput(f"{what}: at most {MAX_TAGS}", hint="remove some first")
    return kept


def set_env(project: Project, event: EnvChanged) -> Project:
    """Values that are set win over names that are unset. A stage that waits for values asks for what is missing."""
    kept = {name: value for name, value in project.env.items() if name not in event.unset}
    return asked_anew(project.changed(env={**kept, **event.set}))


def archive(project: Project, event: Archived) -> Project:
    """Raises Refused while a run is active."""
    if event.archived and project.active:
        run = project.active[0]
        raise Refused(
            f"{project.id}: run #{run.n} ({run.stage.name}) is {run.state}",
            hint=f"wait for it: winslow wait {project.id} --for idle",
        )
    return project.changed(archived=event.archived)


def change_pipeline(project: Project, event: PipelineChanged) -> Project:
    """Another own copy. Raises Conflict where it was changed since the person looked at it.

    What comes next is the stage it was, if there still is one of that name; a pipeline that had ended and now
    goes on waits for a person."""
    held = project.pipeline
    if event.base != held.edition:
        raise Conflict(
            f"{project.id}: its copy of the pipeline was changed meanwhile{_by_whom(project)}",
            hint=f"nothing was changed: look at it (winslow project show {project.id}) and change it again",
        )
    copied = event.source is not None
    changed = project.changed(
        pipeline=ProjectPipeline(
            definition=event.definition,
            source=event.source if event.source is not None else project.source,
            source_revision=held.source_revision if event.source_revision is None else event.source_revision,
            edition=held.edition + 1,
            edited=not copied,
        )
    )
    return _next_in(changed)


def _by_whom(project: Project) -> str:
    for record in reversed(project.recent_events):
        if record.kind == "pipeline_changed":
            return f" by {record.by or 'somebody'}{', ' + record.at if record.at else ''}"
    return ""


def _next_in(project: Project) -> Project:
    """With a `next_stage` that the copy has, and no question of a stage that is gone."""
    definition, control = project.pipeline.definition, project.control
    names = [stage.name for stage in definition.stages]
    if control.next_stage in names and (control.pending is None or control.pending.stage in names):
        return asked_anew(project)
    done = next(
        (
            run.stage.name
            for run in reversed(project.runs)
            if run.stage.name in names and (run.state is RunState.SUCCEEDED or not run.state.ended)
        ),
        None,
    )
    following = definition.after(done) if done else definition.stages[0]
    name = following.name if following else None
    if project.active and not control.paused:
        return project.going(name)
    if name is None:
        return (
            project.going(None)
            if control.next_stage is None
            else project.halted(PauseReason.USER, next_stage=None)
        )
    reason = PauseReason.NEW if control.reason is PauseReason.NEW else PauseReason.USER
    return project.halted(reason, next_stage=name)
