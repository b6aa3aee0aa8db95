"""Logs of attempts in a store, cut as an agent's spool cuts them, and a store that counts what it is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from node_agent.spool import Spool, event_copy_keys, log_copy_keys
from winslow.errors import StoreUnreachable
from winslow.logs import LINE_PART, Record, RunEvent, Stream, encode, encode_event, stamp
from winslow.store.memory import MemoryStore
from winslow.store.port import ObjectInfo, ObjectStore

PROJECT, RUN, ATTEMPT = "ulm-abcd", 1, 1
_BEGIN = 1_767_261_600 * 10**9  # 2026-01-01T10:00:00Z
_CHUNK = 20_000  # records


def at(second: float) -> str:
    """The time of so many seconds after the log's beginning."""
    return stamp(_BEGIN + int(second * 10**9))


def line(text: str | bytes, second: float = 0.0, stream: Stream = "stdout") -> list[Record]:
    """A line as an agent records it: in parts of 16 KiB."""
    data = text.encode() if isinstance(text, str) else text
    cuts = range(0, max(1, len(data)), LINE_PART)
    return [
        Record(
            time=at(second),
            stream=stream,
            complete=start + LINE_PART >= len(data),
            data=data[start : start + LINE_PART],
        )
        for start in cuts
    ]


def event(text: str, second: float, kind: str = "note") -> RunEvent:
    """One of Winslow's own."""
    return RunEvent(time=at(second), event=kind, text=text)


def archive(records: Iterable[Record]) -> bytes:
    """Their bytes."""
    return b"".join(map(encode, records))


class StoredLog:
    """An attempt's log that grows: `write` puts it on disk, `copy` into the store as it is then."""

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        self.spool = Spool(folder / "output.log")
        self.events = Spool(folder / "events.jsonl")
        self._store = store

    def write(self, records: Iterable[Record]) -> tuple[int, bytes]:
        """Add records; the live batch that an agent would publish."""
        offset, pending = self.spool.size, list[tuple[bytes, bool]]()
        for record in records:
            pending.append((encode(record), record.complete))
            if len(pending) >= _CHUNK:
                self.spool.append(pending)
                pending = []
        self.spool.append(pending)
        return offset, self.spool.read(offset, self.spool.size)

    def tell(self, *events: RunEvent) -> None:
        """Add events."""
        self.events.append([(encode_event(each), True) for each in events])

    def copy(self) -> None:
        """All of it into the store."""
        for spool, keys in ((self.spool, log_copy_keys), (self.events, event_copy_keys)):
            _, key = keys(PROJECT, RUN, ATTEMPT)
            for segment in spool.segments:
                if spool.end_of(segment) > segment.first_byte:
                    self._store.put(key(segment), spool.read(segment.first_byte, spool.end_of(segment)))

    def close(self) -> None:
        """Close the files."""
        self.spool.close()
        self.events.close()


class AskedStore(MemoryStore):
    """Counts what is asked of it, and may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.read = 0
        """Bytes."""
        self.away = False

    def _count_asked(self) -> None:
        if self.away:
            raise StoreUnreachable("the store is away")
        self.asked += 1

    def get_range(self, key: str, offset: int, length: int, *, etag: str | None = None) -> bytes:
        """See port."""
        self._count_asked()
        data = super().get_range(key, offset, length, etag=etag)
        self.read += len(data)
        return data

    def walk(self, prefix: str) -> Iterator[ObjectInfo]:
        """See port."""
        self._count_asked()
        yield from super().walk(prefix)
