"""Project documents over a store, each event applied once (`conditional.py` has the rule), and the listing of
everything below `documents/`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from winslow.errors import Conflict, NotFound, StoreUnreachable
from winslow.project import Project, Tombstone, decode, encode
from winslow.store import layout
from winslow.store.activity import ActivityArchive
from winslow.store.conditional import ConditionalWriter, Version
from winslow.store.patience import Patience
from winslow.store.port import ObjectInfo, ObjectStore


class HasId(Protocol):
    """An event: its `id` is random and unique."""

    @property
    def id(self) -> str: ...


E = TypeVar("E", bound=HasId)
Stored = Version[Project | Tombstone]
"""A document and the ETag it has in the store."""


@dataclass(frozen=True)
class Listing:
    """Every document's object by project id, pipeline name and node name; `modified` is the store's own time."""

    projects: dict[str, ObjectInfo]
    pipelines: dict[str, ObjectInfo]
    nodes: dict[str, ObjectInfo]


class _Deleted(NotFound):
    """The document is a tombstone."""


class Documents:
    """The typed face of `documents/projects/`, with `activity` beside it: what happened, for longer than the
    documents tell. Blocking and safe for threads, as the store is."""

    def __init__(self, store: ObjectStore, *, patience: Patience | None = None) -> None:
        self._store = store
        self.activity = ActivityArchive(store)
        self._writer = ConditionalWriter[Project | Tombstone](
            store, patience=patience or Patience(), encode=encode, decode=_decode
        )

    def read(self, project_id: str) -> Stored:
        """The document as it is now; a deleted project's is a Tombstone.

        Raises NotFound naming the project, InvalidInput for an unreadable document, StoreUnreachable.
        """
        try:
            return self._writer.read(layout.project_document(project_id))
        except NotFound as error:
            raise _none(project_id) from error

    def create(self, project: Project) -> str:
        """Write a new project's first document; its ETag.

        `project.recent_events` holds the id of the event that made it: that is how this write is told from
        somebody else's. Raises Conflict when the id is taken (by a tombstone, too), or StoreUnreachable
        when the outcome stayed unknown.
        """
        if not project.recent_events:
            raise ValueError("a new project carries the id of the event that made it")

        def decide(held: Project | Tombstone | None) -> Project:
            if held is not None:
                raise Conflict(f"the project id '{project.id}' is taken", hint="choose another id")
            return project

        made = self._writer.change(
            layout.project_document(project.id),
            project.recent_events[-1].id,
            decide,
            doing=f"creating project '{project.id}'",
            new=True,
        )
        return made.etag

    def update(
        self,
        project_id: str,
        event: E,
        *,
        apply: Callable[[Project, E], Project | Tombstone],
        known: Stored | None = None,
        ready: Callable[[], object] | None = None,
    ) -> Stored:
        """Make `event` take effect once and return the document that holds it.

        `known` is the newest version the caller has read: if it still is the newest, no read is needed, and if
        not, the condition fails and nothing is lost but a request. `ready` is called ahead of every write and may
        wait for what has to be true by then; what it raises comes through, and nothing was written.

        `apply` is pure; it adds the event's id to `recent_events` and one to `revision`, and is called again
        whenever somebody else's write came first. Raises what `apply` raises (then nothing was written),
        NotFound for a missing or deleted project, or StoreUnreachable when the deadline passed and the
        outcome is unknown.
        """

        blocks: list[str] = []

        def decide(held: Project | Tombstone | None) -> Project | Tombstone:
            if held is None:
                raise _none(project_id)
            if isinstance(held, Tombstone):
                raise _Deleted(str(held))
            return apply(held, event)

        def before(held: Project | Tombstone, new: Project | Tombstone) -> None:
            if ready is not None:
                ready()
            if isinstance(new, Project) and (key := self.activity.keep(held)) is not None:
                blocks.append(key)

        try:
            return self._writer.change(
                layout.project_document(project_id),
                event.id,
                decide,
                doing=f"changing project '{project_id}'",
                known=known,
                before=before,
            )
        except _Deleted:
            with suppress(StoreUnreachable):  # a later sweep of the deleted project finds them
                for key in blocks:  # perhaps stored after its files were removed
                    self.activity.remove(key)
            raise

    def listing(self) -> Listing:
        """Every document's key, ETag and order, by one walk of `documents/`. Raises StoreUnreachable."""
        listing = Listing(projects={}, pipelines={}, nodes={})
        for info in self._store.walk(layout.DOCUMENTS):
            if (project := layout.project_of_document(info.key)) is not None:
                listing.projects[project] = info
            elif (pipeline := layout.pipeline_of_document(info.key)) is not None:
                listing.pipelines[pipeline] = info
            elif (node := layout.node_of_document(info.key)) is not None:
                listing.nodes[node] = info
        return listing

    def project_etags(self) -> dict[str, str]:
        """Each project's ETag, tombstones included. Raises StoreUnreachable."""
        return {project: info.etag for project, info in self.listing().projects.items()}


def _decode(data: bytes, key: str) -> Project | Tombstone:
    return decode(data, key=key, project_id=layout.project_of_document(key))


def _none(project_id: str) -> NotFound:
    return NotFound(f"there is no project '{project_id}'", hint="winslow project list shows the projects")
