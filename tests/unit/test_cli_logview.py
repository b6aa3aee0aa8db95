"""Reading a run's log from the store, and following it as it grows (design 7)."""

from __future__ import annotations

import pytest

from broker.messages import LogChunk
from tests.unit import cli_projects as make
from winslow.errors import InvalidInput, NotFound, StoreUnreachable
from winslow.logs import Record, RunEvent, Stream, encode, encode_event
from winslow.store import layout
from winslow.store.memory import MemoryStore
from winslow_tui.logs import logview
from winslow_tui.logs.logview import Line, Lines

PROJECT = "ulm-abcd"


def time_of(second: int) -> str:
    return f"2026-01-01T10:00:{second:02d}.000000000Z"


def record(second: int, text: str, stream: Stream = "stdout", *, complete: bool = True) -> Record:
    return Record(time=time_of(second), stream=stream, complete=complete, data=text.encode())


def put_log(store: MemoryStore, *segments: list[Record]) -> bytes:
    """Write segments as an agent does; the whole archive."""
    whole = b""
    lines = 0
    for records in segments:
        data = b"".join(encode(each) for each in records)
        store.put(layout.log_segment(PROJECT, 1, 1, first_byte=len(whole), first_line=lines), data)
        whole += data
        lines += len(records)
    return whole


def put_events(store: MemoryStore, *events: RunEvent) -> None:
    data = b"".join(encode_event(event) for event in events)
    store.put(layout.event_segment(PROJECT, 1, 1, first_byte=0, first_line=0), data)


def texts(lines: object) -> list[str]:
    assert isinstance(lines, list)
    return [line.data.decode() for line in lines]


@pytest.fixture
def store() -> MemoryStore:
    """Two segments of both streams, and two events of the system."""
    store = MemoryStore()
    put_log(
        store,
        [record(1, "a"), record(2, "b", "stderr"), record(3, "c")],
        [record(5, "d"), record(6, "e", complete=False), record(7, "f"), record(8, "end", complete=False)],
    )
    put_events(
        store,
        RunEvent(time=time_of(0), event="claimed", text="claimed by ws1"),
        RunEvent(time=time_of(4), event="note", text="four"),
    )
    return store


def read(store: MemoryStore, stream: logview.Source | None = None, tail: int | None = None) -> list[Line]:
    return list(logview.read(store, PROJECT, make.running().runs[0], k=None, stream=stream, tail=tail))


def test_streams_are_merged_by_time_and_parts_joined(store: MemoryStore) -> None:
    assert texts(read(store)) == ["claimed by ws1", "a", "b", "c", "four", "d", "ef", "end"]


@pytest.mark.parametrize(
    ("stream", "tail", "shown"),
    [
        ("stdout", None, ["a", "c", "d", "ef", "end"]),
        ("stderr", None, ["b"]),
        ("system", None, ["claimed by ws1", "four"]),
        (None, 3, ["d", "ef", "end"]),
        (None, 5, ["c", "four", "d", "ef", "end"]),
        ("stderr", 1, ["b"]),
        ("stdout", 4, ["c", "d", "ef", "end"]),
        ("system", 1, ["four"]),
        (None, 0, []),
        (None, 100, ["claimed by ws1", "a", "b", "c", "four", "d", "ef", "end"]),
    ],
)
def test_stream_and_tail(
    store: MemoryStore, stream: logview.Source | None, tail: int | None, shown: list[str]
) -> None:
    assert texts(read(store, stream, tail)) == shown


def test_a_tail_does_not_read_what_is_before_it() -> None:
    class Counting(MemoryStore):
        reads = 0

        def get_range(self, key: str, offset: int, length: int, *, etag: str | None = None) -> bytes:
            self.reads += 1
            return super().get_range(key, offset, length, etag=etag)

    store = Counting()
    put_log(store, *[[record(n, f"{n}")] * 10 for n in range(20)])
    assert texts(read(store, "stdout", 3)) == ["19", "19", "19"]
    assert store.reads <= 2


def test_a_mark_is_winslows_own_word() -> None:
    lines = Lines()
    shown = lines.feed(
        Record(time=time_of(1), stream="stdout", complete=True, data=b"the rest was dropped", mark="cut")
    )
    assert shown == Line(time_of(1), "system", b"the rest was dropped", "cut")


def test_a_line_without_end_is_bounded() -> None:
    lines = Lines(limit=10)
    shown = [lines.feed(record(1, "12345678", complete=False)) for _ in range(4)]
    assert [line.data for line in shown if line] == [b"1234567812345678"] * 2


def test_which_run_and_attempt() -> None:
    project = make.ended()
    assert logview.run_of(project, None).n == 2
    assert logview.run_of(project, 1).n == 1
    assert logview.attempt_of(project.runs[0], None) == 1
    assert logview.attempt_of(project.runs[1], None) is None
    with pytest.raises(NotFound, match="no run #7"):
        logview.run_of(project, 7)
    with pytest.raises(NotFound, match="no run yet"):
        logview.run_of(make.new(), None)
    with pytest.raises(NotFound, match="no attempt 2"):
        logview.attempt_of(project.runs[0], 2)


def follower(store: MemoryStore) -> logview.Follower:
    return logview.Follower(store, PROJECT, 1, 1, stream=None)


def test_segments_and_live_batches_are_joined_once() -> None:
    store = MemoryStore()
    first, second, third = ([record(n, f"line {n}")] for n in range(3))
    whole = b"".join(encode(each[0]) for each in (first, second, third))
    size = len(whole) // 3
    view = follower(store)
    assert view.take(LogChunk(offset=2 * size, data=whole[2 * size :])) == []
    assert view.hole
    put_log(store, first)
    assert texts(view.pull()) == ["line 0"]
    assert texts(view.take(LogChunk(offset=size - 5, data=whole[size - 5 : 2 * size]))) == [
        "line 1",
        "line 2",
    ]
    assert not view.hole
    put_log(store, first, second, third)
    assert view.pull() == []


def test_an_open_segment_that_grows_is_read_on_from_where_one_was() -> None:
    store = MemoryStore()
    view = follower(store)
    shown = []
    for end in range(1, 6):
        put_log(store, [record(n, f"line {n}") for n in range(end)])
        shown += texts(view.pull())
    assert shown == [f"line {n}" for n in range(5)]


def test_a_pull_that_failed_in_the_middle_loses_nothing() -> None:
    class Failing(MemoryStore):
        fail_at = ""

        def get_range(self, key: str, offset: int, length: int, *, etag: str | None = None) -> bytes:
            if self.fail_at and key.endswith(self.fail_at):
                raise StoreUnreachable("away")
            return super().get_range(key, offset, length, etag=etag)

    store = Failing()
    put_log(store, [record(1, "a")], [record(2, "b")])
    put_events(store, RunEvent(time=time_of(0), event="claimed", text="claimed"))
    store.fail_at = "-1.log"
    view = follower(store)
    with pytest.raises(StoreUnreachable):
        view.pull()
    store.fail_at = ""
    assert texts(view.pull()) == ["claimed", "a", "b"]


def test_a_strangers_batch_is_refused_and_the_store_goes_on() -> None:
    store = MemoryStore()
    whole = put_log(store, [record(1, "a"), record(2, "b")])
    size = len(whole) // 2
    view = follower(store)
    assert texts(view.take(LogChunk(offset=0, data=whole[:size]))) == ["a"]
    with pytest.raises(InvalidInput):
        view.take(LogChunk(offset=size, data=b"no record\n" * 9))
    assert texts(view.pull()) == ["b"]
