"""The project documents this agent knows, and the listing that keeps every kind of document fresh (design 3, 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from node_agent.replica import OnChange, Replica
from winslow import lifecycle
from winslow.events import Event
from winslow.project import Project, Tombstone
from winslow.store.documents import Documents, Listing

Document = Project | Tombstone


class Mirror(Replica[Document]):
    """Documents by project id."""

    def __init__(self, *, documents: Documents, executor: Executor, on_change: OnChange[Document]) -> None:
        super().__init__(read=documents.read, executor=executor, on_change=on_change)
        self._documents = documents

    async def sweep(self) -> Listing:
        """List all documents, read the projects that differ from what is known, and return what was listed.
        Raises StoreUnreachable."""
        loop = asyncio.get_running_loop()
        listing = await loop.run_in_executor(self._executor, self._documents.listing)
        await self.compare(listing.projects)
        return listing

    async def commit(
        self, project_id: str, event: Event, *, ready: Callable[[], object] | None = None
    ) -> Document:
        """Apply an event by conditional PUT and remember the result. `ready` is called in a thread before anything
        is sent.

        Raises what `lifecycle.apply` raises, NotFound, or StoreUnreachable when the outcome is unknown.
        """
        loop = asyncio.get_running_loop()
        known = self._known.get(project_id)
        version = await loop.run_in_executor(
            self._executor,
            lambda: self._documents.update(
                project_id, event, apply=lifecycle.apply, known=known, ready=ready
            ),
        )
        self._put(project_id, version, own=True)
        return version.document
