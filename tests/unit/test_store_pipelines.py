"""Definitions in the store (R1110 to R1130): the text byte for byte, revisions that rise, deletion."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.counter import VirtualTime
from tests.faults.store import Fault, FaultyStore
from winslow.errors import Conflict, InvalidInput, NotFound, StoreUnreachable
from winslow.store.memory import MemoryStore
from winslow.store.pipelines import PipelineHead, Pipelines

FIRST = "name: traffic   # ä comment stays\nstages: []\n"
SECOND = "name: traffic\r\nstages: [ ]"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def over(
    store: MemoryStore, plan: Callable[[str, str], Fault], *, seed: int = 1, deadline: float = 20.0
) -> tuple[FaultyStore, Pipelines]:
    rng = random.Random(seed)
    link = FaultyStore(store, plan)
    return link, Pipelines(link, patience=VirtualTime().patience(rng, deadline=deadline))


def test_what_was_applied_is_read_back_byte_for_byte(store: MemoryStore) -> None:
    pipelines = Pipelines(store)
    assert pipelines.apply("traffic", FIRST, by="ann", updated="2026-11-22T12:00:00Z") == 1
    head, text = pipelines.read("traffic")
    assert (text, head.revision, head.by, head.updated) == (FIRST, 1, "ann", "2026-11-22T12:00:00Z")
    assert pipelines.apply("traffic", SECOND) == 2
    assert pipelines.read("traffic").text == SECOND
    assert store.get("pipelines/traffic/1.yaml").data == FIRST.encode()


def test_the_same_text_again_changes_nothing(store: MemoryStore) -> None:
    pipelines = Pipelines(store)
    pipelines.apply("traffic", FIRST)
    before = [(info.key, info.etag, info.modified) for info in store.walk("")]
    assert pipelines.apply("traffic", FIRST) == 1
    assert [(info.key, info.etag, info.modified) for info in store.walk("")] == before


def test_deleting_removes_the_texts_and_revisions_go_on_rising(store: MemoryStore) -> None:
    pipelines = Pipelines(store)
    pipelines.apply("traffic", FIRST)
    pipelines.apply("traffic", SECOND)
    pipelines.apply("other", FIRST)
    pipelines.delete("traffic")
    assert [head.name for head in pipelines.heads()] == ["other"]
    assert list(store.walk("pipelines/traffic/")) == []
    for use in (pipelines.read, pipelines.delete):
        with pytest.raises(NotFound, match="no pipeline 'traffic'") as raised:
            use("traffic")
        assert raised.value.hint
    assert pipelines.apply("traffic", SECOND) == 3
    assert pipelines.read("traffic").text == SECOND


def test_unknown_names_and_damaged_objects_are_named(store: MemoryStore) -> None:
    pipelines = Pipelines(store)
    with pytest.raises(NotFound, match="no pipeline 'none'"):
        pipelines.read("none")
    with pytest.raises(InvalidInput):
        pipelines.apply("../traffic", FIRST)
    pipelines.apply("traffic", FIRST)
    store.put("pipelines/traffic/1.yaml", b"somebody wrote into it")
    with pytest.raises(InvalidInput, match=r"pipelines/traffic/1\.yaml"):
        pipelines.read("traffic")
    store.put("documents/pipelines/traffic.json", b"{}")
    with pytest.raises(InvalidInput, match=r"documents/pipelines/traffic\.json"):
        pipelines.read("traffic")
    newer = PipelineHead(schema=99, name="traffic", revision=1, sha256="")
    store.put("documents/pipelines/traffic.json", newer.model_dump_json().encode())
    with pytest.raises(InvalidInput, match="newer"):
        pipelines.apply("traffic", SECOND)


def test_two_that_apply_at_once_both_come_through_and_no_text_is_overwritten(store: MemoryStore) -> None:
    rival = Pipelines(store)
    rivals = iter(["rival: 1\n", "rival: 2\n"])

    def before() -> None:
        if link.seen and link.seen[-1][0] == "put" and (text := next(rivals, None)):
            rival.apply("traffic", text)

    link, pipelines = over(store, lambda *_: Fault.NONE)
    link.before = before
    revision = pipelines.apply("traffic", FIRST)
    assert pipelines.read("traffic") == (pipelines.heads()[0], FIRST)
    assert revision == pipelines.heads()[0].revision > 2
    keys = [info.key for info in store.walk("pipelines/") if info.key.endswith(".yaml")]
    assert {"rival: 1\n", "rival: 2\n", FIRST} == {store.get(key).data.decode() for key in keys}


def test_every_revision_keeps_its_author_time_and_text(store: MemoryStore) -> None:
    pipelines = Pipelines(store)
    for number, by in enumerate(["ann", "ben", "ann"], start=1):
        pipelines.apply("traffic", f"text {number}", by=by, updated=f"2026-11-22T12:00:0{number}Z")
    pipelines.apply("traffic", "text 3", by="cleo", updated="2026-11-23T00:00:00Z")  # nothing new
    told = [(head.revision, head.by, head.updated) for head in pipelines.history("traffic")]
    assert told == [
        (3, "ann", "2026-11-22T12:00:03Z"),
        (2, "ben", "2026-11-22T12:00:02Z"),
        (1, "ann", "2026-11-22T12:00:01Z"),
    ]
    for number in (1, 2, 3):
        assert pipelines.read("traffic", revision=number).text == f"text {number}"
    assert json.loads(store.get("pipelines/traffic/1.json").data)["by"] == "ann"
    assert len(store.get("documents/pipelines/traffic.json").data) < 400
    with pytest.raises(NotFound, match="pipeline 'traffic' has no revision 4") as raised:
        pipelines.read("traffic", revision=4)
    assert raised.value.hint == "its revisions: 1, 2, 3"


def test_what_was_never_current_is_not_in_the_history(store: MemoryStore) -> None:
    pipelines = Pipelines(store)
    pipelines.apply("traffic", FIRST, by="ann")

    def no_head(operation: str, key: str) -> Fault:
        return Fault.REQUEST_LOST if (operation, key.split("/")[0]) == ("put", "documents") else Fault.NONE

    _, dying = over(store, no_head, deadline=1.0)
    with pytest.raises(StoreUnreachable):
        dying.apply("traffic", "by somebody who died before the head was written", by="ben")
    assert store.get("pipelines/traffic/2.yaml").data
    assert [head.revision for head in pipelines.history("traffic")] == [1]
    with pytest.raises(NotFound):
        pipelines.read("traffic", revision=2)
    assert pipelines.apply("traffic", SECOND, by="cleo") == 3
    assert [(head.revision, head.by) for head in pipelines.history("traffic")] == [(3, "cleo"), (1, "ann")]


def test_a_name_that_was_made_again_has_a_history_of_its_own(store: MemoryStore) -> None:
    pipelines = Pipelines(store)
    pipelines.apply("traffic", FIRST)
    pipelines.apply("traffic", SECOND)
    record = store.get("pipelines/traffic/1.json").data
    pipelines.delete("traffic")
    assert list(store.walk("pipelines/traffic/")) == []
    with pytest.raises(NotFound, match="no pipeline"):
        pipelines.history("traffic")
    store.put("pipelines/traffic/1.json", record)  # one that was on its way when the deletion swept
    pipelines.apply("traffic", FIRST)
    pipelines.apply("traffic", SECOND)
    assert [head.revision for head in pipelines.history("traffic")] == [4, 3]
    with pytest.raises(NotFound, match="no revision 1"):
        pipelines.read("traffic", revision=1)
    pipelines.delete("traffic")
    assert list(store.walk("pipelines/traffic/")) == []


def test_applying_on_a_condition(store: MemoryStore) -> None:
    pipelines = Pipelines(store)
    with pytest.raises(Conflict, match="there is no pipeline 'traffic'"):
        pipelines.apply("traffic", FIRST, if_revision=1)
    assert pipelines.apply("traffic", FIRST, by="ann", updated="2026-11-22T12:00:00Z", if_revision=0) == 1
    with pytest.raises(Conflict, match="is at revision 1, applied by ann at 2026-11-22T12:00:00Z") as raised:
        pipelines.apply("traffic", SECOND, if_revision=0)
    assert pipelines.apply("traffic", SECOND, if_revision=1) == 2
    with pytest.raises(Conflict) as raised:
        pipelines.apply("traffic", "third", if_revision=1)
    assert "winslow pipeline diff traffic 1" in raised.value.hint
    assert pipelines.apply("traffic", SECOND, if_revision=1) == 2  # it is what was wanted, whoever did it
    pipelines.delete("traffic", by="ben", updated="2026-11-23T00:00:00Z")
    with pytest.raises(Conflict, match="was deleted by ben"):
        pipelines.apply("traffic", "third", if_revision=2)
    assert pipelines.apply("traffic", "third", if_revision=0) == 3


def test_of_two_that_apply_on_one_condition_one_wins(store: MemoryStore) -> None:
    rival = Pipelines(store)
    rival.apply("traffic", FIRST)

    def before() -> None:
        if link.seen[-1:] == [("put", "pipelines/traffic/1.json", Fault.NONE)]:
            rival.apply("traffic", "rival", if_revision=1)

    link, pipelines = over(store, lambda *_: Fault.NONE)
    link.before = before
    with pytest.raises(Conflict, match="is at revision 3"):  # 2 is the loser's text, which nobody sees
        pipelines.apply("traffic", SECOND, if_revision=1)
    assert [head.revision for head in rival.history("traffic")] == [3, 1]


def test_who_was_current_until_somebody_went_on_has_applied(store: MemoryStore) -> None:
    rival = Pipelines(store)
    rival.apply("traffic", FIRST)

    def plan(operation: str, key: str) -> Fault:
        return Fault.ANSWER_LOST if (operation, key.split("/")[0]) == ("put", "documents") else Fault.NONE

    def before() -> None:
        if link.seen[-1:] == [("put", "documents/pipelines/traffic.json", Fault.ANSWER_LOST)]:
            rival.apply("traffic", "rival")

    link, pipelines = over(store, plan)
    link.before = before
    assert pipelines.apply("traffic", SECOND, if_revision=1) == 2
    assert [head.revision for head in rival.history("traffic")] == [3, 2, 1]
    assert rival.read("traffic").text == "rival"


def test_whoever_applies_at_once_finds_the_revision_in_the_history(store: MemoryStore) -> None:
    def apply(person: int) -> dict[int, str]:
        mine = Pipelines(store)
        texts = [f"person {person}, text {number}" for number in range(5)]
        return {mine.apply("traffic", text, by=f"p{person}"): text for text in texts}

    with ThreadPoolExecutor(6) as pool:
        applied = {revision: text for each in pool.map(apply, range(6)) for revision, text in each.items()}
    pipelines = Pipelines(store)
    told = {head.revision: head.by for head in pipelines.history("traffic")}
    assert len(applied) == 30
    assert told == {revision: f"p{text.split()[1][0]}" for revision, text in applied.items()}
    assert {number: pipelines.read("traffic", revision=number).text for number in told} == applied


def test_over_a_bad_link_every_apply_and_delete_ends_as_it_says() -> None:
    faults = [Fault.NONE, Fault.NONE, Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.TWICE, Fault.LATE]
    done = unknown = 0
    for seed in range(300):
        rng, inner = random.Random(seed), MemoryStore()
        link, pipelines = over(inner, lambda *_, rng=rng: rng.choice(faults), seed=seed, deadline=8.0)
        try:
            assert pipelines.apply("traffic", FIRST) >= 1
            revision = pipelines.apply("traffic", SECOND)
            link.flush()
            told = Pipelines(inner).history("traffic")
            assert [Pipelines(inner).read("traffic", revision=head.revision).text for head in told] == [
                SECOND,
                FIRST,
            ]
            held = Pipelines(inner).read("traffic")
            assert (held.text, held.head.revision) == (SECOND, revision), f"seed {seed}"
            pipelines.delete("traffic")
            link.flush()
            assert Pipelines(inner).heads() == [], f"seed {seed}"
            done += 1
        except StoreUnreachable as error:
            assert "unknown" in str(error)
            unknown += 1
    assert done > 100 and unknown > 3
