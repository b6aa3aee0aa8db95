"""Which runs keep their workspace files (files may go, history never). Pure functions.

Kept whatever the rule says: the latest run of each stage and its latest success, pinned runs, and what a
queued or active run, a waiting request or an edited workspace refers to. Then:

    keep_last     so many succeeded runs of each stage (none said: all)
    keep_failed   failed runs, too
    discardable   a stage's succeeded runs once a later stage has succeeded on them, also the latest
"""

from __future__ import annotations

from winslow.errors import NotFound, Refused
from winslow.events import FilesPruned, PinsChanged
from winslow.lineage import refers_to, sources
from winslow.pipeline import Retention
from winslow.project import Project, Pruned, Run, RunState


def rule(project: Project) -> Retention:
    """The project's own, else its pipeline's."""
    return project.retention or project.pipeline.definition.retention


def needed(project: Project) -> dict[int, str]:
    """Runs whose files something still needs, each with a reason in words."""
    found: dict[int, str] = {}
    for run in project.active:
        found |= dict.fromkeys(
            refers_to(run), f"run #{run.n} ({run.stage.name}) is {run.state} and uses them"
        )
        found[run.n] = f"it is {run.state}"
    pending = (project.control.pending,) if project.control.pending else ()
    for request in (*project.queue, *pending):
        if isinstance(request.workspace, int):
            found.setdefault(request.workspace, f"a run of '{request.stage}' that waits will use them")
    if project.edited is not None:
        base = project.run(project.edited.base)
        for n in (project.edited.base, *(base.refs if base else ())):
            found.setdefault(n, "changed files for the next run are based on them")
    return found


def prunable(project: Project) -> tuple[int, ...]:
    """Runs whose files the rule lets go now."""
    keep = rule(project)
    gone = {each.n for each in project.pruned}
    kept = set(needed(project)) | set(project.pinned) | gone | _latest(project)
    let_go = {run.n for run in _discarded(project)} - set(needed(project)) - set(project.pinned) - gone
    by_stage: dict[str, int] = {}
    for run in sorted(project.runs, key=lambda run: run.n, reverse=True):
        if run.state is RunState.SUCCEEDED:
            by_stage[run.stage.name] = by_stage.get(run.stage.name, 0) + 1
            over = keep.keep_last is not None and by_stage[run.stage.name] > keep.keep_last
        else:
            over = run.state.ended and not keep.keep_failed
        if over and run.n not in kept and run.manifests.workspace:
            let_go.add(run.n)
    return tuple(sorted(let_go))


def stays(project: Project) -> dict[int, str]:
    """Why the rule does not let go of the other runs' files, each with a reason in words; only runs that have any."""
    wanted, latest, keep, go = needed(project), _latest(project), rule(project), set(prunable(project))
    gone = {each.n for each in project.pruned}
    found: dict[int, str] = {}
    for run in project.runs:
        if run.n in go or run.n in gone or (run.state.ended and not run.manifests.workspace):
            continue
        if run.n in wanted:
            found[run.n] = wanted[run.n]
        elif run.n in project.pinned:
            found[run.n] = "it is pinned"
        elif run.n in latest:
            found[run.n] = f"it is the latest of '{run.stage.name}'"
        elif run.state is not RunState.SUCCEEDED:
            found[run.n] = "failed runs are kept"
        elif keep.keep_last is None:
            found[run.n] = "succeeded runs are kept"
        else:
            found[run.n] = f"it is one of the last {keep.keep_last} of '{run.stage.name}'"
    return found


def _latest(project: Project) -> set[int]:
    """Of each stage the newest run, and the newest that succeeded."""
    newest = {run.stage.name: run.n for run in project.runs}
    succeeded = {run.stage.name: run.n for run in project.runs if run.state is RunState.SUCCEEDED}
    return {*newest.values(), *succeeded.values()}


def _discarded(project: Project) -> list[Run]:
    used = {n for run in project.runs if run.state is RunState.SUCCEEDED for n in sources(run)}
    return [
        run
        for run in project.runs
        if run.stage.discardable
        and run.state is RunState.SUCCEEDED
        and run.manifests.workspace
        and run.n in used
    ]


def prune(project: Project, event: FilesPruned) -> Project:
    """Mark runs as without files. Raises NotFound, or Refused naming what still needs one."""
    known, wanted = {each.n for each in project.pruned}, needed(project)
    for n in event.runs:
        _run(project, n)
        if n in wanted:
            raise Refused(f"{project.id}: the files of run #{n} stay: {wanted[n]}")
        if n in project.pinned:
            raise Refused(f"{project.id}: run #{n} is pinned", hint=f"winslow unpin {project.id} {n}")
    marks = tuple(Pruned(n=n, at=event.at, by=event.by) for n in event.runs if n not in known)
    return project.changed(pruned=tuple(sorted((*project.pruned, *marks), key=lambda each: each.n)))


def pin(project: Project, event: PinsChanged) -> Project:
    """Raises NotFound for an unknown run, Refused for one whose files are gone."""
    gone = {each.n for each in project.pruned}
    for n in event.add:
        _run(project, n)
        if n in gone:
            raise Refused(f"{project.id}: the files of run #{n} are gone already")
    pinned = {*project.pinned, *event.add} - set(event.remove)
    return project.changed(pinned=tuple(sorted(pinned)))


def _run(project: Project, n: int) -> Run:
    run = project.run(n)
    if run is None:
        raise NotFound(f"{project.id}: no run #{n}", hint=f"winslow runs {project.id} shows its runs")
    return run
