"""What people want of nodes, in the store: `documents/nodes/<name>.json` (`winslow.node_wish` has the rules)."""

from __future__ import annotations

from winslow import node_wish
from winslow.errors import NotFound
from winslow.node_wish import Event, NodeWish
from winslow.store import layout
from winslow.store.conditional import ConditionalWriter, Version
from winslow.store.patience import Patience
from winslow.store.port import ObjectStore


class Wishes:
    """Wishes by node. Blocking and safe for threads, as the store is."""

    def __init__(self, store: ObjectStore, *, patience: Patience | None = None) -> None:
        self._writer = ConditionalWriter[NodeWish](
            store, patience=patience or Patience(), encode=node_wish.encode, decode=_decode
        )

    def read(self, node: str) -> Version[NodeWish]:
        """The wish as it is now.

        Raises NotFound where nobody ever had one, InvalidInput for a bad name or an unreadable document,
        StoreUnreachable.
        """
        try:
            return self._writer.read(layout.node_document(node))
        except NotFound as error:
            raise NotFound(f"nobody wants anything of node '{node}'") from error

    def update(self, node: str, event: Event) -> Version[NodeWish]:
        """Make `event` take effect once and return the document that holds it.

        Raises what `node_wish.apply` raises (then nothing was written), or StoreUnreachable when the deadline
        passed and the outcome is unknown.
        """
        return self._writer.change(
            layout.node_document(node),
            event.id,
            lambda held: node_wish.apply(held, event, node=node),
            doing=f"changing what is wanted of node '{node}'",
        )


def _decode(data: bytes, key: str) -> NodeWish:
    return node_wish.decode(data, key=key, node=layout.node_of_document(key))
