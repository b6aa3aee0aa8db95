"""Blocks of activity: which revisions they hold, when they are stored, and what a document tells by itself."""

from __future__ import annotations

import pytest

from tests.faults.counter import Added, add, new_project
from tests.faults.store import Fault, FaultyStore
from tests.unit.cli_projects import ended, event_id
from winslow import activity, lifecycle
from winslow.activity import Block, block_of
from winslow.errors import InvalidInput, NotFound
from winslow.events import Deleted
from winslow.project import EventRecord, Project, Tombstone
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore

PROJECT = "count-abcd"


def written(documents: Documents, count: int, *, begin: int = 0) -> None:
    """So many more events."""
    for number in range(begin, begin + count):
        documents.update(PROJECT, Added(f"e{number}"), apply=add)


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    Documents(made).create(new_project())
    return made


def kept(store: MemoryStore) -> list[str]:
    return [info.key for info in store.walk("projects/")]


@pytest.mark.parametrize(("revision", "block"), [(1, (1, 32)), (32, (1, 32)), (33, (33, 64)), (64, (33, 64))])
def test_a_revision_belongs_to_one_block(revision: int, block: tuple[int, int]) -> None:
    assert block_of(revision) == Block(*block)


def test_a_block_is_stored_before_the_next_one_begins_and_costs_one_request_in_32(store: MemoryStore) -> None:
    link = FaultyStore(store, lambda *_: Fault.NONE)
    documents = Documents(link)
    known = documents.read(PROJECT)
    for number in range(31):
        known = documents.update(PROJECT, Added(f"e{number}"), apply=add, known=known)
    assert known.document.revision == 32 and kept(store) == []
    link.seen.clear()
    documents.update(PROJECT, Added("e31"), apply=add, known=known)
    block = f"projects/{PROJECT}/activity/000000001-000000032.jsonl"
    assert [(operation, key) for operation, key, _ in link.seen] == [
        ("put", block),
        ("put", f"documents/projects/{PROJECT}.json"),
    ]
    assert kept(store) == [block]


def test_every_writer_stores_the_same_bytes(store: MemoryStore) -> None:
    documents = Documents(store)
    written(documents, 31)
    document = documents.read(PROJECT).document
    written(documents, 1, begin=31)
    (key,) = kept(store)
    held = store.get(key)
    documents.activity.keep(document)  # somebody who was slow
    assert store.get(key) == held
    assert held.data.count(b"\n") == 32


def test_a_record_comes_back_whole() -> None:
    project = ended(ok=False).changed(revision=32)
    record = EventRecord(
        id="x",
        revision=32,
        at="2026-01-01T10:00:00.123Z",
        by="ann",
        kind="ended",
        n=1,
        k=2,
        text="é\u2028\x1b[0m\n",
    )
    block = activity.encode_block(project.changed(recent_events=(record,)), Block(1, 32))
    assert activity.decode_block(block, key="k") == (record,)


@pytest.mark.parametrize("data", [b"{}\n", b"[1]\n", b"\xff\n", b'{"id": "a", "revision": "x"}'])
def test_a_damaged_block_is_named(data: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^some/key: not a block of activity"):
        activity.decode_block(data, key="some/key")


def test_history_is_read_back_block_by_block_and_no_further_than_asked(store: MemoryStore) -> None:
    documents = Documents(store)
    written(documents, 199)
    link = FaultyStore(store, lambda *_: Fault.NONE)
    archive = Documents(link).activity
    document = documents.read(PROJECT).document
    assert [each.revision for each in archive.after(document, 137)] == list(range(138, 201))
    assert link.seen == []  # the document has them
    assert [each.revision for each in archive.after(document, 96)] == list(range(97, 201))
    assert len(link.seen) == 2
    assert [each.id for each in archive.after(document, 0)] == [
        "made",
        *(f"e{number}" for number in range(199)),
    ]


def test_what_a_deleted_project_tells() -> None:
    project = ended()
    gone = lifecycle.apply(project, Deleted(id=event_id(), at="2026-01-01T10:00:00Z", by="ann"))
    assert isinstance(gone, Tombstone)
    (record,) = activity.records(gone)
    assert (record.revision, record.kind, record.by, record.at, record.text) == (
        project.revision + 1, "deleted", "ann", "2026-01-01T10:00:00Z", "deleted",
    )  # fmt: skip
    assert activity.newest(gone) == record
    assert activity.newest(project) == project.recent_events[-1]


def test_a_block_that_comes_after_the_deletion_is_taken_back(store: MemoryStore) -> None:
    documents = Documents(store)
    written(documents, 31)
    known = documents.read(PROJECT)

    def delete(project: Project, event: Added) -> Tombstone:
        return Tombstone(id=project.id, revision=33, name=project.name, recent_events=(event.id,))

    documents.update(PROJECT, Added("d"), apply=delete)
    assert kept(store) == []  # nobody keeps what is to be deleted
    with pytest.raises(NotFound, match="was deleted"):
        documents.update(PROJECT, Added("late"), apply=add, known=known)
    assert kept(store) == []
