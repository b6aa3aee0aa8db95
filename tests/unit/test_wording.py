"""How times and numbers are written for people."""

from __future__ import annotations

import pytest

from winslow_tui.shown.wording import counted, lasting, time_left, time_shown


def test_a_time_is_shown_without_its_fraction() -> None:
    assert time_shown("2026-06-12T08:41:00.123Z") == "2026-06-12 08:41:00Z"
    assert time_shown("") == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"), (8.44, "8.44 s"), (59.0, "59 s"), (59.7, "1 min"), (60.0, "1 min"), (725.4, "12 min 5 s"),
        (3599.6, "1 h"), (6540.0, "1 h 49 min"), (86_400.0, "1 d"), (187_200.0, "2 d 4 h"),
    ],
)  # fmt: skip
def test_how_long_it_lasted(seconds: float, text: str) -> None:
    assert lasting(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.0, "0s"), (0.4, "0s"), (99.4, "99s"), (99.6, "1m40"), (725.0, "12m05"), (6_000.0, "1h40"),
        (350_000.0, "97h13"), (360_000.0, "4d04h"), (1e12, "999d01h"),
    ],
)  # fmt: skip
def test_how_long_it_takes_still(seconds: float, text: str) -> None:
    assert time_left(seconds) == text
    assert len(text) <= 7


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 files"),
        (1, "1 file"),
        (1.0, "1 file"),
        (3.5, "3.5 files"),
        (0.0242353, "0.0242 files"),
        (1e6, "1,000,000 files"),
        (1_234_567, "1,234,567 files"),
    ],
)
def test_things_are_counted(number: float, text: str) -> None:
    assert counted(number, "file") == text
