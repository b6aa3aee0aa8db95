"""The node's side of elections: what it answers, when it claims, and the claim's conditional write (design 5).

`winslow.election` decides; this room feeds it (documents, bids, presences, time) and does what it says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from broker.messages import BidMessage
from node_agent.reservations import Key, Reservations
from node_agent.standing import Holding
from winslow import placement
from winslow.election import Action, Claim, ClaimResult, Election, Publish
from winslow.hold import Keeper
from winslow.node import Hold, NodeState
from winslow.offer import HELD, Answer, Bid, Offer, OfferId
from winslow.project import Project, Run, RunState, Tombstone


@dataclass(frozen=True)
class Estimate:
    """What this node would have to move for a run, in bytes; `rate` in bytes per second."""

    fetch_bytes: int
    pull_bytes: int
    rate: float
    missing: str = ""  # an input that is not in the store: the attempt would fail, and say so


class Bidding:
    """One per agent, on its event loop.

    `me()` is the node's own state now, `others()` are those of the other nodes; `estimate(project, run)` may read
    the store; `holding(project, run)` says whether this node could go on with a lost attempt; `publish(bid)` sends;
    `claim(offer, bids)` writes the claim and returns its result, UNKNOWN never: it goes on until it knows.
    """

    def __init__(
        self,
        *,
        node: str,
        instance: str,
        reservations: Reservations,
        keeper: Keeper,
        others: Callable[[], Sequence[NodeState]],
        me: Callable[[], NodeState],
        estimate: Callable[[Project, Run], Awaitable[Estimate]],
        holding: Callable[[str, int], Holding],
        publish: Callable[[BidMessage], None],
        claim: Callable[[Claim], Awaitable[ClaimResult]],
        changed: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._reservations = reservations
        self._keeper = keeper
        self._others = others
        self._me = me
        self._estimate = estimate
        self._holding = holding
        self._publish = publish
        self._write_claim = claim
        self._changed = changed
        self._clock = clock
        self._estimates: dict[OfferId, Estimate] = {}
        self._ages: dict[OfferId, float] = {}
        self._standing: dict[str, set[OfferId]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._look_timer: asyncio.TimerHandle | None = None
        self._connected = False
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._election = Election(node=node, instance=instance, bidder=self)

    # -- the election's questions (winslow.election.Bidder)

    def answer(self, offer: Offer) -> Answer | None:
        """Bid with a price, busy with what is short, or pass with what this node lacks."""
        holding = self._holding(offer.id.project, offer.id.run)
        if holding is Holding.YES:
            return Answer(kind="bid", parts={HELD: 0.0})
        if holding is Holding.PERHAPS:
            return Answer(kind="busy", reason="has to look first what is left of an earlier attempt here")
        me = self._me()
        lacking = placement.fits(me, offer.requires, offer.secrets)
        if lacking:
            return Answer(kind="pass", reason="; ".join(lacking))
        short = placement.fits_now(me, offer.requires, offer.secrets)
        if short:
            return Answer(kind="busy", reason="; ".join(short))
        if kept_for := self._keeper.keeps_from(offer, me):
            return Answer(kind="busy", reason=f"is kept free for {kept_for.project} #{kept_for.run}")
        estimate = self._estimates[offer.id]
        parts = placement.price(
            me,
            offer.requires,
            fetch_bytes=estimate.fetch_bytes,
            pull_bytes=estimate.pull_bytes,
            rate=estimate.rate,
        )
        return Answer(kind="bid", parts=parts)

    @property
    def hold(self) -> Hold | None:
        """What this node keeps itself free for."""
        return self._keeper.hold

    def slots(self) -> int:
        """Small runs this node could still take."""
        return placement.free_slots(self._me())

    def holds(self, offer: Offer) -> bool:
        """Whether this node could go on with a lost attempt of the run."""
        return self._holding(offer.id.project, offer.id.run) is Holding.YES

    def reserve(self, offer: Offer) -> bool:
        """Set the offer's resources aside; a lost attempt that is still here has them."""
        return self.holds(offer) or self._reservations.reserve(_key(offer.id), offer.requires, self._me())

    def release(self, offer: Offer) -> None:
        """Give them back, if they were set aside for this offer."""
        self._reservations.release(_key(offer.id))

    # -- what happened

    def document(self, project_id: str, document: Project | Tombstone | None) -> None:
        """A newer version of a document was read: new offers enter, those that no longer stand leave."""
        queued: dict[OfferId, Run] = {}
        if isinstance(document, Project):
            queued = {
                OfferId(project_id, run.n, run.next_k): run
                for run in document.runs
                if run.state is RunState.QUEUED
            }
        before = self._standing.get(project_id, set())
        for offer in before - queued.keys():
            self._estimates.pop(offer, None)
            self._ages.pop(offer, None)
            self._do(self._election.gone(offer, self._clock()))
            if self._keeper.gone(offer):
                self._changed_hold()
        if queued:
            self._standing[project_id] = set(queued)
        else:
            self._standing.pop(project_id, None)
        assert isinstance(document, Project) or not queued
        for offer, run in queued.items():
            if offer not in before and isinstance(document, Project):
                self._ages[offer] = self._clock()  # the order in which this agent saw them
                self._spawn(self._enter(offer, document, run), name=f"price {offer}")

    async def _enter(self, offer: OfferId, project: Project, run: Run) -> None:
        estimate = await self._estimate(project, run)
        if offer not in self._standing.get(offer.project, set()):
            return
        self._estimates[offer] = estimate
        seen = Offer(
            id=offer,
            requires=run.stage.requires,
            secrets=run.secrets,
            priority=project.priority,
            age=self._ages[offer],
        )
        self._keeper.seen(seen, self._clock())
        self._do(self._election.seen(seen, self._clock()))
        if self._look_timer is None:
            self._look_later()

    def bid(self, message: BidMessage) -> None:
        """Somebody's answer arrived."""
        bid = Bid(
            offer=OfferId(message.project, message.run, message.attempt),
            node=message.node,
            instance=message.instance,
            round=message.round,
            kind=message.kind,
            cost=message.cost,
            parts=message.parts,
            reason=message.reason,
        )
        self._do(self._election.heard(bid, self._clock()))

    def presence(self, node: str, state: NodeState | None) -> None:
        """A node's retained state came in; None: it was cleared."""
        now = self._clock()
        self._do(
            self._election.forgotten(node, now) if state is None else self._election.presence(state, now)
        )

    def resources_changed(self) -> None:
        """Something was reserved or given back here, or the node drains."""
        self._do(self._election.resources_changed(self._clock()))

    def broker(self, connected: bool) -> None:
        """The broker came or went; say True after its retained states have come in."""
        self._connected = connected
        self._do(self._election.broker(connected, self._clock()))

    # -- holds

    def _look_later(self) -> None:
        self._look_timer = asyncio.get_running_loop().call_later(self._keeper.look, self._look)

    def _look(self) -> None:
        self._look_timer = None
        if self._keeper.waiting:
            self._look_later()
            others = self._others() if self._connected else None
            if self._keeper.review(self._me(), others, self._clock()):
                self._changed_hold()

    def _changed_hold(self) -> None:
        self._changed()
        self.resources_changed()

    # -- what to do

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Publish(bid=bid):
                    self._publish(
                        BidMessage(
                            project=bid.offer.project,
                            run=bid.offer.run,
                            attempt=bid.offer.attempt,
                            node=bid.node,
                            instance=bid.instance,
                            round=bid.round,
                            kind=bid.kind,
                            cost=bid.cost,
                            parts=dict(bid.parts),
                            reason=bid.reason,
                        )
                    )
                case Claim():
                    self._changed()
                    self._spawn(self._claim(action), name=f"claim {action.offer.id}")
        self._arm()

    async def _claim(self, claim: Claim) -> None:
        result = ClaimResult.LOST  # also where the claim ends in an error: nothing may stay reserved for it
        try:
            result = await self._write_claim(claim)
        finally:
            self._do(self._election.claimed(claim.offer.id, result, self._clock()))
            if result is ClaimResult.LOST:
                self._changed()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._election.due
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due - self._clock()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        try:
            self._do(self._election.tick(self._clock()))
        finally:
            self._arm()

    def _spawn(self, work: Awaitable[None], *, name: str) -> None:
        async def run() -> None:
            await work

        task = asyncio.get_running_loop().create_task(run(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._failure.done():
            self._failure.set_exception(error)

    async def watch(self) -> None:
        """Wait for ever; raises the error of a claim that ended with one: its resources would stay reserved."""
        await self._failure

    async def close(self) -> None:
        """Stop: no more bids. A claim under way is cut; its journal tells the next agent."""
        for timer in (self._timer, self._look_timer):
            if timer is not None:
                timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _key(offer: OfferId) -> Key:
    return (offer.project, offer.run, offer.attempt)
