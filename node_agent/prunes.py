"""Finishing prunes (design 8): a client that was cut after it had marked runs left some of their files behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import Executor

from winslow.errors import NotFound, Refused
from winslow.project import Project, Tombstone
from winslow.store.documents import Documents
from winslow.store.port import ObjectStore
from winslow.store.pruning import sweep


class Prunes:
    """What this agent has finished: by project the runs that were pruned then. Once is enough, since what another
    run needs goes only with that run."""

    def __init__(self, *, store: ObjectStore, documents: Documents, executor: Executor) -> None:
        self._store = store
        self._documents = documents
        self._executor = executor
        self._done: dict[str, tuple[int, ...]] = {}

    async def finish(self, documents: Iterable[Project | Tombstone]) -> None:
        """Remove what is left of runs that were pruned since. Raises StoreUnreachable; what is done is done. Raises
        Refused, at the end and once, where a manifest that is kept cannot be read."""
        loop = asyncio.get_running_loop()
        pruned = {each.id: _runs(each) for each in documents if isinstance(each, Project) and each.pruned}
        self._done = {each: runs for each, runs in self._done.items() if each in pruned}
        unknown: Refused | None = None
        for project, runs in pruned.items():
            if self._done.get(project) == runs:
                continue
            try:
                await loop.run_in_executor(self._executor, self._sweep, project)
            except Refused as error:
                unknown = error
            self._done[project] = runs
        if unknown is not None:
            raise unknown

    def _sweep(self, project: str) -> None:
        """Nothing is removed but on the word of the document that stands at this moment."""
        try:
            document = self._documents.read(project).document
        except NotFound:
            return
        if isinstance(document, Project):
            sweep(self._store, document)


def _runs(project: Project) -> tuple[int, ...]:
    return tuple(each.n for each in project.pruned)
