"""The archive's format, its inverse at the edges, segments' names, events, progress and results."""

from __future__ import annotations

import re

import pytest

from winslow import logs
from winslow.errors import InvalidInput
from winslow.logs import LogJoiner, Record, RecordParser, RunEvent, Scan, Segment, Stream

T1 = "2026-03-01T10:00:00.000000001Z"
T2 = "2026-03-01T10:00:00.000000002Z"
T3 = "2026-03-01T10:00:01.000000000Z"


def line(data: bytes, *, stream: Stream = "stdout", complete: bool = True, time: str = T1) -> Record:
    return Record(time=time, stream=stream, complete=complete, data=data)


def scan(*records: Record) -> Scan:
    result = Scan(max_results=3, max_bytes=10)
    for record in records:
        result.feed(record)
    return result


def test_an_archive_is_what_container_log_readers_expect() -> None:
    archive = logs.encode(line(b"42 % done")) + logs.encode(line(b"part", stream="stderr", complete=False))
    assert archive == f"{T1} stdout F 42 % done\n{T1} stderr P part\n".encode()
    # the expression Fluent Bit and Promtail read such logs by
    for text in archive.decode().splitlines():
        assert re.fullmatch(
            r"(?P<time>[^ ]+) (?P<stream>stdout|stderr) (?P<logtag>[^ ]*) (?P<message>.*)", text
        )


def test_bytes_stay_bytes() -> None:
    written = b"\xff\xfe\x00 \r\t\x1b[31m\n\n \nno newline at the end"
    records = [line(part) for part in written.split(b"\n")[:-1]]
    records.append(line(written.split(b"\n")[-1], complete=False))
    archive = b"".join(map(logs.encode, records))
    assert logs.inverse(archive, "stdout") == written
    assert logs.inverse(archive, "stderr") == b""


def test_marks_stand_for_no_bytes_of_the_stage() -> None:
    records = [line(b"a"), Record(T2, "stdout", True, b"the cap was reached", "cut")]
    archive = b"".join(map(logs.encode, records))
    assert archive.endswith(f"{T2} stdout F:cut the cap was reached\n".encode())
    assert logs.inverse(archive, "stdout") == b"a\n"
    assert logs.parse(archive) == records


@pytest.mark.parametrize(
    "record",
    [
        line(b"two\nlines"),
        line(b"x", time="2026-03-01T10:00:00Z"),
        line(b"x", time="2026-03-01 10:00:00.000000000Z"),
        Record(T1, "stdout", False, b"x", "cut"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(record: Record) -> None:
    with pytest.raises(InvalidInput):
        logs.encode(record)


@pytest.mark.parametrize(
    "damage", [b"garbage\n", b"\n", f"{T1} system F x\n".encode(), f"{T1} stdout X y\n".encode()]
)
def test_a_damaged_archive_is_named_with_its_offset(damage: bytes) -> None:
    good = logs.encode(line(b"fine"))
    parser = RecordParser(offset=100)
    assert parser.feed(good) == [line(b"fine")]
    with pytest.raises(InvalidInput, match=f"log byte {100 + len(good)}"):
        parser.feed(damage)


def test_a_torn_record_waits_for_its_rest() -> None:
    whole = logs.encode(line(b"hello"))
    parser = RecordParser()
    assert parser.feed(whole + whole[:20]) == [line(b"hello")]
    assert parser.offset == len(whole)
    assert parser.feed(whole[20:]) == [line(b"hello")]
    assert parser.offset == 2 * len(whole)


def test_times_are_padded_so_that_text_order_is_time_order() -> None:
    assert logs.exact_time("2026-03-01T10:00:00Z") == "2026-03-01T10:00:00.000000000Z"
    assert logs.exact_time("2026-03-01T10:00:00.5Z") == "2026-03-01T10:00:00.500000000Z"
    assert logs.exact_time("2026-03-01T10:00:00.123456+00:00") == "2026-03-01T10:00:00.123456000Z"
    assert logs.stamp(1_772_359_200_000_000_001) == T1
    for bad in ("yesterday", "2026-03-01T10:00:00+01:00", "2026-03-01T10:00:00.0000000000Z"):
        with pytest.raises(InvalidInput):
            logs.exact_time(bad)


def test_a_reader_takes_the_segment_its_position_falls_into_and_all_later_ones() -> None:
    segments = [Segment(0, 0), Segment(100, 3), Segment(200, 9)]
    assert logs.holding(reversed(segments), 0) == segments
    assert logs.holding(segments, 99) == segments
    assert logs.holding(segments, 100) == segments[1:]
    assert logs.holding(segments, 5000) == segments[2:]
    assert logs.holding([], 0) == []


def test_the_joiner_tells_its_hole_and_sheds_the_furthest_pieces() -> None:
    joiner = LogJoiner(limit=10)
    assert joiner.feed(10, b"kkkkk") == b""
    assert joiner.hole == (0, 10)
    assert joiner.feed(15, b"pppppppp") == b""
    assert joiner.dropped == 8
    assert joiner.feed(0, b"aaaaaaaaaa") == b"aaaaaaaaaakkkkk"
    assert joiner.hole is None
    assert joiner.feed(0, b"aaaaaaaaaakkkkkpp") == b"pp"
    assert joiner.feed(0, b"aaaaaaaaaakkkkkpp") == b""
    assert joiner.position == 17


def test_events_and_records_are_shown_by_time() -> None:
    events = [
        RunEvent(time=T1, event="started", text="started"),
        RunEvent(time=T3, event="exited", data={"code": 3}),
    ]
    records = [line(b"one", time=T1), line(b"two", time=T2), line(b"clock stepped back", time=T1)]
    shown = list(logs.merge(records, events))
    assert shown == [events[0], *records, events[1]]


def test_events_are_json_lines() -> None:
    event = RunEvent(time=T1, event="bids", text="2 bids\nof 3 nodes", data={"costs": [1.5, 2]})
    encoded = logs.encode_event(event)
    assert encoded.count(b"\n") == 1
    parser = logs.EventParser()
    assert parser.feed(encoded[:7]) == []
    assert parser.feed(encoded[7:] + encoded) == [event, event]
    with pytest.raises(InvalidInput, match=f"events byte {2 * len(encoded)}"):
        parser.feed(b'{"time": "now"}\n')


@pytest.mark.parametrize(
    ("text", "percent"),
    [
        (b"42 %", 42.0),
        (b"42%", 42.0),
        (b" 10% of [ 55.5 %]", 55.5),
        (b"\r 1%|\r 2%|\r 3%|##", 3.0),
        (b"100%", 100.0),
        (b"0 %", 0.0),
        (b"97 % of 250 %", 97.0),
        (b"1000%", None),
        (b"-5 %", None),
        (b"%d items", None),
        (b"12 percent", None),
        (b"v1.2.3%", None),
        (b"50%x", None),
        (b"\xff\xfe 7 % \x00", 7.0),
        (b"", None),
    ],
)
def test_progress_is_the_last_percentage_of_a_line(text: bytes, percent: float | None) -> None:
    assert logs.percent_in(text) == percent


def test_progress_is_seen_in_a_line_that_never_ends() -> None:
    assert scan(line(b"\r 10%|#", complete=False), line(b"   \r 1", complete=False)).percent == 10.0
    split = scan(
        line(b"\r 10%|#", complete=False), line(b"   \r 1", complete=False), line(b"2%", complete=False)
    )
    assert split.percent == 12.0


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (b"WINSLOW_RESULT: cars=12", ("cars", "12")),
        (b"  WINSLOW_RESULT:mean speed = 12.5 km/h \r", ("mean speed", "12.5 km/h")),
        (b"WINSLOW_RESULT: formula=a=b", ("formula", "a=b")),
        (b"WINSLOW_RESULT: empty=", ("empty", "")),
        (b"WINSLOW_RESULT: bad=\xff", ("bad", "\N{REPLACEMENT CHARACTER}")),
        (b"WINSLOW_RESULT: nothing", None),
        (b"say WINSLOW_RESULT: cars=12", None),
    ],
)
def test_results_come_from_lines_of_their_own(text: bytes, result: tuple[str, str] | None) -> None:
    assert logs.result_in(text) == result


def test_results_have_limits_and_refusals_are_counted() -> None:
    told = scan(
        *(line(b"WINSLOW_RESULT: k%d=v" % number) for number in range(4)),  # the fourth key is one too many
        line(b"WINSLOW_RESULT: k0=new"),
        line(b"WINSLOW_RESULT: k1=" + b"x" * 11),
        line(b"WINSLOW_RESULT: =x"),
        line(b"WINSLOW_RESULT: a\x1b[2Jb=x"),
    )
    assert told.results == {"k0": "new", "k1": "v", "k2": "v"}
    assert told.refused == 4


def test_streams_do_not_mix_and_long_lines_carry_no_result() -> None:
    told = scan(
        line(b"WINSLOW_RES", complete=False),
        line(b"ULT: a=stderr", stream="stderr"),
        line(b"ULT: a=1"),
        line(b"x" * logs.LINE_PART + b"x", stream="stderr", complete=False),
        line(b"\nWINSLOW_RESULT: b=1".strip(), stream="stderr"),
        line(b"WINSLOW_RESULT: c=2", stream="stderr"),
    )
    assert told.results == {"a": "1", "c": "2"}


def test_feeding_tells_whether_anything_changed() -> None:
    told = Scan(max_results=3, max_bytes=10)
    assert told.feed(line(b"1 %"))
    assert not told.feed(line(b"1 %"))
    assert told.feed(line(b"WINSLOW_RESULT: a=b"))
    assert not told.feed(line(b"WINSLOW_RESULT: a=b"))
    assert not told.feed(Record(T1, "stdout", True, b"99 % of the log was cut", "cut"))
    assert told.percent == 1.0
