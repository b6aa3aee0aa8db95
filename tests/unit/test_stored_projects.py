"""What the store says of projects after the broker was away (`winslow_tui.facade.storedprojects`)."""

from __future__ import annotations

from collections.abc import Iterator

from tests import screens
from winslow.project import Project, Tombstone
from winslow.store import layout
from winslow.store.memory import MemoryStore
from winslow.store.port import Blob, ObjectInfo
from winslow_tui.facade.client import Client
from winslow_tui.facade.storedprojects import StoredProjects


class Dated(MemoryStore):
    """Objects have the times that a test gives them; reads are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[str, str] = {}
        self.reads: list[str] = []

    def walk(self, prefix: str) -> Iterator[ObjectInfo]:
        for info in super().walk(prefix):
            yield ObjectInfo(
                key=info.key, etag=info.etag, size=info.size, modified=self.times.get(info.key, info.modified)
            )

    def get(self, key: str) -> Blob:
        self.reads.append(key)
        return super().get(key)


class Bench:
    """A store with three projects: two written long ago, one just now."""

    def __init__(self) -> None:
        self.store = Dated()
        self.client = Client(screens.CONFIG, store=self.store)
        for id_, when in (("old-aaaa", "08:00"), ("older-bbbb", "07:00"), ("new-cccc", "11:59")):
            self.client.documents.create(screens.Story(id_, id_).project)
            self.store.times[layout.project_document(id_)] = f"2026-06-12T{when}:00Z"
        self.stored = StoredProjects(self.client)
        self.store.reads.clear()

    def document(self, id_: str) -> Project:
        found = self.client.documents.read(id_).document
        assert isinstance(found, Project)
        return found


def test_only_what_may_have_changed_is_read() -> None:
    bench = Bench()
    found = bench.stored.changes({"old-aaaa", "older-bbbb", "new-cccc"}, silent=60.0, ours=True)
    assert list(found) == ["new-cccc"] and bench.store.reads == [layout.project_document("new-cccc")]
    told = found["new-cccc"]
    assert told is not None and (told.name, told.state, told.updated) == (
        "new-cccc",
        "new",
        "2026-06-12T11:59:00Z",
    )
    assert set(
        bench.stored.changes({"old-aaaa", "older-bbbb", "new-cccc"}, silent=4 * 3600.0, ours=True)
    ) == {"old-aaaa"}


def test_what_nobody_told_is_read_once() -> None:
    bench = Bench()
    assert set(bench.stored.changes((), silent=0.0, ours=True)) == {"old-aaaa", "older-bbbb", "new-cccc"}
    assert bench.stored.changes({"old-aaaa", "older-bbbb", "new-cccc"}, silent=9e9, ours=True) == {}
    assert len(bench.store.reads) == 3


def test_what_is_gone_or_deleted_is_told_as_that() -> None:
    bench = Bench()
    gone = Tombstone(id="old-aaaa", name="old", revision=9, deleted_at="", by="anna")
    key = layout.project_document("old-aaaa")
    bench.store.put(key, gone.model_dump_json(by_alias=True).encode())
    bench.store.times[key] = "2026-06-12T12:00:00Z"
    found = bench.stored.changes({"old-aaaa", "older-bbbb", "new-cccc", "never-dddd"}, silent=0.0, ours=True)
    assert found["old-aaaa"] is None and found["never-dddd"] is None
    assert "never-dddd" not in bench.stored.changes({"never-dddd"}, silent=0.0, ours=False)


def test_what_cannot_be_read_is_a_row_that_says_why() -> None:
    bench = Bench()
    bench.store.put(layout.project_document("newer-eeee"), b'{"schema": 99, "id": "newer-eeee"}')
    told = bench.stored.changes({"old-aaaa", "older-bbbb", "new-cccc"}, silent=0.0, ours=True)["newer-eeee"]
    assert told is not None and told.state == "unreadable" and "written by a newer Winslow" in told.reason
