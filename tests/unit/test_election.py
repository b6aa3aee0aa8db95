"""The rules of an election, one agent at a time: what goes in, and exactly what comes out (design 5)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from winslow.election import (
    ALONE,
    BIDS_PER_SLOT,
    FIRST_WAIT,
    LONGEST_WAIT,
    SAY_AGAIN,
    STEP,
    WINDOW,
    Action,
    Claim,
    ClaimResult,
    Election,
    Publish,
)
from winslow.node import FreeResources, Hardware, NodeState, Presence
from winslow.offer import HELD, Answer, Bid, Offer, OfferId, choose, spread
from winslow.pipeline import Requirements

RUN = OfferId("ulm-abcd", 3, 1)


def offer(run: int = 3, *, cpus: float = 1, priority: int = 0, age: float = 0) -> Offer:
    return Offer(id=OfferId("ulm-abcd", run, 1), requires=Requirements(cpus=cpus), priority=priority, age=age)


class Desk:
    """A node of one-core slots with a price for everything."""

    def __init__(self, *, slots: int = 1, cost: float = 10) -> None:
        self.left, self.cost = slots, cost
        self.refusal: Answer | None = None
        self.fits = True
        self.held: set[OfferId] = set()
        self.reserved: list[OfferId] = []

    def answer(self, offer: Offer) -> Answer | None:
        if not self.fits:
            return None
        if offer.id in self.held:
            return Answer(kind="bid", parts={HELD: 0.0})
        if self.refusal is not None:
            return self.refusal
        if self.left < offer.requires.cpus:
            return Answer(kind="busy", reason="no core is free")
        return Answer(kind="bid", parts={"fetch": self.cost, "load": 0.0})

    def slots(self) -> int:
        return self.left

    def holds(self, offer: Offer) -> bool:
        return offer.id in self.held

    def reserve(self, offer: Offer) -> bool:
        if offer.id in self.held:
            return True
        if self.left < offer.requires.cpus:
            return False
        self.left -= int(offer.requires.cpus)
        self.reserved.append(offer.id)
        return True

    def release(self, offer: Offer) -> None:
        if offer.id in self.held:
            return
        self.left += int(offer.requires.cpus)
        self.reserved.remove(offer.id)


def state(
    node: str, *, free: float = 1, presence: Presence = Presence.ONLINE, instance: str = ""
) -> NodeState:
    return NodeState(
        node=node,
        node_uuid=node,
        instance=instance or f"{node}-i1",
        presence=presence,
        hardware=Hardware(cpus=4, memory=1 << 40),
        free=FreeResources(cpus=free, memory=1 << 40),
    )


def bid(
    node: str, cost: float | None, *, round: int = 1, kind: str = "bid", run: int = 3, instance: str = ""
) -> Bid:
    return Bid(
        offer=OfferId("ulm-abcd", run, 1),
        node=node,
        instance=instance or f"{node}-i1",
        round=round,
        kind=kind,  # type: ignore[arg-type]
        cost=cost,
    )


def elect(desk: Desk, *others: NodeState) -> Election:
    election = Election(node="me", instance="me-i1", bidder=desk)
    election.broker(True, 0)
    for other in others:
        election.presence(other, 0)
    return election


def kinds(actions: list[Action]) -> list[str]:
    return [action.bid.kind if isinstance(action, Publish) else "claim" for action in actions]


class TestWindow:
    def test_alone_it_bids_and_claims_at_once(self) -> None:
        desk = Desk()
        actions = elect(desk).seen(offer(), 0)
        assert kinds(actions) == ["bid", "claim"]
        assert desk.reserved == [RUN]

    def test_it_waits_for_every_node_with_room_and_claims_with_the_last_answer(self) -> None:
        election = elect(Desk(), state("a"), state("b"), state("full", free=0))
        assert kinds(election.seen(offer(), 0)) == ["bid"]
        assert election.due == WINDOW
        assert election.heard(bid("a", 20), 0.01) == []
        assert kinds(election.heard(bid("b", None, kind="busy"), 0.02)) == ["claim"]

    def test_silence_is_waited_for_no_longer_than_the_window(self) -> None:
        election = elect(Desk(), state("a"))
        election.seen(offer(), 0)
        assert election.tick(WINDOW - 0.001) == []
        assert kinds(election.tick(WINDOW)) == ["claim"]

    @pytest.mark.parametrize("presence", [Presence.OFFLINE, Presence.DRAINING])
    def test_a_node_that_goes_away_is_not_waited_for(self, presence: Presence) -> None:
        election = elect(Desk(), state("a"))
        election.seen(offer(), 0)
        assert kinds(election.presence(state("a", presence=presence), 0.01)) == ["claim"]

    def test_a_cleared_presence_is_not_waited_for(self) -> None:
        election = elect(Desk(), state("a"))
        election.seen(offer(), 0)
        assert kinds(election.forgotten("a", 0.01)) == ["claim"]

    def test_a_presence_that_overtook_its_nodes_bid_does_not_make_us_go_ahead(self) -> None:
        """Found by the simulation: the winner's presence, resources reserved, came before its bid."""
        election = elect(Desk(), state("a"))
        election.seen(offer(), 0)
        assert election.presence(state("a", free=0), 0.01) == []
        assert election.heard(bid("a", 5), 0.02) == []

    def test_bids_that_overtook_the_document_count(self) -> None:
        election = elect(Desk(), state("a"))
        election.heard(bid("a", 5), 0)
        assert kinds(election.seen(offer(), 0.01)) == ["bid"]
        assert election.due == 0.01 + STEP

    def test_what_does_not_fit_is_not_answered(self) -> None:
        desk = Desk()
        desk.fits = False
        assert elect(desk).seen(offer(), 0) == []


class TestRanks:
    def test_rank_r_claims_after_r_seconds(self) -> None:
        election = elect(Desk(), state("a"), state("b"))
        election.seen(offer(), 0)
        election.heard(bid("a", 1), 0)
        election.heard(bid("b", 2), 0.01)
        assert election.due == 0.01 + 2 * STEP
        assert election.tick(0.01 + 1.99 * STEP) == []
        assert kinds(election.tick(0.01 + 2 * STEP)) == ["claim"]

    def test_when_the_first_withdraws_the_next_goes_at_once(self) -> None:
        election = elect(Desk(), state("a"))
        election.seen(offer(), 0)
        election.heard(bid("a", 1), 0.01)
        assert kinds(election.heard(bid("a", None, kind="withdrawn"), 0.02)) == ["claim"]

    def test_the_bid_of_a_node_that_died_counts_no_more(self) -> None:
        election = elect(Desk(), state("a"))
        election.seen(offer(), 0)
        election.heard(bid("a", 1), 0.01)
        assert kinds(election.presence(state("a", presence=Presence.OFFLINE), 0.3)) == ["claim"]

    def test_equal_costs_are_ranked_by_hash_alike_on_both_sides(self) -> None:
        first = min("me", "a", key=lambda node: spread(RUN, node))
        election = elect(Desk(cost=10), state("a"))
        election.seen(offer(), 0)
        actions = election.heard(bid("a", 10), 0.01)
        assert kinds(actions) == (["claim"] if first == "me" else [])

    def test_who_can_no_longer_withdraws_when_it_is_its_turn(self) -> None:
        class Overtaken(Desk):
            def reserve(self, offer: Offer) -> bool:
                return False

        actions = elect(Overtaken()).seen(offer(), 0)
        assert kinds(actions) == ["bid", "withdrawn"]

    def test_a_claim_withdraws_the_bids_that_no_longer_hold(self) -> None:
        election = elect(Desk(slots=1), state("a"))
        election.seen(offer(1), 0)
        election.seen(offer(2), 0)
        actions = election.heard(bid("a", 20, run=1), 0.01)
        assert kinds(actions) == ["claim", "withdrawn"]
        assert isinstance(actions[1], Publish)
        assert (actions[1].bid.offer.run, actions[1].bid.reason) == (2, "no core is free")

    def test_the_claim_carries_what_was_bid_best_first(self) -> None:
        election = elect(Desk(cost=10), *(state(f"n{i}") for i in range(20)), state("p"))
        election.seen(offer(), 0)
        election.heard(bid("p", None, kind="pass"), 0)
        actions: list[Action] = []
        for i in range(20):
            actions += election.heard(bid(f"n{i}", 30 - i / 10), 0.01)
        (claim,) = actions
        assert isinstance(claim, Claim)
        assert [record.node for record in claim.bids[:3]] == ["me", "n19", "n18"]
        assert len(claim.bids) == 16
        assert claim.bids[0].parts == {"fetch": 10, "load": 0}

    def test_long_words_of_others_are_cut_before_they_enter_a_document(self) -> None:
        election = elect(Desk(cost=1), state("a"))
        election.seen(offer(), 0)
        talker = Bid(
            offer=RUN, node="a", instance="a-i1", round=1, kind="bid", cost=9,
            parts={str(i): 1.0 for i in range(50)}, reason="x" * 9999,
        )  # fmt: skip
        (claim,) = election.heard(talker, 0.01)
        assert isinstance(claim, Claim)
        assert (len(claim.bids[1].parts), len(claim.bids[1].reason)) == (8, 200)


class TestStaleMessages:
    @pytest.mark.parametrize(
        "stale",
        [
            bid("a", 1, instance="a-i0"),
            bid("me", 1),
            bid("a", float("nan")),
            bid("a", float("inf")),
            bid("a", -1),
            bid("a", None),
            bid("a", 1, round=0),
        ],
        ids=["former instance", "echo", "nan", "inf", "negative", "no cost", "no round"],
    )
    def test_such_a_bid_counts_for_nothing(self, stale: Bid) -> None:
        election = elect(Desk(), state("a"))
        election.seen(offer(), 0)
        assert election.heard(stale, 0.01) == []
        assert kinds(election.tick(WINDOW)) == ["claim"]

    def test_duplicates_and_a_bid_behind_its_own_withdrawal_change_nothing(self) -> None:
        election = elect(Desk(), state("a"), state("b"))
        election.seen(offer(), 0)
        for message in (bid("a", None, kind="withdrawn"), bid("a", 1), bid("a", 1)):
            assert election.heard(message, 0.01) == []
        assert kinds(election.tick(WINDOW)) == ["claim"]

    def test_the_late_will_of_a_former_instance_is_ignored(self) -> None:
        election = elect(Desk(), state("a", instance="a-i2"))
        election.seen(offer(), 0)
        election.heard(bid("a", 1, instance="a-i2"), 0.01)
        will = state("a", presence=Presence.OFFLINE, instance="a-i1")
        assert election.presence(will, 0.02) == []

    def test_a_restart_takes_the_former_bid_away(self) -> None:
        election = elect(Desk(), state("a"))
        election.seen(offer(), 0)
        election.heard(bid("a", 1), 0.01)
        assert kinds(election.presence(state("a", instance="a-i2"), 0.5)) == ["claim"]

    def test_bids_of_an_earlier_round_are_ignored(self) -> None:
        election = elect(Desk(), state("a"))
        election.seen(offer(), 0)
        actions = election.heard(bid("a", 20, round=4), 0.01)
        assert [action.bid.round for action in actions if isinstance(action, Publish)] == [4]
        assert kinds(actions) == ["bid", "claim"]
        election = elect(Desk(), state("a"), state("b"))
        election.seen(offer(), 0)
        election.heard(bid("a", 20, round=4), 0.01)
        assert election.heard(bid("b", 1, round=3), 0.02) == []
        assert kinds(election.tick(0.01 + WINDOW)) == ["claim"]


class TestRounds:
    def test_waits_double_from_5_to_60_seconds_while_nobody_bids(self) -> None:
        desk = Desk(slots=0)
        election = elect(desk)
        election.seen(offer(), 0)
        waits, now = [], 0.0
        for _ in range(6):
            assert election.due is not None
            waits.append(election.due - now)
            now = election.due
            election.tick(now)
        assert waits == [FIRST_WAIT, 10, 20, 40, LONGEST_WAIT, LONGEST_WAIT]

    def test_an_unclaimed_offer_with_bids_gets_a_new_round_after_5_seconds(self) -> None:
        election = elect(Desk(), *(state(f"n{i}") for i in range(8)))
        election.seen(offer(), 0)
        for i in range(8):
            election.heard(bid(f"n{i}", 1), 0)
        assert election.due == FIRST_WAIT  # before the turn of rank 8
        actions = election.tick(FIRST_WAIT)
        assert [action.bid.round for action in actions if isinstance(action, Publish)] == [2]
        assert kinds(election.tick(FIRST_WAIT + WINDOW)) == ["claim"]  # the eight kept silent

    def test_own_resources_freed_begin_a_round_at_once(self) -> None:
        desk = Desk(slots=0)
        election = elect(desk, state("a", free=0))
        assert kinds(election.seen(offer(), 0)) == ["busy"]
        desk.left = 1
        assert kinds(election.resources_changed(2)) == ["bid", "claim"]

    def test_a_round_that_another_begins_is_joined(self) -> None:
        desk = Desk(slots=0)
        election = elect(desk, state("a", free=0))
        election.seen(offer(), 0)
        desk.left = 1
        actions = election.heard(bid("a", 20, round=2), 3)
        assert kinds(actions) == ["bid", "claim"]

    def test_a_standing_bid_of_others_is_not_disturbed_by_freed_resources(self) -> None:
        desk = Desk(slots=0)
        election = elect(desk, state("a"))
        election.seen(offer(), 0)
        election.heard(bid("a", 20), 0.01)
        desk.left = 1
        assert election.resources_changed(0.02) == []
        assert kinds(election.tick(FIRST_WAIT)) == ["bid"]

    def test_an_unchanged_busy_is_not_repeated_too_often(self) -> None:
        desk = Desk(slots=0)
        election = elect(desk)
        said = [0] if kinds(election.seen(offer(), 0)) == ["busy"] else []
        said += [now for now in range(1, 200) if kinds(election.tick(now)) == ["busy"]]
        assert said[0] == 0
        assert all(later - earlier >= SAY_AGAIN for earlier, later in pairwise(said))
        assert len(said) >= 3
        desk.refusal = Answer(kind="pass", reason="is draining")
        assert kinds(election.tick(200 + LONGEST_WAIT)) == ["pass"]

    def test_draining_withdraws(self) -> None:
        desk = Desk()
        election = elect(desk, state("a"))
        election.seen(offer(), 0)
        desk.refusal = Answer(kind="pass", reason="is draining")
        (action,) = election.resources_changed(0.01)
        assert isinstance(action, Publish)
        assert (action.bid.kind, action.bid.reason) == ("withdrawn", "is draining")


class TestClaims:
    def test_won_leaves_the_resources_reserved(self) -> None:
        desk = Desk()
        election = elect(desk)
        election.seen(offer(), 0)
        assert election.claimed(RUN, ClaimResult.WON, 0.01) == []
        assert (desk.reserved, election.offers, election.due) == ([RUN], (), None)

    def test_lost_gives_them_back_and_bids_on_what_waits(self) -> None:
        desk = Desk()
        election = elect(desk)
        election.seen(offer(3), 0)
        assert kinds(election.seen(offer(4), 0)) == ["busy"]
        actions = election.claimed(RUN, ClaimResult.LOST, 0.01)
        assert kinds(actions) == ["bid", "claim"]
        assert desk.reserved == [OfferId("ulm-abcd", 4, 1)]

    def test_unknown_changes_nothing_until_the_truth_is_known(self) -> None:
        desk = Desk()
        election = elect(desk)
        election.seen(offer(), 0)
        assert election.claimed(RUN, ClaimResult.UNKNOWN, 1) == []
        assert election.tick(100) == []
        assert desk.reserved == [RUN]
        election.claimed(RUN, ClaimResult.LOST, 101)
        assert desk.reserved == []

    def test_gone_during_a_claim_awaits_its_result(self) -> None:
        desk = Desk()
        election = elect(desk)
        election.seen(offer(), 0)
        election.gone(RUN, 0.01)
        assert desk.reserved == [RUN]
        election.claimed(RUN, ClaimResult.LOST, 0.02)
        assert desk.reserved == []

    def test_gone_ends_the_matter(self) -> None:
        desk = Desk()
        election = elect(desk, state("a"))
        election.seen(offer(), 0)
        election.heard(bid("a", 1), 0.01)
        election.gone(RUN, 0.02)
        assert election.tick(100) == []
        assert (election.due, desk.reserved) == (None, [])


class TestLimit:
    def test_no_more_than_four_bids_per_free_slot(self) -> None:
        election = elect(Desk(slots=2), state("a"))
        actions = [action for run in range(20) for action in election.seen(offer(run, age=run), 0)]
        assert kinds(actions) == ["bid"] * 2 * BIDS_PER_SLOT

    def test_higher_priority_gets_its_bid_all_the_same(self) -> None:
        election = elect(Desk(slots=1), state("a"))
        for run in range(BIDS_PER_SLOT):
            election.seen(offer(run), 0)
        assert election.seen(offer(90), 0) == []
        assert kinds(election.seen(offer(91, priority=1), 0)) == ["bid"]

    def test_a_place_that_becomes_free_is_filled(self) -> None:
        election = elect(Desk(slots=1), state("a"))
        for run in range(BIDS_PER_SLOT + 1):
            election.seen(offer(run, age=run), 0)
        actions = election.gone(OfferId("ulm-abcd", 0, 1), 0.01)
        assert [action.bid.offer.run for action in actions if isinstance(action, Publish)] == [BIDS_PER_SLOT]

    def test_alone_the_queue_is_worked_off_by_priority_then_age(self) -> None:
        desk = Desk(slots=0)
        election = elect(desk)
        for run, priority, age in [(1, 0, 5), (2, 0, 3), (3, 1, 9), (4, 0, 4)]:
            election.seen(offer(run, priority=priority, age=age), 0)
        order = []
        for now in range(1, 5):
            desk.left = 1
            claims = [a for a in election.resources_changed(now) if isinstance(a, Claim)]
            order += [claim.offer.id.run for claim in claims]
            election.claimed(claims[0].offer.id, ClaimResult.WON, now)
        assert order == [3, 2, 4, 1]


class TestChoose:
    def test_all_when_there_is_room(self) -> None:
        offers = [offer(run, age=-run) for run in range(4)]
        assert [o.id.run for o in choose(offers, node="me", limit=4, peers=1)] == [3, 2, 1, 0]

    def test_priority_first_then_the_oldest_always_then_hash_among_the_oldest(self) -> None:
        offers = [offer(run, age=run) for run in range(100)] + [offer(200, priority=5, age=999)]
        chosen = [o.id.run for o in choose(offers, node="me", limit=5, peers=3)]
        assert chosen[:2] == [200, 0]
        assert len(chosen) == 5
        assert all(run < 4 * 3 for run in chosen[1:])

    def test_nodes_choose_differently(self) -> None:
        offers = [offer(run, age=run) for run in range(100)]
        covered = {o.id for i in range(10) for o in choose(offers, node=f"n{i}", limit=4, peers=10)}
        assert len(covered) > 15

    def test_nothing_without_room(self) -> None:
        assert choose([offer()], node="me", limit=0, peers=1) == []


class TestHeldContainers:
    """The node where the container of a lost attempt still is: its resources are set aside for it already."""

    @staticmethod
    def holder(*runs: int) -> Desk:
        desk = Desk(slots=0)
        desk.held = {offer(run).id for run in runs}
        return desk

    def test_no_limit_keeps_it_from_bidding(self) -> None:
        (said, claim) = elect(self.holder(3)).seen(offer(), 0)
        assert isinstance(said, Publish) and isinstance(claim, Claim)
        assert (said.bid.cost, said.bid.parts) == (0, {HELD: 0})
        assert claim.bids[0].parts == {HELD: 0}

    def test_it_bids_when_it_turns_out_that_the_container_is_there(self) -> None:
        desk = self.holder()
        election = elect(desk)
        assert kinds(election.seen(offer(3), 0)) == ["busy"]
        assert kinds(election.seen(offer(4), 0)) == ["busy"]
        desk.held = {RUN}
        actions = election.resources_changed(0.01)
        assert kinds(actions) == ["bid", "claim"]
        assert isinstance(actions[1], Claim) and actions[1].offer.id == RUN

    def test_of_equal_bids_the_holders_goes_first(self) -> None:
        for run in range(20):  # whatever the hash says
            election = elect(self.holder(run), state("a"))
            election.seen(offer(run), 0)
            assert kinds(election.heard(bid("a", 0, run=run), 0.01)) == ["claim"]

    def test_others_wait_for_the_holder_though_they_are_as_cheap(self) -> None:
        holders = Bid(
            offer=RUN, node="a", instance="a-i1", round=1, kind="bid", cost=0, parts={HELD: 0.0}
        )  # fmt: skip
        election = elect(Desk(cost=0), state("a", free=0), state("b"))
        election.seen(offer(), 0)
        election.heard(holders, 0.01)
        assert election.heard(bid("b", None, kind="busy"), 0.02) == []
        assert kinds(election.tick(0.02 + STEP)) == ["claim"]

    def test_without_a_broker_it_does_not_wait(self) -> None:
        election = Election(node="me", instance="me-i1", bidder=self.holder(3))
        assert kinds(election.seen(offer(), 10)) == ["claim"]

    def test_a_lost_claim_gives_nothing_back(self) -> None:
        desk = self.holder(3)
        election = elect(desk)
        election.seen(offer(), 0)
        election.claimed(RUN, ClaimResult.LOST, 0.01)
        assert (desk.left, desk.reserved) == (0, [])


class TestWithoutBroker:
    def test_claims_after_a_delay_of_its_own_and_says_nothing(self) -> None:
        desk = Desk()
        election = Election(node="me", instance="me-i1", bidder=desk)
        assert election.seen(offer(), 10) == []
        assert election.due == 10 + ALONE * spread(RUN, "me")
        assert kinds(election.tick(election.due)) == ["claim"]

    def test_when_it_goes_away_a_contest_goes_on_alone(self) -> None:
        election = elect(Desk(), state("a"))
        election.seen(offer(), 0)
        election.heard(bid("a", 1), 0.01)
        assert election.broker(False, 0.5) == []
        assert election.due == 0.5 + ALONE * spread(RUN, "me")
        assert kinds(election.tick(0.5 + ALONE)) == ["claim"]

    def test_when_it_is_back_a_new_round_is_held(self) -> None:
        election = elect(Desk(), state("a"))
        election.seen(offer(), 0)
        election.broker(False, 0.01)
        actions = election.broker(True, 0.02)
        assert kinds(actions) == ["bid"]
        assert election.heard(bid("a", 1, round=1), 0.03) == []
        assert kinds(election.tick(0.02 + WINDOW)) == ["claim"]

    def test_saying_it_twice_changes_nothing(self) -> None:
        election = elect(Desk(), state("a"))
        election.seen(offer(), 0)
        assert election.broker(True, 0.01) == []
        assert election.due == WINDOW


def test_early_bids_for_offers_nobody_knows_are_bounded() -> None:
    election = elect(Desk())
    for run in range(10_000):
        election.heard(bid("a", 1, run=run), 0)
    assert kinds(election.seen(offer(0), 1)) == ["bid", "claim"]  # its early bid was let go
    assert kinds(election.seen(offer(9_999), 1)) == ["busy"]
