"""Manifests as the store has them."""

from __future__ import annotations

from collections.abc import Sequence

from winslow.store.pool import in_parallel
from winslow.store.port import ObjectStore
from winslow.workspace import Manifest, decode

READERS = 8


def read_manifest(store: ObjectStore, key: str, *, project: str) -> Manifest:
    """Raises NotFound, InvalidInput naming the key, StoreUnreachable."""
    return decode(store.get(key).data, key=key, project=project)


def read_manifests(store: ObjectStore, keys: Sequence[str], *, project: str) -> list[Manifest]:
    """As `read_manifest`, several at a time, in the order given."""
    return in_parallel(
        READERS,
        "manifests",
        lambda number: read_manifest(store, keys[number], project=project),
        range(len(keys)),
    )
