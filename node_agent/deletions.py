"""Finishing what deletions of projects left (design 3): the client that deleted may be gone, and objects come late.

A deleted project's document is a tombstone. Everything below its prefix is removed when an agent first sees it, ten
minutes later, since whoever had not heard of it may still have written, and then every day: an upload that was under
way may land whenever it likes. The tombstone itself goes when the store says that it is 30 days old: both times,
of the write and of now, are the store's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import suppress

from winslow.errors import Conflict, NotFound
from winslow.project import Project, Tombstone
from winslow.store import layout
from winslow.store.documents import Documents
from winslow.store.port import ObjectStore

SOON, DAILY = 600.0, 86400.0
KEPT = 30 * 86400.0
"""Seconds that a tombstone stays."""


class Deletions:
    """What this agent has swept. `clock` is monotonic seconds: it spaces sweeps, and decides nothing else."""

    def __init__(
        self, *, store: ObjectStore, documents: Documents, executor: Executor, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._documents = documents
        self._executor = executor
        self._clock = clock
        self._due: dict[
            str, tuple[float, float]
        ] = {}  # by project: when to sweep again, and how long after that

    async def finish(self, documents: Iterable[Project | Tombstone]) -> None:
        """Sweep the deleted projects among them that are due. Raises StoreUnreachable; what is done is done."""
        loop = asyncio.get_running_loop()
        deleted = [each.id for each in documents if isinstance(each, Tombstone)]
        self._due = {each: self._due[each] for each in deleted if each in self._due}
        for project in deleted:
            at, following = self._due.get(project, (0.0, SOON))
            now = self._clock()
            if project not in self._due or at <= now:
                await loop.run_in_executor(self._executor, self._sweep, project)
                self._due[project] = (now + following, DAILY)

    def _sweep(self, project: str) -> None:
        """Nothing is removed but on the word of a tombstone that stands at this moment."""
        try:
            document, etag = self._documents.read(project)
        except NotFound:
            return
        if not isinstance(document, Tombstone):
            return
        self._store.delete_prefix(layout.project(project))
        key = layout.project_document(project)
        with suppress(NotFound, Conflict):  # somebody else was faster
            if self._store.age(key) >= KEPT:
                self._store.delete(key, if_match=etag)
