"""`winslow.loss`: each rule by itself."""

from __future__ import annotations

import pytest

from winslow.errors import InvalidInput
from winslow.loss import Held, Loss, Mark, Watch, held_in, period, threshold
from winslow.pipeline import PipelineDefinition, StageDefinition
from winslow.project import Attempt, Project, ProjectPipeline, Run, RunState
from winslow.quantities import LostAfter

LIMIT = 10.0
STEP = 1.0
SETTLED = 2.0


def held(*, node: str = "ws1", run: int = 1, lost_after: LostAfter = LIMIT) -> Held:
    return Held(
        project="p", run=run, attempt=1, claim=f"c{run}", node=node, node_uuid="u", lost_after=lost_after
    )


def mark(counter: int = 1, *, instance: str = "i", stopped: bool = False, node_uuid: str = "u") -> Mark:
    return Mark(node_uuid=node_uuid, instance=instance, counter=counter, stopped=stopped)


def watch(*attempts: Held) -> Watch:
    """Connected since 0.0, every node absent; random parts are half a period."""
    made = Watch(node="me", now=0.0, random=lambda: 0.5)
    made.document("p", attempts or (held(),), 0.0)
    made.broker(True, 0.0)
    return made


def follow(made: Watch, now: float, until: float, shown: Mark | None) -> list[tuple[float, Loss]]:
    """Read whatever is due from `now` to `until`; the losses and their moments."""
    losses = []
    while (due := made.due) is not None and max(now, due) <= until:
        now = max(now, due)
        for node in made.to_read(now):
            losses += [(now, loss) for loss in made.read(node, shown, now)]
    return losses


def first(made: Watch, shown: Mark | None = None, until: float = 60.0) -> float | None:
    """When the first loss is declared."""
    found = follow(made, 0.0, until, shown)
    return found[0][0] if found else None


@pytest.mark.parametrize(
    ("lost_after", "watched", "expected"),
    [
        (None, 0.0, 900.0),
        (None, 18_000.0, 900.0),
        (None, 100_000.0, 5000.0),
        (60.0, 100_000.0, 60.0),
        (0.1, 0.0, 5.0),
        ("never", 0.0, None),
    ],
)
def test_threshold(lost_after: LostAfter, watched: float, expected: float | None) -> None:
    assert threshold(lost_after, watched=watched) == expected


@pytest.mark.parametrize(
    ("lost_afters", "expected"),
    [((), 30.0), ((None,), 30.0), (("never",), 30.0), ((None, 60.0, "never"), 6.0), ((0.01,), 0.5)],
)
def test_period(lost_afters: tuple[LostAfter, ...], expected: float) -> None:
    assert period(lost_afters) == expected


def test_an_unchanged_mark_is_a_loss_after_settling_the_limit_and_one_more_read() -> None:
    assert first(watch(), mark()) == SETTLED + LIMIT + STEP / 2


def test_no_mark_at_all_is_silence_too() -> None:
    assert first(watch(), None) == SETTLED + LIMIT + STEP / 2


def test_the_last_read_may_still_save_the_node() -> None:
    made = watch()
    assert follow(made, 0.0, SETTLED + LIMIT, mark(1)) == []
    last = SETTLED + LIMIT + STEP / 2
    assert made.due == last
    assert made.read("ws1", mark(2), last) == ()
    assert follow(made, last, last + LIMIT, mark(2)) == []


def test_a_new_instance_with_the_same_counter_is_a_sign_of_life() -> None:
    made = watch()
    assert follow(made, 0.0, 11.0, mark(instance="old")) == []
    assert follow(made, 11.5, 21.5, mark(instance="new")) == []


def test_a_read_that_comes_too_late_breaks_the_silence() -> None:
    made = watch()
    assert follow(made, 0.0, 11.0, mark()) == []
    found = follow(made, 11.0 + 1.5 * STEP + 0.125, 60.0, mark())
    assert found[0][0] == 12.625 + LIMIT + STEP / 2


def test_a_read_one_and_a_half_periods_later_is_in_time() -> None:
    made = watch()
    assert follow(made, 0.0, 11.0, mark()) == []
    assert follow(made, 12.5, 13.5, mark())


def test_a_failed_read_costs_two_periods_more() -> None:
    made = watch()
    assert follow(made, 0.0, 11.0, mark()) == []
    made.unread("ws1", 12.0)
    found = follow(made, 12.0, 60.0, mark())
    assert found[0][0] == 12.0 + SETTLED + LIMIT + STEP / 2


def test_an_attempt_is_not_silent_for_longer_than_it_is_known() -> None:
    made = watch(held(run=1))
    follow(made, 0.0, 9.0, mark())
    made.document("p", (held(run=1), held(run=2)), 9.0)
    found = follow(made, 9.0, 30.0, mark())
    assert next(at for at, loss in found if loss.held.run == 1) == SETTLED + LIMIT + STEP / 2
    assert next(at for at, loss in found if loss.held.run == 2) > 9.0 + LIMIT


def test_each_attempt_has_its_own_limit() -> None:
    found = follow(
        watch(held(run=1), held(run=2, lost_after=30.0), held(run=3, lost_after="never")), 0.0, 40.0, None
    )
    begins = {loss.held.run: at for at, loss in reversed(found)}
    assert begins.keys() == {1, 2}
    assert begins[1] < 30.0 < begins[2]


def test_a_loss_that_could_not_be_written_comes_again_and_one_that_was_does_not() -> None:
    made = watch()
    found = follow(made, 0.0, 20.0, None)
    assert len(found) > 1
    made.document("p", (), 20.0)
    assert made.due is None
    assert made.read("ws1", None, 20.0) == ()


def test_by_default_fifteen_minutes() -> None:
    made = watch(held(lost_after=None))
    assert first(made, until=2000.0) == 60.0 + 900.0 + 15.0


def test_a_clean_stop_is_no_loss_however_long() -> None:
    assert first(watch(), mark(stopped=True), until=10_000.0) is None


def test_a_clean_stop_of_another_node_of_that_name_says_nothing() -> None:
    assert first(watch(), mark(stopped=True, node_uuid="other")) is not None


def test_never_and_the_own_attempts_are_not_even_read() -> None:
    assert watch(held(lost_after="never"), held(node="me", run=2)).due is None


def test_nothing_is_read_while_the_broker_is_away() -> None:
    made = watch()
    made.broker(False, 1.0)
    assert made.due is None
    assert made.to_read(60.0) == []


def test_a_broker_that_comes_back_without_the_node_counts_as_offline() -> None:
    """A broker that was killed may have forgotten the last will of a node that died meanwhile."""
    made = watch()
    made.presence("ws1", True, 1.0)
    assert made.due is None
    made.broker(False, 2.0)
    made.broker(True, 3.0)
    assert first(made) == 3.0 + SETTLED + LIMIT + STEP / 2


def test_held_in_shows_what_nodes_have() -> None:
    stage = StageDefinition(name="one", image="i", lost_after=7.0)
    attempts = (
        Attempt(k=1, claim="a", node="ws1", node_uuid="u1"),
        Attempt(k=2, claim="b", node="ws2", node_uuid="u2"),
    )
    runs = tuple(
        Run(n=n, stage=stage, state=state, attempts=attempts) for n, state in enumerate(RunState, start=1)
    )
    project = Project(
        id="p",
        revision=1,
        name="p",
        pipeline=ProjectPipeline(definition=PipelineDefinition(name="x", stages=(stage,)), source_revision=1),
        runs=runs,
    )
    found = held_in("p", project)
    assert [each.run for each in found] == [run.n for run in runs if run.state.held]
    assert {(each.attempt, each.claim, each.node, each.node_uuid, each.lost_after) for each in found} == {
        (2, "b", "ws2", "u2", 7.0)
    }
    assert held_in("p", None) == ()


def test_a_mark_survives_the_wire() -> None:
    for each in (mark(), mark(7, stopped=True)):
        assert Mark.decode(each.encode(), key="alive/ws1") == each


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\xff", b"[]", b'{"node_uuid":"u","instance":"i","counter":-1}']
)
def test_what_is_no_mark_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="alive/ws1"):
        Mark.decode(data, key="alive/ws1")
