"""The manifest algebra over random trees, checked against a plain model of directories."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from winslow.workspace import (
    Delta,
    Entry,
    EntryType,
    Manifest,
    decode,
    difference,
    encode,
    overlay,
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
