"""The tree of files without a screen: which rows there are, in what order, and what is to be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import screens
from winslow.errors import InvalidInput
from winslow.workspace import EntryType
from winslow_tui.facade.filing import File
from winslow_tui.program import filetree
from winslow_tui.program.filetree import FileTree, Kind, Level, Row
from winslow_tui.program.sorting import Sorting

PLACES = [("ulm:input/", "what was uploaded"), ("ulm#2:", "workspace of detect")]


def files(*paths: str, sizes: Sequence[int] = ()) -> list[File]:
    """Folders end in `/`."""
    return [
        File(path=path.rstrip("/"), kind=EntryType.DIR if path.endswith("/") else EntryType.FILE, size=size)
        for path, size in zip(paths, [*sizes, *[1] * len(paths)], strict=False)
    ]


def tree(**levels: Iterable[str]) -> FileTree:
    """Of one place `res:`; a level's name has `_` for `/`."""
    made = FileTree()
    made.put_places([("res:", "")])
    for name, paths in levels.items():
        key = "res:" + name.replace("_", "/").removeprefix("top")
        made.unfold(key)
        made.found(key, filetree.level(key, files(*paths)))
    return made


def shown(made: FileTree) -> list[str]:
    """Each row as a line."""
    return [
        "  " * row.depth
        + row.text
        + ("/" if row.kind is Kind.FOLDER else "")
        + ("!" if row.kind is Kind.WORDS else "")
        for row in made.rows()
    ]


def test_a_level_has_addresses_and_its_folders_come_first() -> None:
    level = filetree.level("ulm#2:a/", files("a/z", "a/b/", "a/c", sizes=[5, 0, 7]))
    assert [(row.key, row.kind, row.text, row.within, row.depth) for row in level.rows] == [
        ("ulm#2:a/b/", Kind.FOLDER, "b", "ulm#2:a/", 2),
        ("ulm#2:a/c", Kind.FILE, "c", "ulm#2:a/", 2),
        ("ulm#2:a/z", Kind.FILE, "z", "ulm#2:a/", 2),
    ]
    assert level.size == 12


@pytest.mark.parametrize("path", ["a//", "a/..", "a/./", "elsewhere", "a/b/c", "a/x\0y"])
def test_what_has_no_address_is_counted(path: str) -> None:
    """Else a key such as `a//` would lie in itself, without an end."""
    assert filetree.level("res:", files("x", f"/{path}")).unnamed == 1
    assert filetree.level("res:a/", [*files("a/x"), *files(path)]).unnamed == 1
    made = tree(top=["a/"], a_=["a/x", path])
    assert shown(made) == ["res:", "  a/", "    x", "    1 more, whose names are no addresses!"]


def test_a_level_of_no_address_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no '\\.\\.'"):
        filetree.level("res:../", [])


def test_places_are_shown_folded() -> None:
    made = FileTree()
    assert made.put_places(PLACES) == []
    assert [(row.text, row.note, row.depth) for row in made.rows()] == [
        ("input/", "what was uploaded", 0),
        ("#2", "workspace of detect", 0),
    ]


def test_a_folder_unfolds_in_place_and_keeps_what_is_unfolded_in_it() -> None:
    made = tree(top=["b/", "a.txt"], b_=["b/c/"], b_c_=["b/c/d"])
    assert shown(made) == ["res:", "  b/", "    c/", "      d", "  a.txt"]
    made.fold("res:b/")
    assert shown(made) == ["res:", "  b/", "  a.txt"]
    made.unfold("res:b/")
    assert shown(made) == ["res:", "  b/", "    c/", "      d", "  a.txt"]


def test_what_is_not_known_yet_what_is_empty_and_what_was_missed_is_told() -> None:
    made = tree(top=["a/", "b/", "c/"], a_=[])
    made.unfold("res:b/")
    made.unfold("res:c/")
    made.missed("res:c/", "the store is away")
    assert shown(made) == [
        "res:",
        *("  a/", f"    {filetree.EMPTY}!"),
        *("  b/", f"    {filetree.LOOKING}!"),
        *("  c/", "    the store is away!"),
    ]
    assert made.rows()[2].thing == made.rows()[2].folder == "res:a/", "words stand for their folder"


def test_what_was_known_stays_below_why_it_could_not_be_looked_at_again() -> None:
    made = tree(top=["a"])
    made.missed("res:", "the store is away")
    assert shown(made) == ["res:", "  the store is away!", "  a"]
    made.found("res:", filetree.level("res:", files("a", "b")))
    assert shown(made) == ["res:", "  a", "  b"]


def test_what_is_unfolded_in_what_was_found_is_to_be_looked_at_next() -> None:
    made = tree(top=["a/", "b/"], a_=["a/x/"])
    assert made.unfolded_places == ["res:"]
    assert made.found("res:", filetree.level("res:", files("a/", "b/"))) == ["res:a/"]
    made.fold("res:")
    assert made.found("res:", filetree.level("res:", files("a/", "b/"))) == [], "nobody sees it"


def test_a_folder_that_is_gone_is_forgotten_with_all_that_was_in_it() -> None:
    made = tree(top=["a/"], a_=["a/b/"], a_b_=["a/b/c"])
    assert made.found("res:", filetree.level("res:", files("z"))) == []
    assert shown(made) == ["res:", "  z"]
    assert made.known("res:a/") is None and made.known("res:a/b/") is None
    assert made.found("res:", filetree.level("res:", files("a/"))) == ["res:a/"], "it was unfolded"
    assert shown(made) == ["res:", "  a/", f"    {filetree.LOOKING}!"]


def test_an_unfolded_place_of_which_something_else_is_said_is_looked_at_again() -> None:
    made = FileTree()
    made.put_places(PLACES)
    made.unfold("ulm#2:")
    assert made.put_places([*PLACES, ("ulm#3:", "workspace of track")]) == []
    assert made.put_places([PLACES[0], ("ulm#2:", "workspace of detect · stale")]) == ["ulm#2:"]


@pytest.mark.parametrize(
    ("sorting", "order"),
    [
        (Sorting(), ["p/", "q/", "a", "b", "c"]),
        (Sorting("NAME", backwards=True), ["q/", "p/", "c", "b", "a"]),
        (Sorting("SIZE"), ["p/", "q/", "b", "c", "a"]),
        (Sorting("SIZE", backwards=True), ["p/", "q/", "a", "c", "b"]),
    ],
)
def test_files_are_sorted_within_their_folder(sorting: Sorting, order: list[str]) -> None:
    made = tree(top=["p/"])
    made.found("res:", filetree.level("res:", files("a", "b", "c", "q/", "p/", sizes=[9, 1, 5])))
    made.sort(sorting)
    assert [line.strip() for line in shown(made)[1:]] == order
    made.sort(Sorting())
    assert [line.strip() for line in shown(made)[1:]] == ["p/", "q/", "a", "b", "c"]


def test_a_filter_leaves_what_passes_and_the_way_to_it() -> None:
    made = tree(
        top=["models/", "ulm/", "readme.txt"], ulm_=["ulm/north.mp4", "ulm/old/"], ulm_old_=["ulm/old/n.txt"]
    )
    made.narrow(lambda path: "north" in path)
    assert shown(made) == ["res:", "  ulm/", "    north.mp4"]
    made.fold("res:ulm/")
    assert shown(made) == ["res:", "  ulm/"], "something in it passes"
    made.unfold("res:ulm/")
    made.narrow(lambda path: "ulm" in path)
    assert shown(made) == ["res:", "  ulm/", "    old/", "      n.txt", "    north.mp4"], (
        "all of a folder that passes"
    )
    made.narrow(lambda path: "zebra" in path)
    assert shown(made) == ["res:", f"  {filetree.UNFIT}!"]
    made.narrow(None)
    assert len(made.rows()) == 7


def test_verbs_are_for_nothing_beside_a_folder_that_it_is_in() -> None:
    made = tree(top=["a/", "a.txt", "b/"], a_=["a/x"], b_=[])
    rows = {row.text: row for row in made.rows()}
    assert filetree.things([rows["a.txt"], rows["a"], rows["x"]]) == ["res:a.txt", "res:a/"]
    assert filetree.things([rows["x"], rows["a.txt"]]) == ["res:a/x", "res:a.txt"]
    assert filetree.things([rows["b"], rows[filetree.EMPTY]]) == ["res:b/"], "words stand for their folder"
    assert filetree.things([]) == []


def test_a_file_that_is_called_like_a_place_takes_nothing_with_it() -> None:
    made = tree(top=["a:", "a:b"])
    assert filetree.things(made.rows()[1:]) == ["res:a:", "res:a:b"]


def test_the_places_of_a_project_say_what_is_live_and_what_is_stale() -> None:
    story = screens.Story("ulm", "Ulm").start("detect").run("ws1", at="2026-06-12T08:00:00Z")
    story.end(at="2026-06-12T08:31:00Z").start("track").run("ws2", at="2026-06-12T09:00:00Z")
    assert filetree.places(story.project, {1: 2}) == [
        ("ulm:input/", "what was uploaded for it"),
        ("ulm:output/", "its results so far"),
        ("ulm#next:", "what the next run takes over"),
        ("ulm#2:", "workspace of track ● live on ws2"),
        ("ulm#1:", "workspace of detect · stale"),
    ]


NAMES = st.text(alphabet="ab/.:#\0é", min_size=0, max_size=4)


@given(st.lists(st.tuples(NAMES, st.booleans()), max_size=12), st.lists(st.integers(0, 40), max_size=30))
def test_whatever_files_are_called_rows_are_told_apart_and_stand_below_their_folder(
    told: list[tuple[str, bool]], toggled: list[int]
) -> None:
    """Every folder is said to hold the same names, as often as anybody unfolds one."""

    def look(key: str) -> Level:
        path = key.removeprefix("res:")
        found = [
            File(path=path + name, kind=EntryType.DIR if folder else EntryType.FILE) for name, folder in told
        ]
        return filetree.level(key, {(each.path, each.kind): each for each in found}.values())

    made = tree()
    for place in toggled:
        rows = [row for row in made.rows() if row.folds]
        row = rows[place % len(rows)]
        if made.unfolded(row.key):
            made.fold(row.key)
        else:
            made.unfold(row.key)
            made.found(row.key, look(row.key))
    seen: dict[str, Row] = {}
    for row in made.rows():
        assert row.key not in seen
        if row.within:
            assert row.depth == seen[row.within].depth + 1 and made.unfolded(row.within)
        seen[row.key] = row
