"""Sizes and durations: read as people write them, and written so that they are read back equal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winslow.quantities import (
    MAX_SECONDS,
    MAX_SIZE,
    duration_text,
    number_text,
    parse_duration,
    parse_size,
    size_text,
)


def test_what_people_write() -> None:
    assert parse_size("8GiB") == 8 << 30
    assert parse_size("1.5 kb") == 1500
    assert parse_size("3M") == 3 * 10**6
    assert parse_size("0") == parse_size(0) == 0
    assert parse_size(4096) == 4096
    assert parse_duration("90s") == 90.0
    assert parse_duration("1.5h") == 5400.0
    assert parse_duration(12) == 12.0


def test_what_is_neither() -> None:
    for wrong in (True, None, "x", -1):
        with pytest.raises(ValueError, match="not a size"):
            parse_size(wrong)
    with pytest.raises(ValueError, match="did you mean 3d"):
        parse_duration("3 days")


@pytest.mark.parametrize("digits", ["9" * 21, "9" * 400])
def test_more_than_any_machine_has_is_refused_in_words(digits: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(digits + "B")
    with pytest.raises(ValueError, match="size"):
        parse_size(int(digits))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (1, "1B"), (8 << 30, "8GiB"), (500 * 10**6, "500MB"), (1536, "1536B"), (1024, "1KiB")],
)
def test_sizes_are_written_in_the_unit_that_fits(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(7200, "2h"), (5400, "90m"), (86400, "1d"), (90, "90s"), (0.5, "0.5s"), (0, "0s"), (1e-7, "0.0000001s")],
)
def test_durations_are_written_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_numbers_lose_the_point_nobody_writes() -> None:
    assert [number_text(number) for number in (4.0, 0.5, 1e22)] == ["4", "0.5", "1e+22"]


@given(st.integers(min_value=0, max_value=MAX_SIZE))
def test_a_size_is_read_back(size: int) -> None:
    assert parse_size(size_text(size)) == size


@given(st.floats(min_value=0, max_value=MAX_SECONDS))
def test_a_duration_is_read_back(seconds: float) -> None:
    assert parse_duration(duration_text(seconds)) == seconds
