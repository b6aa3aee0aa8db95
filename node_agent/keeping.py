"""An attempt that was given up for lost while its container is still here: kept until the run is somebody's (design 6).

    held number lost -> kept -> next number claimed, by a journalled intent and the conditional write
                                -> what the old number stored is deleted -> journal under the new number

The container, its labels and its directories stay what they were; the journal says so (`AttemptJournal.origin`).
An agent killed at any of these arrows finds in journal and document which ones are done, and does the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from node_agent.held import Held
from node_agent.journal import AttemptJournal, Step
from node_agent.standing import Holding, Standing
from winslow.errors import Conflict, InvalidInput, NotFound, Refused
from winslow.events import Claimed
from winslow.project import BidRecord
from winslow.store import layout


class Keeping:
    """For one attempt. `rests` is called when it becomes known that its container can go on."""

    def __init__(self, held: Held, *, rests: Callable[[], None]) -> None:
        self._held = held
        self._rests = rests
        self._turn = asyncio.Lock()
        self._resting = False

    @property
    def holding(self) -> Holding:
        """Whether the node may bid for the next number with what is here."""
        if self._held.standing is not Standing.LOST:
            return Holding.NO
        return Holding.YES if self._resting else Holding.PERHAPS

    async def rest(self) -> AttemptJournal | None:
        """Wait until the run is somebody's: the journal under this node's new number, or None to give way."""
        held = self._held
        await held.stored_run()  # who was told that it is superseded does not know by whom
        if held.standing is Standing.LOST and await self._can_go_on():
            self._resting = True
            self._rests()
            while held.standing is Standing.LOST:
                held.moved.clear()
                await held.moved.wait()
            self._resting = False
        async with self._turn:  # a claim under way writes the journal
            if held.standing is not Standing.WON:
                return None
            return await self._renumbered()

    async def claim(self, attempt: int, bids: Sequence[BidRecord]) -> bool:
        """Ask for the next number; True: it is this node's, and `rest` returns. Raises OSError where no journal can
        be written; then nothing was asked for."""
        held, tools = self._held, self._held.tools
        async with self._turn:
            if not self._resting:
                return False
            old = held.journal
            wanting = old.wanting(attempt, tools.clock.new_id())
            await held.write(wanting)
            held.journal = wanting
            event = Claimed(
                id=tools.clock.new_id(),
                at=tools.clock.wall(),
                by=tools.node,
                n=old.run,
                k=attempt,
                claim=wanting.wanted.claim if wanting.wanted else "",
                node=tools.node,
                node_uuid=tools.node_uuid,
                bids=tuple(bids),
                adopts=old.attempt,
            )
            try:
                await held.patiently(lambda: tools.mirror.commit(old.project, event))
            except (Conflict, Refused, NotFound, InvalidInput):
                return False
            return True

    async def _can_go_on(self) -> bool:
        """What is collected needs no container. Else it must still be there: where somebody removed it this node has
        said itself that the attempt is lost. One that runs was not cut by a reboot."""
        held, step = self._held, self._held.journal.step
        if step.order >= Step.COLLECTED.order:
            return True
        unbroken = step.order >= Step.EXITED.order or held.journal.boot_id == held.tools.boot_id
        return unbroken and not await held.gone(held.journal.container)

    async def _renumbered(self) -> AttemptJournal:
        """First what the old number stored is deleted, so that it is done whenever the journal has the new one."""
        held, tools, old = self._held, self._held.tools, self._held.journal
        prefix = layout.attempt(old.project, old.run, old.attempt)
        await held.patiently(lambda: held.blocking(lambda: tools.store.delete_prefix(prefix)))
        new = old.renumbered()
        await held.write(new)
        return new
