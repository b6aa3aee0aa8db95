"""An attempt's directories on a real file system: placing, collecting, and what may not happen to them."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node_agent import tree
from node_agent.cache import Cache, DiskFull, Source
from node_agent.collect import Collected, collect
from node_agent.journal import Journals
from node_agent.places import Placed, Placement, PlacePlan, Placer, placement
from node_agent.runtime.port import RuntimeFailure
from node_agent.strategy import Strategy, choose_strategy
from node_agent.tree import Stopped
from tests.services.servers import StoreService
from tests.stores import connected
from winslow.errors import InvalidInput, NotFound
from winslow.store.memory import MemoryStore
from winslow.store.port import ObjectInfo, ObjectStore
from winslow.workspace import MAX_DEPTH, Entry, EntryType, Manifest, decode, encode, quote_path

PROJECT = "p-abcd"


class RecordingStore(MemoryStore):
    """Remembers which objects were written and read; `fails_at` cuts the power at that write, counted from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []
        self.read: list[str] = []
        self.fails_at = 0

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        content_type: str = "application/octet-stream",
        sha256: str = "",
    ) -> str:
        self.written.append(key)
        if len(self.written) == self.fails_at:
            raise KeyboardInterrupt("power cut")
        return super().put(
            key,
            data,
            if_match=if_match,
            if_none_match=if_none_match,
            content_type=content_type,
            sha256=sha256,
        )

    def download(self, key: str, path: Path, *, etag: str | None = None) -> ObjectInfo:
        self.read.append(key)
        return super().download(key, path, etag=etag)


class Node:
    """One node with a cache of its own, on a store."""

    def __init__(
        self, folder: Path, store: ObjectStore, strategy: Strategy = Strategy.COPY, keep_free: int = 0
    ) -> None:
        self.store = store
        self.cache = Cache(folder / "cache", store=store, limit=1 << 30, keep_free=keep_free)
        self.journals = Journals(folder / "attempts")
        self.placer = Placer(cache=self.cache, journals=self.journals, strategy=strategy)

    def place(
        self,
        run: int = 1,
        *,
        workspace: Manifest | None = None,
        resources: tuple[Placement, ...] = (),
        owner: tuple[int, int] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Placed:
        plan = PlacePlan(
            project=PROJECT, run=run, attempt=1, workspace=workspace, resources=resources, owner=owner
        )
        return self.placer.place(plan, cancelled=cancelled)

    def collect(self, placed: Placed) -> Collected:
        return collect(placed, store=self.store, cache=self.cache)

    def manifest(self, key: str) -> Manifest:
        return decode(self.store.get(key).data, key=key, project=PROJECT)


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore()


NewNode = Callable[..., Node]


@pytest.fixture
def new_node(tmp_path: Path, store: RecordingStore) -> Iterator[NewNode]:
    nodes: list[Node] = []

    def make(strategy: Strategy = Strategy.COPY, *, name: str = "node", keep_free: int = 0) -> Node:
        nodes.append(Node(tmp_path / name, store, strategy, keep_free))
        return nodes[-1]

    yield make
    for node in nodes:
        node.cache.close()


@pytest.fixture
def node(new_node: NewNode) -> Node:
    return new_node()


def resource(store: MemoryStore, path: str, data: bytes) -> Placement:
    key = f"resources/{path}"
    found = placement(ObjectInfo(key=key, etag=store.put(key, data), size=len(data)), path)
    assert found is not None
    return found


def entries(node: Node, key: str) -> dict[str, Entry]:
    return {entry.path: entry for entry in node.manifest(key).entries}


def test_inputs_are_read_only_and_share_the_caches_disk(node: Node, store: RecordingStore) -> None:
    video = resource(store, "traffic/a b.mp4", b"video")
    empty = resource(store, "traffic/empty", b"")
    one, two = node.place(1, resources=(video, empty)), node.place(2, resources=(video,))
    file = one.directory / "resources/traffic/a b.mp4"
    assert file.read_bytes() == b"video"
    assert file.samefile(two.directory / "resources/traffic/a b.mp4")
    assert (one.directory / "resources/traffic/empty").read_bytes() == b""
    assert {path.lstat().st_mode & 0o222 for path in (one.directory / "resources").rglob("*")} == {0}
    assert store.read == ["resources/traffic/a b.mp4"]
    assert [(mount.target, mount.read_only, mount.lower) for mount in one.mounts] == [
        ("/resources", True, None), ("/input", True, None), ("/workspace", False, None), ("/output", False, None),
    ]  # fmt: skip
    node.placer.discard(PROJECT, 1, 1)
    assert (two.directory / "resources/traffic/a b.mp4").read_bytes() == b"video"


def test_an_interrupted_placing_goes_on_and_leaves_the_attempts_other_files(
    node: Node, store: RecordingStore
) -> None:
    files = tuple(resource(store, f"f{number}", b"%d" % number) for number in range(30))
    spool = node.journals.directory(PROJECT, 1, 1) / "log"
    spool.mkdir(parents=True)
    with pytest.raises(Stopped):
        node.place(resources=files, cancelled=lambda: len(store.read) >= 10)
    assert node.placer.find(PROJECT, 1, 1) is None
    placed = node.place(resources=files)
    assert len(list((placed.directory / "resources").iterdir())) == 30
    assert len(store.read) < 45
    assert sorted(set(store.read)) == sorted(f"resources/f{number}" for number in range(30))
    assert spool.is_dir()
    (placed.directory / "workspace/made").write_text("by the stage")
    assert node.place(resources=files) == placed  # once placed it is never done again
    assert (placed.directory / "workspace/made").exists()


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a/./b", "", "a\0b", "x" * 300])
def test_an_upload_whose_name_cannot_be_a_path_is_refused_by_name(path: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be put into a directory"):
        placement(ObjectInfo(key=f"resources/{path}", etag="e", size=1), path)


def test_an_s3_programs_mark_for_a_folder_is_no_file() -> None:
    assert placement(ObjectInfo(key="resources/folder/", etag="e", size=0), "folder/") is None


def test_inputs_in_each_others_way_are_refused(node: Node, store: RecordingStore) -> None:
    with pytest.raises(InvalidInput, match="'a' is a file, yet 'a/b' lies below it"):
        node.place(1, resources=(resource(store, "a", b"1"), resource(store, "a/b", b"2")))
    with pytest.raises(InvalidInput, match="two different inputs would stand at 'a'"):
        node.place(2, resources=(Placement(path="a"), Placement(path="a", target="b")))


def test_a_missing_input_and_a_full_disk_are_told(
    node: Node, new_node: NewNode, store: RecordingStore
) -> None:
    gone = Placement(path="a", source=Source(key="resources/gone", size=1, etag="e"))
    with pytest.raises(NotFound, match="resources/gone"):
        node.place(resources=(gone,))
    full = new_node(name="full", keep_free=1 << 60)
    with pytest.raises(DiskFull):
        full.place(resources=(resource(store, "a", b"1"),))


def test_only_what_changed_is_sent_and_all_of_it(node: Node, store: RecordingStore) -> None:
    first = node.place(1)
    at = first.directory / "workspace"
    for name in ("same", "rewritten", "touched", "mode", "renamed", "gone", "copy"):
        (at / name).write_text(f"{name} content")
    (first.directory / "output/plot").write_text("plot")
    done = node.collect(first)
    assert len(store.written) == 8 + 2
    assert store.written[-2:] == [done.manifests.workspace, done.manifests.output]
    assert done.outputs == 1
    assert sorted(entries(node, done.manifests.output)) == ["plot"]

    before = node.manifest(done.manifests.workspace)
    store.written.clear()
    second = node.place(2, workspace=before)
    assert store.read == []  # what a node's own stage wrote is in its cache
    at = second.directory / "workspace"
    old = (at / "rewritten").stat()
    (at / "rewritten").write_text(
        "REWRITTEN content"
    )  # as long as before, and its time set back, as rsync -t does
    os.utime(at / "rewritten", ns=(old.st_atime_ns, old.st_mtime_ns))
    (at / "touched").touch()
    (at / "mode").chmod(0o750)
    (at / "renamed").rename(at / "new name")
    (at / "gone").unlink()
    (at / "twice").write_text("copy content")
    done = node.collect(second)
    after = entries(node, done.manifests.workspace)
    assert done.changes.added == ("new%20name", "twice")
    assert done.changes.changed == ("mode", "rewritten")
    assert done.changes.removed == node.manifest(done.manifests.workspace).deleted == ("gone", "renamed")
    assert store.written[:-2] == [after["rewritten"].object]
    was = {entry.path: entry for entry in before.entries}
    assert after["same"] == was["same"]
    assert after["new%20name"].object == was["renamed"].object
    assert after["twice"].object == was["copy"].object
    assert done.bytes_uploaded == len("REWRITTEN content")


def test_a_change_right_after_the_start_is_seen(node: Node) -> None:
    made = node.place(1)
    for number in range(20):
        (made.directory / f"workspace/{number}").write_text("old")
    manifest = node.manifest(node.collect(made).manifests.workspace)
    for run in range(2, 12):
        placed = node.place(run, workspace=manifest)
        for number in range(20):
            path = placed.directory / f"workspace/{number}"
            with path.open("r+") as file:
                file.write("new")
            os.utime(path, ns=(manifest.entries[0].mtime_ns,) * 2)
        assert len(node.collect(placed).changes.changed) == 20


@pytest.mark.parametrize("strategy", [Strategy.COPY, Strategy.OVERLAY])
def test_no_later_stage_can_alter_a_finished_workspace(new_node: NewNode, strategy: Strategy) -> None:
    node = new_node(strategy)
    first = node.place(1)
    (first.directory / "workspace/tool").write_text("#!/bin/sh")
    (first.directory / "workspace/tool").chmod(0o755)
    os.utime(first.directory / "workspace/tool", ns=(5, 1_000_000_007))
    key = node.collect(first).manifests.workspace
    held = node.store.get(key).data
    node.placer.discard(PROJECT, 1, 1)
    second = node.place(2, workspace=node.manifest(key))
    tool = second.directory / ("lower" if second.overlay else "workspace") / "tool"
    info = tool.stat()
    assert (info.st_mode & 0o777, info.st_mtime_ns) == (0o755, 1_000_000_007)
    if second.overlay:  # never written to: it is the lower directory
        assert info.st_nlink == 2
        assert [(mount.lower, mount.work) for mount in second.mounts if mount.lower] == [
            (second.directory / "lower", second.directory / "work")
        ]
    else:
        assert info.st_nlink == 1
        tool.write_text("#!/bin/rm")
    third = node.place(3, workspace=node.manifest(key))
    again = third.directory / ("lower" if third.overlay else "workspace") / "tool"
    assert again.read_text() == "#!/bin/sh"
    assert node.store.get(key).data == held


def test_an_overlays_lower_never_shows_another_mode_or_time(new_node: NewNode) -> None:
    node = new_node(Strategy.OVERLAY)
    first = node.place(1)
    (first.directory / "workspace/a").write_text("same bytes")
    key = node.collect(first).manifests.workspace
    entry = node.manifest(key).entries[0]
    other = entry.model_copy(update={"path": "b", "mode": 0o500, "mtime_ns": 7})
    placed = node.place(2, workspace=node.manifest(key).model_copy(update={"entries": (entry, other)}))
    a, b = (placed.directory / "lower" / name for name in "ab")
    assert a.stat().st_mtime_ns == entry.mtime_ns
    assert (b.stat().st_mode & 0o777, b.stat().st_mtime_ns, b.read_text()) == (0o500, 7, "same bytes")


def test_a_power_cut_at_any_write_is_made_good(new_node: NewNode, store: RecordingStore) -> None:
    node = new_node()
    for cut in range(1, 7):
        placed = node.place(cut)
        for number in range(4):
            (placed.directory / f"workspace/{number}").write_text(f"{cut} {number}")
        store.written.clear()
        store.fails_at = cut
        with pytest.raises(KeyboardInterrupt):
            node.collect(placed)
        prefix = f"projects/{PROJECT}/runs/{cut}.1/"
        there = {info.key for info in store.walk(prefix)}
        assert (f"{prefix}workspace/manifest.json" in there) == (cut == 6)
        assert f"{prefix}output/manifest.json" not in there
        store.fails_at = 0
        found = node.placer.find(PROJECT, cut, 1)
        assert found is not None
        store.written.clear()
        done = node.collect(found)
        assert not set(store.written[:-2]) & there
        for entry in node.manifest(done.manifests.workspace).entries:
            assert store.get(entry.object).data == f"{cut} {entry.path}".encode()


def test_what_is_no_file_is_skipped_with_a_note_that_is_harmless(node: Node) -> None:
    placed = node.place(1)
    at = placed.directory / "workspace"
    os.mkfifo(at / "pipe\x1b[31m")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(at, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    deep = os.open(at, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(MAX_DEPTH + 2):
        os.mkdir("d", dir_fd=deep)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    done = node.collect(placed)
    shown = [note[:60] for note in done.notes]
    assert "skipped pipe%1B%5B31m: a FIFO cannot be kept" in shown
    assert "skipped socket: a socket cannot be kept" in shown
    assert done.notes[0].startswith("skipped d/d/d/d")
    assert done.notes[0].endswith("lies too deep")
    assert len(done.notes) == 3
    assert len(node.manifest(done.manifests.workspace).entries) == MAX_DEPTH


def test_thousands_of_such_notes_stay_readable(node: Node) -> None:
    placed = node.place(1)
    for number in range(150):
        os.mkfifo(placed.directory / f"output/{number}")
    notes = node.collect(placed).notes
    assert len(notes) == 101
    assert notes[-1] == "and 50 more like these"


@pytest.mark.parametrize("mark", ["redirect", "metacopy"])
def test_what_an_overlay_hides_is_refused_not_lost(new_node: NewNode, mark: str) -> None:
    node = new_node(Strategy.OVERLAY)
    first = node.place(1)
    (first.directory / "workspace/a").write_text("a")
    second = node.place(2, workspace=node.manifest(node.collect(first).manifests.workspace))
    changed = second.directory / "workspace" / ("folder" if mark == "redirect" else "a")
    changed.mkdir() if mark == "redirect" else changed.write_text("x")
    os.setxattr(changed, f"user.overlay.{mark}", b"")
    with pytest.raises(RuntimeFailure, match="cannot be collected"):
        node.collect(second)


def test_what_a_stage_may_write_belongs_to_its_user(new_node: NewNode) -> None:
    node = new_node(Strategy.OVERLAY)
    first = node.place(1)
    (first.directory / "workspace/folder").mkdir()
    (first.directory / "workspace/folder/a").write_text("a")
    manifest = node.manifest(node.collect(first).manifests.workspace)
    user = (1234, 1234) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    second = node.place(2, workspace=manifest, owner=user)
    assert not second.overlay  # its lower directory's files would stay another's
    owned = [second.directory / "output", *(second.directory / "workspace").rglob("*")]
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in owned} == {user}


def test_discarding_takes_everything_but_the_journal(node: Node, tmp_path: Path) -> None:
    placed = node.place(1)
    at = placed.directory / "workspace"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (at / "link").symlink_to(outside)
    (at / ".1").mkdir()  # names that removing itself uses
    (at / ".2").write_text("x")
    (at / ".3/full").mkdir(parents=True)
    fd = os.open(at, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(3000):  # deeper than any path and any stack
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    (placed.directory / "attempt.json").write_text("{}")
    (placed.directory / "log").write_text("spool")
    node.placer.discard(PROJECT, 1, 1)
    node.placer.discard(PROJECT, 1, 1)
    assert [path.name for path in placed.directory.iterdir()] == ["attempt.json"]
    assert (outside / "kept").read_text() == "kept"
    assert node.placer.find(PROJECT, 1, 1) is None


def test_a_damaged_record_is_an_error_with_a_way_out(node: Node) -> None:
    placed = node.place(1)
    (placed.directory / "placed.json").write_text("{")
    with pytest.raises(InvalidInput, match=r"placed\.json: damaged") as caught:
        node.placer.find(PROJECT, 1, 1)
    assert "by hand" in caught.value.hint


def test_the_strategy_is_found_by_trying(tmp_path: Path) -> None:
    assert choose_strategy(tmp_path, overlay=True) is Strategy.OVERLAY
    found = choose_strategy(tmp_path, overlay=False)
    (tmp_path / "a").write_bytes(b"x")
    with (tmp_path / "b").open("wb") as new:
        assert (found is Strategy.REFLINK) == tree.clone(tmp_path / "a", new.fileno())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_through_a_real_store(tmp_path: Path, s3_server: StoreService) -> None:
    with connected(s3_server.with_new_bucket()) as store:
        key = "resources/Ärger & co/+ 100%.bin"
        large = os.urandom(1 << 20) * 20  # several ranges, several parts' worth of a single one
        etag = store.put(key, large)
        one = Node(tmp_path / "one", store)
        video = placement(ObjectInfo(key=key, etag=etag, size=len(large)), "Ärger & co/+ 100%.bin")
        assert video is not None
        placed = one.place(1, resources=(video,))
        assert (placed.directory / "resources/Ärger & co/+ 100%.bin").read_bytes() == large
        at = placed.directory / "workspace"
        (at / "big").write_bytes(large)
        for number in range(50):
            (at / f"{number}").write_bytes(b"%d" % number)
        (at / os.fsdecode(b"\xff\n")).write_text("odd")
        done = one.collect(placed)
        assert one.collect(placed).bytes_uploaded == 0
        two = Node(tmp_path / "two", store)
        moved = two.place(2, workspace=two.manifest(done.manifests.workspace)).directory / "workspace"
        assert {path.name: path.read_bytes() for path in moved.iterdir()} == {
            path.name: path.read_bytes() for path in at.iterdir()
        }
        one.cache.close()
        two.cache.close()


def test_manifests_are_the_same_bytes_on_every_node(new_node: NewNode) -> None:
    one, two = new_node(name="one"), new_node(name="two")
    first = one.place(1)
    (first.directory / "workspace/folder").mkdir(mode=0o700)
    (first.directory / "workspace/folder/a").write_text("a")
    manifest = one.manifest(one.collect(first).manifests.workspace)
    placed = two.place(1, workspace=manifest)
    again = two.collect(placed)
    assert two.manifest(again.manifests.workspace).entries == manifest.entries
    assert encode(manifest) == one.store.get(again.manifests.workspace).data
    assert stat.S_IMODE((placed.directory / "workspace/folder").stat().st_mode) == 0o700
    assert again.changes.added == again.changes.changed == again.changes.removed == ()
    assert {entry.type for entry in manifest.entries} == {EntryType.DIR, EntryType.FILE}
    assert quote_path(b"folder/a") in entries(two, again.manifests.workspace)


def test_without_a_guarded_mount_inputs_are_copies(tmp_path: Path) -> None:
    """I3: a plain process could chmod and write a hard link, and with it the cache."""
    store = MemoryStore()
    etag = store.put("resources/a", b"bytes")
    cache = Cache(tmp_path / "cache", store=store, limit=1 << 30)
    journals = Journals(tmp_path / "attempts")
    source = Source(key="resources/a", size=5, etag=etag)
    plan = PlacePlan(project="p", run=1, attempt=1, resources=(Placement(path="a", source=source),))
    placer = Placer(cache=cache, journals=journals, strategy=Strategy.COPY, link_inputs=False)
    placed = placer.place(plan)
    seen = placed.directory / "resources/a"
    seen.chmod(0o644)
    seen.write_bytes(b"other")
    with cache.use(source) as cached:
        assert cached.read_bytes() == b"bytes"
    cache.close()
