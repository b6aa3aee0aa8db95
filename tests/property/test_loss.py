"""Loss in virtual time: who is alive is never lost, who is dead is, and no trouble of the observer shortens the wait.

One owner of an attempt and one observer. The observer's troubles come one after another; where they were is
known, so the earliest moment at which a loss is right is counted here in another way than `winslow.loss` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from winslow.loss import Held, Loss, Mark, Watch, period

NODE = "ws1"
ETERNITY = 1e9


class Trouble(StrEnum):
    BROKER = "broker"  # the observer's connection is gone
    STORE = "store"  # its reads fail
    STALL = "stall"  # it does nothing at all
    RESTART = "restart"  # its agent is stopped and started
    PRESENCE = "presence"  # the owner is online at the broker


@dataclass(frozen=True)
class Fault:
    """`wait` and `length` in periods: how long after the one before it begins, and how long it lasts."""

    kind: Trouble
    wait: float
    length: float


@dataclass(frozen=True)
class Outcome:
    losses: list[tuple[float, Loss]]  # with their moments since the world's begin
    settled: list[float]  # ends of troubles after which two periods do not count
    gaps: list[float]  # ends of other troubles that break every interval


class Site:
    """A world that lasts `lasts` seconds from `begin`; the owner writes until `dies`, with pauses of any length
    up to `pause` periods between its writes."""

    def __init__(
        self, *, lost_after: float, begin: float, dies: float, lasts: float, pause: float, seed: int
    ) -> None:
        self.step = period([lost_after])
        self.begin, self.lasts = begin, lasts
        self.random = Random(seed)
        self.held = Held(
            project="p",
            run=1,
            attempt=1,
            claim="c",
            node=NODE,
            node_uuid="u",
            lost_after=lost_after,
        )
        self.writes = [0.0]
        while self.writes[-1] < min(dies, lasts):
            self.writes.append(self.writes[-1] + self.step * self.random.randint(1, int(8 * pause)) / 8)
        self.writes = [at for at in self.writes if at <= dies]

    def mark(self, at: float) -> Mark | None:
        """What stands in the store."""
        counter = sum(write <= at for write in self.writes)
        return Mark(node_uuid="u", instance="i", counter=counter) if counter else None

    def watch(self, at: float) -> Watch:
        """An observer that starts now, connected."""
        now = self.begin + at
        watch = Watch(node="ws2", now=now, random=lambda: self.random.randint(0, 8) / 8)
        watch.document("p", [self.held], now)
        watch.presence(NODE, False, now)
        watch.broker(True, now)
        return watch

    def run(self, faults: Sequence[Fault]) -> Outcome:
        """Let the observer live through its troubles."""
        outcome = Outcome(losses=[], settled=[0.0], gaps=[])
        watch, at = self.watch(0.0), 0.0
        for fault in faults:
            at = self.read_until(watch, at, at + fault.wait * self.step, outcome)
            end = at + fault.length * self.step
            watch = self.suffer(watch, fault.kind, at, end, outcome)
            at = end
        self.read_until(watch, at, self.lasts, outcome)
        return outcome

    def suffer(self, watch: Watch, kind: Trouble, at: float, end: float, outcome: Outcome) -> Watch:
        """One trouble from `at` to `end`; the observer that is there afterwards."""
        before, after = self.begin + at, self.begin + end
        match kind:
            case Trouble.BROKER:
                watch.broker(False, before)
                assert watch.due is None
                watch.presence(NODE, False, after)
                watch.broker(True, after)
                outcome.settled.append(end)
            case Trouble.STORE:
                failed = self.read_until(watch, at, end, outcome, store=False)
                outcome.settled.extend([failed] if failed > at else [])
            case Trouble.RESTART:
                watch = self.watch(end)
                outcome.settled.append(end)
            case Trouble.PRESENCE:
                watch.presence(NODE, True, before)
                assert watch.due is None
                watch.presence(NODE, False, after)
                outcome.gaps.append(end)
            case Trouble.STALL if end - at > 1.5 * self.step:
                outcome.gaps.append(end)
        return watch

    def read_until(
        self, watch: Watch, at: float, end: float, outcome: Outcome, *, store: bool = True
    ) -> float:
        """Read whenever it is due; `end`, or without a store the moment of the last read that failed."""
        failed = at
        while (due := watch.due) is not None and (now := max(due, self.begin + at)) <= self.begin + end:
            at = now - self.begin
            (node,) = watch.to_read(now)
            if store:
                outcome.losses.extend((at, loss) for loss in watch.read(node, self.mark(at), now))
            else:
                watch.unread(node, now)
                failed = at
        return end if store else failed


lost_afters = st.sampled_from([10.0, 20.0, 320.0, 1280.0])
begins = st.sampled_from([0.0, -4096.0, 2.0**20])
eighths = st.integers(1, 64).map(lambda n: n / 8)
faults_strategy = st.lists(
    st.builds(Fault, kind=st.sampled_from(Trouble), wait=eighths, length=eighths), max_size=6
)
seeds = st.integers(0, 2**16)


def exhausted(faults: Sequence[Fault], step: float) -> float:
    return sum(fault.wait + fault.length for fault in faults) * step


@given(lost_afters, faults_strategy, seeds)
def test_a_node_that_writes_is_never_lost(lost_after: float, faults: list[Fault], seed: int) -> None:
    """Though the broker says all the time that it is offline, and it misses up to four of five writes."""
    site = Site(lost_after=lost_after, begin=0.0, dies=ETERNITY, lasts=8 * lost_after, pause=5.0, seed=seed)
    assert site.run(faults).losses == []


@given(lost_afters, begins, st.integers(0, 80), faults_strategy, seeds)
def test_a_dead_node_is_lost_soon_after_the_last_trouble(
    lost_after: float, begin: float, dies: int, faults: list[Fault], seed: int
) -> None:
    step = period([lost_after])
    calm = max(dies * step / 8, exhausted(faults, step))
    latest = calm + lost_after + 5 * step
    site = Site(
        lost_after=lost_after, begin=begin, dies=dies * step / 8, lasts=latest + step, pause=1.0, seed=seed
    )
    losses = site.run(faults).losses
    assert losses and losses[0][0] <= latest
    assert losses[0][1].held == site.held


@given(lost_afters, st.integers(0, 80), faults_strategy, seeds)
def test_no_loss_before_an_unbroken_silence(
    lost_after: float, dies: int, faults: list[Fault], seed: int
) -> None:
    """Every trouble of the observer sets the count back; its own start and a server's return cost two periods more."""
    step = period([lost_after])
    calm = max(dies * step / 8, exhausted(faults, step))
    site = Site(
        lost_after=lost_after,
        begin=0.0,
        dies=dies * step / 8,
        lasts=calm + lost_after + 6 * step,
        pause=1.0,
        seed=seed,
    )
    outcome = site.run(faults)
    for at, loss in outcome.losses:
        assert at - site.writes[-1] >= loss.silent >= lost_after
        for end in outcome.gaps:
            assert not at - lost_after < end <= at
        for end in outcome.settled:
            assert not at - lost_after - 2 * step < end <= at


@given(lost_afters, st.integers(0, 80), faults_strategy, seeds, begins)
def test_where_the_clock_begins_changes_nothing(
    lost_after: float, dies: int, faults: list[Fault], seed: int, begin: float
) -> None:
    step = period([lost_after])

    def losses(origin: float) -> list[tuple[float, Loss]]:
        lasts = exhausted(faults, step) + dies * step / 8 + lost_after + 6 * step
        site = Site(
            lost_after=lost_after, begin=origin, dies=dies * step / 8, lasts=lasts, pause=1.0, seed=seed
        )
        return site.run(faults).losses

    assert losses(begin) == losses(0.0) != []
