"""Searching, filtering and saving a log (`winslow_tui.logs.logscan`, `logfilter`, `logsaving`, `linesearch`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.waiting import wait_until
from tests.stored_logs import ATTEMPT, PROJECT, RUN, AskedStore, StoredLog, archive, at, event, line
from winslow.errors import InvalidInput, UsageError
from winslow.logs import LINE_PART, Record, parse
from winslow_tui.logs import logscan
from winslow_tui.logs.linesearch import Search
from winslow_tui.logs.logblocks import SOURCES
from winslow_tui.logs.logfilter import FilteredLines
from winslow_tui.logs.loglines import LogLines
from winslow_tui.logs.logsaving import save
from winslow_tui.logs.logscan import Scan, Wanted

MANY, EVERY = 12_000, 2_000


def filled(store: AskedStore, folder: Path) -> StoredLog:
    """12,000 lines in 12 blocks, every 2,000th an error on stderr, and three events."""
    log = StoredLog(store, folder)
    log.write(
        Record(
            time=at(number),
            stream="stderr" if number % EVERY == 1_000 else "stdout",
            complete=True,
            data=(f"Error {number}" if number % EVERY == 1_000 else f"frame {number} " + "x" * 950).encode(),
        )
        for number in range(MANY)
    )
    log.tell(event("claimed", -1), event("half an error", 6_000.5), event("exit 1", MANY))
    log.copy()
    return log


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AskedStore, StoredLog]]:
    """For those who only read."""
    store = AskedStore()
    log = filled(store, tmp_path_factory.mktemp("log"))
    yield store, log
    log.close()


@pytest.fixture
def lines(shared: tuple[AskedStore, StoredLog]) -> LogLines:
    lines = LogLines(shared[0], PROJECT, RUN, ATTEMPT)
    lines.look()
    return lines


@pytest.fixture
def store() -> AskedStore:
    """An empty one."""
    return AskedStore()


ERRORS = list(range(1_000, MANY, EVERY))


def scanned(lines: LogLines, wanted: Wanted, *, start: int = 0) -> Scan:
    """A scan that is through, and stopped."""
    scan = Scan(lines, wanted, start=start)
    wait_until(lambda: scan.complete or scan.stopped, seconds=20, what="the scan")
    scan.stop()
    assert not scan.problem
    return scan


@pytest.mark.parametrize("start", [0, 5_432, MANY - 1, MANY])
@pytest.mark.parametrize("pattern", ["error", "Error", r"error \d+$", "^err", r"E\w+r "])
def test_the_same_is_found_from_wherever_one_begins(lines: LogLines, start: int, pattern: str) -> None:
    scan = scanned(lines, Wanted(pattern), start=start)
    assert list(scan.found) == ERRORS
    assert [scan.next_to(1_000, forward=True), scan.next_to(1_000, forward=False)] == [3_000, None]
    assert scan.progress == 1.0


def test_small_letters_find_large_ones_and_large_ones_only_themselves(lines: LogLines) -> None:
    assert list(scanned(lines, Wanted("error")).events) == [1]
    assert list(scanned(lines, Wanted("Half|Exit")).events) == []
    assert len(scanned(lines, Wanted("FRAME")).found) == 0


def test_a_timestamp_or_a_streams_name_is_not_text(lines: LogLines) -> None:
    assert not len(scanned(lines, Wanted("stdout")).found)
    assert not len(scanned(lines, Wanted("2026-01-01")).found)


def test_sources_are_told_apart(lines: LogLines) -> None:
    assert list(scanned(lines, Wanted(sources=("stderr",))).found) == ERRORS
    scan = scanned(lines, Wanted(sources=("system",)))
    assert not len(scan.found) and scan.events == [0, 1, 2]
    assert len(scanned(lines, Wanted("frame 11", ("stdout",))).found) == 1_111 - 1


def test_lines_that_come_are_looked_at_too(store: AskedStore, tmp_path: Path) -> None:
    log = filled(store, tmp_path)
    lines = LogLines(store, PROJECT, RUN, ATTEMPT)
    lines.look()
    scan = Scan(lines, Wanted("error"), start=0)
    for number in range(MANY, MANY + 3_000):
        lines.feed(*log.write(line(f"error {number}" if number % 1_000 == 0 else "y" * 1_500, number)))
    wait_until(lambda: len(scan.found) == len(ERRORS) + 3, what="the new lines")
    scan.stop()
    log.close()
    assert list(scan.found) == [*ERRORS, MANY, MANY + 1_000, MANY + 2_000]


def test_long_lines_are_found_by_any_part_across_segments(store: AskedStore, tmp_path: Path) -> None:
    log = StoredLog(store, tmp_path)
    log.write(line("short"))
    for number in range(12):
        log.write(
            [*line(b"-" * (400_000 + number) + b"needle" + b"-" * 300_000, number), *line("hay", number)]
        )
    log.copy()
    log.close()
    lines = LogLines(store, PROJECT, RUN, ATTEMPT)
    lines.look()
    for start in (0, 9, 25):
        assert list(scanned(lines, Wanted("needle"), start=start).found) == list(range(1, 24, 2))


def test_what_is_searched_is_what_a_screen_shows() -> None:
    records = [
        *line("\x1b[31mre\x1b[0md"),
        *line(" 10 %\r 20 %\r 30 %"),
        *line("größe 5"),
        *line("tab\tbed"),
        *line(b"\xff\xfe bad bytes"),
    ]
    data = archive(records)

    def found(pattern: str) -> list[int]:
        return list(Search(pattern, list(SOURCES)).feed(data)[1])

    assert found("red") == [0] and found("31m") == []
    assert found("30 %") == [1] and found("10 %") == []
    assert found("GRÖSSE") == [] and found("größe") == [2]
    assert found("tab.bed") == [3] and found("bad") == [4]


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "[z", "*"])
def test_what_is_no_expression_is_said(pattern: str) -> None:
    with pytest.raises(UsageError, match="not a regular expression"):
        Wanted(pattern)


def test_an_expression_that_takes_for_ever_is_given_up(
    store: AskedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would have stopped the screen, had it run beside it."""
    monkeypatch.setattr(logscan, "SLOW_SECONDS", 0.3)
    log = StoredLog(store, tmp_path)
    log.write(line("a" * 60 + "!"))
    log.copy()
    log.close()
    lines = LogLines(store, PROJECT, RUN, ATTEMPT)
    lines.look()
    scan = Scan(lines, Wanted("(a+)+$"), start=0)
    wait_until(lambda: scan.stopped, what="giving up")
    assert "takes too long" in scan.problem


def test_a_stopped_search_leaves_no_process(lines: LogLines) -> None:
    scan = Scan(lines, Wanted("(x+x+)+y"), start=0)
    wait_until(lambda: scan._process is not None, what="the process")
    process = scan._process
    assert process is not None
    scan.stop()
    scan._thread.join(timeout=5)
    assert not scan._thread.is_alive() and process.poll() is not None and not scan.problem


def test_spans_of_an_expression_come_from_the_process(lines: LogLines) -> None:
    scan = Scan(lines, Wanted(r"\d+"), start=0)
    assert not scan.spans("frame 12 of 34")
    wait_until(lambda: scan.spans("frame 12 of 34"), what="the spans")
    assert list(scan.spans("frame 12 of 34")) == [(6, 8), (12, 14)]
    scan.stop()
    assert list(Scan(lines, Wanted("of"), start=0).spans("12 OF 3, of")) == [(3, 5), (9, 11)]


def test_a_search_goes_on_when_the_store_is_back(
    shared: tuple[AskedStore, StoredLog], lines: LogLines
) -> None:
    store, _ = shared
    store.away = True
    scan = Scan(lines, Wanted("error"), start=0)
    wait_until(lambda: scan.problem, what="the problem")
    store.away = False
    wait_until(lambda: scan.complete, what="going on")
    assert not scan.problem and list(scan.found) == ERRORS
    scan.stop()


def test_a_filtered_log_keeps_the_keys_of_the_whole(lines: LogLines) -> None:
    scan = scanned(lines, Wanted("error"))
    only = FilteredLines(lines, scan)
    assert only.count == len(ERRORS) + 1
    keys = [only.key(number) for number in range(only.count)]
    assert keys == [1_000, 3_000, 5_000, ~1, 7_000, 9_000, 11_000]
    assert [only.number(key) for key in keys] == list(range(only.count))
    assert only.number(3_001) == 2 and only.number(0) == 0 and only.number(11_500) == only.count
    for number in range(only.count):
        while (found := only.line(number)) is None:
            assert lines.work()
        assert b"rror" in found.data


def test_a_log_is_saved_as_its_stage_wrote_it(
    shared: tuple[AskedStore, StoredLog], lines: LogLines, tmp_path: Path
) -> None:
    stored = shared[1]
    whole = stored.spool.read(0, stored.spool.size)
    assert save(lines, None, tmp_path / "raw", "raw") == (tmp_path / "raw").stat().st_size
    assert (tmp_path / "raw").read_bytes() == b"".join(record.written for record in parse(whole))
    save(lines, None, tmp_path / "times", "times")
    assert (tmp_path / "times").read_bytes() == whole
    save(lines, None, tmp_path / "shown", "shown")
    shown = (tmp_path / "shown").read_text().splitlines()
    assert len(shown) == MANY + 3
    assert shown[0].endswith("Z system claimed") and shown[-1].endswith("Z system exit 1")
    assert re.match(r"2026-01-01T\S+Z stdout frame 0 x+", shown[1])


def test_what_is_filtered_is_saved_alone(lines: LogLines, tmp_path: Path) -> None:
    scan = scanned(lines, Wanted("error"))
    save(lines, scan, tmp_path / "raw", "raw")
    assert (tmp_path / "raw").read_text().splitlines() == [f"Error {number}" for number in ERRORS]
    save(lines, scan, tmp_path / "shown", "shown")
    assert "Z system half an error" in (tmp_path / "shown").read_text().splitlines()[3]


def test_a_file_that_is_there_is_never_written_over(lines: LogLines, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("dear")
    with pytest.raises(InvalidInput, match="exists"):
        save(lines, None, tmp_path / "mine", "raw")
    assert (tmp_path / "mine").read_text() == "dear"


def test_a_pagers_text_can_do_nothing_to_a_terminal(store: AskedStore, tmp_path: Path) -> None:
    log = StoredLog(store, tmp_path)
    log.write(
        [*line("\x1b]52;c;ZXZpbA==\x07\x9b31mred\u202e"), *line(b"x" * (LINE_PART - 1) + b"\x1b]0;t\x07")]
    )
    log.tell(event("\x1b[2Jgone", 5))
    log.copy()
    log.close()
    lines = LogLines(store, PROJECT, RUN, ATTEMPT)
    lines.look()
    save(lines, None, tmp_path / "shown", "shown")
    text = (tmp_path / "shown").read_text()
    assert text.replace("\n", "").isprintable() and "red" in text and "gone" in text
