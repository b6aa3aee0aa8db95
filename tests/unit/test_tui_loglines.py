"""A log of any size from either end, by number (`winslow_tui.logs.loglines`)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stored_logs import ATTEMPT, PROJECT, RUN, AskedStore, StoredLog, archive, at, event, line
from winslow.errors import StoreUnreachable
from winslow.logs import LINE_PART, Record
from winslow_tui.logs.logblocks import HEAD_BYTES, LogLine
from winslow_tui.logs.loglines import IN_MEMORY, LogLines

MANY = 1_000_000


@pytest.fixture
def store() -> AskedStore:
    return AskedStore()


@pytest.fixture
def stored(store: AskedStore, tmp_path: Path) -> Iterator[StoredLog]:
    log = StoredLog(store, tmp_path)
    yield log
    log.close()


def opened(store: AskedStore) -> LogLines:
    lines = LogLines(store, PROJECT, RUN, ATTEMPT)
    lines.look()
    return lines


def fetched(lines: LogLines, number: int) -> LogLine:
    """A line, fetched if need be."""
    while (found := lines.line(number)) is None:
        assert lines.work()
    return found


def text(lines: LogLines, number: int) -> str:
    return fetched(lines, number).data.decode()


def texts(lines: LogLines) -> list[str]:
    return [text(lines, number) for number in range(lines.count)]


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AskedStore]:
    """1,000,000 lines, 200 MB."""
    store = AskedStore()
    log = StoredLog(store, tmp_path_factory.mktemp("million"))
    rest = "x" * 130
    log.write(
        Record(time=at(number), stream="stdout", complete=True, data=f"line {number:07} {rest}".encode())
        for number in range(MANY)
    )
    log.tell(event("claimed", -5), event("exit 0", MANY + 1))
    log.copy()
    yield store
    log.close()


def asked_for(store: AskedStore, lines: LogLines, numbers: range) -> list[str]:
    store.asked = store.read = 0
    return [text(lines, number) for number in numbers]


def test_the_end_of_a_million_lines_needs_only_its_last_segment(million: AskedStore) -> None:
    million.asked = million.read = 0
    lines = opened(million)
    assert lines.count == MANY + 2
    shown = [text(lines, number) for number in range(MANY - 50, MANY + 2)]
    assert shown[0].startswith("line 0999949") and shown[-1] == "exit 0"
    assert million.asked <= 6, (
        "two listings, the events, the last segment, the end of the one before, the first time"
    )
    assert million.read < 1_200_000


def test_the_start_of_a_million_lines_needs_one_segment_more(million: AskedStore) -> None:
    lines = opened(million)
    shown = asked_for(million, lines, range(50))
    assert (
        shown[0] == "claimed" and shown[1].startswith("line 0000000") and shown[49].startswith("line 0000048")
    )
    assert million.asked == 1 and million.read < 1_200_000


def test_any_other_line_needs_one_segment_and_the_end_of_the_one_before(million: AskedStore) -> None:
    lines = opened(million)
    assert asked_for(million, lines, range(500_001, 500_051))[0].startswith("line 0500000")
    assert million.asked == 2 and million.read < 1_200_000
    assert asked_for(million, lines, range(500_001, 500_051)) and million.asked == 0


def test_memory_holds_a_few_blocks_and_the_disk_the_rest(million: AskedStore) -> None:
    lines = opened(million)
    asked_for(million, lines, range(0, MANY, 4_000))
    assert len(lines._memory) == IN_MEMORY
    asked_for(million, lines, range(0, MANY, 4_000))
    assert million.asked == 0


def test_a_time_is_found_by_looking_at_few_segments(million: AskedStore) -> None:
    lines = opened(million)
    million.asked = million.read = 0
    assert lines.first_after(at(654_321)) == 654_322
    assert million.asked <= 11 and million.read < 1_200_000


def test_live_batches_in_any_order_and_twice_make_the_same_lines(
    store: AskedStore, stored: StoredLog
) -> None:
    wanted = [f"line {number} " + "y" * (number % 300) for number in range(8_000)]
    stored.write(each for number in range(3_000) for each in line(wanted[number], number))
    stored.copy()
    batches = [
        stored.write(each for number in range(start, start + 100) for each in line(wanted[number], number))
        for start in range(3_000, 8_000, 100)
    ]
    lines = opened(store)
    order = batches + batches[:20]
    random.Random(4).shuffle(order)
    for offset, data in order:
        lines.feed(offset, data)
    assert not lines.hole and texts(lines) == wanted


def test_a_hole_is_filled_by_the_store(store: AskedStore, stored: StoredLog) -> None:
    stored.write(line("first"))
    stored.copy()
    lines = opened(store)
    stored.write(line("lost on the way", 1))
    lines.feed(*stored.write(line("last", 2)))
    assert lines.hole and texts(lines) == ["first"]
    stored.copy()
    lines.look()
    assert not lines.hole and texts(lines) == ["first", "lost on the way", "last"]


def test_batches_before_the_first_look_are_found_by_it(store: AskedStore, stored: StoredLog) -> None:
    stored.write(line("first"))
    stored.copy()
    lines = LogLines(store, PROJECT, RUN, ATTEMPT)
    lines.feed(*stored.write(line("second", 1)))
    assert lines.count == 0
    stored.copy()
    lines.look()
    assert texts(lines) == ["first", "second"]


@pytest.mark.parametrize("size", [LINE_PART - 1, LINE_PART, LINE_PART + 1, 5 * LINE_PART, 3 << 20])
def test_a_long_line_is_one_line_wherever_segments_are_cut(
    store: AskedStore, stored: StoredLog, size: int
) -> None:
    """Segments' names count lines, not records: what came in parts once made later lines unreachable."""
    long = ("0123456789abcdef" * (size // 16 + 1))[:size]
    for number in range(5):
        stored.write(
            [*line(f"before {number}", number), *line(long, number), *line("z" * 200_000, number, "stderr")]
        )
    stored.write(line("end", 9))
    stored.copy()
    lines = opened(store)
    assert lines.count == 16 and text(lines, 15) == "end"
    for number in range(5):
        assert text(lines, 3 * number) == f"before {number}"
        shown = fetched(lines, 3 * number + 1)
        assert shown.data.decode() == long[:HEAD_BYTES] and shown.more == (size > HEAD_BYTES)
        assert lines.whole(lines.key(3 * number + 1), 4 << 20) == long.encode()
        assert lines.whole(lines.key(3 * number + 2), 4 << 20) == b"z" * 200_000
        assert lines.whole(lines.key(3 * number + 2), 1_000) is None


def test_a_line_of_many_segments_begins_with_its_beginning_at_few_requests(
    store: AskedStore, stored: StoredLog
) -> None:
    stored.write([*line("one"), *line(b"begin" + b"-" * (40 << 20)), *line("three")])
    stored.copy()
    lines = opened(store)
    store.asked = 0
    assert text(lines, 1).startswith("begin---") and lines.count == 3
    assert store.asked <= 8


def test_parts_of_two_streams_are_not_mixed(store: AskedStore, stored: StoredLog) -> None:
    out, err = line("o" * 40_000, 1), line("e" * 40_000, 1, "stderr")
    stored.write([out[0], err[0], out[1], err[1], *line("between", 1, "stderr")[:0], err[2], out[2]])
    stored.copy()
    lines = opened(store)
    assert lines.count == 2
    assert lines.whole(0, 1 << 20) == b"e" * 40_000 and lines.whole(1, 1 << 20) == b"o" * 40_000


def test_an_unfinished_line_is_shown_at_the_end_and_then_ends(store: AskedStore, stored: StoredLog) -> None:
    stored.write(line("first"))
    begun = Record(time=at(1), stream="stdout", complete=False, data=b"begun, ")
    offset, data = stored.write([begun])
    lines = LogLines(store, PROJECT, RUN, ATTEMPT)
    stored.copy()
    lines.look()
    assert texts(lines) == ["first", "begun, "]
    shown = lines.line(1)
    assert shown is not None and not shown.ended
    lines.feed(*stored.write(line("ended", 2)))
    assert texts(lines) == ["first", "begun, ended"]
    assert offset and data


def test_a_late_event_moves_no_key(store: AskedStore, stored: StoredLog) -> None:
    stored.write(each for number in range(100) for each in line(str(number), number))
    stored.tell(event("claimed", -1))
    stored.copy()
    lines = opened(store)
    key = lines.key(60)
    assert text(lines, 60) == "59"
    stored.tell(event("early", 10.5), event("late", 200))
    stored.copy()
    lines.look()
    assert text(lines, lines.number(key)) == "59" and lines.number(key) == 61
    shown = texts(lines)
    assert (shown[0], shown[12], shown[-1]) == ("claimed", "early", "late")
    assert [lines.number(lines.key(number)) for number in range(lines.count)] == list(range(lines.count))


def test_what_is_wanted_stays_wanted_while_the_store_is_away(store: AskedStore, stored: StoredLog) -> None:
    stored.write(each for number in range(20_000) for each in line(f"{number} " + "x" * 80, number))
    stored.copy()
    lines = opened(store)
    assert lines.line(0) is None
    store.away = True
    with pytest.raises(StoreUnreachable):
        lines.work()
    assert lines.wants
    with pytest.raises(StoreUnreachable):
        lines.look()
    store.away = False
    assert lines.work() and text(lines, 0).startswith("0 x")


def test_a_full_disk_only_asks_the_store_again(
    store: AskedStore, stored: StoredLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LogLines, "_keep", lambda *_: False)
    lines = opened(store)
    for start in range(0, 60_000, 500):
        offset, data = stored.write(
            each for number in range(start, start + 500) for each in line(f"{number} " + "x" * 600, number)
        )
        lines.feed(offset, data)
    stored.copy()
    lines.look()
    assert lines.blocks > IN_MEMORY
    assert text(lines, 3).startswith("3 x") and text(lines, 59_999).startswith("59999 x")


def test_what_is_no_record_is_shown_as_such(store: AskedStore, stored: StoredLog) -> None:
    lines = opened(store)
    lines.feed(0, b"garbage\n" + archive(line("good")))
    assert texts(lines) == ["(not a log record) garbage", "good"]
