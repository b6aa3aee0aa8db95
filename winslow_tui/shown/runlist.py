"""Runs and stages of a project as people look at them (R1460): plain data for tables and JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from winslow.lifecycle import ProjectState, state_of
from winslow.lineage import stale
from winslow.project import PauseReason, Project, Run, RunChanges, RunRequest
from winslow.steering import next_stage, way_on
from winslow_tui.shown.explanation import shown_state


def upcoming(project: Project) -> dict[str, Any] | None:
    """The stage that would be next in a paused project: PAUSED, with the reason, what it needs and the command that
    goes on; None when nothing is."""
    control, stage = project.control, next_stage(project)
    if project.active or not control.paused or stage is None:
        return None
    reason = control.reason.value if control.reason else ""
    return {
        "stage": stage, "state": "PAUSED", "reason": reason, "note": control.note,
        "needs": list(control.needs), "way_on": way_on(project),
    }  # fmt: skip


def begins_with_queue(project: Project) -> bool:
    """Whether the queue's first is what a person goes on with."""
    control = project.control
    return bool(project.queue) and control.pending is None and control.reason is not PauseReason.STAGE_FAILED


def coming(project: Project) -> list[dict[str, Any]]:
    """What waits in the queue, in its order; `position` counts from 1."""
    return [{"position": place, **requested(each)} for place, each in enumerate(project.queue, start=1)]


def after_queue(project: Project) -> str | None:
    """The stage that the pipeline goes on with after all that waits; None at its end, or without a queue."""
    last = project.queue[-1].stage if project.queue else None
    following = project.pipeline.definition.after(last) if last else None
    return following.name if following else None


def requested(request: RunRequest) -> dict[str, Any]:
    """A run as it was asked for, before it is one; `changes` in words."""
    return {
        "id": request.id,
        "stage": request.stage,
        "like": request.blueprint,
        **request.model_dump(mode="json", include={"env", "image", "requires", "workspace"}),
        "single": request.advance == "single",
        "comment": request.comment,
        "by": request.by,
        "at": request.at,
        "changes": changes_text(request, blueprint=request.blueprint, single=request.advance == "single"),
    }


def changes_text(asked: RunChanges, *, blueprint: int | None = None, single: bool = False) -> str:
    """What a person changed for one run, on one line; empty for nothing."""
    words = [f"like #{blueprint}"] if blueprint is not None else []
    words += [f"{name}={value}" for name, value in asked.env.items()]
    words += [f"image {asked.image}"] if asked.image else []
    words += list(_flat(asked.requires))
    match asked.workspace:
        case "auto":
            pass
        case "none":
            words.append("empty workspace")
        case n:
            words.append(f"workspace of #{n}")
    words += ["pauses then"] if single else []
    return ", ".join(words)


def _flat(requires: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in requires.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            shown = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
            yield f"{above}{name}={'none' if shown is None else shown}"


def stages(project: Project) -> list[dict[str, Any]]:
    """Every stage of the pipeline: the state of its latest run, or PAUSED for the one that would be next."""
    following = upcoming(project)
    told = []
    for stage in project.pipeline.definition.stages:
        run = next((run for run in reversed(project.runs) if run.stage.name == stage.name), None)
        state, detail = (run.state.value, run.detail) if run else ("", "")
        failed = run is not None and state_of(project)[0] is ProjectState.FAILED
        if following and following["stage"] == stage.name and not failed:
            state, detail = "PAUSED", following["reason"]
        told.append({"stage": stage.name, "state": state, "run": run.n if run else None, "detail": detail})
    return told


def rows(project: Project, silent: Iterable[str]) -> list[dict[str, Any]]:
    """Every run, oldest first; `silent` are the nodes nobody hears of."""
    blamed = stale(project)
    gone = {each.n for each in project.pruned}
    return [
        _row(run, shown_state(run, silent))
        | {
            "stale": blamed.get(run.n),
            "pruned": run.n in gone,
            "pinned": run.n in project.pinned,
            "marks": _marks(run.n, blamed, gone, project.pinned),
        }
        for run in project.runs
    ]


def marks(project: Project, n: int) -> list[str]:
    """What is worth knowing of a run beside its state: out of date, without files, pinned; in words."""
    return _marks(n, stale(project), {each.n for each in project.pruned}, project.pinned)


def _marks(n: int, blamed: Mapping[int, int], gone: Set[int], pinned: Iterable[int]) -> list[str]:
    words = []
    if n in blamed:
        source = blamed[n]
        words.append(f"stale: #{source} {'is stale' if source in blamed else 'was redone'}")
    if n in gone:
        words.append("files removed")
    if n in pinned:
        words.append("pinned")
    return words


def _row(run: Run, state: str) -> dict[str, Any]:
    attempt = run.attempt
    return {
        "run": run.n,
        "stage": run.stage.name,
        "state": state,
        "reason": run.reason.value if run.reason else "",
        "detail": run.detail,
        "attempt": attempt.k if attempt else None,
        "node": attempt.node if attempt else "",
        "exit_code": attempt.exit_code if attempt else None,
        "queued_at": run.queued_at,
        "started_at": attempt.started_at if attempt else "",
        "ended_at": attempt.ended_at if attempt else "",
        "by": run.by,
        "comment": run.comment,
        "workspace_from": run.workspace_from,
        "results": run.results,
    }
