"""A project's runs as the list of them shows each, and its plan. Pure."""

from __future__ import annotations

from datetime import datetime

from winslow import terminal_text
from winslow.project import Project, Run
from winslow_tui.program.projectrows import duration
from winslow_tui.program.themes import glyph
from winslow_tui.widgets.table import Cell, Column

COLUMNS = (
    Column("RUN", 3, rank=9),
    Column("STAGE", 7, grow=2, rank=8),
    Column("STATE", 12, grow=2, rank=8),
    Column("NODE", 4, grow=1, rank=3),
    Column("TIME", 5, align="right", rank=5),
)
_WORDS = {"QUEUED": "waiting", "PREPARING": "running", "COLLECTING": "running"}
"""The state of a project that a run's looks like, where it is not the same word."""


def state_told(state: str) -> str:
    """A run's state as every list and page writes it: `✓ succeeded`."""
    return f"{_sign(state)} {state.lower()}"


def cells(run: Run, *, stale: bool, wall: datetime) -> tuple[Cell, ...]:
    """As `COLUMNS`; of a run that failed the reason is said."""
    attempt, state = run.attempt, run.state.value
    words = "stale" if stale else run.reason.value if state == "FAILED" and run.reason else state.lower()
    style = _WORDS.get(state, state.lower())
    return (
        Cell(f"#{run.n}"),
        Cell(terminal_text.line(run.stage.name)),
        Cell(f"{_sign(state)} {words.replace('_', ' ')}", state=style),
        Cell(terminal_text.line(attempt.node) if attempt else "-", dim=attempt is None),
        Cell(_time(run, wall)),
    )


def plan(project: Project) -> str:
    """The stages in their order with the signs of their latest runs."""
    latest = {run.stage.name: run for run in project.runs}
    shown = []
    for stage in project.pipeline.definition.stages:
        run = latest.get(stage.name)
        sign = glyph("new") if run is None else _sign(run.state.value)
        if project.control.next_stage == stage.name and not project.active:
            sign = glyph("paused")
        shown.append(f"{stage.name} {sign}")
    return " → ".join(shown)


def _sign(state: str) -> str:
    return glyph(_WORDS.get(state, state))


def _time(run: Run, wall: datetime) -> str:
    """How long it ran, or waits."""
    attempt = run.attempt
    begin = attempt.started_at if attempt else run.queued_at
    if not begin:
        return ""
    try:
        start = datetime.fromisoformat(begin)
        end = datetime.fromisoformat(attempt.ended_at) if attempt and attempt.ended_at else wall
    except ValueError:
        return ""
    return duration((end - start).total_seconds())
