"""The hold (design 5.6): a big run is not kept waiting for ever by a stream of small ones. Pure.

One `Keeper` per agent. It is told of the offers, is asked every `look` seconds whether its node is to keep itself
free for one of them, and then says of every other offer whether that would be in the way. `now` is any monotonic
clock of the caller's own: every agent counts for itself, and none compares its count with another's.

The rules
- An offer waits for a busy node while a node fits it that cannot take it now, and none can.
- Seen to wait so for `after` seconds, it gets one hold. The nodes that fit it, are online and hold nothing else
  are ranked by hash(offer, node), the same for all who see the same presences: rank 0 holds at once, rank r after
  r looks more, should those before it not have seen the offer.
- A node holds for one offer at a time, the first in order (priority, then age). Its presence says so. Of two nodes
  that hold for the same one the worse in rank gives up.
- A node that holds takes no offer behind that one that would leave too little for it. What is before it in order,
  needs the same (order is enough there) or needs other things, passes.
- The hold ends when the offer is claimed or gone, when the node can no longer be the one, or after `lasts`
  seconds. This node holds for that offer again after as long at the earliest; another one may after `after`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from heapq import nsmallest

from winslow.node import Hold, NodeState, Presence
from winslow.offer import Offer, OfferId, in_order, spread
from winslow.pipeline import Requirements
from winslow.placement import fits, fits_now, in_the_way

AFTER = 120.0  # seconds of waiting before a hold
LASTS = 1800.0  # seconds
LOOK = 5.0  # seconds from one look to the next
_CONSIDERED = 8  # offers per look, the first in order


@dataclass(slots=True)
class _Wait:
    offer: Offer
    since: float
    needed: float  # seconds from then to a hold


class Keeper:
    """See the module."""

    def __init__(self, *, node: str, after: float = AFTER, lasts: float = LASTS, look: float = LOOK) -> None:
        self.look = look
        self._node = node
        self._after, self._lasts = after, lasts
        self._waits: dict[OfferId, _Wait] = {}
        self._current: Offer | None = None
        self._until = 0.0

    # -- what is asked

    @property
    def hold(self) -> Hold | None:
        """What this node keeps itself free for, as its presence says it."""
        offer = self._current
        if offer is None:
            return None
        return Hold(
            project=offer.id.project,
            run=offer.id.run,
            attempt=offer.id.attempt,
            requires=offer.requires,
            priority=offer.priority,
        )

    @property
    def waiting(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self._waits)

    def keeps_from(self, offer: Offer, me: NodeState) -> OfferId | None:
        """The offer that this node is kept free for, if taking the other one would be in its way."""
        held = self._current
        if held is None or in_order(offer) <= in_order(held) or offer.requires == held.requires:
            return None
        return held.id if in_the_way(me, offer.requires, held.requires) else None

    # -- what happened

    def seen(self, offer: Offer, now: float) -> None:
        """A run is offered; again is harmless."""
        wait = self._waits.setdefault(offer.id, _Wait(offer, now, self._after))
        wait.offer = offer

    def gone(self, offer: OfferId) -> bool:
        """It no longer is; True when this node kept itself free for it."""
        self._waits.pop(offer, None)
        if self._current is None or self._current.id != offer:
            return False
        self._current = None
        return True

    def review(self, me: NodeState, others: Sequence[NodeState] | None, now: float) -> bool:
        """Time has passed: begin or end a hold. True when it is another one than before, or none any more.

        `others` are the other nodes as their presences show them; None while the broker is away: then nobody would
        hear of a hold, and none begins.
        """
        before, heard = self._current, others is not None
        others = others or ()
        held = {hold_id(state.hold) for state in _online(others) if state.hold is not None}
        for offer in held & self._waits.keys():
            self._waits[offer].since = now
        if before is not None and not self._goes_on(before, me, others, now):
            if now >= self._until:
                wait = self._waits[before.id]
                wait.since, wait.needed = now, max(self._lasts, self._after)
            self._current = None
        if heard and self._current is None and me.presence is Presence.ONLINE:
            self._begin(me, others, held, now)
        return self._current is not before

    # -- inside

    def _goes_on(self, offer: Offer, me: NodeState, others: Iterable[NodeState], now: float) -> bool:
        mine = spread(offer.id, self._node)
        return (
            now < self._until
            and me.presence is Presence.ONLINE
            and not fits(me, offer.requires, offer.secrets)
            and not any(
                state.hold is not None
                and hold_id(state.hold) == offer.id
                and spread(offer.id, state.node) < mine
                for state in _online(others)
            )
        )

    def _begin(self, me: NodeState, others: Sequence[NodeState], held: Set[OfferId], now: float) -> None:
        busy: dict[tuple[Requirements, tuple[str, ...]], bool] = {}  # many offers need the same

        def waits_for_me(offer: Offer) -> bool:
            needs = (offer.requires, offer.secrets)
            if needs not in busy:
                busy[needs] = not fits(me, *needs) and bool(fits_now(me, *needs))
            return busy[needs]

        long = (
            wait.offer
            for wait in self._waits.values()
            if now - wait.since >= wait.needed and waits_for_me(wait.offer) and wait.offer.id not in held
        )
        for offer in nsmallest(_CONSIDERED, long, key=in_order):
            if any(_takes_now(state, offer) for state in others):
                continue
            mine = spread(offer.id, self._node)
            before = sum(
                state.hold is None
                and spread(offer.id, state.node) < mine
                and not fits(state, offer.requires, offer.secrets)
                for state in _online(others)
            )
            wait = self._waits[offer.id]
            if now - wait.since >= wait.needed + before * self.look:
                self._current, self._until = offer, now + self._lasts
                return


def hold_id(hold: Hold) -> OfferId:
    """The offer that a node is kept free for."""
    return OfferId(hold.project, hold.run, hold.attempt)


def kept_for_another(node: NodeState, offer: Offer) -> Hold | None:
    """The hold that keeps a node from an offer, as far as its presence tells: who came first it does not say."""
    hold = node.hold
    if hold is None or hold_id(hold) == offer.id or hold.priority < offer.priority:
        return None
    if offer.requires == hold.requires:
        return None
    if fits_now(node, offer.requires, offer.secrets) or not in_the_way(node, offer.requires, hold.requires):
        return None
    return hold


def _takes_now(node: NodeState, offer: Offer) -> bool:
    return not fits_now(node, offer.requires, offer.secrets) and kept_for_another(node, offer) is None


def _online(nodes: Iterable[NodeState]) -> Iterable[NodeState]:
    return (state for state in nodes if state.presence is Presence.ONLINE)
