"""The election over whole sites in virtual time: who claims, how soon, and that never two nodes start a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.property.simulation import LISTING, LISTING_ALONE, Agent, PlainStore, Store, Weather, World
from winslow.election import ALONE, LONGEST_WAIT, STEP, WINDOW, Election, _Contest
from winslow.hold import AFTER, LOOK, Keeper
from winslow.offer import Bid, OfferId, spread

STORM = Weather(
    latency=(0.0005, 0.2), loss=0.2, duplicates=0.1, store=(0.001, 0.05), store_mute=0.1, will=(0.01, 10)
)
SETTLED = 0.5  # seconds for a fresh world to connect


def winner(world: World, offer: OfferId) -> str:
    return world.started_by[offer][0]


def cheapest(agents: list[Agent], offer: OfferId) -> str:
    return min(agents, key=lambda agent: (agent.price(offer), spread(offer, agent.name), agent.name)).name


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    nodes=st.integers(1, 12),
    duplicates=st.sampled_from([0.0, 0.3]),
    latency_and_bound=st.sampled_from([(0.003, 0.030), (0.060, 0.250)]),
)
def test_cheapest_live_bidder_wins_when_nothing_is_lost(
    seed: int, nodes: int, duplicates: float, latency_and_bound: tuple[float, float]
) -> None:
    """Agents come and go between the elections; with a wide latency the messages overtake each other."""
    latency, bound = latency_and_bound
    world = World(
        seed=seed, cpus=[1] * nodes, weather=Weather(latency=(0.0002, latency), duplicates=duplicates)
    )
    world.run(SETTLED)
    random = Random(seed)
    for run in range(1, 11):
        for agent in random.sample(world.agents[1:], random.randrange(nodes)):
            agent.die() if agent.alive else agent.start()
        world.run(SETTLED)
        offer = world.queue(run)
        world.run(world.duration + 1)
        assert winner(world, offer) == cheapest([agent for agent in world.agents if agent.alive], offer)
        assert world.claimed_at[offer] - world.queued_at[offer] < bound
    world.check_starts()


def storm(*, elections: int, store: type[Store] = Store, election: type[Election] = Election) -> int:
    """Elections each in a site of its own, half of them with the cheapest bidders dying right after their bid.

    Every other one is calm (nothing lost, last wills late): there the bound is a second per dead bidder. In the
    others nearly everything goes wrong, and the bound is a listing and the longest wait. Returns the claims
    that lost at the store.
    """
    losers = 0
    for number in range(elections):
        random, calm = Random(number), number % 2 == 0
        nodes = random.randint(2, 5)
        world = World(
            seed=number,
            cpus=[1] * nodes,
            weather=Weather(will=(20, 30)) if calm else STORM,
            store=store,
            election=election,
        )
        world.run(SETTLED if calm else 2)
        offer = OfferId("p", 1, 1)
        by_price = sorted(world.agents, key=lambda agent: (agent.price(offer), spread(offer, agent.name)))
        doomed = by_price[: random.randrange(min(nodes, 4))]

        def kill(agent: Agent, bid: Bid, world: World = world, doomed: list[Agent] = doomed) -> None:
            if agent in doomed and bid.kind == "bid":
                world.later(0, agent.die)

        world.on_bid = kill
        world.queue(1)
        bound = WINDOW + STEP * len(doomed) + 0.1 if calm else LISTING * 1.1 + LONGEST_WAIT + 10
        world.run(bound, until=lambda world=world, offer=offer: offer in world.claimed_at)  # type: ignore[misc]
        assert offer in world.claimed_at, f"election {number}: not claimed within {bound:.2f} s"
        world.run(STEP * nodes)
        world.check_starts()
        losers += world.claims - 1
    return losers


class NoNextRank(Election):
    """The mutation: only rank 0 ever claims; the window's end is the last thing the others act on."""

    def _turn(self, contest: _Contest) -> float:
        turn = super()._turn(contest)
        return turn if contest.closed is None or self._rank(contest) == 0 else float("inf")


def test_a_thousand_elections_have_one_starter_each_and_none_is_late() -> None:
    assert storm(elections=1000) > 50  # or the store's condition was never put to the test


def test_a_put_without_its_condition_is_caught() -> None:
    with pytest.raises(AssertionError, match="was started by"):
        storm(elections=1000, store=PlainStore)


def test_a_missing_claim_of_the_next_rank_is_caught() -> None:
    with pytest.raises(AssertionError, match="not claimed within"):
        storm(elections=1000, election=NoNextRank)


def test_a_thousand_agents_agree_on_one() -> None:
    """300 too small, 200 that have just become busy, 500 idle, one of them dead after its bid."""
    world = World(seed=1, cpus=[0.5] * 300 + [1.0] * 700)
    world.run(SETTLED)
    for agent in world.agents[300:500]:
        agent.running[OfferId("other", 1, 1)] = 1
        agent.act(agent.election.resources_changed(world.now))
    world.run(0.1)
    offer = OfferId("p", 1, 1)
    by_price = sorted(world.agents[500:], key=lambda agent: (agent.price(offer), spread(offer, agent.name)))
    world.on_bid = lambda agent, bid: world.later(0, agent.die) if agent is by_price[0] else None
    world.queue(1)
    world.run(WINDOW + STEP + 0.1)
    assert winner(world, offer) == by_price[1].name
    assert world.claims == 1
    world.check_starts()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), nodes=st.integers(1, 6), runs=st.integers(1, 5))
def test_without_a_broker_queued_runs_still_start(seed: int, nodes: int, runs: int) -> None:
    world = World(seed=seed, cpus=[1] * nodes, duration=3)
    world.run(SETTLED)
    world.stop_broker()
    for run in range(runs):
        world.queue(run)
    world.run(runs * (3 + LISTING_ALONE * 1.1 + ALONE + 5))
    assert not world.unclaimed()
    world.check_starts()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), latency=st.sampled_from([0.003, 0.1]))
def test_a_long_queue_is_worked_off_without_pauses(seed: int, latency: float) -> None:
    """60 runs of 5 s on 3 nodes of 2 cores take 50 s: whoever becomes free takes the next at once."""
    world = World(seed=seed, cpus=[2, 2, 2], duration=5, weather=Weather(latency=(0.0002, latency)))
    world.run(SETTLED)
    for run in range(60):
        world.queue(run)
    world.run(50 + 60 / 6 * (WINDOW + 0.1))
    assert not world.unclaimed()
    world.check_starts()


def crowd(*, seed: int, cpus: list[int], keeper: Callable[..., Keeper] = Keeper) -> tuple[World, OfferId]:
    """Small runs come without end, enough to keep every core busy; one that needs a whole node comes among them."""
    world = World(seed=seed, cpus=cpus, duration=20, weather=Weather(latency=(0.0002, 0.02)), keeper=keeper)
    world.run(SETTLED)
    runs = count(1)

    def another() -> None:
        world.queue(next(runs))
        world.later(world.random.uniform(0.5, 1.0) * 20 / sum(cpus), another)

    another()
    world.run(60)
    return world, world.queue(0, cpus=max(cpus))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), cpus=st.sampled_from([[3], [4, 4], [2, 3, 4], [4, 1, 1]]))
def test_a_big_run_is_not_starved_by_a_stream_of_small_ones(seed: int, cpus: list[int]) -> None:
    """It starts two minutes after it came, and what was running then took its time; others work on meanwhile."""
    world, big = crowd(seed=seed, cpus=cpus)
    claimed = len(world.claimed_at)
    held: set[str] = set()

    def done() -> bool:
        held.update(agent.name for agent in world.agents if agent.keeper.hold is not None)
        return big in world.started_by

    world.run(AFTER + LOOK * (len(cpus) + 1) + world.duration + 5, until=done)
    assert big in world.started_by
    assert held == {winner(world, big)}, "one node held for it, and took it"
    rest = sum(cpus) - max(cpus)
    assert len(world.claimed_at) - claimed >= (AFTER + world.duration) / world.duration * rest * 0.9
    world.run(2 * LOOK)
    assert not any(agent.keeper.hold for agent in world.agents)
    world.check_starts()


def test_without_a_hold_it_is_starved() -> None:
    world, big = crowd(seed=1, cpus=[3], keeper=partial(Keeper, after=1e9))
    world.run(20 * AFTER)
    assert big not in world.claimed_at


def test_a_hold_survives_the_death_of_the_node_that_held() -> None:
    """Another node holds for the run then, and only one at a time."""
    world, big = crowd(seed=3, cpus=[4, 4, 4])
    world.run(AFTER + 4 * LOOK, until=lambda: any(agent.keeper.hold for agent in world.agents))
    (holder,) = (agent for agent in world.agents if agent.keeper.hold)
    holder.die()
    world.run(AFTER + LOOK * 4 + world.duration + 5, until=lambda: big in world.started_by)
    assert big in world.started_by and winner(world, big) != holder.name
    world.check_starts()


class Site(RuleBasedStateMachine):
    """Anything may happen to a site; afterwards, in calm weather, every run that fits somewhere is claimed."""

    DURATION = 5.0

    @initialize(seed=st.integers(0, 2**32), nodes=st.integers(1, 6))
    def build(self, seed: int, nodes: int) -> None:
        self.runs = 0
        self.world = World(
            seed=seed, cpus=[1 + index % 3 for index in range(nodes)], weather=STORM, duration=self.DURATION
        )

    def _agent(self, index: int) -> Agent:
        return self.world.agents[index % len(self.world.agents)]

    @rule(cpus=st.integers(1, 3), priority=st.integers(0, 2), times=st.integers(1, 4))
    def queue(self, cpus: int, priority: int, times: int) -> None:
        for _ in range(times):
            self.runs += 1
            self.world.queue(self.runs, cpus=cpus, priority=priority)

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0, 7.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(index=st.integers(0, 5))
    def kill_or_start(self, index: int) -> None:
        agent = self._agent(index)
        agent.die() if agent.alive else agent.start()

    @rule(index=st.integers(0, 5))
    def restart(self, index: int) -> None:
        self._agent(index).die()
        self._agent(index).start()

    @rule(index=st.integers(0, 5), draining=st.booleans())
    def drain(self, index: int, draining: bool) -> None:
        if self._agent(index).alive:
            self._agent(index).drain(draining)

    @rule(index=st.integers(0, 5))
    def cut_off(self, index: int) -> None:
        agent = self._agent(index)
        if agent.alive and self.world.broker_up:
            agent.disconnect()
            agent.later(3, agent.connect)

    @rule()
    def broker_fails_or_returns(self) -> None:
        self.world.stop_broker() if self.world.broker_up else self.world.start_broker()

    @rule(calm=st.booleans())
    def weather_changes(self, calm: bool) -> None:
        self.world.weather = Weather() if calm else STORM

    @invariant()
    def at_most_one_start(self) -> None:
        if hasattr(self, "world"):
            self.world.check_starts()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.weather = Weather()
        if not world.broker_up:
            world.start_broker()
        for agent in world.agents:
            if not agent.alive:
                agent.start()
            agent.drain(False)
        bound = LISTING * 1.1 + LONGEST_WAIT + self.runs * (self.DURATION + 1) + 10
        world.run(bound, until=lambda: not world.unclaimed())
        assert not world.unclaimed()
        world.run(30)
        world.check_starts()


TestSite = Site.TestCase
TestSite.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
