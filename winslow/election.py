"""Who claims which queued run, and when (design 5): one `Election` per agent, without I/O, clock or chance.

What happened goes in: an offer seen or gone, somebody's bid, a node's presence, own resources changed,
a claim's result, the broker there or away, a tick. What to do comes out, as a list of `Publish` and
`Claim`. `due` says when to call `tick`. Times are seconds of any monotonic clock of the caller's own;
agents never compare theirs.

The rules
- A round: every agent that may take the offer answers. The window closes when every other online node
  whose presence shows enough free has answered, at the latest after `WINDOW`.
- Bids are ranked by (cost, hash of offer and node). Rank 0 reserves and claims; rank r does so r seconds
  later if the offer still stands. Who no longer can withdraws, and the ranks behind move up at once.
- An offer that nobody claimed gets a new round after 5 s, doubling to 60 s while nobody bids, and at once
  when a node that can take it has resources again. Only a bid raises the round's number; who hears a
  higher one joins it, so a bid of an earlier round, or of an agent restarted since, counts for nothing.
- Within a round an answer is final, but for a bid that is withdrawn: duplicates and reordering change
  nothing.
- A node bids on at most `BIDS_PER_SLOT` offers per free slot: nobody waits for one that cannot take all.
- Without a broker nobody is heard: an agent claims after a delay by hash(offer, node), up to `ALONE`.
- Who still holds the run's container, from an attempt that was given up for lost, has its resources set aside
  already: no limit counts for that bid, and without a broker there is no delay.

Nothing here is needed for safety: the conditional PUT decides, the election makes one claimer likely.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from winslow.node import NodeState, Presence
from winslow.offer import (
    Answer,
    Bid,
    Offer,
    OfferId,
    choose,
    in_order,
    rank_key,
    records,
    replaces,
    sound,
    spread,
)
from winslow.placement import fits_now
from winslow.project import BidRecord

WINDOW = 0.150  # seconds a round waits for answers
STEP = 1.0  # seconds between the claims of one rank and the next
FIRST_WAIT, LONGEST_WAIT = 5.0, 60.0  # seconds from one round to the next
ALONE = 2.0  # seconds; the longest delay before a claim without a broker
SAY_AGAIN = 30.0  # seconds before an unchanged busy or pass is published again
BIDS_PER_SLOT = 4
MOST_ROUNDS_AHEAD = 10_000  # a round comes every 5 s at most: no honest node is a day ahead
_EARLY_OFFERS = 256  # offers not seen yet whose bids are kept


@dataclass(frozen=True, slots=True)
class Publish:
    """Send this to all (QoS 1, not retained)."""

    bid: Bid


@dataclass(frozen=True, slots=True)
class Claim:
    """Resources are reserved: write the claim, report `claimed`. `bids` go into the attempt, best first."""

    offer: Offer
    bids: tuple[BidRecord, ...]


Action = Publish | Claim


class ClaimResult(StrEnum):
    """What became of a claim's conditional PUT."""

    WON = "won"  # the attempt is ours; its resources stay reserved until the attempt ends
    LOST = "lost"  # somebody else's, or no longer offered
    UNKNOWN = "unknown"  # the store did not say: all stays as it is until another result is reported


class Bidder(Protocol):
    """The node's own side. It is called from within the election and must not call the election back."""

    def answer(self, offer: Offer) -> Answer | None:
        """The node's answer now; None when it does not fit at all, which others see from its presence."""

    def slots(self) -> int:
        """How many small runs it could still take (`placement.free_slots`)."""

    def holds(self, offer: Offer) -> bool:
        """Whether the run's container is still here, from an attempt that was given up for lost."""

    def reserve(self, offer: Offer) -> bool:
        """Set the offer's resources aside; False when they are no longer free."""

    def release(self, offer: Offer) -> None:
        """Give back what `reserve` set aside: the claim was lost."""


@dataclass(slots=True, eq=False)
class _Contest:
    """One offer as this agent sees it."""

    offer: Offer
    round: int = 0
    opened: float = 0.0
    closed: float | None = None  # when the window closed
    next_round: float = 0.0
    idle_rounds: int = 0  # rounds in a row without any bid
    mine: Bid | None = None  # this round's answer
    said: tuple[Bid, float] | None = None  # the last one published, and when
    heard: dict[str, Bid] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)  # nodes that should still answer
    claiming: bool = False
    due: float | None = None

    @property
    def standing(self) -> bool:
        """This node's bid waits for its turn."""
        return self.mine is not None and self.mine.kind == "bid" and not self.claiming

    def rivals(self) -> Iterator[Bid]:
        return (bid for bid in self.heard.values() if bid.kind == "bid")

    def bids(self) -> bool:
        """Whether anybody bid in this round."""
        return self.standing or any(True for _ in self.rivals())


class Election:
    """All offers one agent knows. Every input takes the caller's `now` and returns what to do, in order."""

    def __init__(self, *, node: str, instance: str, bidder: Bidder) -> None:
        self._node, self._instance, self._bidder = node, instance, bidder
        self._connected = False
        self._contests: dict[OfferId, _Contest] = {}
        self._nodes: dict[str, NodeState] = {}
        self._early: OrderedDict[OfferId, dict[str, Bid]] = OrderedDict()
        self._timers: list[tuple[float, OfferId]] = []

    # -- what is asked

    @property
    def due(self) -> float | None:
        """When `tick` must be called next; None while nothing is timed."""
        while self._timers:
            at, offer = self._timers[0]
            contest = self._contests.get(offer)
            if contest is not None and contest.due == at:
                return at
            heapq.heappop(self._timers)
        return None

    @property
    def offers(self) -> tuple[OfferId, ...]:
        """The offers that stand, as far as this agent knows."""
        return tuple(self._contests)

    # -- what happened

    def seen(self, offer: Offer, now: float) -> list[Action]:
        """A queued run was read in a document; again is harmless (a changed priority is taken over)."""
        out: list[Action] = []
        known = self._contests.get(offer.id)
        if known is not None:
            known.offer = offer
            return out
        contest = self._contests[offer.id] = _Contest(offer=offer)
        contest.heard = {
            node: bid for node, bid in self._early.pop(offer.id, {}).items() if self._current(bid)
        }
        number = max((bid.round for bid in contest.heard.values()), default=1)
        self._open(contest, number, now, out)
        return out

    def gone(self, offer: OfferId, now: float) -> list[Action]:
        """The offer no longer stands: claimed, aborted or deleted. A claim under way awaits its result."""
        out: list[Action] = []
        self._early.pop(offer, None)
        contest = self._contests.get(offer)
        if contest is not None and not contest.claiming:
            del self._contests[offer]
            if contest.standing:
                self._fill(now, out)
        return out

    def claimed(self, offer: OfferId, result: ClaimResult, now: float) -> list[Action]:
        """The result of a `Claim`. After UNKNOWN nothing changes until WON or LOST is reported."""
        out: list[Action] = []
        contest = self._contests.get(offer)
        if contest is None or not contest.claiming or result is ClaimResult.UNKNOWN:
            return out
        del self._contests[offer]
        if result is ClaimResult.LOST:
            self._bidder.release(contest.offer)
        self._fill(now, out)
        return out

    def heard(self, bid: Bid, now: float) -> list[Action]:
        """Somebody's answer arrived, perhaps late, twice or out of order; own echoes are ignored."""
        out: list[Action] = []
        if bid.node == self._node or not self._current(bid) or not sound(bid):
            return out
        contest = self._contests.get(bid.offer)
        if bid.round > (contest.round if contest else 1) + MOST_ROUNDS_AHEAD:
            return out
        if contest is None:
            self._keep_early(bid)
            return out
        before = contest.heard.get(bid.node)
        if bid.round < contest.round or (before is not None and not replaces(bid, before)):
            return out
        contest.heard[bid.node] = bid
        contest.waiting.discard(bid.node)
        if bid.round > contest.round and not contest.claiming:
            self._open(contest, bid.round, now, out)
        elif contest.standing:
            self._settle(contest, now, out)
        return out

    def presence(self, state: NodeState, now: float) -> list[Action]:
        """A node's retained state changed. The late will of an instance followed by another is ignored."""
        out: list[Action] = []
        known = self._nodes.get(state.node)
        offline = state.presence is Presence.OFFLINE
        if state.node == self._node or (offline and known is not None and known.instance != state.instance):
            return out
        self._nodes[state.node] = state
        if offline or (known is not None and known.instance != state.instance):
            self._drop_bids(state.node)
        self._changed_node(state.node, now, out)
        return out

    def forgotten(self, node: str, now: float) -> list[Action]:
        """A node's retained state was cleared: it is no longer part of the site."""
        out: list[Action] = []
        if self._nodes.pop(node, None) is not None:
            self._drop_bids(node)
            self._changed_node(node, now, out)
        return out

    def resources_changed(self, now: float) -> list[Action]:
        """Own resources became free or were taken, or the node drains: withdraw, or bid anew."""
        out: list[Action] = []
        self._review(now, out)
        self._fill(now, out)
        return out

    def broker(self, connected: bool, now: float) -> list[Action]:
        """The broker can, or can no longer, be heard. Say True after the retained states have come in."""
        out: list[Action] = []
        if connected == self._connected:
            return out
        self._connected = connected
        for contest in sorted(self._contests.values(), key=lambda contest: in_order(contest.offer)):
            if not contest.claiming:
                self._open(contest, contest.round, now, out)
        return out

    def tick(self, now: float) -> list[Action]:
        """Time has passed: close windows, take turns, open rounds. Early or needless calls are harmless."""
        out: list[Action] = []
        while (due := self.due) is not None and due <= now:
            contest = self._contests[heapq.heappop(self._timers)[1]]
            contest.due = None
            if now >= contest.next_round:
                self._open(contest, contest.round, now, out)
            else:
                self._settle(contest, now, out)
        return out

    # -- rounds

    def _open(self, contest: _Contest, number: int, now: float, out: list[Action]) -> None:
        """Begin a round: the higher `number` heard, or else the next one if this node has a bid for it.

        A node without a bid raises no number: what nobody hears of would set it apart from the others.
        """
        joined = number > contest.round
        contest.idle_rounds = contest.idle_rounds + 1 if contest.round and not contest.bids() else 0
        contest.heard = {
            node: bid
            for node, bid in contest.heard.items()
            if bid.kind in ("busy", "pass") or (joined and bid.round == number)
        }
        answer = self._bidder.answer(contest.offer)
        contest.mine = None
        bids = answer is not None and answer.kind == "bid" and self._allowed(contest.offer)
        contest.round = number if joined or not bids else number + 1
        contest.opened, contest.closed = now, None
        contest.next_round = now + min(FIRST_WAIT * 2 ** min(contest.idle_rounds, 8), LONGEST_WAIT)
        if answer is not None and (bids or answer.kind != "bid"):
            self._answer(contest, answer, now, out)
        self._settle(contest, now, out)

    def _answer(self, contest: _Contest, answer: Answer, now: float, out: list[Action]) -> None:
        mine = contest.mine = Bid(
            offer=contest.offer.id,
            node=self._node,
            instance=self._instance,
            round=contest.round,
            kind=answer.kind,
            cost=sum(answer.parts.values()) if answer.kind == "bid" else None,
            parts=dict(answer.parts),
            reason=answer.reason,
        )
        if mine.kind == "bid":
            contest.waiting = {
                node
                for node, state in self._nodes.items()
                if node not in contest.heard
                and not fits_now(state, contest.offer.requires, contest.offer.secrets)
            }
        elif contest.said is not None:
            said, at = contest.said
            if (said.kind, said.reason) == (mine.kind, mine.reason) and now - at < SAY_AGAIN:
                return
        self._say(contest, now, out)

    def _say(self, contest: _Contest, now: float, out: list[Action]) -> None:
        if contest.mine is not None and self._connected:
            contest.said = (contest.mine, now)
            out.append(Publish(contest.mine))

    def _settle(self, contest: _Contest, now: float, out: list[Action]) -> None:
        """Close the window if it is time, claim if it is this node's turn, set the timer for what is next."""
        if contest.standing:
            if contest.closed is None and (not contest.waiting or now >= contest.opened + WINDOW):
                contest.closed = now
            if (contest.closed is not None or not self._connected) and now >= self._turn(contest):
                self._claim(contest, now, out)
        due: float | None = contest.next_round
        if contest.claiming:
            due = None
        elif contest.standing:
            due = min(self._turn(contest), contest.next_round)
        if due != contest.due:
            contest.due = due
            if due is not None:
                heapq.heappush(self._timers, (due, contest.offer.id))

    def _turn(self, contest: _Contest) -> float:
        """When this node's bid may claim, as far as is known; while the window is open, when it closes."""
        if not self._connected:
            held = contest.mine is not None and contest.mine.held
            return contest.opened + (0.0 if held else ALONE * spread(contest.offer.id, self._node))
        if contest.closed is None:
            return contest.opened + WINDOW
        return contest.closed + STEP * self._rank(contest)

    def _rank(self, contest: _Contest) -> int:
        assert contest.mine is not None
        mine = rank_key(contest.mine)
        return sum(rank_key(bid) < mine for bid in contest.rivals())

    def _claim(self, contest: _Contest, now: float, out: list[Action]) -> None:
        if not self._bidder.reserve(contest.offer):
            self._withdraw(contest, "its resources were taken meanwhile", now, out)
            return
        assert contest.mine is not None
        contest.claiming = True
        out.append(Claim(contest.offer, records([contest.mine, *contest.heard.values()])))
        self._review(now, out)

    def _withdraw(self, contest: _Contest, reason: str, now: float, out: list[Action]) -> None:
        assert contest.mine is not None
        contest.mine = replace(contest.mine, kind="withdrawn", cost=None, parts={}, reason=reason)
        self._say(contest, now, out)

    # -- own resources

    def _allowed(self, offer: Offer) -> bool:
        """Whether the limit leaves a bid for this offer; bids on offers of lower priority do not count."""
        if self._bidder.holds(offer):
            return True
        standing = sum(
            contest.standing and contest.offer.priority >= offer.priority
            for contest in self._contests.values()
        )
        return standing < BIDS_PER_SLOT * self._bidder.slots()

    def _review(self, now: float, out: list[Action]) -> None:
        """Withdraw the bids that no longer hold, so that the next in rank go at once."""
        for contest in self._contests.values():
            if contest.standing:
                answer = self._bidder.answer(contest.offer)
                if answer is None or answer.kind != "bid":
                    self._withdraw(contest, answer.reason if answer else "it no longer fits", now, out)
                    self._settle(contest, now, out)

    def _fill(self, now: float, out: list[Action]) -> None:
        """Bid on offers that wait, as far as own resources and the limit reach."""
        standing = sum(contest.standing for contest in self._contests.values())
        room = BIDS_PER_SLOT * self._bidder.slots() - standing
        idle = [contest.offer for contest in self._contests.values() if self._may_enter(contest)]
        chosen = [offer for offer in idle if self._bidder.holds(offer)]
        if room > 0:
            peers = 1 + sum(state.presence is Presence.ONLINE for state in self._nodes.values())
            others = (offer for offer in idle if offer not in chosen and self._bids_on(offer))
            chosen += choose(others, node=self._node, limit=room, peers=peers)
        for offer in chosen:
            contest = self._contests[offer.id]
            if not self._bids_on(offer):  # a claim just now took the resources
                continue
            answer = self._bidder.answer(offer)
            if answer is not None and self._connected and any(contest.rivals()):
                self._answer(contest, answer, now, out)  # late, but in the round of the others
                self._settle(contest, now, out)
            else:
                self._open(contest, contest.round, now, out)

    def _may_enter(self, contest: _Contest) -> bool:
        """Whether a bid can still be made: an answer already given in a round where others bid is final."""
        if contest.claiming or contest.standing:
            return False
        return contest.mine is None or not self._connected or not any(contest.rivals())

    def _bids_on(self, offer: Offer) -> bool:
        answer = self._bidder.answer(offer)
        return answer is not None and answer.kind == "bid"

    # -- the others

    def _current(self, bid: Bid) -> bool:
        """Whether the bid comes from the instance that the node's presence shows, as far as that is known."""
        known = self._nodes.get(bid.node)
        if known is None:
            return True
        return known.instance == bid.instance and known.presence is not Presence.OFFLINE

    def _keep_early(self, bid: Bid) -> None:
        """A bid may overtake the document it is about."""
        bids = self._early.setdefault(bid.offer, {})
        before = bids.get(bid.node)
        if before is None or replaces(bid, before):
            bids[bid.node] = bid
        if len(self._early) > _EARLY_OFFERS:
            self._early.popitem(last=False)

    def _drop_bids(self, node: str) -> None:
        for bids in (*(contest.heard for contest in self._contests.values()), *self._early.values()):
            bids.pop(node, None)

    def _changed_node(self, node: str, now: float, out: list[Action]) -> None:
        """Wait no longer for a node that is away, and move up where its bid was dropped.

        One whose resources were just taken is still waited for: it may have set them aside for this very
        offer, and its presence may have overtaken its bid.
        """
        state = self._nodes.get(node)
        away = state is None or state.presence is not Presence.ONLINE
        for contest in self._contests.values():
            if not contest.standing:
                continue
            if away:
                contest.waiting.discard(node)
            self._settle(contest, now, out)
