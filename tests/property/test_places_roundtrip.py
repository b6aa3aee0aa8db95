"""Random trees with hostile names: a stage's directory, stored and placed again, is the same directory.

Each example is a chain of two stages on a real file system. A stage is a list of small deeds, each tried
and allowed to fail; the same deeds in a plain directory say what has to come out.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from node_agent import tree
from node_agent.cache import Cache
from node_agent.collect import collect
from node_agent.journal import Journals
from node_agent.places import Placed, PlacePlan, Placer
from node_agent.strategy import Strategy
from node_agent.view import View
from winslow.store.memory import MemoryStore
from winslow.workspace import EntryType, Manifest, decode, unquote_path

# Run as a program of its own inside an overlay's mount namespace, and in this process elsewhere.
DEEDS = r"""
import errno, json, os, sys

FOLLOWS = ("write", "append", "overwrite", "mkdir", "chmod", "fifo")

def check(root, path):
    # Links may point anywhere and no deed follows one out: these run as the tester, perhaps as root.
    top = os.path.realpath(root)
    if os.path.commonpath([os.path.realpath(path), top]) != top:
        raise OSError(errno.EXDEV, "outside")

def do(root, deeds):
    for kind, path, more in deeds:
        path = os.path.join(root, path.encode("latin-1"))
        try:
            check(root, path if kind in FOLLOWS else os.path.dirname(path))
            if kind in ("write", "append", "overwrite") and os.path.exists(path) and not os.path.isfile(path):
                raise OSError(errno.EINVAL, "a FIFO would wait for a reader for ever")
            if kind == "write":
                with open(path, "wb") as file:
                    file.write(more.encode("latin-1"))
            elif kind == "append":
                with open(path, "r+b") as file:
                    file.seek(0, 2)
                    file.write(more.encode("latin-1"))
            elif kind == "overwrite":  # the same size
                with open(path, "r+b") as file:
                    size = file.seek(0, 2)
                    file.seek(0)
                    file.write((more.encode("latin-1") * 9 + b"-" * size)[:size])
            elif kind == "mkdir":
                os.makedirs(path)
            elif kind == "chmod":
                if not os.path.islink(path):
                    os.chmod(path, more)
            elif kind == "link":
                os.symlink(more.encode("latin-1"), path)
            elif kind == "hard":
                source = os.path.join(root, more.encode("latin-1"))
                check(root, os.path.dirname(source))
                os.link(source, path, follow_symlinks=False)
            elif kind == "fifo":
                os.mkfifo(path)
            elif kind == "rename":
                target = os.path.join(root, more.encode("latin-1"))
                check(root, os.path.dirname(target))
                if not os.path.isdir(path) or os.path.islink(path):  # an overlay cannot move its lower directories
                    os.rename(path, target)
            elif kind == "remove":
                remove(path)
            elif kind == "again":  # removed and made anew: an opaque directory
                remove(path)
                os.mkdir(path)
        except OSError:
            pass

def remove(path):
    if os.path.islink(path) or not os.path.isdir(path):
        os.unlink(path)
    else:
        for name in os.listdir(path):
            remove(os.path.join(path, name))
        os.rmdir(path)
"""
space: dict[str, Any] = {}
exec(compile(DEEDS, "deeds", "exec"), space)

# Few and nested, so that deeds meet each other's results.
PATHS = st.sampled_from(
    [
        "a",
        "a/b",
        "a/b/c",
        "a/.dot",
        "a/\xff\xfe",
        "d",
        "d/line\nbreak",
        "d/d",
        "d/d/\x1b]0;x\x07",
        "-rf",
        "%41",
        " ",
    ]
)
START: list[tuple[str, str, Any]] = [
    ("mkdir", "a/b", None), ("write", "a/b/c", "one"), ("write", "a/.dot", "two"), ("link", "a/\xff\xfe", "b"),
    ("mkdir", "d/d", None), ("write", "d/line\nbreak", "3"), ("write", "-rf", "four"), ("chmod", "-rf", 0o755),
]  # fmt: skip
CONTENT = st.sampled_from(["", "x", "yy", "zz", "a longer one"])
MODES = st.sampled_from([0o644, 0o600, 0o755, 0o700, 0o400, 0o777])
DEED = st.one_of(
    st.tuples(st.sampled_from(["write", "append", "overwrite"]), PATHS, CONTENT),
    st.tuples(st.sampled_from(["mkdir", "remove", "again", "fifo"]), PATHS, st.none()),
    st.tuples(st.just("chmod"), PATHS, MODES),
    st.tuples(st.just("link"), PATHS, st.sampled_from(["a", "../..", "/etc/passwd", "\xff", "a/b"])),
    st.tuples(st.sampled_from(["rename", "hard"]), PATHS, PATHS),
)
STAGE = st.lists(DEED, max_size=14)

Deeds = list[tuple[str, str, Any]]


def snapshot(root: Path, *, times: bool = False) -> dict[bytes, tuple[object, ...]]:
    """Everything below `root`, seen by a walk that shares no code with what is tested."""
    seen: dict[bytes, tuple[object, ...]] = {}
    for where, folders, files in os.walk(os.fsencode(root)):
        for name in (*folders, *files):
            path = where + b"/" + name
            info = os.lstat(path)
            if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode) or stat.S_ISLNK(info.st_mode)):
                continue
            content: object = None
            if stat.S_ISREG(info.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            elif stat.S_ISLNK(info.st_mode):
                content = Path(os.fsdecode(path)).readlink()
            age = info.st_mtime_ns if times else None
            seen[os.path.relpath(path, os.fsencode(root))] = (
                stat.S_IFMT(info.st_mode),
                info.st_mode & 0o777,
                content,
                age,
            )
    return seen


class Site:
    """A store, and a node with a cache; `Strategy` as the node has it."""

    def __init__(self, folder: Path, strategy: Strategy) -> None:
        self.store = MemoryStore()
        self.cache = Cache(folder / "cache", store=self.store, limit=1 << 30)
        self.placer = Placer(cache=self.cache, journals=Journals(folder / "attempts"), strategy=strategy)

    def place(self, run: int, workspace: Manifest | None, parent: str) -> Placed:
        plan = PlacePlan(project="p-abcd", run=run, attempt=1, workspace=workspace, parent=parent)
        placed = self.placer.place(plan)
        assert self.placer.find("p-abcd", run, 1) == placed  # a restarted agent knows all of it
        return placed

    def collect(self, placed: Placed) -> tuple[Manifest, str]:
        done = collect(placed, store=self.store, cache=self.cache)
        first = self.store.get(done.manifests.workspace).data
        again = collect(placed, store=self.store, cache=self.cache)
        assert self.store.get(again.manifests.workspace).data == first  # after a crash: the same once more
        assert again.bytes_uploaded == 0
        key = done.manifests.workspace
        manifest = decode(first, key=key, project="p-abcd")
        assert manifest.parent == placed.parent
        return manifest, key


def drop_fifos(root: Path) -> None:
    """No manifest keeps them: the next stage does not find them."""
    for path in root.rglob("*"):
        if path.is_fifo() and not path.is_symlink():
            path.unlink()


def part_hard_links(root: Path) -> None:
    """Two names of one file are two files to the next stage: a manifest knows no hard links."""
    for path in root.rglob("*"):
        info = path.lstat()
        if stat.S_ISREG(info.st_mode) and info.st_nlink > 1:
            data = path.read_bytes()
            path.unlink()
            path.write_bytes(data)
            path.chmod(info.st_mode & 0o777)


def viewed(placed: Placed) -> dict[bytes, tuple[object, ...]]:
    """A workspace as its node shows it while the stage runs, one name a page; in the shape of `snapshot`."""
    view = View(placed.directory / "workspace", placed.directory / "lower" if placed.overlay else None)
    seen: dict[bytes, tuple[object, ...]] = {}
    page = view.page("", deep=True, enough=lambda _: True)
    while True:
        for each in page.seen:
            content: object = None
            kind = {EntryType.FILE: stat.S_IFREG, EntryType.DIR: stat.S_IFDIR, EntryType.LINK: stat.S_IFLNK}
            if each.type is EntryType.FILE:
                with view.open(each.path) as fd:
                    content = os.read(fd, 1 << 20)
            elif each.type is EntryType.LINK:
                content = Path(os.fsdecode(unquote_path(each.target)))
            assert unquote_path(each.path) not in seen
            seen[unquote_path(each.path)] = (kind[each.type], each.mode, content, None)
        if not page.next:
            return seen
        page = view.page("", deep=True, after=page.next, enough=lambda _: True)


def run_in_overlay(placed: Placed, deeds: Deeds) -> None:
    """Do the deeds in a real overlay mount, in a mount namespace that ends with them."""
    mount = next(mount for mount in placed.mounts if mount.lower)
    program = (
        f"{DEEDS}\n"
        "import subprocess\n"
        "options = f'lowerdir={sys.argv[1]},upperdir={sys.argv[2]},workdir={sys.argv[3]}' + sys.argv[5]\n"
        "subprocess.run(['mount', '-t', 'overlay', 'overlay', '-o', options, sys.argv[4]], check=True)\n"
        "do(sys.argv[4].encode(), json.load(sys.stdin))\n"
    )
    merged = placed.directory / "merged"
    merged.mkdir()
    root = os.geteuid() == 0
    subprocess.run(
        ["unshare", *([] if root else ["--user", "--map-root-user"]), "--mount", sys.executable, "-c", program,
         str(mount.lower), str(mount.source), str(mount.work), str(merged), "" if root else ",userxattr"],
        input=json.dumps(deeds), text=True, check=True, timeout=60,
    )  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=STAGE, second=STAGE)
def test_two_stages_by_copies(first: Deeds, second: Deeds) -> None:
    chain(Strategy.COPY, first, second)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=STAGE, second=STAGE)
@example(first=[], second=[("remove", "a/b/c", None), ("remove", "-rf", None), ("remove", "d", None)])
@example(first=[], second=[("again", "a", None), ("write", "a/new", "x"), ("again", "d/d", None)])
@example(
    first=[], second=[("remove", "a", None), ("write", "a", "a file now"), ("chmod", "d/line\nbreak", 0o600)]
)
@example(
    first=[],
    second=[("remove", "-rf", None), ("mkdir", "-rf", None), ("rename", "a/.dot", "d/d/\x1b]0;x\x07")],
)
def test_two_stages_over_an_overlay(first: Deeds, second: Deeds) -> None:
    chain(Strategy.OVERLAY, first, second)


def chain(strategy: Strategy, first: Deeds, second: Deeds) -> None:
    with tempfile.TemporaryDirectory(prefix="winslow-places-") as name:
        folder = Path(name)
        expected = folder / "expected"
        expected.mkdir()
        site = Site(folder, strategy)
        manifest: Manifest | None = None
        key = ""
        left: dict[bytes, tuple[object, ...]] | None = {}
        for run, deeds in enumerate(([*START, *first], second), 1):
            placed = site.place(run, manifest, key)
            if placed.overlay:
                run_in_overlay(placed, deeds)
                tree.remove(placed.directory / "merged")
            else:
                space["do"](os.fsencode(placed.directory / "workspace"), deeds)
            space["do"](os.fsencode(expected), deeds)
            part_hard_links(expected)
            drop_fifos(expected)
            assert viewed(placed) == snapshot(expected)  # as it is seen before it is collected
            manifest, key = site.collect(placed)
            left = None if placed.overlay else snapshot(placed.directory / "workspace", times=True)
            site.placer.discard("p-abcd", run, 1)
            assert not list(placed.directory.iterdir())

        fresh = Cache(folder / "fresh", store=site.store, limit=1 << 30)  # a node that has nothing yet
        site.placer = Placer(cache=fresh, journals=Journals(folder / "elsewhere"), strategy=Strategy.COPY)
        final = site.place(3, manifest, key).directory / "workspace"
        assert snapshot(final) == snapshot(expected)
        if left is not None:
            assert snapshot(final, times=True) == left
        assert all(path.is_dir() or path.lstat().st_nlink == 1 for path in final.rglob("*"))
        site.cache.close()
        fresh.close()
