"""A person's commands on which runs keep their files: pin, unpin, prune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from winslow import events, retention
from winslow.errors import Unreachable
from winslow.lineage import latest_success
from winslow.project import Project
from winslow.store.pruning import Leftover, leftovers, sweep
from winslow_tui.facade.link import Link
from winslow_tui.facade.projects import Projects


@dataclass(frozen=True)
class PrunePlan:
    """What a prune would remove, run by run, and why the other runs keep theirs.

    `next_without`: runs among them that a stage to come would have taken over."""

    project: Project
    leftovers: tuple[Leftover, ...]
    stays: dict[int, str]
    next_without: tuple[int, ...] = ()

    @property
    def runs(self) -> tuple[int, ...]:
        """The runs that lose their files."""
        return tuple(each.run for each in self.leftovers)

    @property
    def bytes(self) -> int:
        """What goes in all."""
        return sum(info.size for each in self.leftovers for info in each.unneeded)


class Pruning:
    """Which runs keep their files, over one person's link."""

    def __init__(self, link: Link, projects: Projects) -> None:
        self._link = link
        self._projects = projects

    def pin(self, query: str, runs: Sequence[int]) -> Project:
        """Let these runs keep their files, whatever the rule says. Raises NotFound, Refused."""
        event = events.PinsChanged(add=tuple(runs), **self._link.stamp())
        return self._link.change(self._projects.id_of(query), event)

    def unpin(self, query: str, runs: Sequence[int]) -> Project:
        """Let the rule decide again."""
        event = events.PinsChanged(remove=tuple(runs), **self._link.stamp())
        return self._link.change(self._projects.id_of(query), event)

    def plan(self, query: str, runs: Sequence[int] = ()) -> PrunePlan:
        """What pruning these runs would do, or without any those that the project's rule lets go; nothing changes.

        Raises NotFound, and Refused for a run that something needs."""
        project = self._projects.get(query)
        if runs:  # what the event would be refused for is said now
            retention.prune(project, events.FilesPruned(id="plan", runs=tuple(runs)))
        gone = {each.n for each in project.pruned}
        wanted = sorted(set(runs) - gone) if runs else list(retention.prunable(project))
        latest = [latest_success(project, stage.name) for stage in project.pipeline.definition.stages[:-1]]
        return PrunePlan(
            project=project,
            leftovers=tuple(leftovers(self._link.store, project, wanted)),
            stays={n: why for n, why in retention.stays(project).items() if n not in wanted},
            next_without=tuple(run.n for run in latest if run is not None and run.n in wanted),
        )

    def prune(self, plan: PrunePlan) -> int:
        """Remove what a plan says, and what an earlier prune left; how many bytes that were.

        The document says first that the runs have no files: the agents finish what is cut after that. Raises
        Refused where something needs one of the runs by now, or StoreUnreachable where nothing is known."""
        project = plan.project
        if plan.runs:
            event = events.FilesPruned(runs=plan.runs, **self._link.stamp())
            project = self._link.change(project.id, event)
        try:
            return sweep(self._link.store, project)
        except Unreachable as error:
            self._link.say(
                f"the runs are marked, not yet all their files are gone: {error}; the agents go on with that"
            )
            return 0
