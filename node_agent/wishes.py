"""What people want of nodes, as this agent knows it: its own wish, which it follows, and those of the others, whose
notices it heals on the broker (design 4)."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from node_agent.replica import OnChange, Replica
from winslow.errors import InvalidInput, Refused
from winslow.node_wish import NodeWish, Returned
from winslow.store.wishes import Wishes


class WishMirror(Replica[NodeWish]):
    """Wishes by node; `node` is this agent's own."""

    def __init__(
        self, *, node: str, wishes: Wishes, executor: Executor, on_change: OnChange[NodeWish]
    ) -> None:
        super().__init__(read=wishes.read, executor=executor, on_change=on_change)
        self._node = node
        self._wishes = wishes

    @property
    def own(self) -> NodeWish | None:
        """What is wanted of this node; None while it is not known, or nobody wants anything."""
        return self.get(self._node)

    async def read_own(self) -> None:
        """Read it now; one that cannot be read is as a listing leaves it: remembered as a problem.
        Raises StoreUnreachable."""
        try:
            await self.refresh(self._node)
        except InvalidInput as error:
            self._unreadable[self._node] = ("", error)

    async def come_back(self, *, event_id: str, at: str) -> None:
        """Say that this node is there, if somebody had it forgotten. Raises StoreUnreachable, and as `read_own`."""
        if self.own is None or not self.own.forgotten:
            return
        event = Returned(id=event_id, at=at, by=self._node)
        loop = asyncio.get_running_loop()
        try:
            version = await loop.run_in_executor(self._executor, self._wishes.update, self._node, event)
        except Refused:
            await self.read_own()  # it has been said: by an agent before this one
        else:
            self._put(self._node, version, own=True)
