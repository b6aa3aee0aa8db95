"""Documents of one kind as this agent knows them, fresh by hints, by its own writes and by listings (design 3, 4).

A hint only says that a document should be read; what is true stands in the store. Reads of one
document are coalesced: however many hints arrive, at most one read runs and one more waits, and none
is made for a revision that is known by then.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Generic, Protocol, TypeVar

from winslow.errors import InvalidInput, NotFound, WinslowError
from winslow.store.conditional import Revised, Version
from winslow.store.port import ObjectInfo

LATER = 0.3
"""Seconds that a hint which is in no hurry waits for the next one. An attempt's life is four revisions in quick
succession; below the second after which the next in rank claims what it believes to be still on offer."""

D = TypeVar("D", bound=Revised)
D_contra = TypeVar("D_contra", contravariant=True)


class OnChange(Protocol[D_contra]):
    """Called in the loop, once per newer revision. `new` is None where a read said that the document does not
    exist; `own` is True where this agent wrote it, and so has to tell the others."""

    def __call__(self, name: str, old: D_contra | None, new: D_contra | None, /, *, own: bool) -> None: ...


class Replica(Generic[D]):
    """Documents by name. `read(name)` blocks; it raises NotFound, InvalidInput or StoreUnreachable."""

    def __init__(
        self, *, read: Callable[[str], Version[D]], executor: Executor, on_change: OnChange[D]
    ) -> None:
        self._fetch = read
        self._executor = executor
        self._on_change = on_change
        self._known: dict[str, Version[D]] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._again: dict[str, float] = {}  # the revision to read for; infinite where it was not told
        self._later: dict[str, tuple[asyncio.TimerHandle, float]] = {}  # and the revision to read for then
        self._unreadable: dict[str, tuple[str, InvalidInput]] = {}  # by name: its ETag and what is wrong

    def get(self, name: str) -> D | None:
        """The newest version known here."""
        entry = self._known.get(name)
        return entry.document if entry else None

    def all(self) -> list[D]:
        """Every document known here."""
        return [version.document for version in self._known.values()]

    def unreadable(self, name: str) -> InvalidInput | None:
        """Why a document cannot be read, where that is so: a newer program wrote it, or it is damaged."""
        found = self._unreadable.get(name)
        return found[1] if found else None

    @property
    def problem(self) -> str:
        """A sentence where a document cannot be read; empty where all is well."""
        return next((str(error) for _, error in self._unreadable.values()), "")

    def hint(self, name: str, revision: int | None, *, hurry: bool = True) -> None:
        """Somebody says there is a newer version; None where the revision is not told. Without `hurry` it is read
        within LATER."""
        wanted = math.inf if revision is None else revision
        if self._has(name, wanted):
            return
        if hurry:
            self._schedule(name, wanted)
        elif name in self._later:
            timer, before = self._later[name]
            self._later[name] = timer, max(before, wanted)
        else:
            timer = asyncio.get_running_loop().call_later(LATER, self._on_time, name)
            self._later[name] = timer, wanted

    def _has(self, name: str, revision: float) -> bool:
        known = self.get(name)
        return known is not None and known.revision >= revision

    def _on_time(self, name: str) -> None:
        _, wanted = self._later.pop(name)
        if not self._has(name, wanted):
            self._schedule(name, wanted)

    def _schedule(self, name: str, revision: float) -> None:
        if name in self._reading:
            self._again[name] = max(revision, self._again.get(name, 0))
            return
        task = asyncio.get_running_loop().create_task(self._read(name), name=f"read {name}")
        self._reading[name] = task

    async def _read(self, name: str) -> None:
        try:
            await self.refresh(name)
        except WinslowError:
            pass  # the next listing reads it, and the agent shows what is wrong in its presence
        finally:
            self._reading.pop(name, None)
            again = self._again.pop(name, None)
            if again is not None and not self._has(name, again):
                self._schedule(name, again)

    async def refresh(self, name: str) -> D | None:
        """Read one document now. Raises InvalidInput, StoreUnreachable."""
        loop = asyncio.get_running_loop()
        try:
            version = await loop.run_in_executor(self._executor, self._fetch, name)
        except NotFound:
            self._unreadable.pop(name, None)
            self._put(name, None)
            return None
        self._unreadable.pop(name, None)
        self._put(name, version)
        return version.document

    async def compare(self, listed: Mapping[str, ObjectInfo]) -> None:
        """Compare a listing with what is known and read what differs; what cannot be read is remembered and does
        not keep the others from being read. Raises StoreUnreachable."""
        changed = [
            name
            for name, info in listed.items()
            if name not in self._known or self._known[name].etag != info.etag
        ]
        gone = [
            each for each in self._known if each not in listed
        ]  # absence in a listing proves nothing: read
        for name in changed + gone:
            etag = listed[name].etag if name in listed else ""
            if etag and name in self._unreadable and self._unreadable[name][0] == etag:
                continue
            try:
                await self.refresh(name)
            except InvalidInput as error:
                self._unreadable[name] = (etag, error)

    def _put(self, name: str, version: Version[D] | None, *, own: bool = False) -> None:
        old = self.get(name)
        if version is None:
            if old is not None:
                del self._known[name]
                self._on_change(name, old, None, own=False)
            return
        if old is not None and old.revision >= version.document.revision:
            return
        self._known[name] = version
        self._on_change(name, old, version.document, own=own)

    async def close(self) -> None:
        """Stop reading."""
        for timer, _ in self._later.values():
            timer.cancel()
        tasks = list(self._reading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
