"""Offers, bids, and the rules about each alone (design 5); `election.py` puts them together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from itertools import groupby
from typing import Literal, NamedTuple

from winslow.pipeline import Requirements
from winslow.project import MAX_BIDS, BidRecord

HELD = "held"
"""The one part of a bid by the node where the run's container still is, after its attempt was given up for lost:
nothing is to be fetched or pulled, and its resources are set aside already (design 6, Loss)."""

_PARTS_KEPT, _REASON_KEPT = 8, 200  # of a bid, in the attempt's record: parts, and characters


class OfferId(NamedTuple):
    """The attempt that would be number `attempt` of run `run`; never offered again once it was claimed."""

    project: str
    run: int
    attempt: int

    def __str__(self) -> str:
        return f"{self.project}/{self.run}.{self.attempt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A queued run in a document. `age` is the store's own time of the queueing, used only for order."""

    id: OfferId
    requires: Requirements
    secrets: tuple[str, ...] = ()  # names of those its environment refers to
    priority: int = 0  # higher goes first
    age: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the node says to an offer. `parts` are a bid's seconds by name (`placement.price`)."""

    kind: Literal["bid", "busy", "pass"]
    parts: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""  # why busy or pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bid:
    """An answer as it is published on projects/ID/bids/N.K/NODE, or taken back."""

    offer: OfferId
    node: str
    instance: str
    round: int
    kind: Literal["bid", "busy", "pass", "withdrawn"]
    cost: float | None = None  # seconds; set on a bid
    parts: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def held(self) -> bool:
        """Whether the bidder would go on with the container of a lost attempt."""
        return HELD in self.parts


@lru_cache(maxsize=1 << 14)
def spread(offer: OfferId, node: str) -> float:
    """hash(offer, node) in [0, 1), the same everywhere: ties, choices and delays differ for each offer."""
    digest = blake2b(f"{offer}/{node}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def in_order(offer: Offer) -> tuple[int, float, OfferId]:
    """Sort key: higher priority first, then the older."""
    return (-offer.priority, offer.age, offer.id)


def choose(offers: Iterable[Offer], *, node: str, limit: int, peers: int) -> list[Offer]:
    """The at most `limit` offers to bid on, in the order to bid: by priority, then by hash among the oldest.

    `peers` is how many nodes choose: all of them together cover that many times `limit` of the oldest. The
    oldest itself is always among them, so that none waits for ever behind luckier ones.
    """
    ordered = sorted(offers, key=in_order)
    chosen: list[Offer] = []
    for _, group in groupby(ordered, key=lambda offer: offer.priority):
        room, same = limit - len(chosen), list(group)
        if room <= 0:
            break
        if len(same) > room:
            oldest, *others = same[: room * max(peers, 1)]
            lucky = sorted(others, key=lambda offer: spread(offer.id, node))[: room - 1]
            same = sorted([oldest, *lucky], key=in_order)
        chosen += same
    return chosen


def rank_key(bid: Bid) -> tuple[float, bool, float, str]:
    """Sort key of bids on one offer: the cheapest first; of equals who holds its container, then by hash."""
    cost = math.inf if bid.cost is None else bid.cost
    return (cost, not bid.held, spread(bid.offer, bid.node), bid.node)


def sound(bid: Bid) -> bool:
    """Whether its numbers can be reckoned with, and be written into a document."""
    amounts = [*bid.parts.values(), *(() if bid.cost is None else (bid.cost,))]
    finite = all(math.isfinite(amount) and amount >= 0 for amount in amounts)
    return finite and bid.round >= 1 and (bid.kind != "bid" or bid.cost is not None)


def replaces(bid: Bid, before: Bid) -> bool:
    """Within a round an answer is final, but for a bid that is withdrawn."""
    if bid.instance != before.instance or bid.round != before.round:
        return bid.round >= before.round
    return before.kind == "bid" and bid.kind == "withdrawn"


def records(bids: Iterable[Bid]) -> tuple[BidRecord, ...]:
    """What an attempt remembers of its election: bids best first, then who was busy, then who passed.

    Others' words are cut to a size that sixteen of them may take in a document.
    """
    order = {"bid": 0, "busy": 1, "pass": 2}
    kept = sorted(
        (bid for bid in bids if bid.kind in order), key=lambda bid: (order[bid.kind], rank_key(bid))
    )
    return tuple(
        BidRecord(
            node=bid.node,
            kind=bid.kind,
            cost=bid.cost if bid.kind == "bid" else None,
            parts=dict(list(bid.parts.items())[:_PARTS_KEPT]),
            reason=bid.reason[:_REASON_KEPT],
        )
        for bid in kept[:MAX_BIDS]
        if bid.kind != "withdrawn"
    )
