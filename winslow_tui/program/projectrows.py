"""Projects as the list of them shows each: one row from its summary and the progress of its runs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from broker.messages import ActiveSummary, Phase, Progress, ProjectSummary
from winslow import terminal_text
from winslow.project import PauseReason, RunState
from winslow_tui.program.themes import glyph, style_of
from winslow_tui.widgets.table import Cell, Column

COLUMNS = (
    Column("PROJECT", 18, grow=3, rank=9),
    Column("STATE", 11, rank=8),
    Column("STAGE", 11, grow=1, rank=6),
    Column("NODE", 5, grow=1, rank=4),
    Column("PROGRESS", 16, grow=6, rank=7),
    Column("FOR", 6, align="right", rank=5),
    Column("TAGS", 10, grow=2, rank=1),
)
FIELDS = ("tag", "state", "node", "author", "stage", "name")
_URGENCY = ("needs you", "failed", "waiting", "running", "paused", "new", "succeeded")
ARCHIVED = "archived"
BAR = 10
PHASES: Mapping[str, str] = {
    Phase.PULL: "fetches its image",
    Phase.FETCH: "fetches files",
    Phase.RUN: "running",
    Phase.COLLECT: "stores results",
}
_PAUSES = {PauseReason.SINGLE.value: "after one stage", PauseReason.USER.value: "by a person"}
_RUN = re.compile(r"^run #\d+ \([^)]*\): ")  # what the columns beside it say already


@dataclass(frozen=True)
class ProjectRow:
    """A project with what is known of its runs' progress. `heard` is the monotonic time of the last change of its
    state as far as this program saw it, None where it was so from the beginning."""

    summary: ProjectSummary
    progress: Progress | None = None
    heard: float | None = None

    @cached_property
    def active(self) -> ActiveSummary | None:
        """The run a row tells of: one that a node has, else one that waits."""
        runs = self.summary.active
        return next((run for run in runs if run.state is not RunState.QUEUED), runs[0] if runs else None)

    @property
    def state(self) -> str:
        """The project's state, `ARCHIVED` whatever that is where it was put away."""
        return ARCHIVED if self.summary.archived else self.summary.state

    @property
    def stage(self) -> str:
        """What runs, or would be next."""
        return self.active.stage if self.active else self.summary.next_stage or ""

    @property
    def position(self) -> str:
        """The stage and which of the pipeline's it is: `2/4 track`."""
        stage, stages = self.stage, self.summary.stages
        return f"{stages.index(stage) + 1}/{len(stages)} {stage}" if stage in stages else stage

    @property
    def node(self) -> str:
        """Where it runs; empty for nowhere."""
        return self.active.node if self.active else ""

    @property
    def why(self) -> str:
        """What it waits for, or why it failed, in a few words."""
        summary = self.summary
        if summary.state == "needs you" and summary.needs:
            return f"set {', '.join(summary.needs)}"
        if summary.state == "needs you" and summary.next_stage:
            return f"confirm {summary.next_stage}"
        words = _PAUSES.get(summary.reason) or _RUN.sub("", summary.reason, count=1)
        return words or ("for a node" if summary.state == "waiting" else "")

    @property
    def percent(self) -> float | None:
        """How far the run is that the row tells of."""
        if self.progress is not None and self.progress.percent is not None:
            return self.progress.percent
        return self.active.percent if self.active else None

    def fields(self) -> dict[str, tuple[str, ...]]:
        """What a filter looks at."""
        run = self.active
        return {
            "name": (self.summary.name, self.summary.id),
            "tag": self.summary.tags,
            "state": (self.state,),
            "node": (run.node,) if run and run.node else (),
            "stage": (run.stage,) if run else (),
            "author": (self.summary.author,),
        }

    @cached_property
    def urgency(self) -> tuple[int, float, str]:
        """The order of the list: what needs a person first, then what changed last."""
        state = self.state
        place = _URGENCY.index(state) if state in _URGENCY else len(_URGENCY)
        changed = _time(self.summary.updated)
        return place, -changed.timestamp() if changed else 0.0, self.summary.id

    def cells(self, *, now: float, wall: datetime) -> tuple[Cell, ...]:
        """As `COLUMNS`. `now` is monotonic, `wall` only for ages."""
        summary, run = self.summary, self.active
        told = f"{glyph(self.state)} {terminal_text.line(self.state)}"
        state = Cell(told, state=style_of(self.state))
        age = now - self.heard if self.heard is not None else _age(summary.updated, wall)
        return (
            Cell(terminal_text.line(summary.id)),
            state,
            Cell(terminal_text.line(self.position), dim=run is None),
            Cell(terminal_text.line(self.node) or "-", dim=not self.node),
            self._progress(run),
            Cell(duration(age) if age is not None else ""),
            Cell(terminal_text.line(" ".join(summary.tags)), dim=True),
        )

    def _progress(self, run: ActiveSummary | None) -> Cell:
        if run is None or run.state is RunState.QUEUED:
            return Cell(terminal_text.line(self.why), dim=True)
        percent = self.percent
        if percent is None:
            return Cell(PHASES[self.progress.phase] if self.progress else run.state.value.lower(), dim=True)
        return Cell(bar(percent), state=style_of("running"))


def bar(percent: float, width: int = BAR) -> str:
    """`████████░░  81%`."""
    filled = round(max(0.0, min(percent, 100.0)) / 100 * width)
    return f"{'█' * filled}{'░' * (width - filled)} {percent:3.0f}%"


def duration(seconds: float) -> str:
    """`0h04`, `27h12`, `19d03h`, `240d`: hours and minutes, from ten days on days and hours, then days."""
    minutes = max(0, int(seconds)) // 60
    hours, days = minutes // 60, minutes // 1440
    if days >= 100:
        return f"{days}d"
    return f"{days}d{hours % 24:02}h" if days >= 10 else f"{hours}h{minutes % 60:02}"


def _age(updated: str, wall: datetime) -> float | None:
    then = _time(updated)
    return (wall - then).total_seconds() if then else None


def _time(text: str) -> datetime | None:
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return None
    return then if then.tzinfo else then.replace(tzinfo=UTC)
