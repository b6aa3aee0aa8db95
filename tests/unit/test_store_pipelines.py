"""Definitions in the store (R1110 to R1130): the text byte for byte, revisions that rise, deletion."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.faults.counter import VirtualTime
from tests.faults.store import Fault, FaultyStore
from winslow.errors import InvalidInput, NotFound, StoreUnreachable
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
    texts = {info.key: store.get(info.key).data.decode() for info in store.walk("pipelines/")}
    assert {"rival: 1\n", "rival: 2\n", FIRST} == set(texts.values())


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
