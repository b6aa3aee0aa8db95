"""Hostile manifests, names, links and modes: nothing is ever written, read or removed outside (I11)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from node_agent import tree
from node_agent.cache import Cache
from node_agent.journal import Journals
from node_agent.places import PlacePlan, Placer
from node_agent.strategy import Strategy
from winslow.errors import InvalidInput, WinslowError
from winslow.store.memory import MemoryStore
from winslow.workspace import EMPTY_SHA256, Entry, EntryType, Manifest, decode

PARTS = st.sampled_from(["a", "b", "..", ".", "", "%2e%2e", "%2E%2E", "%2F", "%00", "~", "link", "outside"])
PATHS = st.lists(PARTS, min_size=1, max_size=5).map("/".join) | st.sampled_from(
    ["/etc/winslow", "../outside/x", "link", "link/x", "link/../../outside/x", "a/link/x", "//outside",
     "../../../outside/x", "a/../../../../outside/x", "../../../../outside"]
)  # fmt: skip
# From the workspace, "../../../outside" is what `guarded` watches.
TARGETS = st.sampled_from(
    ["../../../outside", "..", "../..", "../outside", "../../../../outside", "/", "/tmp", "a", "."]
)


@st.composite
def raw_entries(draw: st.DrawFn) -> dict[str, object]:
    kind = draw(st.sampled_from(["file", "dir", "link"]))
    entry: dict[str, object] = {
        "path": draw(PATHS),
        "type": kind,
        "mode": draw(st.sampled_from([0o644, 0o4777])),
    }
    if kind == "link":
        entry["target"] = draw(TARGETS)
    if kind == "file":
        entry["sha256"] = EMPTY_SHA256
    return entry


def listing(root: Path) -> list[tuple[str, int, int]]:
    return sorted((str(path), path.lstat().st_mode, path.lstat().st_mtime_ns) for path in root.rglob("*"))


@contextmanager
def guarded() -> Iterator[tuple[Path, Placer]]:
    """A node's folder with something outside beside it, which must be as it was at the end."""
    with tempfile.TemporaryDirectory(prefix="winslow-hostile-") as name:
        top = Path(name)
        for outside in (top / "outside", top / "node/outside", top / "node/attempts/outside"):
            outside.mkdir(parents=True)
            (outside / "secret").write_text("secret")
        before = [listing(outside) for outside in sorted(top.rglob("outside"))]
        cache = Cache(top / "node/cache", store=MemoryStore(), limit=1 << 20)
        placer = Placer(cache=cache, journals=Journals(top / "node/attempts"), strategy=Strategy.COPY)
        try:
            yield top, placer
        finally:
            cache.close()
        inside = top / "node/attempts/p"
        after = [listing(found) for found in sorted(top.rglob("outside")) if inside not in found.parents]
        assert after == before
        assert sorted(path.name for path in (top / "node/attempts").iterdir()) in (
            ["outside"],
            ["outside", "p"],
        )


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(raw_entries(), max_size=5))
def test_a_hostile_manifest_never_writes_outside(found: list[dict[str, object]]) -> None:
    data = json.dumps({"schema": 1, "project": "p", "run": 1, "attempt": 1, "entries": found}).encode()
    with guarded() as (_, placer):
        try:
            manifest = decode(data, key="k", project="p")
        except WinslowError:
            return
        placed = placer.place(PlacePlan(project="p", run=1, attempt=1, workspace=manifest))
        scan = tree.scan(placed.directory / "workspace")
        assert {entry.path for entry in manifest.entries} <= {each.path for each in scan.found}
        placer.discard("p", 1, 1)
        assert not list(placed.directory.iterdir())


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(PATHS, TARGETS, st.sampled_from(EntryType)), max_size=5))
@example([("link", "../../../outside", EntryType.LINK), ("link/x", "", EntryType.FILE)])
@example([("link", "../../../outside", EntryType.LINK), ("link/d", "", EntryType.DIR)])
@example([("link", "../../../outside", EntryType.LINK), ("link", "", EntryType.DIR)])
@example([("../../../outside/x", "", EntryType.FILE)])
@example([("../../../outside/x", "a", EntryType.LINK)])
@example([("a/../../../../outside/new", "", EntryType.DIR)])
def test_even_unchecked_entries_never_write_outside(found: list[tuple[str, str, EntryType]]) -> None:
    """The second line of defence: a manifest that slipped past its validation."""
    entries = tuple(
        Entry.model_construct(
            path=path, type=kind, mode=0o644, mtime_ns=0, object="", size=0, sha256="", target=target
        )
        for path, target, kind in found
    )
    manifest = Manifest.model_construct(project="p", kind="run", run=1, attempt=1, entries=entries)
    with guarded() as (_, placer):
        with suppress(WinslowError, OSError, ValueError):
            placer.place(PlacePlan(project="p", run=1, attempt=1, workspace=manifest))
        placer.discard("p", 1, 1)


def test_a_writer_never_follows_a_link_it_has_made(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    with tree.Writer(tmp_path / "root") as writer:
        writer.link("link", "../outside", mtime_ns=0)
        with pytest.raises(OSError):
            writer.file("link/x", None, mode=0o644)
        with pytest.raises(OSError):
            writer.folder("link")
        with pytest.raises(OSError):
            writer.file("link", None, mode=0o644)
        with pytest.raises(InvalidInput, match="leads out of"):
            writer.file("../outside/x", None, mode=0o644)
        writer.finish(mode=0o755)
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_directory_that_turns_into_a_link_is_never_followed(tmp_path: Path) -> None:
    """A stage that still runs swaps a directory and a link while its workspace is looked at."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "d", outside):
        folder.mkdir(parents=True)
    (root / "d/file").write_text("inside")
    (outside / "file").write_text("outside")
    (outside / "only outside").write_text("outside")
    (root / "link").symlink_to(outside)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(root / "d", root / "aside")  # noqa: PTH104
            os.rename(root / "link", root / "d")  # noqa: PTH104
            os.rename(root / "d", root / "link")  # noqa: PTH104
            os.rename(root / "aside", root / "d")  # noqa: PTH104

    thread = threading.Thread(target=swap)
    thread.start()
    read = refused = 0
    try:
        while not (read > 100 and refused > 100):
            assert not any("only" in found.path for found in tree.scan(root).found)
            try:
                with tree.reach(root, "d/file") as path:
                    assert path.read_text() == "inside"
                read += 1
            except (FileNotFoundError, NotADirectoryError):
                refused += 1
    finally:
        stop.set()
        thread.join()


# Python itself may lie where only root can read it: so everything is imported before the user is changed.
AS_NOBODY = """
import ctypes, os, pathlib, sys, tempfile
from node_agent import tree
from node_agent.cache import Cache
from node_agent.collect import collect
from node_agent.journal import Journals
from node_agent.places import Placer, PlacePlan
from node_agent.strategy import Strategy
from winslow.errors import WinslowError
from winslow.store.memory import MemoryStore
from winslow.workspace import decode

if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: else its own /proc would be closed to it
"""

LOCKED = """
with tempfile.TemporaryDirectory(dir="/tmp") as name:
    top = pathlib.Path(name)
    store = MemoryStore()
    cache = Cache(top / "cache", store=store, limit=1 << 20)
    placer = Placer(cache=cache, journals=Journals(top / "attempts"), strategy=Strategy.COPY)
    placed = placer.place(PlacePlan(project="p", run=1, attempt=1))
    at = placed.directory / "workspace"
    (at / "locked/inner").mkdir(parents=True)
    (at / "locked/inner/file").write_text("content")
    (at / "locked/inner/file").chmod(0)
    (at / "locked/inner").chmod(0o100)
    (at / "locked").chmod(0)
    keys = [collect(placed, store=store, cache=cache).manifests.workspace for _ in range(2)]
    assert (at / "locked").stat().st_mode & 0o777 == 0
    manifest = decode(store.get(keys[0]).data, key=keys[0], project="p")
    assert [(e.path, e.mode) for e in manifest.entries] == [
        ("locked", 0), ("locked/inner", 0o100), ("locked/inner/file", 0)], manifest
    assert store.get(manifest.entries[2].object).data == b"content"
    again = placer.place(PlacePlan(project="p", run=2, attempt=1, workspace=manifest, parent=keys[0]))
    assert [(f.path, f.mode) for f in tree.scan(again.directory / "workspace").found] == [
        (e.path, e.mode) for e in manifest.entries]
    for run in (1, 2):
        placer.discard("p", run, 1)
        assert list((top / f"attempts/p/{run}.1").iterdir()) == []
    cache.close()
print("done")
"""

OTHERS = """
try:
    tree.remove(pathlib.Path(sys.argv[1]))
except WinslowError as error:
    print(error.hint)
"""


def as_nobody(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY + program, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_modes_that_lock_out_their_owner_hide_nothing_from_an_agent_that_is_not_root() -> None:
    assert as_nobody(LOCKED) == "done\n"


def test_another_users_file_is_an_error_that_says_so() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make another user's file")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        victim = Path(name) / "attempt"
        victim.mkdir()
        (victim / "file").write_text("root's")
        assert as_nobody(OTHERS, str(victim)) == "files of another user lie there: remove them as root\n"
        assert (victim / "file").exists()
