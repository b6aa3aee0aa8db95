"""Whatever a stage writes and however it is cut, the archive gives it back (design 7, invariant I6)."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from winslow import logs
from winslow.logs import LogJoiner, Record, RecordParser, RunEvent, Skip, Stream

STREAMS: tuple[Stream, ...] = ("stdout", "stderr")
nanoseconds = st.integers(min_value=0, max_value=4_000_000_000 * 10**9)
pieces = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"\n", b"\n\n", b"", b"\xff\xfe", b"a b P F\n", b"x" * logs.LINE_PART, b"x" * 2 * logs.LINE_PART]
    ),
)
writes = st.lists(st.tuples(st.sampled_from(STREAMS), pieces, nanoseconds), max_size=12)


def archived(written: list[tuple[Stream, bytes, int]]) -> list[Record]:
    """Records as a runtime makes them: lines, parts of 16 KiB of long ones, a torn last one."""
    records: list[Record] = []
    open_lines: dict[Stream, bytes] = {}
    for stream, data, time in written:
        *lines, rest = (open_lines.pop(stream, b"") + data).split(b"\n")
        for text in lines:
            parts = [text[at : at + logs.LINE_PART] for at in range(0, max(1, len(text)), logs.LINE_PART)]
            records += [Record(logs.stamp(time), stream, False, part) for part in parts[:-1]]
            records.append(Record(logs.stamp(time), stream, True, parts[-1]))
        open_lines[stream] = rest
    records += [Record(logs.stamp(0), stream, False, rest) for stream, rest in open_lines.items() if rest]
    return records


def cut(data: bytes, points: list[int]) -> list[tuple[int, bytes]]:
    """(offset, piece) of `data` cut at the points, taken modulo its length."""
    edges = sorted({0, len(data), *(point % (len(data) + 1) for point in points)})
    return [(start, data[start:end]) for start, end in itertools.pairwise(edges)]


@given(writes)
def test_inverse_is_what_was_written(written: list[tuple[Stream, bytes, int]]) -> None:
    archive = b"".join(map(logs.encode, archived(written)))
    for stream in STREAMS:
        assert logs.inverse(archive, stream) == b"".join(data for to, data, _ in written if to == stream)


@given(writes, st.lists(st.integers(min_value=0), max_size=8))
def test_parsing_does_not_depend_on_how_the_archive_is_cut(
    written: list[tuple[Stream, bytes, int]], points: list[int]
) -> None:
    records = archived(written)
    archive = b"".join(map(logs.encode, records))
    parser = RecordParser()
    found = [record for _, piece in cut(archive, points) for record in parser.feed(piece)]
    assert found == records
    assert parser.offset == len(archive)


@given(st.lists(st.tuples(st.sampled_from(STREAMS), st.binary(max_size=6), nanoseconds), max_size=3))
def test_every_single_boundary(written: list[tuple[Stream, bytes, int]]) -> None:
    records = archived(written)
    archive = b"".join(map(logs.encode, records))
    for at in range(len(archive) + 1):
        parser = RecordParser()
        assert parser.feed(archive[:at]) + parser.feed(archive[at:]) == records


@given(st.binary(max_size=300), st.lists(st.integers(min_value=0), max_size=8), st.data())
def test_the_joiner_gives_every_byte_once_whatever_the_order(
    data: bytes, points: list[int], draw: st.DataObject
) -> None:
    parts = cut(data, points)
    extra = draw.draw(st.lists(st.tuples(st.integers(0, len(data)), st.integers(0, 40)), max_size=6))
    parts += [(start, data[start : start + length]) for start, length in extra]  # overlaps and repeats
    joiner = LogJoiner()
    shown = b""
    for offset, piece in draw.draw(st.permutations(parts)):
        shown += joiner.feed(offset, piece)
        assert joiner.position == len(shown)
        assert data.startswith(shown)
        hole = joiner.hole
        assert hole is None or hole[0] == joiner.position < hole[1]
    assert shown == data
    assert joiner.hole is None


@given(st.binary(max_size=200), st.lists(st.integers(min_value=0), max_size=6), st.data())
def test_what_the_joiner_sheds_can_come_again(data: bytes, points: list[int], draw: st.DataObject) -> None:
    joiner = LogJoiner(limit=20)
    parts = cut(data, points)
    shown = b"".join(joiner.feed(offset, piece) for offset, piece in draw.draw(st.permutations(parts)))
    shown += b"".join(joiner.feed(offset, piece) for offset, piece in parts)
    assert shown == data


@given(writes, st.integers(min_value=0, max_value=70_000), st.integers(min_value=0, max_value=70_000))
def test_a_reader_that_starts_over_skips_exactly_what_it_had(
    written: list[tuple[Stream, bytes, int]], had_out: int, had_err: int
) -> None:
    records = archived(written)
    had: dict[Stream, int] = {"stdout": had_out, "stderr": had_err}
    skip = Skip(had)
    again: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
    for record in records:
        rest = skip.rest(record.stream, record.data, record.complete)
        if rest is not None:
            again[record.stream] += rest + b"\n" * record.complete
    for stream in STREAMS:
        whole = b"".join(record.written for record in records if record.stream == stream)
        assert again[stream] == whole[had[stream] :]
        assert skip.left[stream] == max(0, had[stream] - len(whole))


@given(st.binary(max_size=300))
def test_no_line_of_a_stage_breaks_the_scan(data: bytes) -> None:
    scan = logs.Scan(max_results=2, max_bytes=8)
    for record in archived([("stdout", data, 0)]):
        scan.feed(record)
    assert scan.percent is None or 0 <= scan.percent <= 100
    assert len(scan.results) <= 2
    assert all(
        len(value.encode()) <= 8 and key.isprintable() for key, value in scan.results.items() if key.isascii()
    )


@given(
    st.integers(min_value=0, max_value=100),
    st.binary(max_size=30),
    st.binary(max_size=30),
    st.integers(0, 200),
)
def test_progress_is_found_across_any_part_boundary(
    percent: int, before: bytes, after: bytes, at: int
) -> None:
    text = (
        before.replace(b"\n", b" ")
        + b" "
        + str(percent).encode()
        + b" % "
        + after.replace(b"\n", b"").replace(b"%", b"")
    )
    scan = logs.Scan(max_results=1, max_bytes=1)
    scan.feed(Record(logs.stamp(0), "stdout", False, text[: at % (len(text) + 1)]))
    scan.feed(Record(logs.stamp(0), "stdout", True, text[at % (len(text) + 1) :]))
    assert scan.percent == percent


@given(st.lists(nanoseconds, max_size=8).map(sorted), st.lists(nanoseconds, max_size=8).map(sorted))
def test_merging_keeps_both_orders_and_sorts_by_time(at: list[int], happened: list[int]) -> None:
    records = [Record(logs.stamp(time), "stdout", True, b"%d" % time) for time in at]
    events = [RunEvent(time=logs.stamp(time), event="seen", text=str(time)) for time in happened]
    shown = list(logs.merge(records, events))
    assert [item for item in shown if isinstance(item, Record)] == records
    assert [item for item in shown if isinstance(item, RunEvent)] == events
    assert [item.time for item in shown] == sorted(item.time for item in shown)
