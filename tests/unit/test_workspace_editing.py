"""Files that people change for the next run: one manifest a command, nothing old altered, nothing left of a loser."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit import cli_projects as make
from winslow import config, workspace
from winslow.address import parse
from winslow.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    Refused,
    StoreUnreachable,
    UsageError,
    WinslowError,
)
from winslow.events import RunQueued, WorkspaceEdited
from winslow.lifecycle import apply
from winslow.lineage import taken_over
from winslow.project import Manifests, Project
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore
from winslow.workspace import Entry, EntryType, Manifest, decode, encode
from winslow_tui.facade import filing, moving, workspace_editing
from winslow_tui.facade.link import Link

ULM = "ulm-abcd"
LEFT = f"projects/{ULM}/runs/1.1/workspace/manifest.json"
OLD = f"projects/{ULM}/runs/1.1/workspace/old"
EDITS = f"projects/{ULM}/edits/"


def entry(path: str, data: bytes = b"old", *, kind: EntryType = EntryType.FILE) -> Entry:
    if kind is EntryType.DIR:
        return Entry(path=path, type=kind, mode=0o755)
    return Entry(
        path=path, type=kind, mode=0o644, object=OLD, size=len(data), sha256=hashlib.sha256(data).hexdigest()
    )


class Site:
    """A store in memory with one project, and a person at it; there is no broker."""

    def __init__(self, folder: Path, project: Project) -> None:
        self.folder = folder
        self.store = MemoryStore()
        self.documents = Documents(self.store)
        self.documents.create(project)
        self.store.put(OLD, b"old")
        entries = (entry("kept"), entry("sub", kind=EntryType.DIR), entry("sub/a"), entry("sub/b"))
        self.store.put(LEFT, encode(Manifest(project=ULM, run=1, attempt=1, entries=entries)))
        self.ann, self.bob = (
            Link(config.load(environ={"HOME": str(folder)}), store=self.store) for _ in range(2)
        )

    @property
    def project(self) -> Project:
        found = self.documents.read(ULM).document
        assert isinstance(found, Project)
        return found

    def local(self, name: str, data: bytes = b"new") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def put(
        self, where: str, *sources: Path, used: Link | None = None, project: Project | None = None
    ) -> Project:
        planned, _ = workspace_editing.plan(sources, parse(f"{ULM}#next:{where}"))
        return workspace_editing.put(used or self.ann, project or self.project, planned, lambda _: None)

    def remove(self, *paths: str, deep: bool = False) -> int:
        places = [parse(f"{ULM}#next:{path}") for path in paths]
        return workspace_editing.remove(self.ann, self.project, places, deep=deep)[1]

    def move(self, source: str, target: str) -> None:
        wanted = moving.plan(
            self.store,
            parse(f"{ULM}#next:{source}"),
            parse(f"{ULM}#next:{target}"),
            lambda _: self.project,
        )
        moving.move(self.ann, wanted, lambda _: None)

    def files(self, address: str = "next") -> dict[str, bytes]:
        found = filing.find(self.store, parse(f"{ULM}#{address}:"), self.project, deep=True)
        return {
            each.path: self.store.get(each.key).data if each.key else b""
            for each in found
            if each.kind is EntryType.FILE
        }

    def stored(self) -> list[str]:
        return [info.key for info in self.store.walk(EDITS)]


@pytest.fixture
def ended(tmp_path: Path) -> Site:
    """Its first run has succeeded; the second stage comes next, when a person says so."""
    return Site(tmp_path, make.ended(make.new(), single=True, manifests=Manifests(workspace=LEFT)))


@pytest.fixture
def new(tmp_path: Path) -> Site:
    """Nothing was ever started."""
    return Site(tmp_path, make.new())


def test_files_get_other_names_and_no_object_is_made(ended: Site) -> None:
    ended.move("sub", "deep/er/")
    ended.move("kept", "deep/renamed")
    assert ended.files() == {"deep/renamed": b"old", "deep/er/sub/a": b"old", "deep/er/sub/b": b"old"}
    assert ended.files("1") == {"kept": b"old", "sub/a": b"old", "sub/b": b"old"}
    assert all(key.endswith("/manifest.json") for key in ended.stored())
    with pytest.raises(NotFound):
        ended.move("sub", "x")
    with pytest.raises(Conflict, match="already"):
        ended.move("deep/renamed", "deep/er")
    with pytest.raises(Refused, match="no folder"):
        ended.move("deep/er", "deep/renamed/er")


def test_files_are_added_replaced_and_removed_and_nothing_old_is_altered(ended: Site) -> None:
    before = {info.key: ended.store.get(info.key).data for info in ended.store.walk(f"projects/{ULM}/")}
    runs = ended.project.runs
    ended.put("", ended.local("kept", b"replaced"), ended.local("more"))
    assert ended.files() == {"kept": b"replaced", "more": b"new", "sub/a": b"old", "sub/b": b"old"}
    assert ended.remove("sub/a", "more") == 2
    ended.put("deep/er/x", ended.local("x"))
    assert ended.files() == {"kept": b"replaced", "sub/b": b"old", "deep/er/x": b"new"}
    assert ended.files("1") == {"kept": b"old", "sub/a": b"old", "sub/b": b"old"}
    assert {key: ended.store.get(key).data for key in before} == before
    assert ended.project.runs == runs
    assert sum(key.endswith("/manifest.json") for key in ended.stored()) == 3  # one a command

    made = ended.project.edited
    assert made is not None
    manifest = decode(ended.store.get(made.manifest).data, key=made.manifest, project=ULM)
    assert (manifest.kind, manifest.run, manifest.author) == ("edited", 1, ended.ann.author)
    chain = [manifest]
    while chain[-1].kind == "edited":
        chain.append(decode(ended.store.get(chain[-1].parent).data, key=chain[-1].parent, project=ULM))
    assert [each.deleted for each in chain] == [(), ("more", "sub/a"), (), ()]
    untouched = next(each for each in manifest.entries if each.path == "sub/b")
    assert untouched.object == OLD


def test_the_next_run_takes_it_over(ended: Site) -> None:
    changed = ended.put("", ended.local("more"))
    assert changed.edited is not None
    started = apply(changed, RunQueued(id=make.event_id()))
    assert isinstance(started, Project)
    assert taken_over(started, started.runs[-1]) == changed.edited.manifest
    assert started.edited is None


def test_what_is_put_there_at_the_start_is_run_0(new: Site) -> None:
    assert new.files() == {}
    with pytest.raises(NotFound, match="no run #0"):
        new.files("0")
    new.put("", new.local("start"))
    assert new.files("0") == new.files() == {"start": b"new"}
    started = apply(new.project, RunQueued(id=make.event_id()))
    assert isinstance(started, Project)
    (run,) = started.runs
    assert (run.workspace_from, new.project.initial is not None) == (0, True)


def test_folders_links_and_odd_names_arrive_as_they_are(ended: Site) -> None:
    tree = ended.folder / "tree"
    ended.local("tree/in/x").chmod(0o755)
    ended.local("tree/empty", b"")
    (tree / "hollow").mkdir()
    (tree / "link").symlink_to("/etc/passwd")
    os.mkfifo(tree / "pipe")
    ended.local(os.fsdecode(b"tree/caf\xe9"))
    planned, notes = workspace_editing.plan([tree], parse(f"{ULM}#next:"))
    assert [note.split("/")[-1] for note in notes] == ["pipe is no regular file"]
    workspace_editing.put(ended.ann, ended.project, planned, lambda _: None)
    found = {
        each.path: each
        for each in filing.find(ended.store, parse(f"{ULM}#next:tree"), ended.project, deep=True)
    }
    assert found.keys() == {
        "tree/empty", "tree/hollow", "tree/in", "tree/in/x", "tree/link", "tree/" + os.fsdecode(b"caf\xe9")
    }  # fmt: skip
    assert found["tree/in/x"].mode == 0o755
    assert (found["tree/link"].kind, found["tree/link"].target) == (EntryType.LINK, "/etc/passwd")
    assert (found["tree/empty"].size, found["tree/empty"].key) == (0, "")


@pytest.mark.parametrize(
    ("do", "error", "words"),
    [
        (lambda site: site.put("kept/x", site.local("x")), Refused, "no folder"),
        (lambda site: site.put("sub", site.local("x")), Refused, "is a folder"),
        (lambda site: site.put("one", site.local("x"), site.local("y")), UsageError, "would become one file"),
        (lambda site: site.put("", site.folder / "none"), NotFound, "there is no file"),
        (lambda site: site.put("a" * 300, site.local("x")), InvalidInput, "255 bytes"),
        (lambda site: site.remove("none"), NotFound, "'none'"),
        (lambda site: site.remove("kept", "none"), NotFound, "'none'"),
        (lambda site: site.remove("sub"), UsageError, "--recursive|is a folder"),
        (lambda site: site.remove("kept/"), NotFound, "no folder"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_sent(
    ended: Site, do: Callable[[Site], object], error: type[WinslowError], words: str
) -> None:
    with pytest.raises(error, match=words):
        do(ended)
    assert ended.stored() == []
    assert ended.project.edited is None


def test_a_folder_goes_with_all_it_holds(ended: Site) -> None:
    assert ended.remove("sub", deep=True) == 2
    assert ended.files() == {"kept": b"old"}
    assert ended.remove("", deep=True) == 1
    assert ended.files() == {}


def test_while_a_run_is_active_nothing_can_be_changed(tmp_path: Path) -> None:
    site = Site(tmp_path, make.running())
    with pytest.raises(Refused, match="is being made") as raised:
        site.put("", site.local("x"))
    assert "winslow pause" in raised.value.hint
    with pytest.raises(Refused, match="is being made"):
        site.files()
    assert site.stored() == []


def test_of_two_people_one_is_told_who_came_first_and_leaves_nothing(ended: Site) -> None:
    seen = ended.project  # by both
    ended.put("", ended.local("anns"), used=ended.ann, project=seen)
    keys = ended.stored()
    with pytest.raises(Conflict, match=f"changed meanwhile.*{ended.ann.author}") as raised:
        ended.put("", ended.local("bobs"), used=ended.bob, project=seen)
    assert raised.value.exit_code == 4
    assert "repeat" in raised.value.hint
    assert ended.stored() == keys
    ended.put("", ended.local("bobs"), used=ended.bob)  # now on top of ann's
    assert {"anns", "bobs"} <= ended.files().keys()


def test_a_run_that_begins_meanwhile_wins(ended: Site) -> None:
    seen = ended.project
    ended.documents.update(ULM, RunQueued(id=make.event_id()), apply=apply)
    with pytest.raises(Refused, match="is being made"):
        ended.put("", ended.local("late"), project=seen)
    assert ended.stored() == []


def test_a_store_that_may_have_taken_the_event_keeps_the_files(
    ended: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(_project: str, event: WorkspaceEdited, **_: object) -> None:
        ended.documents.update(ULM, event, apply=apply)
        raise StoreUnreachable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(ended.ann.documents, "update", half)
        with pytest.raises(StoreUnreachable):
            ended.put("", ended.local("x"))
    assert ended.files()["x"] == b"new"

    def cut(*_: object, **__: object) -> None:
        raise StoreUnreachable("no answer")

    keys = ended.stored()
    monkeypatch.setattr(workspace_editing, "upload_many", cut)
    with pytest.raises(StoreUnreachable):
        ended.put("", ended.local("y"))
    assert ended.stored() == keys


def test_a_change_is_dropped_with_its_files_but_not_what_a_run_took(ended: Site) -> None:
    ended.put("", ended.local("one"))
    ended.put("", ended.local("two"))
    workspace_editing.restore(ended.ann, ended.project)
    assert ended.files() == ended.files("1")
    assert ended.stored() == []
    with pytest.raises(Refused, match="no files were changed"):
        workspace_editing.restore(ended.ann, ended.project)


def test_files_that_a_run_has_taken_over_stay(ended: Site) -> None:
    ended.put("", ended.local("one"))
    keys = ended.stored()
    queued = apply(ended.project, RunQueued(id=make.event_id()))
    assert isinstance(queued, Project)
    ended.documents.update(ULM, RunQueued(id=make.event_id()), apply=apply)
    with pytest.raises(Refused):
        workspace_editing.restore(ended.ann, ended.project)
    assert ended.stored() == keys


def test_a_manifest_of_a_run_says_nothing_of_an_author() -> None:
    assert b"author" not in workspace.encode(Manifest(project=ULM, run=1, attempt=1))
