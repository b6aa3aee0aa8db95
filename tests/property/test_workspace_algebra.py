"""The manifest algebra over random trees, checked against a plain model of directories."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from winslow.errors import NotFound, Refused
from winslow.workspace import (
    Delta,
    Entry,
    EntryType,
    Manifest,
    decode,
    difference,
    edited,
    encode,
    overlay,
    parents,
    quote_path,
)

NAMES = st.sampled_from(["a", "b", "c"]) | st.binary(min_size=1, max_size=3).filter(
    lambda raw: not {0, 47} & set(raw) and raw not in (b".", b"..")
).map(quote_path)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
KINDS = st.sampled_from(EntryType)


def _entry(path: str, kind: EntryType, number: int) -> Entry:
    if kind is EntryType.FILE:
        sha = f"{number:064x}"
        return Entry(
            path=path, type=kind, mode=0o644, size=1, sha256=sha, object=f"projects/p/runs/1.1/w/{sha}"
        )
    return Entry(path=path, type=kind, mode=0o755, target="x" if kind is EntryType.LINK else "")


def _is_below(path: str, above: str) -> bool:
    return path.startswith(above + "/")


@st.composite
def trees(draw: st.DrawFn) -> tuple[Entry, ...]:
    """Entries that form a tree: what would lie below a file or a link is left out."""
    kept: dict[str, Entry] = {}
    for path in sorted(draw(st.sets(PATHS, max_size=12))):
        if not any(
            entry.type is not EntryType.DIR and _is_below(path, above) for above, entry in kept.items()
        ):
            kept[path] = _entry(path, draw(KINDS), draw(st.integers(0, 5)))
    return tuple(kept.values())


@st.composite
def deltas(draw: st.DrawFn) -> Delta:
    return Delta(entries=draw(trees()), deleted=tuple(draw(st.sets(PATHS, max_size=4))))


def _by_hand(base: dict[str, Entry], delta: Delta) -> dict[str, Entry]:
    """What a person does: delete first, then put one thing after the other in its place."""
    tree = dict(base)
    for gone in delta.deleted:
        tree = {path: entry for path, entry in tree.items() if path != gone and not _is_below(path, gone)}
    for new in sorted(delta.entries, key=lambda entry: entry.path):
        tree = {
            path: entry
            for path, entry in tree.items()
            if not (_is_below(new.path, path) and entry.type is not EntryType.DIR)
            and not (_is_below(path, new.path) and new.type is not EntryType.DIR)
        }
        tree[new.path] = new
    return tree


def _manifest(entries: tuple[Entry, ...]) -> Manifest:
    return Manifest(project="p", run=1, attempt=1, entries=entries)


@given(trees())
def test_bytes_and_back(entries: tuple[Entry, ...]) -> None:
    data = encode(_manifest(entries))
    again = decode(data, key="k", project="p")
    assert sorted(entries, key=lambda entry: entry.path) == list(again.entries)
    assert encode(again) == data


@given(trees(), deltas())
def test_overlay_does_what_a_person_would(base: tuple[Entry, ...], delta: Delta) -> None:
    merged = overlay(Delta(entries=base), delta)
    assert {entry.path: entry for entry in merged} == _by_hand({entry.path: entry for entry in base}, delta)
    _manifest(merged)  # a tree again


@given(st.lists(deltas(), max_size=4))
def test_overlay_in_one_go_is_overlay_step_by_step(layers: list[Delta]) -> None:
    merged: tuple[Entry, ...] = ()
    for layer in layers:
        merged = overlay(Delta(entries=merged), layer)
    assert overlay(*layers) == merged


@given(trees(), trees())
def test_difference_leads_from_one_tree_to_the_other(old: tuple[Entry, ...], new: tuple[Entry, ...]) -> None:
    found = difference(old, new)
    after = {entry.path: entry for entry in new}
    assert set(found.added) | set(found.changed) <= after.keys()
    steps = Delta(
        entries=tuple(after[path] for path in (*found.added, *found.changed)),
        deleted=found.removed,
    )
    assert difference(overlay(Delta(entries=old), steps), new) == difference((), ())


@st.composite
def changes(draw: st.DrawFn) -> tuple[tuple[Entry, ...], tuple[Entry, ...], tuple[str, ...]]:
    """A directory, and what a person puts there and removes: mostly what can be done."""
    base = draw(trees())
    there = [entry.path for entry in base] + [above for entry in base for above in parents(entry.path)]
    removed = draw(st.sets(st.sampled_from(there) if there else st.nothing() | PATHS, max_size=3))
    return base, draw(trees()), tuple(removed)


@given(changes())
def test_an_edit_is_done_as_a_person_would_or_refused(
    change: tuple[tuple[Entry, ...], tuple[Entry, ...], tuple[str, ...]],
) -> None:
    base, put, removed = change
    before = {entry.path: entry for entry in base}
    kept = _by_hand(before, Delta(deleted=removed))
    after = _by_hand(kept, Delta(entries=put))
    missing = [
        path for path in removed if path not in before and not any(_is_below(each, path) for each in before)
    ]
    new = {entry.path for entry in put}
    in_the_way = set(kept) - set(after) or any(
        kept[path].type is not after[path].type and EntryType.DIR in (kept[path].type, after[path].type)
        for path in kept
        if path in after and path in new
    )
    try:
        found = edited(base, put=put, removed=removed)
    except NotFound:
        assert missing
        return
    except Refused:
        assert in_the_way or any(
            _is_below(each, entry.path) for each in kept for entry in put if entry.type is not EntryType.DIR
        )
        return
    assert not missing and not in_the_way
    assert {entry.path: entry for entry in found} == after
    _manifest(found)  # a tree again
    for path, entry in after.items():
        if path not in new:
            assert entry == before[path]  # what was not touched points to where it pointed


@given(trees(), trees())
def test_what_was_put_is_there_and_taking_it_away_again_leaves_the_rest(
    base: tuple[Entry, ...], put: tuple[Entry, ...]
) -> None:
    try:
        after = edited(base, put=put)
    except Refused:
        return
    assert set(put) <= set(after)
    paths = [entry.path for entry in put]
    back = edited(after, removed=paths)
    assert [entry.path for entry in back] == [
        entry.path
        for entry in sorted(base, key=lambda entry: entry.path)
        if entry.path not in paths and not any(_is_below(entry.path, path) for path in paths)
    ]
