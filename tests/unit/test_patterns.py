"""A stage's own patterns: which lines they see, and what becomes of those that take for ever."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from node_agent.patterns import LINE_PART, MOST_SLOW, Search, Ticker
from winslow.logs import LINE_PART as LOGS_LINE_PART
from winslow.logs import Mark, Record, Stream, encode

TIME = "2026-01-01T00:00:00.000000000Z"
CATASTROPHE = "(a+)+$"
HARD = b"a" * 60 + b"!"


def _records(*lines: tuple[Stream, bytes, bool] | bytes, mark: Mark = "") -> bytes:
    made = [line if isinstance(line, tuple) else ("stdout", line, True) for line in lines]
    return b"".join(
        encode(Record(time=TIME, stream=stream, complete=complete, data=data, mark=mark))
        for stream, data, complete in made
    )


def _search(*fail_on: str, progress: str = "", ticker: Ticker | None = None) -> Search:
    return Search(
        fail_on=[re.compile(pattern.encode()) for pattern in fail_on],
        progress=re.compile(progress.encode()) if progress else None,
        ticker=ticker or Ticker(),
    )


@pytest.fixture
def ticker() -> Iterator[Ticker]:
    ticking = Ticker()
    ticking.start()
    yield ticking
    ticking.stop()


def test_the_first_line_that_one_is_found_in() -> None:
    search = _search("^ERROR", "[0-9]{3}$")
    search.feed(_records(b"no ERROR here", b"code 500", b"ERROR: late", b""))
    assert search.found == (1, b"code 500")


def test_both_streams_and_bytes_that_are_no_text() -> None:
    search = _search("\u00e4 failed", "^\\(core dumped\\)")
    search.feed(_records(b"\xff\xfe", ("stderr", "\u00e4 failed\r".encode(), True)))
    assert search.found == (0, "\u00e4 failed".encode())


def test_a_line_in_parts_is_one_line_and_streams_are_not_mixed() -> None:
    search = _search("^one two$")
    search.feed(_records(("stdout", b"one ", False), ("stderr", b"-", True)))
    search.feed(_records(("stdout", b"two", True)))
    assert search.found == (0, b"one two")


def test_a_last_line_without_newline_is_looked_at_in_the_end() -> None:
    search = _search("^half")
    search.feed(_records(("stdout", b"half", False)))
    assert search.found is None
    search.end()
    assert search.found == (0, b"half")


def test_a_long_line_is_looked_at_in_parts() -> None:
    assert LINE_PART == LOGS_LINE_PART
    search = _search("^x+y$", "^tail$")
    part: tuple[Stream, bytes, bool] = ("stdout", b"x" * LINE_PART, False)
    search.feed(_records(*[part] * 40, ("stdout", b"tail", True)))
    assert search.found == (1, b"tail"), "nothing longer than a part is ever searched"


def test_winslows_own_marks_are_no_output() -> None:
    search = _search("cap")
    search.feed(_records(b"the log reached its cap", mark="cut"))
    assert search.found is None


def test_progress_is_the_last_percentage() -> None:
    search = _search(progress=r"epoch (\d+|nan)(?:/100)?")
    search.feed(_records(b"epoch 1/100\repoch 2/100", b"99 %", b"epoch 500", b"epoch nan"))
    assert search.percent == 2.0


def test_a_search_that_takes_for_ever_is_cut_off(ticker: Ticker) -> None:
    search = _search(CATASTROPHE, "^ERROR", ticker=ticker)
    search.feed(_records(HARD, b"ERROR: seen"))
    assert search.found == (1, b"ERROR: seen")
    assert search.slow == [1, 0, 0]
    assert search.dropped == [False, False, False]


def test_a_pattern_that_is_often_slow_is_given_up(ticker: Ticker) -> None:
    search = _search(CATASTROPHE, ticker=ticker)
    search.feed(_records(*[HARD] * (MOST_SLOW + 1000), b"aaa"))
    assert search.slow == [MOST_SLOW, 0]
    assert search.dropped == [True, False]
    assert search.found is None, "it is looked for no more"
