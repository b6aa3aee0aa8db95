"""Signs of life in the store: this node's own, and those of absent nodes (design 6, Loss).

The broker alone cannot tell a dead node from one whose network is down. So a node with attempts also writes a
counter to the store, and the others read it before they give an attempt to somebody else. The rules are in
`winslow.loss`; here are the reads and writes.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress

from node_agent.clock import Clock
from node_agent.mirror import Mirror
from winslow.errors import Conflict, NotFound, Refused, WinslowError
from winslow.events import Lost
from winslow.loss import Loss, Mark, Watch, held_in, period
from winslow.node import NodeState, Presence
from winslow.project import Project, Tombstone
from winslow.quantities import LostAfter
from winslow.store import layout
from winslow.store.port import ObjectStore

STOP_SECONDS = 3.0
"""How long a clean stop waits for its mark: a store that is away must not keep an agent from ending."""


class Alive:
    """Writes this node's mark: once at the start (an earlier stop is over), and while it holds attempts.

    `held` gives the `lost_after` of each attempt this node has, `say` shows a sentence in the node's presence.
    """

    def __init__(
        self,
        *,
        node: str,
        node_uuid: str,
        instance: str,
        store: ObjectStore,
        executor: Executor,
        held: Callable[[], Sequence[LostAfter]],
        say: Callable[[str], None],
    ) -> None:
        self._key = layout.alive(node)
        self._node_uuid = node_uuid
        self._instance = instance
        self._store = store
        self._executor = executor
        self._held = held
        self._say = say
        self._counter = 0
        self._holding = False
        self._stopped = False
        self._turn = threading.Lock()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """This node has one more attempt."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled. One more attempt is no reason to write within a period."""
        written, tried = False, -math.inf
        loop = asyncio.get_running_loop()
        while True:
            self._woken.clear()
            held = self._held()
            self._holding = bool(held)
            step = period(held)
            if (held or not written) and loop.time() - tried >= step:
                tried = loop.time()
                written = await self._try()
            wait = max(0.0, tried + step - loop.time()) if held or not written else None
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._woken.wait()

    async def stop(self) -> None:
        """Leave "stopped, containers go on", if `run` has seen attempts last. Call it when `run` has ended."""
        self._stopped = True
        if self._holding:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._try(), STOP_SECONDS)

    async def _try(self) -> bool:
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._write)
        except WinslowError as error:
            self._say(str(error))
            return False
        return True

    def _write(self) -> None:
        with self._turn:  # a write that `run` had begun must not land behind the one of `stop`
            self._counter += 1
            mark = Mark(
                node_uuid=self._node_uuid,
                instance=self._instance,
                counter=self._counter,
                stopped=self._stopped,
            )
            self._store.put(self._key, mark.encode(), content_type="application/json")


class Lookout:
    """Reads the marks of absent nodes and writes their attempts' loss. Tell it all presences and documents."""

    def __init__(
        self,
        *,
        node: str,
        store: ObjectStore,
        executor: Executor,
        mirror: Mirror,
        clock: Clock,
        random: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self._node = node
        self._store = store
        self._executor = executor
        self._mirror = mirror
        self._clock = clock
        self._say = say
        self._watch = Watch(node=node, now=clock.monotonic(), random=random)
        self._woken = asyncio.Event()

    def broker(self, connected: bool) -> None:
        """The broker came or went; say True after its retained presences have come in."""
        self._watch.broker(connected, self._clock.monotonic())
        self._woken.set()

    def presence(self, node: str, state: NodeState | None) -> None:
        """A node's retained state came in; None: it was cleared."""
        present = state is not None and state.presence is not Presence.OFFLINE
        self._watch.presence(node, present, self._clock.monotonic())
        self._woken.set()

    def document(self, project_id: str, document: Project | Tombstone | None) -> None:
        """A newer version of a document was read."""
        self._watch.document(project_id, held_in(project_id, document), self._clock.monotonic())
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._woken.clear()
            due = self._watch.due
            wait = None if due is None else max(0.0, due - self._clock.monotonic())
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            for node in self._watch.to_read(self._clock.monotonic()):
                await self._look(node)

    async def _look(self, node: str) -> None:
        try:
            mark = await asyncio.get_running_loop().run_in_executor(self._executor, self._read, node)
        except WinslowError as error:
            self._watch.unread(node, self._clock.monotonic())
            self._say(str(error))
            return
        for loss in self._watch.read(node, mark, self._clock.monotonic()):
            await self._declare(loss)

    def _read(self, node: str) -> Mark | None:
        key = layout.alive(node)
        try:
            return Mark.decode(self._store.get(key).data, key=key)
        except NotFound:
            return None

    async def _declare(self, loss: Loss) -> None:
        held = loss.held
        event = Lost(
            id=self._clock.new_id(),
            at=self._clock.wall(),
            by=self._node,
            n=held.run,
            k=held.attempt,
            claim=held.claim,
            detail=f"node {held.node} gave no sign of life for {loss.silent:.0f} s",
        )
        try:
            await self._mirror.commit(held.project, event)
        except (Conflict, Refused, NotFound):
            self._mirror.hint(held.project, None)  # it has moved on without this agent having heard
        except WinslowError as error:
            self._say(str(error))  # the watch goes on, and comes back to it
