"""Which run's files a run takes over, and what a redone run makes stale. Pure functions over a document."""

from __future__ import annotations

from winslow.project import Project, Run, RunState


def predecessor(project: Project, stage: str) -> Run | None:
    """The latest succeeded run of the nearest earlier stage, never simply the newest run (requirements)."""
    names = [each.name for each in project.pipeline.definition.stages]
    for earlier in reversed(names[: names.index(stage)] if stage in names else []):
        found = latest_success(project, earlier)
        if found is not None:
            return found
    return None


def latest_success(project: Project, stage: str) -> Run | None:
    """The newest succeeded run of a stage."""
    runs = (run for run in reversed(project.runs) if run.stage.name == stage)
    return next((run for run in runs if run.state is RunState.SUCCEEDED), None)


def left_by(project: Project, n: int) -> str:
    """The key of the manifest of what run `n` left in its workspace, of run 0 what a person put there; empty for
    nothing, or where there is no such run."""
    if n == 0:
        return project.initial.manifest if project.initial else ""
    run = project.run(n)
    return run.manifests.workspace if run else ""


def taken_over(project: Project, run: Run) -> str:
    """The key of the manifest that a run begins with; empty for none."""
    if run.workspace_edited or run.workspace_from is None:
        return run.workspace_edited
    return left_by(project, run.workspace_from)


def sources(run: Run) -> tuple[int, ...]:
    """The runs whose files it was given, each once; run 0 is nobody's."""
    given = [run.workspace_from or 0, *run.input_runs.values()]
    return tuple(dict.fromkeys(n for n in given if n))


def refers_to(run: Run) -> frozenset[int]:
    """Every run whose objects it may read."""
    return frozenset({*sources(run), *run.refs})


def stale(project: Project) -> dict[int, int]:
    """Ended runs whose input is out of date, each with the run it was given that is to blame: one that was redone
    with success since, or that is stale itself."""
    redone = {
        run.n: max(
            (
                each.n
                for each in project.runs
                if each.stage.name == run.stage.name and each.state is RunState.SUCCEEDED
            ),
            default=0,
        )
        for run in project.runs
    }
    found: dict[int, int] = {}
    for run in sorted(project.runs, key=lambda run: run.n):
        for source in sources(run) if run.state.ended else ():
            if redone.get(source, 0) > run.n or source in found:
                found[run.n] = source
                break
    return found
