"""Manifests: what is accepted, what is refused, and that their bytes are always the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from winslow.errors import InvalidInput
from winslow.workspace import (
    EMPTY_SHA256,
    MAX_DEPTH,
    Delta,
    Entry,
    EntryType,
    Found,
    Manifest,
    Mark,
    changed,
    check_path,
    decode,
    difference,
    encode,
    overlay,
    quote_path,
)

SHA = "ab" * 32


def file(path: str, *, sha256: str = SHA, mode: int = 0o644, project: str = "p-abcd") -> Entry:
    return Entry(
        path=path,
        type=EntryType.FILE,
        mode=mode,
        size=3,
        sha256=sha256,
        object=f"projects/{project}/runs/1.1/workspace/{sha256}",
    )


def folder(path: str, mode: int = 0o755) -> Entry:
    return Entry(path=path, type=EntryType.DIR, mode=mode)


def link(path: str, target: str = "x") -> Entry:
    return Entry(path=path, type=EntryType.LINK, target=target)


def manifest(*entries: Entry, deleted: tuple[str, ...] = ()) -> Manifest:
    return Manifest(project="p-abcd", run=1, attempt=1, entries=entries, deleted=deleted)


def raw(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"schema": 1, "project": "p-abcd", "run": 1, "attempt": 1, "entries": entries}).encode()


def test_encoding_is_the_same_for_every_order_of_entries() -> None:
    one = manifest(file("b"), folder("a"), link("c"), deleted=("z", "y"))
    two = manifest(link("c"), file("b"), folder("a"), deleted=("y", "z", "y"))
    assert encode(one) == encode(two)
    again = decode(encode(one), key="k", project="p-abcd")
    assert [entry.path for entry in again.entries] == ["a", "b", "c"]
    assert again.deleted == ("y", "z")
    assert encode(again) == encode(one)


def test_encoding_has_one_entry_a_line_and_no_control_byte() -> None:
    data = encode(manifest(file(quote_path(b"\x1b]0;owned\x07\n\xff"))))
    assert b'"path":"%1B%5D0%3Bowned%07%0A%FF"' in data
    assert not [byte for byte in data if byte < 0x20 and byte != 0x0A]
    assert len([line for line in data.splitlines() if line.startswith(b'{"path"')]) == 1


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a/.", "%2e%2e/a", "%2E%2E", "a%2Fb", "a%00b",
     "ä", "a b", "%41", "a%2fb", "/".join(["d"] * (MAX_DEPTH + 1)), "n" * 256],
)  # fmt: skip
def test_a_path_that_could_leave_its_root_or_has_two_spellings_is_refused(path: str) -> None:
    with pytest.raises(ValueError):
        check_path(path)
    with pytest.raises(InvalidInput, match="the-key"):
        decode(raw({"path": path, "type": "dir"}), key="the-key", project="p-abcd")


@pytest.mark.parametrize("path", ["a", "a/b", ".hidden", "...", "a%20b", "%FF", "-rf", "n" * 255])
def test_an_odd_but_harmless_path_is_accepted(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ((folder("a"), folder("a")), "stands twice"),
        ((file("a"), file("a/b")), "below 'a', which is a file"),
        ((link("a"), folder("a/b/c")), "below 'a', which is a link"),
        ((file("a", project="other"),), "not this project's"),
    ],
)
def test_a_manifest_that_is_no_tree_of_this_project_is_refused(entries: tuple[Entry, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        manifest(*entries)


@pytest.mark.parametrize(
    "change",
    [
        {"object": ""},
        {"object": "projects/p-abcd/../other/x"},
        {"object": "projects/p-abcd//x"},
        {"object": "projects/p-abcd/\x1b[31m"},
        {"sha256": ""},
        {"sha256": "XY" * 32},
        {"size": 0},
        {"size": -1},
        {"size": 2**63},
        {"mode": -1},
        {"mode": 0o10000},
        {"mtime_ns": 2**64},
        {"target": "x"},
        {"type": "socket"},
        {"path": "a\ud800"},
    ],
)
def test_an_entry_that_does_not_add_up_is_refused(change: dict[str, Any]) -> None:
    good = json.loads(file("a").model_dump_json())
    assert decode(raw(good), key="k", project="p-abcd").entries == (file("a"),)
    with pytest.raises(InvalidInput):
        decode(raw(good | change), key="k", project="p-abcd")


def test_setuid_setgid_and_sticky_bits_are_dropped() -> None:
    assert file("a", mode=0o7755).mode == 0o755
    mark = Mark(inode=1, size=0, mtime_ns=0, ctime_ns=0)
    assert (
        Found(path="d", type=EntryType.DIR, mode=0o3777, mtime_ns=0, size=4096, mark=mark).entry().mode
        == 0o777
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"schema": "1"}',
        b'{"schema": 2}',
        b'{"schema": 1}',
        b'{"entries": 3}',
    ],
)
def test_what_is_no_manifest_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="some/key"):
        decode(data, key="some/key", project="p-abcd")


def test_another_projects_manifest_is_refused() -> None:
    with pytest.raises(InvalidInput, match="belongs to project 'p-abcd'"):
        decode(encode(manifest()), key="k", project="q-abcd")


def paths(*entries: Entry) -> list[str]:
    return [entry.path for entry in entries]


@pytest.mark.parametrize(
    ("upper", "left"),
    [
        (Delta(), ["d", "d/f", "d/g", "e"]),
        (Delta(deleted=("d",)), ["e"]),
        (Delta(deleted=("d/f", "nothing")), ["d", "d/g", "e"]),
        (Delta(entries=(folder("d", 0o700),)), ["d", "d/f", "d/g", "e"]),
        (Delta(entries=(folder("d"),), deleted=("d",)), ["d", "e"]),
        (Delta(entries=(file("d"),)), ["d", "e"]),
        (Delta(entries=(link("d"),)), ["d", "e"]),
        (Delta(entries=(file("e/new"),)), ["d", "d/f", "d/g", "e/new"]),
        (Delta(entries=(folder("e"), file("e/new"))), ["d", "d/f", "d/g", "e", "e/new"]),
    ],
)
def test_overlay_deletes_replaces_and_keeps(upper: Delta, left: list[str]) -> None:
    base = manifest(folder("d"), file("d/f"), file("d/g"), file("e"))
    assert paths(*overlay(base, upper)) == left


def test_outputs_are_laid_over_each_other_in_order() -> None:
    first = manifest(file("plot.png", sha256="11" * 32), file("old.csv"))
    second = manifest(file("plot.png", sha256="22" * 32), deleted=("old.csv",))
    third = manifest(file("extra.txt"))
    result = overlay(first, second, third)
    assert paths(*result) == ["extra.txt", "plot.png"]
    assert result[1].sha256 == "22" * 32


def test_difference_is_by_content_not_by_age() -> None:
    old = (file("same"), file("touched"), file("mode"), file("gone"), link("l", "a"))
    new = (
        file("same"),
        file("touched").model_copy(update={"mtime_ns": 9, "object": "projects/p-abcd/runs/2.1/workspace/x"}),
        file("mode", mode=0o755),
        file("new"),
        link("l", "b"),
    )
    found = difference(old, new)
    assert (found.added, found.changed, found.removed) == (("new",), ("l", "mode"), ("gone",))


@pytest.mark.parametrize(
    "touch",
    [
        lambda mark: Mark(mark.inode + 1, mark.size, mark.mtime_ns, mark.ctime_ns),
        lambda mark: Mark(mark.inode, mark.size + 1, mark.mtime_ns, mark.ctime_ns),
        lambda mark: Mark(mark.inode, mark.size, mark.mtime_ns + 1, mark.ctime_ns),
        lambda mark: Mark(mark.inode, mark.size, mark.mtime_ns, mark.ctime_ns + 1),
        lambda mark: None,
    ],
)
def test_only_a_file_with_the_very_same_mark_goes_unread(touch: Callable[[Mark], Mark | None]) -> None:
    mark = Mark(inode=7, size=3, mtime_ns=5, ctime_ns=6)
    found = Found(path="a", type=EntryType.FILE, mode=0o600, mtime_ns=5, size=3, mark=mark)
    assert changed((file("a"),), {"a": mark}, [found]).known == (file("a"),)
    other = touch(mark)
    split = changed((file("a"),), {"a": other} if other else {}, [found])
    assert (split.known, split.unread) == ((), (found,))


def test_directories_links_and_empty_files_are_never_read() -> None:
    mark = Mark(inode=7, size=0, mtime_ns=5, ctime_ns=6)
    scan = [
        Found(path="d", type=EntryType.DIR, mode=0o700, mtime_ns=5, size=4096, mark=mark),
        Found(path="e", type=EntryType.FILE, mode=0o600, mtime_ns=5, size=0, mark=mark),
        Found(path="l", type=EntryType.LINK, mode=0o777, mtime_ns=5, size=1, mark=mark, target="d"),
    ]
    split = changed((), {}, scan)
    assert split.unread == ()
    assert [(entry.path, entry.size, entry.sha256, entry.target) for entry in split.known] == [
        ("d", 0, "", ""),
        ("e", 0, EMPTY_SHA256, ""),
        ("l", 0, "", "d"),
    ]
