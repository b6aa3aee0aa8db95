"""Files at addresses: what is shown, and where things go (design 8, I11)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.unit import cli_projects as make
from winslow.address import parse
from winslow.errors import InvalidInput, NotFound, Refused, UsageError, WinslowError
from winslow.events import Deleted
from winslow.lifecycle import apply
from winslow.project import Manifests, Project
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore
from winslow.workspace import Entry, EntryType, Manifest, encode, quote_path
from winslow_tui.facade import filing
from winslow_tui.facade.filing import File

WORKSPACE = "projects/ulm-abcd/runs/1.1/workspace/manifest.json"
OUTPUT = "projects/ulm-abcd/runs/1.1/output/manifest.json"


def entry(path: str, data: bytes = b"", *, key: str = "", mode: int = 0o644) -> Entry:
    return Entry(
        path=quote_path(path.encode("utf-8", "surrogateescape")),
        type=EntryType.FILE,
        mode=mode,
        mtime_ns=1_700_000_000_000_000_000,
        object=key,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def project_with(store: MemoryStore, *entries: Entry, area: str = WORKSPACE) -> Project:
    """A project whose first run left these entries."""
    manifest = Manifest(project="ulm-abcd", run=1, attempt=1, entries=entries)
    store.put(area, encode(manifest))
    manifests = Manifests(workspace=area) if area == WORKSPACE else Manifests(output=area)
    return make.ended(manifests=manifests)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    for key in (
        "resources/a.mp4",
        "resources/traffic/b.mp4",
        "resources/traffic/deep/c.mp4",
        "resources/other/d",
    ):
        store.put(key, key.encode())
    return store


def paths(found: list[File]) -> list[str]:
    return [each.path + ("/" if each.kind is EntryType.DIR else "") for each in found]


@pytest.mark.parametrize(
    ("address", "deep", "shown"),
    [
        ("res:", False, ["a.mp4", "other/", "traffic/"]),
        ("res:traffic", False, ["traffic/b.mp4", "traffic/deep/"]),
        ("res:traffic/", True, ["traffic/b.mp4", "traffic/deep/c.mp4"]),
        ("res:a.mp4", False, ["a.mp4"]),
        ("res:traffic/b.mp4", True, ["traffic/b.mp4"]),
    ],
)
def test_listing_resources(store: MemoryStore, address: str, deep: bool, shown: list[str]) -> None:
    assert sorted(paths(filing.find(store, parse(address), None, deep=deep))) == sorted(shown)


@pytest.mark.parametrize("address", ["res:nope", "res:a.mp4/", "res:traff"])
def test_what_is_not_there_is_not_found(store: MemoryStore, address: str) -> None:
    with pytest.raises(NotFound, match="there is nothing at"):
        filing.find(store, parse(address), None, deep=True)


def test_listing_a_manifest_at_any_level(store: MemoryStore) -> None:
    project = project_with(
        store,
        entry("top.txt"),
        entry("sub/inner/x.txt"),
        entry("sub/y ü.txt"),
        Entry(path="empty", type=EntryType.DIR, mode=0o755),
        Entry(path="link", type=EntryType.LINK, target="top.txt"),
    )
    where = parse("ulm-abcd#1:")
    assert sorted(paths(filing.find(store, where, project, deep=False))) == [
        "empty/",
        "link",
        "sub/",
        "top.txt",
    ]
    assert sorted(paths(filing.find(store, where, project, deep=True))) == [
        "empty/",
        "link",
        "sub/inner/x.txt",
        "sub/y ü.txt",
        "top.txt",
    ]
    assert sorted(paths(filing.find(store, parse("ulm-abcd#1:sub"), project, deep=False))) == [
        "sub/inner/",
        "sub/y ü.txt",
    ]
    assert paths(filing.find(store, parse("ulm-abcd#1:sub/y ü.txt"), project, deep=True)) == ["sub/y ü.txt"]


def test_the_workspace_of_a_run_that_has_not_ended(store: MemoryStore) -> None:
    with pytest.raises(Refused, match="when it ends"):
        filing.find(store, parse("ulm-abcd#1:"), make.running(), deep=False)
    with pytest.raises(NotFound, match="no run #9"):
        filing.find(store, parse("ulm-abcd#9:"), make.running(), deep=False)
    with pytest.raises(NotFound, match="left no workspace"):
        filing.find(store, parse("ulm-abcd#1:"), make.ended(), deep=False)


def test_output_is_the_overlay_of_all_runs(store: MemoryStore) -> None:
    project = project_with(store, entry("a.png"), entry("b.png"), area=OUTPUT)
    later = OUTPUT.replace("1.1", "2.1")
    store.put(
        later,
        encode(Manifest(project="ulm-abcd", run=2, attempt=1, entries=(entry("c.png"),), deleted=("a.png",))),
    )
    runs = [
        run.model_copy(update={"manifests": Manifests(output=key)})
        for run, key in zip(project.runs, (OUTPUT, later), strict=True)
    ]
    project = project.model_copy(update={"runs": tuple(runs)})
    assert sorted(paths(filing.find(store, parse("ulm-abcd:output/"), project, deep=True))) == [
        "b.png",
        "c.png",
    ]


# -- sending


def keys(sources: list[Path], address: str) -> list[str]:
    uploads, _ = filing.plan_upload(sources, parse(address), make.new())
    return sorted(upload.key for upload in uploads)


def test_where_uploads_go(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    for name in ("v.mp4", "w.mp4", "d/x", "d/e/y"):
        (tmp_path / name).write_text(name)
    v, w, d = tmp_path / "v.mp4", tmp_path / "w.mp4", tmp_path / "d"
    assert keys([v], "res:traffic/ulm.mp4") == ["resources/traffic/ulm.mp4"]
    assert keys([v], "res:traffic/") == ["resources/traffic/v.mp4"]
    assert keys([v], "res:") == ["resources/v.mp4"]
    assert keys([v, w], "ulm-abcd:input/") == [
        "projects/ulm-abcd/input/v.mp4",
        "projects/ulm-abcd/input/w.mp4",
    ]
    assert keys([d, w], "res:t/") == ["resources/t/d/e/y", "resources/t/d/x", "resources/t/w.mp4"]


@pytest.mark.parametrize(
    ("names", "address", "error"),
    [
        (["v", "w"], "res:one.mp4", UsageError),
        (["d"], "res:one.mp4", UsageError),
        (["v", "v"], "res:t/", UsageError),
        (["nope"], "res:t/", NotFound),
        (["v"], "ulm-abcd:output/x", Refused),
        (["v"], "ulm-abcd#1:x", Refused),
        (["new\nline"], "res:t/", InvalidInput),
    ],
)
def test_uploads_that_make_no_sense(
    tmp_path: Path, names: list[str], address: str, error: type[WinslowError]
) -> None:
    (tmp_path / "d").mkdir()
    for name in ("v", "w", "d/x", "new\nline"):
        (tmp_path / name).write_text(name)
    with pytest.raises(error):
        filing.plan_upload([tmp_path / name for name in names], parse(address), make.new())


def test_links_and_pipes_in_a_folder_are_left_out_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "x").write_text("x")
    (folder / "file-link").symlink_to("/etc/passwd")
    (folder / "folder-link").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    uploads, notes = filing.plan_upload([folder], parse("res:t/"), None)
    assert [upload.key for upload in uploads] == ["resources/t/d/x"]
    assert sorted(note.split("/")[-1].split()[0] for note in notes) == ["file-link", "folder-link", "pipe"]


def test_files_that_arrive_after_their_project_was_deleted_do_not_stay(tmp_path: Path) -> None:
    store, project = MemoryStore(), make.new()
    documents = Documents(store)
    documents.create(project)
    (tmp_path / "v").write_text("v")
    uploads, _ = filing.plan_upload([tmp_path / "v"], parse("ulm-abcd:input/"), project)
    filing.upload(store, uploads, lambda _: None, project=project)
    assert store.get("projects/ulm-abcd/input/v").data == b"v"
    documents.update(project.id, Deleted(id=make.event_id()), apply=apply)
    store.delete_prefix("projects/ulm-abcd/")
    with pytest.raises(NotFound, match="was deleted while"):
        filing.upload(store, uploads, lambda _: None, project=project)
    assert list(store.walk("projects/")) == []


# -- fetching


def fetch(store: MemoryStore, address: str, project: Project | None, into: Path) -> list[str]:
    where = parse(address)
    places = filing.plan_download(filing.find(store, where, project, deep=True), where, into)
    filing.download(store, places, lambda _: None)
    return sorted(str(path.relative_to(into)) for path in into.rglob("*") if not path.is_dir())


def test_where_downloads_go(store: MemoryStore, tmp_path: Path) -> None:
    assert fetch(store, "res:traffic", None, tmp_path / "a") == ["traffic/b.mp4", "traffic/deep/c.mp4"]
    assert fetch(store, "res:traffic/deep", None, tmp_path / "b") == ["deep/c.mp4"]
    (tmp_path / "c").mkdir()
    assert fetch(store, "res:traffic/b.mp4", None, tmp_path / "c") == ["b.mp4"]
    fetch(store, "res:traffic/b.mp4", None, tmp_path / "c" / "renamed.mp4")
    assert (tmp_path / "c" / "renamed.mp4").read_bytes() == b"resources/traffic/b.mp4"


def test_a_workspace_comes_back_as_it_was(store: MemoryStore, tmp_path: Path) -> None:
    key = "projects/ulm-abcd/runs/1.1/workspace/object"
    store.put(key, b"data")
    name = os.fsdecode(b"caf\xe9")
    project = project_with(
        store,
        entry(f"sub/{name}", b"data", key=key, mode=0o755),
        entry("empty"),
        Entry(path="hollow", type=EntryType.DIR, mode=0o755),
        Entry(path="link", type=EntryType.LINK, target="empty"),
    )
    into = tmp_path / "w"
    assert fetch(store, "ulm-abcd#1:", project, into) == ["empty", "link", f"sub/{name}"]
    fetched = into / "sub" / name
    assert fetched.read_bytes() == b"data"
    assert fetched.stat().st_mode & 0o777 == 0o755
    assert fetched.stat().st_mtime_ns == 1_700_000_000_000_000_000
    assert (into / "empty").stat().st_size == 0
    assert (into / "hollow").is_dir()
    assert (into / "link").readlink() == Path("empty")


def test_nothing_is_written_through_a_link(store: MemoryStore, tmp_path: Path) -> None:
    outside, into = tmp_path / "outside", tmp_path / "into"
    outside.mkdir()
    first = project_with(store, Entry(path="sub", type=EntryType.LINK, target=quote_path(bytes(outside))))
    fetch(store, "ulm-abcd#1:", first, into)
    store.put("projects/ulm-abcd/runs/1.1/workspace/object", b"evil")
    second = project_with(store, entry("sub/x", b"evil", key="projects/ulm-abcd/runs/1.1/workspace/object"))
    with pytest.raises(Refused, match="is a link"):
        fetch(store, "ulm-abcd#1:", second, into)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_where_a_folder_is_needed_is_named(store: MemoryStore, tmp_path: Path, below: str) -> None:
    (tmp_path / "taken").write_text("mine")
    project = project_with(store, entry("sub/x", b"data", key="projects/ulm-abcd/runs/1.1/workspace/object"))
    with pytest.raises(Refused, match=r"taken\S*: a file is in the way"):
        fetch(store, "ulm-abcd#1:", project, tmp_path / "taken" / below)
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/x", "a//b", "."])
def test_no_name_leaves_the_folder(path: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        filing.plan_download([File(path, EntryType.FILE, key="resources/x")], parse("res:"), tmp_path)


# -- removing


def test_removing(store: MemoryStore) -> None:
    with pytest.raises(UsageError, match="folder with 2 files"):
        filing.remove(store, parse("res:traffic"), None, deep=False)
    assert filing.remove(store, parse("res:a.mp4"), None, deep=False) == 1
    assert filing.remove(store, parse("res:traffic/"), None, deep=True) == 2
    assert [info.key for info in store.walk("")] == ["resources/other/d"]
    with pytest.raises(NotFound):
        filing.remove(store, parse("res:traffic/"), None, deep=True)
    with pytest.raises(Refused, match="never changes"):
        filing.remove(store, parse("ulm-abcd#1:x"), make.ended(), deep=True)
