"""Runs and stages of a project as people look at them (R1460): plain data for tables and JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from winslow.lifecycle import ProjectState, state_of
from winslow.project import Project, Run
from winslow_tui.explanation import shown_state


def upcoming(project: Project) -> dict[str, Any] | None:
    """The stage that would be next in a paused project: PAUSED, with the reason; None when nothing is."""
    control = project.control
    if project.active or not control.paused or control.next_stage is None:
        return None
    reason = control.reason.value if control.reason else ""
    return {"stage": control.next_stage, "state": "PAUSED", "reason": reason, "note": control.note}


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
    return [_row(run, shown_state(run, silent)) for run in project.runs]


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
