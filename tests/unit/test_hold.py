"""When a node keeps itself free for a run that has waited long, for which one, and from what (design 5.6)."""

from __future__ import annotations

import pytest

from winslow.hold import AFTER, LASTS, LOOK, Keeper, hold_id, kept_for_another
from winslow.node import FreeResources, Gpu, Hardware, Hold, NodeState, Presence
from winslow.offer import Offer, OfferId, spread
from winslow.pipeline import GpuRequirement, Requirements
from winslow.placement import in_the_way, missing_summary

GIB = 1 << 30
GPUS = tuple(Gpu(uuid=f"G{number}", memory=24 * GIB) for number in range(2))
NAMES = [f"ws{number}" for number in range(1, 6)]


def offer(
    run: int = 1, *, cpus: float = 4, age: float = 0.0, priority: int = 0, gpus: int = 0, memory: int = GIB
) -> Offer:
    needed = GpuRequirement(count=gpus) if gpus else None
    return Offer(
        id=OfferId("big", run, 1),
        requires=Requirements(cpus=cpus, memory=memory, gpus=needed),
        age=age,
        priority=priority,
    )


def node(
    name: str = "ws1",
    *,
    cpus: float = 4,
    free: float = 0,
    presence: Presence = Presence.ONLINE,
    hold: Hold | None = None,
    gpus: tuple[Gpu, ...] = (),
    free_gpus: tuple[str, ...] = (),
) -> NodeState:
    return NodeState(
        node=name,
        node_uuid=f"uuid-{name}",
        instance="i",
        presence=presence,
        hardware=Hardware(cpus=cpus, memory=64 * GIB, gpus=gpus),
        free=FreeResources(cpus=free, memory=64 * GIB, gpus=free_gpus),
        hold=hold,
    )


def holding(*offers: Offer, me: NodeState | None = None, seen_at: float = 0.0) -> Keeper:
    """The only node, after it has held for the first of them."""
    keeper = Keeper(node="ws1")
    for each in offers:
        keeper.seen(each, seen_at)
    assert keeper.review(me or node(), [], seen_at + AFTER)
    assert keeper.hold is not None
    return keeper


def held(each: Offer) -> Hold:
    return Hold(
        project=each.id.project,
        run=each.id.run,
        attempt=each.id.attempt,
        requires=each.requires,
        priority=each.priority,
    )


def test_a_run_gets_a_hold_when_it_has_waited_long_enough_and_not_before() -> None:
    keeper = Keeper(node="ws1")
    keeper.seen(offer(), 1000.0)
    assert not keeper.review(node(), [], 1000.0 + AFTER - 0.1) and keeper.hold is None
    keeper.seen(offer(), 1060.0)  # again is harmless: the count goes on
    assert keeper.review(node(), [], 1000.0 + AFTER)
    assert keeper.hold == held(offer())
    assert not keeper.review(node(), [], 1000.0 + AFTER + LOOK), "it is the same as before"


@pytest.mark.parametrize("presence", [Presence.DRAINING, Presence.OFFLINE])
def test_only_a_node_that_takes_part_and_could_take_the_run_holds(presence: Presence) -> None:
    for me in (node(presence=presence), node(cpus=2)):
        keeper = Keeper(node="ws1")
        keeper.seen(offer(), 0.0)
        assert not keeper.review(me, [], 10 * AFTER)


def test_none_holds_for_a_run_that_a_node_can_take_now() -> None:
    for me, other in ((node(free=4), node("ws2")), (node(), node("ws2", free=4))):
        keeper = Keeper(node="ws1")
        keeper.seen(offer(), 0.0)
        assert not keeper.review(me, [other], 10 * AFTER)
    busy = node("ws2", free=4, hold=held(offer(9, cpus=3, age=-1)))  # free, and kept so for another one
    assert keeper.review(node(), [busy], 10 * AFTER)


def test_the_first_by_hash_holds_at_once_and_the_others_one_look_later_each() -> None:
    """Everybody sees the same: only the first one holds; those behind it only while it does not."""
    ranked = sorted(NAMES, key=lambda name: spread(offer().id, name))
    states = [node(name) for name in NAMES]
    for rank, name in enumerate(ranked):
        keeper = Keeper(node=name)
        keeper.seen(offer(), 0.0)
        others = [state for state in states if state.node != name]
        if rank:
            assert not keeper.review(node(name), others, AFTER + rank * LOOK - 0.1)
        assert keeper.review(node(name), others, AFTER + rank * LOOK)
        if rank:
            told = Keeper(node=name)
            told.seen(offer(), 0.0)
            first = node(ranked[0], hold=held(offer()))
            others = [first, *(state for state in others if state.node != ranked[0])]
            assert not told.review(node(name), others, 10 * AFTER)


def test_of_two_that_hold_for_the_same_run_the_worse_in_rank_gives_up() -> None:
    better, worse = sorted(("ws1", "ws2"), key=lambda name: spread(offer().id, name))
    for name, other, stays in ((better, worse, True), (worse, better, False)):
        keeper = Keeper(node=name)
        keeper.seen(offer(), 0.0)
        keeper.review(node(name), [], AFTER)
        changed = keeper.review(node(name), [node(other, hold=held(offer()))], AFTER + LOOK)
        assert (changed, keeper.hold is not None) == (not stays, stays)


def test_a_node_holds_for_one_at_a_time_the_most_urgent_then_the_oldest() -> None:
    offers = [offer(1, age=5), offer(2, age=3), offer(3, age=9, priority=1), offer(4, age=1, cpus=64)]
    keeper = holding(*offers)
    assert keeper.hold == held(offers[2])
    assert keeper.gone(offers[2].id) and keeper.hold is None
    assert not keeper.gone(offers[2].id)
    keeper.review(node(), [], AFTER + LOOK)
    assert keeper.hold == held(offers[1])


def test_what_is_behind_and_in_the_way_is_not_taken_and_all_else_is() -> None:
    big = offer(1, age=5, cpus=4)
    keeper, me = holding(big), node(free=2)
    assert keeper.keeps_from(offer(2, age=6, cpus=1), me) == big.id
    assert keeper.keeps_from(offer(2, age=6, cpus=1, priority=-1), me) == big.id
    assert keeper.keeps_from(offer(2, age=4, cpus=1), me) is None, "it came first"
    assert keeper.keeps_from(offer(2, age=6, cpus=1, priority=1), me) is None, "it is more urgent"
    assert keeper.keeps_from(offer(2, age=6, cpus=4), node(free=4)) is None, "it needs the same"
    assert keeper.keeps_from(big, me) is None
    assert Keeper(node="ws1").keeps_from(big, me) is None


def test_a_run_for_cores_is_not_in_the_way_of_one_that_waits_for_gpus() -> None:
    me = node(cpus=16, free=10, gpus=GPUS, free_gpus=("G1",))
    big = offer(1, cpus=4, gpus=2)
    keeper = holding(big, me=me)
    assert keeper.keeps_from(offer(2, age=1, cpus=6), me) is None
    assert keeper.keeps_from(offer(2, age=1, cpus=7), me) == big.id
    assert keeper.keeps_from(offer(2, age=1, cpus=1, gpus=1), me) == big.id


def test_in_the_way_is_what_takes_of_the_thing_that_lacks() -> None:
    me = node(cpus=16, free=16)
    assert in_the_way(me, Requirements(cpus=1, memory=GIB), Requirements(cpus=1, memory=64 * GIB))
    assert not in_the_way(me, Requirements(cpus=1, memory=GIB), Requirements(cpus=1, memory=63 * GIB))
    assert in_the_way(me, Requirements(cpus=1, disk=GIB), Requirements(cpus=1, disk=GIB))
    assert not in_the_way(me, Requirements(cpus=1), Requirements(cpus=1, disk=GIB))


def test_a_hold_ends_by_itself_and_the_next_one_of_this_node_is_as_far_away() -> None:
    begun = AFTER
    keeper = holding(offer())
    assert not keeper.review(node(), [], begun + LASTS - 0.1)
    assert keeper.review(node(), [], begun + LASTS) and keeper.hold is None
    assert not keeper.review(node(), [], begun + 2 * LASTS - 0.1)
    assert keeper.review(node(), [], begun + 2 * LASTS)


def test_another_node_may_hold_a_while_after_a_hold_that_was_in_vain() -> None:
    keeper = Keeper(node="ws1")
    keeper.seen(offer(), 0.0)
    other = node("ws2", hold=held(offer()))
    assert not keeper.review(node(), [other], AFTER + LASTS)
    ended = node("ws2")
    assert not keeper.review(node(), [ended], AFTER + LASTS + AFTER - 0.1)
    assert keeper.review(node(), [ended], AFTER + LASTS + AFTER + LOOK)


@pytest.mark.parametrize("me", [node(presence=Presence.DRAINING), node(cpus=2)])
def test_a_node_that_can_no_longer_be_the_one_gives_the_hold_up(me: NodeState) -> None:
    keeper = holding(offer())
    assert keeper.review(me, [], AFTER + LOOK) and keeper.hold is None
    assert keeper.review(node(), [], AFTER + 2 * LOOK), "and may be it again at once: it was not in vain"


def test_it_is_kept_until_it_is_claimed_not_only_until_it_fits() -> None:
    keeper = holding(offer())
    assert not keeper.review(node(free=4), [], AFTER + LOOK)
    assert keeper.keeps_from(offer(2, age=1, cpus=1), node(free=4)) == offer().id


def test_without_a_broker_none_begins_and_one_still_ends() -> None:
    keeper = Keeper(node="ws1")
    keeper.seen(offer(), 0.0)
    assert not keeper.review(node(), None, 10 * AFTER)
    assert keeper.review(node(), [], 10 * AFTER)
    assert not keeper.review(node(), None, 10 * AFTER + LASTS - 1)
    assert keeper.review(node(), None, 10 * AFTER + LASTS) and keeper.hold is None


def test_a_presence_tells_others_what_a_node_is_kept_free_for() -> None:
    big, small = offer(1), offer(2, cpus=1)
    keeper = node(free=2, hold=held(big))
    assert keeper.hold is not None and hold_id(keeper.hold) == big.id
    assert kept_for_another(keeper, small) == held(big)
    for each in (big, offer(2, cpus=1, priority=1), offer(2, cpus=3)):
        assert kept_for_another(keeper, each) is None, "it is the one, more urgent, or too big anyway"
    assert NodeState.model_validate_json(keeper.model_dump_json()) == keeper
    said = missing_summary([keeper], small.requires, kept=lambda _: "is kept free for big #1")
    assert said == "waits for ws1: is kept free for big #1"
