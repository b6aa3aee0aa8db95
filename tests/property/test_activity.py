"""Activity over any link, whoever dies when: every event that a document ever held stands once, in order, without a
gap, in the blocks and the document together."""

from __future__ import annotations

import random

import pytest

from tests.faults.counter import Added, VirtualTime, add, added_to, new_project
from tests.faults.store import Fault, FaultyStore
from winslow import activity
from winslow.errors import StoreUnreachable
from winslow.project import Project
from winslow.store import layout
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore

PROJECT = "count-abcd"
EVENTS = 300
WRITERS = 4
WEIGHTS = {Fault.NONE: 30, Fault.REQUEST_LOST: 1, Fault.ANSWER_LOST: 1, Fault.TWICE: 1, Fault.LATE: 1}


class Killed(BaseException):
    """A writer's process has ended, between any two of its requests."""


def told(store: MemoryStore) -> list[tuple[int, str]]:
    """Revision and id of every record, oldest first."""
    documents = Documents(store)
    document = documents.read(PROJECT).document
    return [(each.revision, each.id) for each in documents.activity.after(document, 0)]


def happened(store: MemoryStore) -> list[tuple[int, str]]:
    """The same from what the events themselves left behind."""
    return list(enumerate(("made", *added_to(Documents(store), PROJECT)), start=1))


@pytest.mark.parametrize("seed", range(8))
def test_nothing_that_happened_is_missing_or_told_twice(seed: int) -> None:
    rng = random.Random(seed)
    inner = MemoryStore()
    Documents(inner).create(new_project())
    number = kills = unknown = 0
    acknowledged: list[str] = []

    def event() -> Added:
        nonlocal number
        number += 1
        return Added(f"e{number}")

    def writer() -> Documents:
        def before() -> None:
            if rng.random() < 0.01:
                raise Killed
            if rng.random() < 0.1:  # somebody else is faster
                rival = event()
                Documents(inner).update(PROJECT, rival, apply=add)
                acknowledged.append(rival.id)

        link = FaultyStore(
            inner, lambda *_: rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0], before=before
        )
        links.append(link)
        return Documents(link, patience=VirtualTime().patience(rng, deadline=0.5))

    links: list[FaultyStore] = []
    writers = [writer() for _ in range(WRITERS)]
    while number < EVENTS:
        who = rng.randrange(WRITERS)
        mine = event()
        known = writers[who].read if rng.random() < 0.5 else None
        try:
            version = known(PROJECT) if known is not None else None
            writers[who].update(PROJECT, mine, apply=add, known=version)
            acknowledged.append(mine.id)
        except StoreUnreachable:
            unknown += 1
        except Killed:
            kills += 1
            writers[who] = writer()
        if rng.random() < 0.1:
            assert told(inner) == happened(inner)
    for link in links:
        link.flush()
    assert told(inner) == happened(inner)
    assert {id for _, id in told(inner)} >= {"made", *acknowledged}
    assert kills and unknown and len(happened(inner)) > EVENTS / 2


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "MOST_BLOCKS", 3)
    store = MemoryStore()
    documents = Documents(store)
    documents.create(new_project())
    for number in range(300):
        documents.update(PROJECT, Added(f"e{number}"), apply=add)
        stored = [info.key for info in store.walk(f"projects/{PROJECT}/")]
        assert len(stored) <= 3
    document = documents.read(PROJECT).document
    assert isinstance(document, Project) and document.revision == 301
    assert stored == [
        layout.activity_block(PROJECT, first=last - 31, last=last) for last in (224 + 0, 256, 288)
    ]
    assert told(store) == happened(store)[192:]
