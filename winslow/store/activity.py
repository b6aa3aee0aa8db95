"""Activity in the store: blocks of a project's records beside its document (`winslow.activity` has the rule)."""

from __future__ import annotations

from collections.abc import Iterator

from winslow import activity
from winslow.activity import Block
from winslow.errors import NotFound
from winslow.project import EventRecord, Project, Tombstone
from winslow.store import layout
from winslow.store.port import ObjectStore

JSON_LINES = "application/x-ndjson"


class ActivityArchive:
    """The blocks of all projects. Blocking and safe for threads, as the store is."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def keep(self, document: Project | Tombstone) -> str | None:
        """Before a document is replaced: store the block that ends with it, and remove the one that is now too
        many; the block's key, None where nothing was to be done. Raises StoreUnreachable."""
        block = activity.full_block(document)
        if block is None or not isinstance(document, Project):
            return None
        key = _key(document.id, block)
        self._store.put(key, activity.encode_block(document, block), content_type=JSON_LINES)
        if block.outlived is not None:
            self._store.delete(_key(document.id, block.outlived))
        return key

    def remove(self, key: str) -> None:
        """Take a block back whose project turned out to be deleted."""
        self._store.delete(key)

    def back(self, document: Project | Tombstone, *, above: int = 0) -> Iterator[EventRecord]:
        """What happened to a project after the revision `above`, newest first: what its document tells, then block
        by block, each read when the last is used up, as far back as blocks are kept.

        Raises StoreUnreachable, InvalidInput for a damaged block.
        """
        told = activity.records(document)
        yield from (record for record in reversed(told) if record.revision > above)
        oldest = min((record.revision for record in told), default=document.revision + 1)
        while isinstance(document, Project) and oldest > above + 1:
            block = activity.block_of(oldest - 1)
            try:
                found = self._read(document.id, block)
            except NotFound:
                return
            yield from (each for each in reversed(found) if above < each.revision < oldest)
            oldest = block.first

    def after(self, document: Project | Tombstone, revision: int) -> list[EventRecord]:
        """What happened since that revision, oldest first. Raises as `back`."""
        return list(self.back(document, above=revision))[::-1]

    def _read(self, project_id: str, block: Block) -> tuple[EventRecord, ...]:
        key = _key(project_id, block)
        return activity.decode_block(self._store.get(key).data, key=key)


def _key(project_id: str, block: Block) -> str:
    return layout.activity_block(project_id, first=block.first, last=block.last)
