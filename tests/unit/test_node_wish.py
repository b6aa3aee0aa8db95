"""What people want of a node (design 3, 6): the document's rules, and that each wish is written once."""

from __future__ import annotations

import random
from itertools import count

import pytest

from tests.faults.counter import VirtualTime
from tests.faults.store import Fault, FaultyStore
from winslow.errors import InvalidInput, NotFound, Refused, StoreUnreachable
from winslow.node_wish import (
    MAX_LABELS,
    Drain,
    DrainEnded,
    DrainWished,
    Event,
    Forgotten,
    Labelled,
    NodeWish,
    Returned,
    apply,
    check_label,
    decode,
    effective_labels,
    encode,
)
from winslow.store.memory import MemoryStore
from winslow.store.wishes import Wishes

KEY = "documents/nodes/ws3.json"
_ids = count()


def eid() -> str:
    return f"event-{next(_ids)}"


def after(*events: Event, wish: NodeWish | None = None) -> NodeWish:
    for event in events:
        wish = apply(wish, event, node="ws3")
    assert wish is not None
    return wish


def test_a_drain_says_why_and_by_whom_and_can_be_taken_back() -> None:
    wish = after(DrainWished(id=eid(), by="ann", at="2026-03-02T09:15:00Z", reason="a new disk"))
    assert wish.drain == Drain(reason="a new disk", by="ann", at="2026-03-02T09:15:00Z")
    assert wish.drain.sentence == "draining for ann: a new disk"
    assert Drain().sentence == "draining"
    wish = after(DrainWished(id=eid(), by="bob"), wish=wish)
    assert wish.drain is not None and wish.drain.sentence == "draining for bob"
    assert after(DrainEnded(id=eid()), wish=wish).drain is None


def test_every_write_raises_the_revision_and_leaves_its_id() -> None:
    wish = after(DrainWished(id="a"), DrainEnded(id="b", by="bob"), Labelled(id="c", add=("x",), by="eve"))
    assert (wish.revision, wish.by) == (3, "eve")
    records = [(each.id, each.revision, each.by, each.kind, each.text) for each in wish.recent_events]
    assert records == [
        ("a", 1, "", "drain_wished", "asked it to drain"),
        ("b", 2, "bob", "drain_ended", "let it take part again"),
        ("c", 3, "eve", "labelled", "labels: +x"),
    ]


def test_labels_come_and_go_beside_those_of_the_configuration() -> None:
    wish = after(Labelled(id=eid(), add=("b", "a", "b")), Labelled(id=eid(), add=("c",), remove=("b",)))
    assert wish.labels == ("a", "c")
    assert effective_labels(("z", "a"), wish) == ("z", "a", "c")
    assert effective_labels(("z",), None) == ("z",)


@pytest.mark.parametrize("event", [DrainEnded(id="e"), Labelled(id="e", remove=("a",)), Returned(id="e")])
def test_what_was_not_wished_cannot_be_taken_back(event: Event) -> None:
    for wish in (None, after(DrainWished(id=eid()), DrainEnded(id=eid()))):
        with pytest.raises(Refused, match="ws3"):
            apply(wish, event, node="ws3")


@pytest.mark.parametrize("label", ["", " a", "a-", "-a", "a,b", "a\nb", "a\x1b[2J", "x" * 129])
def test_a_label_that_cannot_be_typed_or_shown_is_refused(label: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be a label"):
        check_label(label)
    with pytest.raises(ValueError, match="cannot be a label"):
        Labelled(id="e", add=(label,))


def test_there_are_only_so_many_labels() -> None:
    many = tuple(f"l{number}" for number in range(MAX_LABELS + 1))
    with pytest.raises(Refused, match=f"more than {MAX_LABELS}"):
        after(Labelled(id=eid(), add=many))


def test_a_forgotten_node_is_wanted_nothing_of_until_it_returns() -> None:
    wish = after(
        DrainWished(id=eid()), Labelled(id=eid(), add=("a",)), Forgotten(id=eid()), Forgotten(id=eid())
    )
    assert wish.forgotten and wish.drain is None and wish.labels == ()
    for event in (DrainWished(id=eid()), DrainEnded(id=eid()), Labelled(id=eid(), add=("a",))):
        with pytest.raises(NotFound, match="'ws3' was removed"):
            apply(wish, event, node="ws3")
    back = after(Returned(id=eid(), by="ws3"), wish=wish)
    assert not back.forgotten
    assert after(DrainWished(id=eid()), wish=back).drain is not None


def test_the_document_keeps_what_a_newer_program_wrote_and_refuses_a_newer_schema() -> None:
    data = encode(after(DrainWished(id="a", reason="r")))
    wider = data.replace(b'"node"', b'"colour": "blue", "node"')
    assert b'"colour":"blue"' in encode(decode(wider, key=KEY)).replace(b" ", b"")
    with pytest.raises(InvalidInput, match="newer Winslow"):
        decode(data.replace(b'"schema": 1', b'"schema": 2'), key=KEY)
    with pytest.raises(InvalidInput, match="another node"):
        decode(data, key=KEY, node="ws4")
    for bad in (b"", b"[]", b"{}", b'{"schema": 1, "node": "ws3", "revision": 0}', b"\xff"):
        with pytest.raises(InvalidInput, match=KEY):
            decode(bad, key=KEY)


def test_the_store_has_one_document_per_node_and_none_for_a_bad_name() -> None:
    store = MemoryStore()
    wishes = Wishes(store)
    with pytest.raises(NotFound, match="'ws3'"):
        wishes.read("ws3")
    written = wishes.update("ws3", DrainWished(id="a", by="ann"))
    assert wishes.read("ws3") == written
    assert [info.key for info in store.walk("")] == [KEY]
    with pytest.raises(InvalidInput):
        wishes.update("../ws3", DrainWished(id="b"))
    with pytest.raises(Refused):
        wishes.update("ws4", DrainEnded(id="c"))
    assert [info.key for info in store.walk("")] == [KEY]


def test_over_a_bad_link_every_wish_takes_effect_once_also_the_first() -> None:
    faults = [Fault.NONE, Fault.NONE, Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.TWICE, Fault.LATE]
    done = unknown = 0
    for seed in range(200):
        rng, inner = random.Random(seed), MemoryStore()
        link = FaultyStore(inner, lambda *_, rng=rng: rng.choice(faults))
        mine = Wishes(link, patience=VirtualTime().patience(rng, deadline=rng.choice([0.5, 8.0])))
        sure = []
        for number in range(3):
            try:
                mine.update("ws3", Labelled(id=f"mine-{number}", add=(f"m{number}",)))
                sure.append(f"m{number}")
            except StoreUnreachable:
                unknown += 1
            Wishes(inner).update("ws3", Labelled(id=f"other-{number}", add=(f"o{number}",)))
        link.flush()
        held = Wishes(inner).read("ws3").document
        assert {*sure, "o0", "o1", "o2"} <= set(held.labels), f"seed {seed}"
        assert held.revision == len(held.recent_events) == len(held.labels)
        done += len(sure)
    assert done > 300 and unknown > 3
