"""What is seen of a directory that a stage may still write to, and what its tricks cost (design 8, I11)."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from node_agent import tree, view
from node_agent.view import Seen, View
from winslow.errors import InvalidInput, NotFound
from winslow.workspace import EntryType


def paths(root: Path, path: str = "", *, deep: bool = True) -> list[str]:
    return [each.path for each in View(root).page(path, deep=deep).seen]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    (root / "sub" / "inner").mkdir(parents=True)
    (root / "sub" / "x").write_text("x")
    (root / "sub" / "inner" / "y").write_text("yy")
    (root / "top").write_text("top")
    return root


def test_levels(root: Path) -> None:
    assert paths(root) == ["sub", "sub/inner", "sub/inner/y", "sub/x", "top"]
    assert paths(root, deep=False) == ["sub", "top"]
    assert paths(root, "sub", deep=False) == ["sub/inner", "sub/x"]
    assert paths(root, "sub/inner") == ["sub/inner/y"]
    (one,) = View(root).page("sub/x", deep=True).seen
    assert (one.path, one.type, one.size) == ("sub/x", EntryType.FILE, 1)
    for path in ("none", "top/x", "sub/none"):
        with pytest.raises(NotFound):
            paths(root, path)
    for path in ("..", "sub/../top", "/etc", "sub//x", "a%00"):
        with pytest.raises(InvalidInput):
            paths(root, path)


def test_pages_join_without_a_gap_also_where_the_cursor_is_gone(root: Path) -> None:
    first = View(root).page("", deep=True, enough=lambda one: one is not None and one.path == "sub/inner")
    assert first.next == "sub/inner"
    shutil.rmtree(root / "sub" / "inner")
    (root / "sub" / "h").write_text("behind the cursor")
    second = View(root).page("", deep=True, after=first.next)
    assert [each.path for each in second.seen] == ["sub/x", "top"]
    assert second.next == ""
    with pytest.raises(InvalidInput, match="does not lie below"):
        View(root).page("sub", deep=True, after="top")


def test_no_link_is_followed_whatever_it_points_to(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (root / "file").symlink_to(tmp_path / "secret")
    (root / "folder").symlink_to(tmp_path)
    (root / "sub" / "up").symlink_to("..")
    seen = {each.path: each for each in View(root).page("", deep=True).seen}
    assert seen["file"].type is EntryType.LINK
    assert seen["file"].target == str(tmp_path / "secret")
    assert not any(path.startswith(("folder/", "sub/up/")) for path in seen)
    for path in ("file", "folder/secret", "sub/up/top"):
        with pytest.raises(NotFound), View(root).open(path):
            pass
    with pytest.raises(NotFound):
        paths(root, "folder/secret")


def test_a_file_that_becomes_something_else_is_not_opened(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the open a stage may put a FIFO or a link there: neither blocks, neither leads away."""
    looked = view._look

    def and_then(folder: view._Folder, name: bytes) -> tuple[os.stat_result, bool] | None:
        found = looked(folder, name)
        if name == b"top":
            (root / "top").unlink()
            os.mkfifo(root / "top") if not (root / "turn").exists() else (root / "top").symlink_to("sub/x")
        return found

    monkeypatch.setattr(view, "_look", and_then)
    for _ in range(2):
        with pytest.raises(NotFound, match="no file any more"), View(root).open("top"):
            pass
        (root / "top").unlink()
        (root / "top").write_text("again")
        (root / "turn").touch()


def test_what_no_manifest_holds_is_counted(root: Path) -> None:
    os.mkfifo(root / "pipe")
    os.mkfifo(root / "sub" / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(root / "socket"))
        page = View(root).page("", deep=True)
    assert [each.path for each in page.seen] == ["sub", "sub/inner", "sub/inner/y", "sub/x", "top"]
    assert page.left_out == {"FIFOs, sockets and devices are left out": 3}
    with pytest.raises(NotFound), View(root).open("pipe"):
        pass


def test_names_that_are_not_shown_end_a_page_too(root: Path) -> None:
    for number in range(5):
        os.mkfifo(root / f"pipe{number}")
    looked: list[Seen | None] = []

    def third(one: Seen | None) -> bool:
        looked.append(one)
        return len(looked) == 3

    page = View(root).page("", deep=False, enough=third)
    assert (page.seen, page.next) == ((), "pipe2")
    assert [each.path for each in View(root).page("", deep=False, after=page.next).seen] == ["sub", "top"]


def test_a_folder_of_too_many_names_and_a_tree_without_end_are_bounded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "MAX_NAMES", 3)
    for number in range(10):
        (root / "sub" / f"n{number}").touch()
    page = View(root).page("sub", deep=False)
    assert len(page.seen) == 3
    assert page.left_out == {"folders hold more than 3 names: not all are shown": 1}

    deep = root / "deep"
    deep.mkdir()
    here = os.open(deep, os.O_RDONLY)
    for _ in range(300):  # deeper than any path that can be written
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    page = View(root).page("deep", deep=True)
    assert len(page.seen) == view.MAX_LEVELS - 1
    assert page.left_out == {f"folders lie deeper than {view.MAX_LEVELS}: they are not looked into": 1}
    with pytest.raises(NotFound, match="too deep"):
        View(root).page("/".join(["deep", *["d" * 200] * 100]), deep=False)
    assert len(list(Path("/proc/self/fd").iterdir())) == opened
    tree.remove(deep)


def test_names_travel_in_one_spelling(root: Path) -> None:
    for raw in (b"caf\xe9", b"new\nline", b"\x1b]0;x\x07", b"%41"):
        (root / os.fsdecode(raw)).write_bytes(raw)
    names = paths(root, deep=False)
    assert names == ["%1B%5D0%3Bx%07", "%2541", "caf%E9", "new%0Aline", "sub", "top"]
    for name in names[:4]:
        with View(root).open(name) as fd:
            assert os.read(fd, 100)
