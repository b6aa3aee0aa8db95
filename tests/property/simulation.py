"""A site in virtual time: agents that run the real `Election`, a bad broker, a store with real conditional writes.

Nothing here sleeps or reads a clock: events lie in a heap and `World.run` takes them in order of their time.
A world is decided by its seed. `World.check_starts` is I1; `World.unclaimed` says which offers are left.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from random import Random

from winslow.election import Action, Claim, ClaimResult, Election
from winslow.hold import Keeper
from winslow.node import FreeResources, Hardware, NodeState, Presence
from winslow.offer import Answer, Bid, Offer, OfferId, spread
from winslow.pipeline import Requirements

LISTING, LISTING_ALONE = 60.0, 5.0  # seconds between an agent's listings, with and without a broker
RESEND = 0.5  # seconds before a claim of unknown outcome is looked at again


@dataclass(frozen=True, kw_only=True)
class Weather:
    """How bad it is. Pairs are the least and the most, in seconds; the rest are probabilities."""

    latency: tuple[float, float] = (0.0002, 0.003)  # a message through the broker; a wide span reorders
    loss: float = 0.0
    duplicates: float = 0.0
    store: tuple[float, float] = (0.001, 0.003)  # one way to the store
    store_mute: float = 0.0  # a PUT's answer does not arrive, applied or not
    will: tuple[float, float] = (0.01, 0.1)  # from an agent's death to its last will


class Store:
    """One document per offer: an ETag and who claimed it. A write counts only if its ETag is current."""

    def __init__(self) -> None:
        self._documents: dict[OfferId, tuple[int, str]] = {}
        self._etags = count(1)

    def create(self, offer: OfferId) -> None:
        self._documents[offer] = (next(self._etags), "")

    def get(self, offer: OfferId) -> tuple[int, str]:
        """ETag and claim id; the claim id is empty while the run is queued."""
        return self._documents[offer]

    def put(self, offer: OfferId, etag: int, claim: str) -> bool:
        if self._documents[offer][0] != etag:
            return False
        self._documents[offer] = (next(self._etags), claim)
        return True


class PlainStore(Store):
    """The mutation: a PUT without its condition."""

    def put(self, offer: OfferId, etag: int, claim: str) -> bool:
        return super().put(offer, self._documents[offer][0], claim)


@dataclass(eq=False)
class Agent:
    """A node: `cpus` cores to give, a price per offer. Its journal and its running containers outlive its process."""

    world: World
    name: str
    cpus: float
    prices: dict[OfferId, float] = field(default_factory=dict)
    journal: set[str] = field(default_factory=set)
    running: dict[OfferId, float] = field(default_factory=dict)
    reserved: dict[OfferId, float] = field(default_factory=dict)
    alive: bool = False
    connected: bool = False
    draining: bool = False
    starts: int = 0
    said: NodeState | None = None
    states_heard: dict[str, int] = field(default_factory=dict)  # the newest version of each node's state
    others: dict[str, NodeState] = field(default_factory=dict)  # and what it said
    timer: float | None = None
    next_look: float = 0.0

    # -- the Bidder port

    def answer(self, offer: Offer) -> Answer | None:
        if offer.requires.cpus > self.cpus:
            return None
        if self.draining:
            return Answer(kind="pass", reason="is draining")
        if offer.requires.cpus > self.free:
            return Answer(kind="busy", reason="too few cores are free")
        if self.keeper.keeps_from(offer, self.state(Presence.ONLINE)):
            return Answer(kind="busy", reason="is kept free for another run")
        return Answer(kind="bid", parts={"fetch": self.price(offer.id)})

    def slots(self) -> int:
        return int(self.free)

    def holds(self, offer: Offer) -> bool:
        return False

    def reserve(self, offer: Offer) -> bool:
        if offer.requires.cpus > self.free:
            return False
        self.reserved[offer.id] = offer.requires.cpus
        return True

    def release(self, offer: Offer) -> None:
        del self.reserved[offer.id]

    # -- its life

    @property
    def free(self) -> float:
        return self.cpus - sum(self.running.values()) - sum(self.reserved.values())

    @property
    def instance(self) -> str:
        return f"{self.name}-{self.starts}"

    def price(self, offer: OfferId) -> float:
        return self.prices.get(offer, round(100 * spread(offer, f"price of {self.name}")))

    def start(self) -> None:
        """A new process: what it had reserved or heard is forgotten, its journal and containers are there."""
        self.alive, self.connected, self.said, self.timer = True, False, None, None
        self.starts += 1
        self.reserved.clear()
        self.election = self.world.election(node=self.name, instance=self.instance, bidder=self)
        self.keeper = self.world.keeper(node=self.name)
        self.look()
        self.connect()
        self.review()

    def die(self) -> None:
        self.alive = False
        if self.connected:
            self.connected = False
            state = self.state(Presence.OFFLINE)
            self.world.later(
                self.world.between(self.world.weather.will), lambda: self.world.publish_state(state)
            )

    def connect(self) -> None:
        """The retained states come first, then the election hears that the broker is there."""

        def snapshot() -> None:
            if not self.connected and self.world.broker_up:
                self.connected = True
                for state in tuple(self.world.retained.values()):
                    self.hear_state(state)
                self.act(self.election.broker(True, self.world.now))
                self.announce()

        if not self.connected:
            self.later(self.world.between(self.world.weather.latency), snapshot)

    def disconnect(self) -> None:
        if self.connected:
            self.connected = False
            self.act(self.election.broker(False, self.world.now))
            self.look()

    def later(self, delay: float, then: Callable[[], None]) -> None:
        """`then`, unless this process has died."""
        born = self.starts
        self.world.later(delay, lambda: then() if self.alive and self.starts == born else None)

    def state(self, presence: Presence) -> NodeState:
        return NodeState(
            node=self.name,
            node_uuid=self.name,
            instance=self.instance,
            presence=presence,
            hardware=Hardware(cpus=self.cpus, memory=1 << 40),
            free=FreeResources(cpus=self.free, memory=1 << 40),
            hold=self.keeper.hold,
        )

    def presence(self) -> NodeState:
        return self.state(Presence.DRAINING if self.draining else Presence.ONLINE)

    def review(self) -> None:
        """Is this node to keep itself free for a run that has waited long?"""
        others = [state for name, state in self.others.items() if name != self.name]
        if self.keeper.review(self.presence(), others if self.connected else None, self.world.now):
            self.act(self.election.resources_changed(self.world.now))
        self.later(self.keeper.look, self.review)

    def saw(self, offer: Offer) -> None:
        self.keeper.seen(offer, self.world.now)
        self.act(self.election.seen(offer, self.world.now))

    def lost_sight(self, offer: OfferId) -> None:
        if self.keeper.gone(offer):
            self.act(self.election.resources_changed(self.world.now))
        self.act(self.election.gone(offer, self.world.now))

    def announce(self) -> None:
        """Publish the presence if it is another than was said last."""
        state = self.presence()
        if self.connected and state != self.said:
            self.said = state
            self.world.publish_state(state)

    def drain(self, draining: bool) -> None:
        self.draining = draining
        self.act(self.election.resources_changed(self.world.now))

    def look(self) -> None:
        """List the documents: what is queued, what is no longer, and which attempts are mine."""

        def listed() -> None:
            now = self.world.now
            for offer in tuple(self.world.offers.values()):
                claim = self.world.store.get(offer.id)[1]
                if not claim:
                    self.saw(offer)
                elif claim in self.journal:
                    self.adopt(offer)
            for known in self.election.offers:
                if self.world.store.get(known)[1]:
                    self.lost_sight(known)
            wait = LISTING if self.connected else LISTING_ALONE
            if self.next_look <= now:
                self.next_look = now + wait * self.world.random.uniform(0.9, 1.1)
                self.later(self.next_look - now, self.look)

        self.next_look = self.world.now
        self.later(self.world.between(self.world.weather.store), listed)

    def read(self, offer: Offer) -> None:
        """A hint came: read the document."""

        def answered() -> None:
            if self.world.store.get(offer.id)[1]:
                self.lost_sight(offer.id)
            else:
                self.saw(offer)

        self.later(2 * self.world.between(self.world.weather.store), answered)

    # -- what the election says

    def act(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Claim):
                self.claim(action.offer)
            else:
                self.world.sent(self, action.bid)
        self.announce()
        due = self.election.due
        if due is not None and due != self.timer:
            self.timer = due
            self.later(max(0.0, due - self.world.now), lambda: self.wake(due))

    def wake(self, due: float) -> None:
        if due == self.timer:
            self.timer = None
            self.act(self.election.tick(self.world.now))

    def hear(self, bid: Bid) -> None:
        self.react(self.election.heard(bid, self.world.now))

    def hear_state(self, state: NodeState) -> None:
        if state.node == self.name and state.instance != self.instance and self.said is not None:
            self.said = None  # the last will of a former process came late
            self.announce()
        else:
            self.others[state.node] = state
            self.react(self.election.presence(state, self.world.now))

    def react(self, actions: list[Action]) -> None:
        """As `act`, at no cost where nothing came of what was heard."""
        if actions or self.election.due != self.timer:
            self.act(actions)

    def claim(self, offer: Offer) -> None:
        """Journal, read, write with the ETag; after silence look, and send the same again if nothing changed."""
        claim, world = f"{self.instance}:{next(world_ids)}", self.world
        self.journal.add(claim)

        def read() -> None:
            etag, holder = world.store.get(offer.id)
            if holder:
                # Another claim of this node's journal: its process died while the PUT was on its way.
                self.later(world.between(world.weather.store), lambda: self.decided(offer, holder))
            else:
                world.later(2 * world.between(world.weather.store), lambda: write(etag))

        def write(etag: int) -> None:  # reaches the store even if the agent has died meanwhile
            world.claims += 1
            won = world.store.put(offer.id, etag, claim)
            if won:
                world.claimed_at.setdefault(offer.id, world.now)
            if world.random.random() < world.weather.store_mute:
                self.later(RESEND, unknown)
            else:
                self.later(
                    world.between(world.weather.store), lambda: self.decided(offer, claim) if won else read()
                )

        def unknown() -> None:
            self.act(self.election.claimed(offer.id, ClaimResult.UNKNOWN, world.now))
            read()

        self.later(world.between(world.weather.store), read)

    def decided(self, offer: Offer, holder: str) -> None:
        if holder in self.journal:
            self.adopt(offer)
            self.act(self.election.claimed(offer.id, ClaimResult.WON, self.world.now))
        else:
            self.act(self.election.claimed(offer.id, ClaimResult.LOST, self.world.now))

    def adopt(self, offer: Offer) -> None:
        """The attempt is ours: start it, once."""
        if offer.id in self.world.started_by and self.name in self.world.started_by[offer.id]:
            return
        self.reserved.pop(offer.id, None)
        self.running[offer.id] = offer.requires.cpus
        self.world.started_by.setdefault(offer.id, []).append(self.name)
        self.keeper.gone(offer.id)
        self.world.broadcast(self, lambda agent: agent.lost_sight(offer.id))
        self.world.later(self.world.duration, lambda: self.ended(offer.id))

    def ended(self, offer: OfferId) -> None:
        self.running.pop(offer, None)
        if self.alive:
            self.act(self.election.resources_changed(self.world.now))


world_ids = count(1)


class World:
    """The broker, the store, the agents and the time. `election` and `keeper` are the classes under test."""

    def __init__(
        self,
        *,
        seed: int,
        cpus: Iterable[float] = (),
        weather: Weather = Weather(),
        store: type[Store] = Store,
        election: type[Election] = Election,
        keeper: Callable[..., Keeper] = Keeper,
        duration: float = 30.0,
    ) -> None:
        self.random, self.weather, self.duration = Random(seed), weather, duration
        self.store, self.election, self.keeper = store(), election, keeper
        self.now, self._events, self._order = 0.0, list[tuple[float, int, Callable[[], None]]](), count()
        self.broker_up = True
        self.retained: dict[str, NodeState] = {}
        self.offers: dict[OfferId, Offer] = {}
        self.queued_at: dict[OfferId, float] = {}
        self.claimed_at: dict[OfferId, float] = {}
        self.started_by: dict[OfferId, list[str]] = {}
        self.sent_bids: list[Bid] = []
        self.claims = 0  # PUTs that reached the store
        self.on_bid: Callable[[Agent, Bid], None] | None = None
        self.agents = [Agent(self, f"n{index}", share) for index, share in enumerate(cpus)]
        for agent in self.agents:
            agent.start()

    # -- time

    def later(self, delay: float, then: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._order), then))

    def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let `seconds` pass, or fewer if `until` comes true."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end and not until():
            self.now, _, then = heapq.heappop(self._events)
            then()
        if not until():
            self.now = end

    def between(self, span: tuple[float, float]) -> float:
        return self.random.uniform(*span)

    # -- broker

    def broadcast(self, sender: Agent | None, deliver: Callable[[Agent], None]) -> None:
        """To every connected agent but the sender; each copy with its own fate, in eight steps of latency."""
        if not self.broker_up or (sender is not None and not sender.connected):
            return
        low, high = self.weather.latency
        arrivals: list[list[Agent]] = [[] for _ in range(8)]
        chance = self.random.random
        for agent in self.agents:
            if agent is sender or not agent.connected or chance() < self.weather.loss:
                continue
            arrivals[int(chance() * 8)].append(agent)
            if self.weather.duplicates and chance() < self.weather.duplicates:
                arrivals[int(chance() * 8)].append(agent)

        def arrive(agents: list[Agent]) -> None:
            for agent in agents:
                if agent.alive and agent.connected:
                    deliver(agent)

        for step, agents in enumerate(arrivals):
            if agents:
                delay = low + (high - low) * (step + chance()) / 8
                self.later(delay, lambda agents=agents: arrive(agents))  # type: ignore[misc]

    def publish_state(self, state: NodeState) -> None:
        if self.broker_up:
            self.retained[state.node] = state
            version = next(self._order)

            def deliver(agent: Agent) -> None:
                # MQTT keeps the order of one topic's messages; one that overtook another would undo it.
                if version > agent.states_heard.get(state.node, -1):
                    agent.states_heard[state.node] = version
                    agent.hear_state(state)

            self.broadcast(None, deliver)

    def sent(self, sender: Agent, bid: Bid) -> None:
        self.sent_bids.append(bid)
        self.broadcast(sender, lambda agent: agent.hear(bid))
        if self.on_bid is not None:
            self.on_bid(sender, bid)

    def stop_broker(self) -> None:
        """It forgets what was retained, as mosquitto does when killed."""
        self.broker_up = False
        self.retained.clear()
        for agent in self.agents:
            if agent.alive:
                agent.disconnect()

    def start_broker(self) -> None:
        self.broker_up = True
        for agent in self.agents:
            if agent.alive:
                agent.later(self.random.uniform(0, 1), agent.connect)

    # -- offers and what became of them

    def queue(self, run: int, *, cpus: float = 1, priority: int = 0) -> OfferId:
        """A new offer: its document, and a hint to all."""
        offer = Offer(
            id=OfferId("p", run, 1), requires=Requirements(cpus=cpus), priority=priority, age=self.now
        )
        self.store.create(offer.id)
        self.offers[offer.id] = offer
        self.queued_at[offer.id] = self.now
        self.broadcast(None, lambda agent: agent.read(offer))
        return offer.id

    def check_starts(self) -> None:
        """I1: at most one node starts an attempt, and it does so once."""
        for offer, nodes in self.started_by.items():
            assert len(nodes) == 1, f"{offer} was started by {' and '.join(nodes)}"

    def unclaimed(self) -> list[OfferId]:
        """Offers that fit a living agent and that nobody has claimed."""
        largest = max((a.cpus for a in self.agents if a.alive and not a.draining), default=0)
        return [
            offer.id
            for offer in self.offers.values()
            if offer.id not in self.claimed_at and offer.requires.cpus <= largest
        ]
