"""What a run would cost this node, and the write by which the node takes it (design 5.2, 5.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from node_agent import needs
from node_agent.attempt import Attempt
from node_agent.bidding import Estimate
from node_agent.holdings import Holdings
from node_agent.journal import AttemptJournal
from node_agent.mirror import Mirror
from node_agent.reservations import Key, Reservations
from node_agent.standing import Holding
from node_agent.tools import Tools
from winslow.election import Claim, ClaimResult
from winslow.errors import Conflict, InvalidInput, NotFound, Refused, WinslowError
from winslow.events import Claimed
from winslow.placement import UNKNOWN_IMAGE
from winslow.project import Project, Run

FETCH_RATE = 100e6
"""Bytes per second to assume for fetching inputs and images: a 1 Gbit/s link, a little less than full."""

PRICE_SECONDS = 10.0
"""How old a listing may be that a price is made from: a price is an estimate, and what was stored since then is in
no node's cache, so it costs all the same."""


class Patiently(Protocol):
    """Does something until the store answers."""

    async def __call__(self, work: Callable[[], Awaitable[Any]], /) -> Any: ...


class Claiming:
    """One per agent. `adopt` lets a claimed attempt live; `say` shows a sentence in the presence."""

    def __init__(
        self,
        *,
        tools: Tools,
        mirror: Mirror,
        holdings: Holdings,
        reservations: Reservations,
        patiently: Patiently,
        adopt: Callable[[AttemptJournal], None],
        say: Callable[..., None],
    ) -> None:
        self._tools = tools
        self._mirror = mirror
        self._holdings = holdings
        self._reservations = reservations
        self._patiently = patiently
        self._adopt = adopt
        self._say = say
        self.under_way: set[Key] = set()
        """Claims that are being written: the document may tell of one before its write has come back."""

    async def estimate(self, project: Project, run: Run) -> Estimate:
        """What the node would have to fetch for a run."""
        tools = self._tools
        loop = asyncio.get_running_loop()

        def bytes_to_fetch() -> int:
            found = needs.find(tools.sources, project, run, attempt=run.next_k, age=PRICE_SECONDS)
            return tools.bytes_to_fetch(found.plan)

        try:
            fetch, present = await asyncio.gather(
                loop.run_in_executor(tools.executor, bytes_to_fetch),
                tools.runtime.has_image(run.stage.image),
            )
        except WinslowError:
            fetch, present = 0, False  # the claim needs the store too: whoever can reach it decides there
        return Estimate(fetch_bytes=fetch, pull_bytes=0 if present else UNKNOWN_IMAGE, rate=FETCH_RATE)

    async def claim(self, claim: Claim) -> ClaimResult:
        """Journal the intent, then the conditional PUT, until its outcome is known."""
        project, n, k = claim.offer.id
        key = (project, n, k)
        kept = next((each for each in self._holdings.of_run(project, n) if each.holding is Holding.YES), None)
        if kept is None and not self._reservations.holds(key):
            return ClaimResult.LOST  # what was here and would have gone on has given way meanwhile
        self.under_way.add(key)
        try:
            return await (self._claim_for(kept, claim) if kept is not None else self._claim_new(claim))
        except OSError as error:  # nothing was promised yet: let another node have it
            self._say(f"no journal can be written: {error}", about="disk")
            return ClaimResult.LOST
        finally:
            self.under_way.discard(key)

    async def _claim_new(self, claim: Claim) -> ClaimResult:
        """The new document is made while the intent is being journalled, and sent when that is on the disk."""
        tools = self._tools
        project, n, k = claim.offer.id
        journal = AttemptJournal(
            project=project,
            run=n,
            attempt=k,
            claim=tools.clock.new_id(),
            node_uuid=tools.node_uuid,
            boot_id=tools.boot_id,
            runtime=tools.runtime.name,
            cpus=claim.offer.requires.cpus,
            memory=claim.offer.requires.memory,
            disk=claim.offer.requires.disk,
            gpus=self._reservations.gpus((project, n, k)),
        )
        journalled = tools.executor.submit(tools.journals.write, journal)
        event = Claimed(
            id=tools.clock.new_id(),
            at=tools.clock.wall(),
            by=tools.node,
            n=n,
            k=k,
            claim=journal.claim,
            node=tools.node,
            node_uuid=tools.node_uuid,
            bids=claim.bids,
        )
        try:
            await self._patiently(lambda: self._mirror.commit(project, event, ready=journalled.result))
        except (Conflict, Refused, NotFound, InvalidInput):
            await asyncio.wrap_future(journalled)
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(tools.executor, tools.journals.remove, journal)
            return ClaimResult.LOST
        self._adopt(journal)
        return ClaimResult.WON

    async def _claim_for(self, kept: Attempt, claim: Claim) -> ClaimResult:
        """For a container that is here already."""
        won = await kept.claim(claim.offer.id.attempt, claim.bids)
        return ClaimResult.WON if won else ClaimResult.LOST
