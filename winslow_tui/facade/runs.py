"""A person's commands that steer a project's runs (R1410 to R1440): start, queue, answer, pause, abort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from winslow import events
from winslow.errors import Conflict, InvalidInput, NotFound, Refused, UsageError
from winslow.project import Project, Run, RunRequest
from winslow.queueing import blueprint
from winslow.run_diff import AREAS, Area, Files, RunDiff, run_diff
from winslow.store.manifests import read_manifest
from winslow.workspace import Entry
from winslow_tui.facade.changes import Changes
from winslow_tui.facade.link import Link
from winslow_tui.facade.names import check_comment
from winslow_tui.facade.projects import Projects

_MIN_PREFIX = 4  # characters of a request's id that stand for it


class Runs:
    """The runs of the site's projects, over one person's link."""

    def __init__(self, link: Link, projects: Projects) -> None:
        self._link = link
        self._projects = projects

    # -- looking

    def get(self, query: str, run: int) -> tuple[Project, Run]:
        """A run and its project. Raises NotFound."""
        project = self._projects.get(query)
        return project, blueprint(project, run)

    def left(self, project: Project, run: Run) -> Files:
        """What a run left, by its manifests; None where there is none (yet), or it cannot be read, which is said."""
        found: dict[Area, Sequence[Entry] | None] = {}
        for area in AREAS:
            key = getattr(run.manifests, area)
            try:
                found[area] = (
                    read_manifest(self._link.store, key, project=project.id).entries if key else None
                )
            except (NotFound, InvalidInput) as error:
                self._link.say(f"run #{run.n}: {error}")
                found[area] = None
        return found

    def diff(self, query: str, before: int, after: int) -> RunDiff:
        """What run `after` has otherwise than run `before`. Raises NotFound."""
        project = self._projects.get(query)
        runs = [blueprint(project, n) for n in (before, after)]
        return run_diff(runs[0], runs[1], left={run.n: self.left(project, run) for run in runs})

    # -- starting

    def start(self, query: str, *, stage: str | None = None, changes: Changes | None = None) -> Project:
        """Queue a run of `stage`, or of what comes next. A stage that is named asks for no confirmation.

        The project may come back waiting for values or a confirmation (`lifecycle.ProjectState.NEEDS_YOU`)."""
        return self._start(query, stage=stage, changes=changes or Changes())

    def resume(self, query: str, *, stage: str | None = None, changes: Changes | None = None) -> Project:
        """Go on: take a pause back while a stage is active, else queue what comes next, or `stage`."""
        changes = changes or Changes()
        project = self._projects.get(query)
        if project.active and stage is None and changes.none:
            try:
                return self._link.change(project.id, events.Unpaused(**self._link.stamp()))
            except Refused:
                if self._projects.get(project.id).active:
                    raise
        return self._start(project.id, stage=stage, changes=changes)

    def redo(self, query: str, run: int, *, changes: Changes | None = None) -> Project:
        """Queue a run like run number `run`: its stage and environment as they were, then the changes."""
        return self._start(query, blueprint=run, changes=changes or Changes())

    def _start(
        self, query: str, *, changes: Changes, stage: str | None = None, blueprint: int | None = None
    ) -> Project:
        project_id = self._projects.id_of(query)
        event = events.RunQueued(
            stage=stage,
            blueprint=blueprint,
            confirmed=stage is not None or blueprint is not None,
            **self._asked(changes),
            **self._link.stamp(),
        )
        return self._link.change(project_id, event)

    def _asked(self, changes: Changes) -> dict[str, Any]:
        """The fields that `RunQueued` and `Enqueued` share."""
        return {
            "env": self._projects.checked_env(changes.env),
            "site_env": dict(self._link.site_env),
            "image": changes.image,
            "requires": dict(changes.requires),
            "workspace": changes.workspace,
            "advance": "single" if changes.single else "auto",
            "comment": check_comment(changes.comment),
        }

    # -- what comes next

    def enqueue(
        self,
        query: str,
        *,
        stage: str | None = None,
        like: int | None = None,
        changes: Changes | None = None,
        first: bool = False,
    ) -> Project:
        """A run to come after the active one: of `stage`, or like run `like`; `first` before all that wait."""
        project_id = self._projects.id_of(query)
        if (stage is None) == (like is None):
            raise UsageError("name the stage to run (--stage S), or the run to repeat (--like N)")
        event = events.Enqueued(
            stage=stage,
            blueprint=like,
            position=0 if first else None,
            **self._asked(changes or Changes()),
            **self._link.stamp(),
        )
        return self._link.change(project_id, event)

    def move(self, query: str, item: str, position: int) -> tuple[Project, RunRequest]:
        """Put a waiting run at another place, counted from 1; with the run that was moved.

        Raises Conflict where it was started or taken out meanwhile."""
        project = self._projects.get(query)
        request = queued(project, item)
        event = events.QueueMoved(request=request.id, position=position - 1, **self._link.stamp())
        return self._link.change(project.id, event), request

    def dequeue(self, query: str, items: Sequence[str]) -> tuple[Project, list[RunRequest]]:
        """Take waiting runs out; with those that were taken. Each is one write.

        Raises Conflict where one was started or taken out meanwhile: what stands before it in `items` is out."""
        project = self._projects.get(query)
        requests = list(
            {request.id: request for request in (queued(project, item) for item in items)}.values()
        )
        for number, request in enumerate(requests):
            event = events.Dequeued(request=request.id, **self._link.stamp())
            try:
                project = self._link.change(project.id, event)
            except Conflict as error:
                if not number:
                    raise
                raise Conflict(
                    f"{error} ({number} of {len(requests)} were taken out before that)",
                    hint=f"look at it again: winslow queue {project.id}",
                ) from error
        return project, requests

    # -- questions and stops

    def answer(self, query: str, values: Mapping[str, str]) -> Project:
        """The values that the next stage asked for."""
        env = self._projects.checked_env(values, where="answer")
        return self._link.change(self._projects.id_of(query), events.Answered(env=env, **self._link.stamp()))

    def confirm(self, query: str, *, stage: str = "") -> Project:
        """Go on with the stage that asked: `stage`, where the person has seen which, else the one that asks now.
        Raises Conflict where another one asks by now."""
        project = self._projects.get(query)
        asked = project.control.pending
        event = events.Confirmed(stage=stage or (asked.stage if asked else ""), **self._link.stamp())
        return self._link.change(project.id, event)

    def pause(self, query: str, *, note: str = "") -> Project:
        """No next stage after the running one."""
        event = events.Paused(note=check_comment(note), **self._link.stamp())
        return self._link.change(self._projects.id_of(query), event)

    def abort(self, query: str, *, run: int | None = None, now: bool = False) -> Project:
        """Stop what runs or waits; it counts as failed and the pipeline pauses (R1440). `now`: it counts as ended
        at once, whatever its node says."""
        event = events.AbortRequested(n=run, now=now, **self._link.stamp())
        return self._link.change(self._projects.id_of(query), event)


def queued(project: Project, item: str) -> RunRequest:
    """The waiting run a person means: its place from 1, or its id or a unique beginning of it. Raises NotFound."""
    if item.isascii() and item.isdigit() and 1 <= int(item) <= len(project.queue):
        return project.queue[int(item) - 1]
    found = [
        each
        for each in project.queue
        if each.id == item or (len(item) >= _MIN_PREFIX and each.id.startswith(item))
    ]
    if len(found) != 1:
        raise NotFound(
            f"{project.id}: no run '{item}' waits in the queue"
            + (f", which holds {len(project.queue)}" if project.queue else ", which is empty"),
            hint=f"winslow queue {project.id} shows what comes next",
        )
    return found[0]
