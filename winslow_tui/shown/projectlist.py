"""Projects as people look at them: plain data for tables and JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from winslow.errors import UsageError
from winslow.lifecycle import ProjectState
from winslow.pipeline import Retention
from winslow.project import Project
from winslow.retention import rule
from winslow.steering import next_stage

UNREADABLE = "unreadable"


def entry(project: Project, *, state: ProjectState, reason: str, news: str) -> dict[str, Any]:
    """One project in a list; `news` says what became of its pipeline's definition since."""
    return {
        "id": project.id,
        "name": project.name,
        "state": state.value,
        "reason": reason,
        "tags": project.tags,
        "author": project.author,
        "participants": project.participants,
        "created": project.created,
        "comment": project.comment,
        "archived": project.archived,
        "priority": project.priority,
        "pipeline": project.pipeline.definition.name,
        "pipeline_revision": project.pipeline.source_revision,
        "pipeline_news": news,
        "next_stage": next_stage(project),
        "needs": list(project.control.needs),
        "queue": len(project.queue),
        "runs": len(project.runs),
        "active": [
            {"run": run.n, "stage": run.stage.name, "state": run.state.value} for run in project.active
        ],
    }


def unreadable(project_id: str, why: str) -> dict[str, Any]:
    """A project whose document this program cannot read."""
    return {"id": project_id, "name": "", "state": UNREADABLE, "reason": why}


def selected(
    entries: Sequence[dict[str, Any]], *, archived: bool, tags: Sequence[str], states: Sequence[str]
) -> list[dict[str, Any]]:
    """Those with every one of `tags` and one of `states` (none: all); without `archived` none that is put away.

    A state may be written with `-` or `_` for its blank. Raises UsageError for one that there is not."""
    known = [*(state.value for state in ProjectState), UNREADABLE]
    wanted = {state.replace("-", " ").replace("_", " ") for state in states}
    for state in wanted:
        if state not in known:
            names = ", ".join(name.replace(" ", "-") for name in known)
            raise UsageError(f"--state {state}: one of {names}")
    return [
        each
        for each in entries
        if (archived or not each.get("archived"))
        and (not wanted or each["state"] in wanted)
        and set(tags) <= set(each.get("tags", ()))
    ]


def env_rows(project: Project) -> list[dict[str, Any]]:
    """Every variable that a stage would find, by name, with who set it: site, pipeline, project or stage.

    `stage` is set where the value is that of one stage, or where that stage needs one and nobody has set it
    (then `origin` is empty)."""
    definition = project.pipeline.definition
    common: dict[str, tuple[str, str]] = {}
    layers = (("site", project.site_env), ("pipeline", definition.env), ("project", project.env))
    for origin, env in layers:
        common |= {name: (value, origin) for name, value in env.items()}
    rows = [_row(name, value, origin) for name, (value, origin) in common.items()]
    for stage in definition.stages:
        rows += [_row(name, value, "stage", stage.name) for name, value in stage.env.items()]
        wanted = dict.fromkeys((*definition.require_env, *stage.require_env))
        values = {**{name: value for name, (value, _) in common.items()}, **stage.env}
        rows += [_row(name, "", "", stage.name) for name in wanted if not values.get(name)]
    return sorted(rows, key=lambda row: (row["name"], row["stage"]))


def _row(name: str, value: str, origin: str, stage: str = "") -> dict[str, Any]:
    return {"name": name, "value": value, "origin": origin, "stage": stage}


def retention_text(retention: Retention) -> str:
    """A rule in words."""
    succeeded = (
        "all succeeded runs"
        if retention.keep_last is None
        else f"the last {retention.keep_last} succeeded runs of each stage"
    )
    return f"{succeeded}{' and failed ones' if retention.keep_failed else ', no failed ones'}"


def retention_of(project: Project) -> dict[str, Any]:
    """The rule in force, in words, and whose it is."""
    found = rule(project)
    return {
        **found.model_dump(mode="json"),
        "origin": "project" if project.retention is not None else "pipeline",
        "text": retention_text(found),
    }
