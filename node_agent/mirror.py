"""The project documents this agent knows, fresh by hints, by its own writes and by listings (design 3, 4).

A hint only says that a document should be read; what is true stands in the store. Reads of one
document are coalesced: however many hints arrive, at most one read runs and one more waits.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Protocol

from winslow import lifecycle
from winslow.errors import InvalidInput, NotFound, WinslowError
from winslow.events import Event
from winslow.project import Project, Tombstone
from winslow.store.documents import Documents, Stored

Document = Project | Tombstone


class OnChange(Protocol):
    """Called in the loop, once per newer revision. `new` is None where a read said that the document does not
    exist; `own` is True where this agent wrote it, and so has to tell the others."""

    def __call__(self, project_id: str, old: Document | None, new: Document | None, *, own: bool) -> None: ...


class Mirror:
    """Documents by project id."""

    def __init__(self, *, documents: Documents, executor: Executor, on_change: OnChange) -> None:
        self._documents = documents
        self._executor = executor
        self._on_change = on_change
        self._known: dict[str, tuple[Document, str]] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._unreadable: dict[str, tuple[str, InvalidInput]] = {}  # by project: its ETag and what is wrong

    def get(self, project_id: str) -> Document | None:
        """The newest version known here."""
        entry = self._known.get(project_id)
        return entry[0] if entry else None

    def all(self) -> list[Document]:
        """Every document known here."""
        return [document for document, _ in self._known.values()]

    def unreadable(self, project_id: str) -> InvalidInput | None:
        """Why a document cannot be read, where that is so: a newer program wrote it, or it is damaged."""
        found = self._unreadable.get(project_id)
        return found[1] if found else None

    @property
    def problem(self) -> str:
        """A sentence where a document cannot be read; empty where all is well."""
        return next((str(error) for _, error in self._unreadable.values()), "")

    def hint(self, project_id: str, revision: int | None) -> None:
        """Somebody says there is a newer version; None where the revision is not told."""
        known = self.get(project_id)
        if revision is not None and known is not None and known.revision >= revision:
            return
        self._schedule(project_id)

    def _schedule(self, project_id: str) -> None:
        if project_id in self._reading:
            self._again.add(project_id)
            return
        task = asyncio.get_running_loop().create_task(self._read(project_id), name=f"read {project_id}")
        self._reading[project_id] = task

    async def _read(self, project_id: str) -> None:
        try:
            await self.refresh(project_id)
        except WinslowError:
            pass  # the next listing reads it, and the agent shows what is wrong in its presence
        finally:
            self._reading.pop(project_id, None)
            if project_id in self._again:
                self._again.discard(project_id)
                self._schedule(project_id)

    async def refresh(self, project_id: str) -> Document | None:
        """Read one document now. Raises StoreUnreachable."""
        loop = asyncio.get_running_loop()
        try:
            document, etag = await loop.run_in_executor(self._executor, self._documents.read, project_id)
        except NotFound:
            self._put(project_id, None, "")
            return None
        self._unreadable.pop(project_id, None)
        self._put(project_id, document, etag)
        return document

    async def sweep(self) -> None:
        """Compare a listing with what is known and read what differs; what cannot be read is remembered and does
        not keep the others from being read. Raises StoreUnreachable."""
        loop = asyncio.get_running_loop()
        listed = await loop.run_in_executor(self._executor, self._documents.project_etags)
        changed = [
            each for each, etag in listed.items() if each not in self._known or self._known[each][1] != etag
        ]
        gone = [
            each for each in self._known if each not in listed
        ]  # absence in a listing proves nothing: read
        for project_id in changed + gone:
            etag = listed.get(project_id, "")
            if etag and project_id in self._unreadable and self._unreadable[project_id][0] == etag:
                continue
            try:
                await self.refresh(project_id)
            except InvalidInput as error:
                self._unreadable[project_id] = (etag, error)

    async def commit(self, project_id: str, event: Event) -> Document:
        """Apply an event by conditional PUT and remember the result.

        Raises what `lifecycle.apply` raises, NotFound, or StoreUnreachable when the outcome is unknown.
        """
        loop = asyncio.get_running_loop()
        entry = self._known.get(project_id)
        known = Stored(*entry) if entry else None
        document, etag = await loop.run_in_executor(
            self._executor,
            lambda: self._documents.update(project_id, event, apply=lifecycle.apply, known=known),
        )
        self._put(project_id, document, etag, own=True)
        return document

    def _put(self, project_id: str, document: Document | None, etag: str, *, own: bool = False) -> None:
        old = self.get(project_id)
        if document is None:
            if old is not None:
                del self._known[project_id]
                self._on_change(project_id, old, None, own=False)
            return
        if old is not None and old.revision >= document.revision:
            return
        self._known[project_id] = (document, etag)
        self._on_change(project_id, old, document, own=own)

    async def close(self) -> None:
        """Stop reading."""
        tasks = list(self._reading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
