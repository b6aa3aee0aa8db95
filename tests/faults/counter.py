"""The simplest event there is: it adds one, and leaves its id where nothing ever pushes it out."""

from __future__ import annotations

import random
from dataclasses import dataclass

from winslow.pipeline import PipelineDefinition, StageDefinition
from winslow.project import RECENT_EVENTS, EventRecord, Project, ProjectPipeline, Tombstone
from winslow.store.documents import Documents
from winslow.store.patience import Patience

PIPELINE = PipelineDefinition(name="counting", stages=(StageDefinition(name="count", image="none"),))


@dataclass(frozen=True)
class Added:
    """Add one to `priority` and the id to `tags`."""

    id: str


def add(project: Project, event: Added) -> Project:
    """The document with `event`. Applying one twice shows as a doubled tag."""
    return project.model_copy(
        update={
            "priority": project.priority + 1,
            "tags": (*project.tags, event.id),
            "revision": project.revision + 1,
            "recent_events": (
                *project.recent_events,
                EventRecord(id=event.id, revision=project.revision + 1),
            )[-RECENT_EVENTS:],
        }
    )


def new_project(project_id: str = "count-abcd", *, event_id: str = "made") -> Project:
    return Project(
        id=project_id,
        revision=1,
        name="Counting",
        recent_events=(EventRecord(id=event_id, revision=1),),
        pipeline=ProjectPipeline(definition=PIPELINE, source_revision=1),
    )


def event_ids(document: Project | Tombstone) -> tuple[str, ...]:
    """The ids of the events a document remembers."""
    if isinstance(document, Tombstone):
        return document.recent_events
    return tuple(each.id for each in document.recent_events)


def added_to(documents: Documents, project_id: str) -> tuple[str, ...]:
    """The ids in the document, having checked that the count agrees with them."""
    document = documents.read(project_id).document
    assert isinstance(document, Project)
    assert document.priority == len(document.tags) == document.revision - 1
    return document.tags


class VirtualTime:
    """A clock that only `sleep` moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def patience(self, rng: random.Random, *, deadline: float) -> Patience:
        return Patience(deadline=deadline, clock=lambda: self.now, sleep=self.sleep, rng=rng)
