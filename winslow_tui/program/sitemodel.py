"""What this program knows of the site at the moment, in the order the screens show it. Used by one thread.

`apply` takes news and says what changed; nothing here waits or draws.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from broker import messages
from winslow.metrics import NodeHistory, NodeSample
from winslow.node import NodeState
from winslow_tui.program.projectrows import ProjectRow
from winslow_tui.program.sitewatch import News, Server

_MANY = 200
"""From so many changed projects on, sorting all is cheaper than moving each."""


@dataclass
class Changes:
    """What `apply` changed: keys, and whether rows moved."""

    projects: set[str] = field(default_factory=set)
    moved: bool = False
    nodes: set[str] = field(default_factory=set)
    pipelines: set[str] = field(default_factory=set)
    servers: bool = False
    turned: set[str] = field(default_factory=set)  # projects whose state became another one


class SiteModel:
    """Projects by urgency, nodes by name. `clock` is monotonic seconds."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._order: list[tuple[int, float, str]] = []
        self._begun = clock()
        self.projects: dict[str, ProjectRow] = {}
        self.fields: dict[str, dict[str, tuple[str, ...]]] = {}
        """What a filter looks at, by project: made as each comes, since it wants those of thousands at every key."""
        self.counts: Counter[str] = Counter()  # projects by state
        self.nodes: dict[str, NodeState] = {}
        self.samples: dict[str, NodeSample] = {}
        self.sampled: dict[str, float] = {}
        self.histories: dict[str, NodeHistory] = {}
        self.progress: dict[tuple[str, int, int], messages.Progress] = {}
        self.pipelines: dict[str, messages.PipelineNotice] = {}
        self.broker = Server()
        self.store = Server()
        self.heard = clock()  # when news came last

    @property
    def order(self) -> list[str]:
        """Every project's id, the most urgent first."""
        return [key[2] for key in self._order]

    def apply(self, news: News) -> Changes:
        """Take what is new over."""
        changes = Changes(servers=bool(news.broker or news.store))
        self.heard = self._clock()
        self.broker, self.store = news.broker or self.broker, news.store or self.store
        for where, told in news.progress.items():
            if told is None:
                self.progress.pop(where, None)
            else:
                self.progress[where] = told
            if where[0] in self.projects and where[0] not in news.projects:
                row = self.projects[where[0]]
                self.projects[where[0]] = ProjectRow(row.summary, self._progress_of(row.summary), row.heard)
                changes.projects.add(where[0])
        many = len(news.projects) >= _MANY
        for project, summary in news.projects.items():
            before = self.projects.get(project)
            if before is not None and summary is not None and before.summary.state != summary.state:
                changes.turned.add(project)
            changes.moved |= self._project(project, summary, move=not many)
            changes.projects.add(project)
        if many:
            self._order = sorted(row.urgency for row in self.projects.values())
            changes.moved = True
        for node, state in news.nodes.items():
            if state is None:
                for known in (self.nodes, self.samples, self.sampled, self.histories):
                    known.pop(node, None)
            else:
                self.nodes[node] = state
        for node, sample in news.samples.items():
            self.samples[node], self.sampled[node] = sample, self._clock()
        self.histories |= news.histories
        changes.nodes = {*news.nodes, *news.samples, *news.histories}
        for name, notice in news.pipelines.items():
            if notice is None:
                self.pipelines.pop(name, None)
            else:
                self.pipelines[name] = notice
        changes.pipelines = set(news.pipelines)
        return changes

    def _project(self, project: str, summary: messages.ProjectSummary | None, *, move: bool) -> bool:
        """One project's row; whether the order changed."""
        old = self.projects.pop(project, None)
        self.fields.pop(project, None)
        if old is not None and move:
            place = bisect_left(self._order, old.urgency)
            if place < len(self._order) and self._order[place] == old.urgency:
                del self._order[place]
        if old is not None:
            self.counts[old.state] -= 1
        if summary is None:
            return old is not None
        heard = old.heard if old else None
        if old is not None and old.summary.state != summary.state:
            heard = self._clock()
        row = self.projects[project] = ProjectRow(summary, self._progress_of(summary), heard)
        self.counts[row.state] += 1
        self.fields[project] = row.fields()
        if move:
            insort(self._order, row.urgency)
        return old is None or old.urgency != row.urgency

    def _progress_of(self, summary: messages.ProjectSummary) -> messages.Progress | None:
        for run in summary.active:
            if (told := self.progress.get((summary.id, run.n, run.k))) is not None:
                return told
        return None
