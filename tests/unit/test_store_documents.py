"""Every event takes effect once or ends in an error (design 3, I10), over a link that loses and doubles."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import count

import pytest

from tests.faults.counter import Added, VirtualTime, add, added_to, new_project
from tests.faults.store import Fault, FaultyStore
from winslow.errors import Conflict, InvalidInput, NotFound, Refused, StoreUnreachable
from winslow.project import RECENT_EVENTS, Project, Tombstone
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore

PROJECT = "count-abcd"
KEY = f"documents/projects/{PROJECT}.json"


def scripted(
    inner: MemoryStore, faults: Iterable[Fault], *, deadline: float = 10.0
) -> tuple[FaultyStore, Documents]:
    """A client whose first PUTs meet these faults; everything else goes well."""
    left = list(faults)
    store = FaultyStore(
        inner, lambda operation, _: left.pop(0) if operation == "put" and left else Fault.NONE
    )
    return store, Documents(store, patience=VirtualTime().patience(random.Random(1), deadline=deadline))


@pytest.fixture
def inner() -> MemoryStore:
    store = MemoryStore()
    Documents(store).create(new_project())
    return store


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE])
def test_one_bad_put_is_made_good(inner: MemoryStore, fault: Fault) -> None:
    store, documents = scripted(inner, [fault])
    document, etag = documents.update(PROJECT, Added("a"), apply=add)
    store.flush()
    assert added_to(documents, PROJECT) == ("a",)
    assert document.revision == 2
    assert inner.get(KEY).etag == etag


def test_the_same_bytes_are_sent_again_while_the_document_stands_still(inner: MemoryStore) -> None:
    decisions = count()

    def counted(project: Project, event: Added) -> Project:
        next(decisions)
        return add(project, event)

    _, documents = scripted(inner, [Fault.REQUEST_LOST, Fault.REQUEST_LOST])
    documents.update(PROJECT, Added("a"), apply=counted)
    assert next(decisions) == 1


def test_a_lost_race_is_decided_afresh_on_the_new_document(inner: MemoryStore) -> None:
    rival = Documents(inner)
    rivals = iter(["r1", "r2"])

    def before() -> None:
        if store.seen and store.seen[-1][0] == "get" and (name := next(rivals, None)):
            rival.update(PROJECT, Added(name), apply=add)

    store, documents = scripted(inner, [])
    store.before = before
    documents.update(PROJECT, Added("a"), apply=add)
    assert added_to(documents, PROJECT) == ("r1", "r2", "a")


def test_what_apply_refuses_changes_nothing(inner: MemoryStore) -> None:
    def refuse(project: Project, event: Added) -> Project:
        raise Refused("not now")

    before = inner.get(KEY)
    with pytest.raises(Refused, match="not now"):
        Documents(inner).update(PROJECT, Added("a"), apply=refuse)
    assert inner.get(KEY) == before


def test_nothing_is_sent_before_it_may_be(inner: MemoryStore) -> None:
    store, documents = scripted(inner, [])
    sent: list[int] = []
    documents.update(PROJECT, Added("a"), apply=add, ready=lambda: sent.append(len(store.seen)))
    assert [operation for operation, *_ in store.seen[: sent[0]]] == ["get"]
    assert store.seen[sent[0]][0] == "put"

    def no_room() -> None:
        raise OSError("disk full")

    before = inner.get(KEY)
    with pytest.raises(OSError, match="disk full"):
        documents.update(PROJECT, Added("b"), apply=add, ready=no_room)
    assert inner.get(KEY) == before


def test_a_conflict_that_apply_raises_is_not_taken_for_a_lost_race(inner: MemoryStore) -> None:
    def superseded(project: Project, event: Added) -> Project:
        raise Conflict("another attempt is the current one")

    with pytest.raises(Conflict, match="another attempt"):
        Documents(inner).update(PROJECT, Added("a"), apply=superseded)


def test_after_the_deadline_the_error_says_that_the_outcome_is_unknown(inner: MemoryStore) -> None:
    store = FaultyStore(inner, lambda operation, _: Fault.REQUEST_LOST if operation == "put" else Fault.NONE)
    time = VirtualTime()
    documents = Documents(store, patience=time.patience(random.Random(1), deadline=3.0))
    with pytest.raises(StoreUnreachable, match="unknown") as raised:
        documents.update(PROJECT, Added("a"), apply=add)
    assert raised.value.hint and raised.value.retryable
    assert time.now == pytest.approx(3.0)


def test_a_write_that_landed_just_before_the_deadline_is_no_error(inner: MemoryStore) -> None:
    _, documents = scripted(inner, [Fault.ANSWER_LOST], deadline=0.0)
    assert documents.update(PROJECT, Added("a"), apply=add).document.revision == 2


def test_when_the_id_may_have_been_pushed_out_nothing_is_applied_again(inner: MemoryStore) -> None:
    rival = Documents(inner)

    def before() -> None:
        if store.seen and store.seen[-1] == ("put", KEY, Fault.ANSWER_LOST):
            for number in range(RECENT_EVENTS):
                rival.update(PROJECT, Added(f"r{number}"), apply=add)

    store, documents = scripted(inner, [Fault.ANSWER_LOST])
    store.before = before
    with pytest.raises(StoreUnreachable, match="unknown"):
        documents.update(PROJECT, Added("a"), apply=add)
    assert added_to(rival, PROJECT).count("a") == 1


def test_a_deleted_project_is_told_from_one_that_never_was(inner: MemoryStore) -> None:
    def delete(project: Project, event: Added) -> Tombstone:
        return Tombstone(
            id=project.id, revision=project.revision + 1, name=project.name, recent_events=(event.id,)
        )

    documents = Documents(inner)
    assert isinstance(documents.update(PROJECT, Added("d"), apply=delete).document, Tombstone)
    assert documents.update(PROJECT, Added("d"), apply=delete).document.revision == 2
    with pytest.raises(NotFound, match="was deleted"):
        documents.update(PROJECT, Added("a"), apply=add)
    with pytest.raises(NotFound, match="no project 'other-abcd'"):
        documents.update("other-abcd", Added("a"), apply=add)
    with pytest.raises(Conflict, match="taken"):
        documents.create(new_project(event_id="again"))


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.NONE])
def test_creating_over_a_bad_link_makes_one_document(fault: Fault) -> None:
    inner = MemoryStore()
    store, documents = scripted(inner, [fault])
    etag = documents.create(new_project())
    store.flush()
    assert inner.get(KEY).etag == etag


def test_creating_does_not_take_somebody_elses_project_for_its_own(inner: MemoryStore) -> None:
    for fault in (Fault.NONE, Fault.REQUEST_LOST, Fault.ANSWER_LOST):
        _, documents = scripted(inner, [fault])
        with pytest.raises(Conflict, match="taken"):
            documents.create(new_project(event_id="mine"))
    assert Documents(inner).read(PROJECT).document.holds("made")


def test_an_invalid_document_is_never_written(inner: MemoryStore) -> None:
    def spoil(project: Project, event: Added) -> Project:
        return add(project, event).model_copy(update={"control": "nonsense"})

    before = inner.get(KEY)
    with pytest.raises(InvalidInput, match=KEY), pytest.warns(UserWarning, match="Pydantic"):
        Documents(inner).update(PROJECT, Added("a"), apply=spoil)
    assert inner.get(KEY) == before


def test_apply_that_forgets_the_event_is_a_programming_error(inner: MemoryStore) -> None:
    with pytest.raises(ValueError, match="recent_events"):
        Documents(inner).update(PROJECT, Added("a"), apply=lambda project, _: project)
    with pytest.raises(ValueError, match="id of the event"):
        Documents(inner).create(new_project().model_copy(update={"recent_events": ()}))


def test_unknown_fields_of_a_newer_program_survive_a_change(inner: MemoryStore) -> None:
    data = inner.get(KEY).data.replace(b'"name": "Counting"', b'"name": "Counting", "colour": "blue"')
    inner.put(KEY, data)
    Documents(inner).update(PROJECT, Added("a"), apply=add)
    assert b'"colour": "blue"' in inner.get(KEY).data


def test_the_listing_holds_documents_and_nothing_else(inner: MemoryStore) -> None:
    inner.put("documents/pipelines/traffic.json", b"{}")
    inner.put("documents/nodes/ws3.json", b"{}")
    inner.put("documents/projects/README", b"left here by somebody")
    inner.put("projects/count-abcd/input/video.mp4", b"")
    listing = Documents(inner).listing()
    assert list(listing.projects) == [PROJECT]
    assert list(listing.pipelines) == ["traffic"]
    assert list(listing.nodes) == ["ws3"]
    assert Documents(inner).project_etags() == {PROJECT: inner.get(KEY).etag}


SEEDS = 1_000
WEIGHTS = {Fault.NONE: 5, Fault.REQUEST_LOST: 1, Fault.ANSWER_LOST: 2, Fault.TWICE: 1, Fault.LATE: 2}


def bad_link(inner: MemoryStore, rng: random.Random) -> FaultyStore:
    """A link on which more than half of all requests, reads too, go wrong, while a rival writes."""
    rival, names = Documents(inner), count()

    def plan(operation: str, key: str) -> Fault:
        return rng.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))[0]

    def before() -> None:
        if rng.random() < 0.15:
            rival.update(PROJECT, Added(f"rival-{next(names)}"), apply=add)

    return FaultyStore(inner, plan, before=before)


def test_nothing_is_applied_twice_and_nothing_acknowledged_is_lost_in_1000_seeds() -> None:
    acknowledged = unknown = faults = 0
    for seed in range(SEEDS):
        rng = random.Random(seed)
        inner = MemoryStore()
        store = bad_link(inner, rng)
        Documents(inner).create(new_project())
        documents = Documents(store, patience=VirtualTime().patience(rng, deadline=rng.choice([0.5, 5.0])))
        done = []
        for number in range(4):
            event = Added(f"event-{number}")
            try:
                documents.update(PROJECT, event, apply=add)
                done.append(event.id)
            except StoreUnreachable:
                unknown += 1
        store.flush()
        held = added_to(Documents(inner), PROJECT)
        assert len(set(held)) == len(held), f"seed {seed}: applied twice"
        assert set(done) <= set(held), f"seed {seed}: acknowledged and lost"
        acknowledged += len(done)
        faults += sum(fault is not Fault.NONE for _, _, fault in store.seen)
    # The test is worth something only if both outcomes and many faults have really been met.
    assert acknowledged > SEEDS and unknown > SEEDS / 50 and faults > 10 * SEEDS


def test_the_same_1000_seeds_catch_a_client_that_merely_repeats() -> None:
    """Read, decide, write, and all over again until a write succeeds: what Documents must not do."""

    def careless(store: FaultyStore, event: Added) -> None:
        for _ in range(20):
            try:
                document, etag = Documents(store).read(PROJECT)
                assert isinstance(document, Project)
                data = add(document, event).model_dump_json().encode()
                store.put(KEY, data, if_match=etag)
                return
            except (StoreUnreachable, Conflict):
                continue

    doubled = 0
    for seed in range(SEEDS):
        inner = MemoryStore()
        store = bad_link(inner, random.Random(seed))
        Documents(inner).create(new_project())
        for number in range(4):
            careless(store, Added(f"event-{number}"))
        store.flush()
        held = added_to(Documents(inner), PROJECT)
        doubled += len(set(held)) != len(held)
    assert doubled > SEEDS / 10


def test_a_known_version_saves_the_read_and_an_old_one_costs_nothing_but_a_request(
    inner: MemoryStore,
) -> None:
    link = FaultyStore(inner, lambda _operation, _key: Fault.NONE)
    documents = Documents(link)
    documents.create(new_project())
    known = documents.read(PROJECT)
    link.seen.clear()
    newer = documents.update(PROJECT, Added("a"), apply=add, known=known)
    assert [operation for operation, _, _ in link.seen] == ["put"]
    link.seen.clear()
    newest = documents.update(PROJECT, Added("b"), apply=add, known=known)
    assert [operation for operation, _, _ in link.seen] == ["put", "get", "put"]
    assert added_to(documents, PROJECT) == ("a", "b")
    assert newest.document.revision == newer.document.revision + 1


def test_what_an_old_version_refuses_is_decided_on_the_newest(inner: MemoryStore) -> None:
    documents = Documents(inner)
    documents.create(new_project())
    known = documents.read(PROJECT)
    documents.update(PROJECT, Added("a"), apply=add)

    def only_after_a(project: Project, event: Added) -> Project:
        if "a" not in project.tags:
            raise Refused("too early")
        return add(project, event)

    documents.update(PROJECT, Added("b"), apply=only_after_a, known=known)
    assert added_to(documents, PROJECT) == ("a", "b")
