"""How often a terminal is painted over a network."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from itertools import pairwise
from typing import cast
from unittest.mock import Mock

from hypothesis import given
from hypothesis import strategies as st

from winslow_tui.program.pace import AT_ONCE, MOST, PAINT_BEGINS, PAINT_ENDS, SPAN_SECONDS, Pace, PacedOutput


def paints(wanted: list[float]) -> list[float]:
    """When those that are wanted at these moments go, one after another."""
    pace, gone, now = Pace(), [], 0.0
    for at in sorted(wanted):
        now = max(now, at)
        while (due := pace.due(now)) > now:
            now = due
        pace.went(now)
        gone.append(now)
    return gone


@given(st.lists(st.floats(min_value=0.0, max_value=5.0), max_size=80))
def test_no_second_has_more_than_ten(wanted: list[float]) -> None:
    gone = paints(wanted)
    assert all(later >= early + 1.0 for early, later in zip(gone, gone[MOST:], strict=False))


@given(st.lists(st.floats(min_value=0.0, max_value=5.0), max_size=80))
def test_none_waits_while_the_terminal_has_rested(wanted: list[float]) -> None:
    gone = paints(wanted)
    for number, (want, went) in enumerate(zip(sorted(wanted), gone, strict=True)):
        rested = number < AT_ONCE or want >= gone[number - AT_ONCE] + SPAN_SECONDS
        assert went == want or not rested or (number and gone[number - 1] > want)


def test_a_held_key_moves_evenly() -> None:
    gone = paints([number / 30 for number in range(120)])
    steps = [later - early for early, later in pairwise(gone)]
    assert max(steps) < 0.2 and len(gone) == 120


def test_turns_leave_room_for_a_key() -> None:
    turns = [number / 8 for number in range(80)]
    key = 5.0 + 1 / 16
    assert key in paints([*turns, key])


class Timers:
    """An event loop's clock, which goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self._set: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Mock:
        self._set.append((when, callback))
        return Mock()

    def pass_(self, seconds: float) -> None:
        self.now += seconds
        due = [callback for when, callback in self._set if when <= self.now]
        self._set = [(when, callback) for when, callback in self._set if when > self.now]
        for callback in due:
            callback()


def paced() -> tuple[Timers, list[str], PacedOutput]:
    """Paced output, its clock, and what it has written."""
    timers, written = Timers(), list[str]()
    return timers, written, PacedOutput(written.append, cast(AbstractEventLoop, timers))


def test_what_comes_too_early_goes_together_as_one_paint() -> None:
    timers, written, output = paced()

    def paint(text: str) -> None:
        for part in (PAINT_BEGINS, text, PAINT_ENDS):
            output.write(part)
        output.painted()

    for number in range(AT_ONCE):
        paint(f"early {number};")
    before = len(written)
    assert "".join(written).count(PAINT_BEGINS) == AT_ONCE
    paint("late 1;")
    paint("late 2;")
    assert len(written) == before
    timers.pass_(0.5)
    assert written[before:] == [f"{PAINT_BEGINS}late 1;late 2;{PAINT_ENDS}"]
    timers.pass_(0.1)
    paint("after a while;")
    assert written[before + 1 :] == [PAINT_BEGINS, "after a while;", PAINT_ENDS]


def test_what_waits_goes_before_the_terminal_is_given_away() -> None:
    _, written, output = paced()
    for number in range(AT_ONCE + 2):
        output.write(str(number))
        output.painted()
    output.let_go()
    assert "".join(written) == "01234"
    output.let_go()
    assert "".join(written) == "01234"
