"""The store's objects that runs start with, as this node knows them: a price needs them before a claim does, and
again for every run of a project.

Manifests are kept, since they never change. Listings and sizes may change at any time, so each caller says how
old an answer may be. Everything here blocks on the store; safe for threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from winslow import workspace
from winslow.errors import NotFound
from winslow.project import Project
from winslow.store.documents import Documents
from winslow.store.port import ObjectInfo, ObjectStore
from winslow.workspace import Manifest

MOST_ANSWERS = 256
MOST_LISTED = 1_000  # objects of a listing that is kept
MOST_ENTRIES = 20_000  # of all manifests that are kept


class Sources:
    """One per agent. `monotonic` is seconds; ages are in seconds, 0: asked now."""

    def __init__(self, store: ObjectStore, *, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._documents = Documents(store)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._manifests: OrderedDict[str, Manifest] = OrderedDict()
        self._entries = 0
        self._answers: OrderedDict[tuple[str, str], tuple[float, tuple[ObjectInfo, ...]]] = OrderedDict()

    def project(self, project_id: str) -> Project:
        """Another project. Raises NotFound where there is none, or none any more."""
        other = self._documents.read(project_id).document
        if not isinstance(other, Project):
            raise NotFound(f"project '{project_id}' was deleted")
        return other

    def manifest(self, key: str, *, project: str) -> Manifest:
        """Raises NotFound, InvalidInput for one that cannot be read, StoreUnreachable."""
        with self._lock:
            known = self._manifests.get(key)
            if known is not None:
                self._manifests.move_to_end(key)
                return known
        read = workspace.decode(self._store.get(key).data, key=key, project=project)
        self.keep(key, read)
        return read

    def keep(self, key: str, manifest: Manifest) -> None:
        """One that this node has read or written."""
        with self._lock:
            if key in self._manifests:
                return
            self._manifests[key] = manifest
            self._entries += _weight(manifest)
            while self._entries > MOST_ENTRIES:
                _, dropped = self._manifests.popitem(last=False)
                self._entries -= _weight(dropped)

    def stat(self, key: str, *, age: float) -> ObjectInfo:
        """Raises NotFound, StoreUnreachable."""
        return self._answer("stat", key, age, lambda: (self._store.stat(key),))[0]

    def below(self, prefix: str, *, age: float) -> tuple[ObjectInfo, ...]:
        """Every object below a prefix. Raises StoreUnreachable."""
        return self._answer("walk", prefix, age, lambda: tuple(self._store.walk(prefix)))

    def _answer(
        self, call: str, key: str, age: float, ask: Callable[[], tuple[ObjectInfo, ...]]
    ) -> tuple[ObjectInfo, ...]:
        now = self._monotonic()
        with self._lock:
            at, known = self._answers.get((call, key), (None, ()))
        if at is not None and now - at < age:
            return known
        found = ask()
        with self._lock:
            self._answers.pop((call, key), None)
            if len(found) <= MOST_LISTED:
                self._answers[call, key] = (now, found)
            while len(self._answers) > MOST_ANSWERS:
                self._answers.popitem(last=False)
        return found


def _weight(manifest: Manifest) -> int:
    return 1 + len(manifest.entries)
