"""Files that get another name: where they go, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit import cli_projects as make
from winslow import config
from winslow.address import parse
from winslow.errors import Conflict, NotFound, Refused, StoreUnreachable, UsageError, WinslowError
from winslow.events import Deleted
from winslow.lifecycle import apply
from winslow.project import Project
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore
from winslow.store.patience import Patience
from winslow_tui.facade import moving
from winslow_tui.facade.link import Link

ULM = "ulm-abcd"


class Site:
    """A store in memory with some resources and a project."""

    def __init__(self, folder: Path, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.documents = Documents(self.store)
        self.documents.create(make.new())
        for name in ("a.mp4", "traffic/b.mp4", "traffic/deep/c.mp4", "traffic-2/d.mp4"):
            self.store.put(f"resources/{name}", name.encode(), sha256="5a")
        self.link = Link(config.load(environ={"HOME": str(folder)}), store=self.store)

    def project(self, name: str) -> Project:
        found = self.documents.read(name).document
        assert isinstance(found, Project)
        return found

    def plan(self, source: str, target: str) -> moving.Move:
        return moving.plan(self.store, parse(source), parse(target), self.project)

    def move(self, source: str, target: str) -> list[int]:
        moved: list[int] = []
        moving.move(self.link, self.plan(source, target), moved.append)
        return moved

    def files(self, below: str = "resources/") -> dict[str, str]:
        """What each key holds."""
        return {
            info.key.removeprefix(below): self.store.get(info.key).data.decode()
            for info in self.store.walk(below)
        }


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_file_gets_another_name(site: Site) -> None:
    assert site.move("res:a.mp4", "res:ulm/north.mp4") == [5]
    assert site.files()["ulm/north.mp4"] == "a.mp4"
    assert "a.mp4" not in site.files()
    assert site.store.stat("resources/ulm/north.mp4").sha256 == "5a"


def test_a_folder_goes_with_all_it_holds_and_without_its_neighbour(site: Site) -> None:
    site.move("res:traffic", "res:old/roads")
    assert site.files() == {
        "a.mp4": "a.mp4",
        "old/roads/b.mp4": "traffic/b.mp4",
        "old/roads/deep/c.mp4": "traffic/deep/c.mp4",
        "traffic-2/d.mp4": "traffic-2/d.mp4",
    }


def test_into_a_folder_it_keeps_its_name(site: Site) -> None:
    site.move("res:a.mp4", "res:traffic/")
    site.move("res:traffic/deep", "res:")
    assert set(site.files()) == {"traffic/a.mp4", "traffic/b.mp4", "deep/c.mp4", "traffic-2/d.mp4"}


def test_between_resources_and_the_input_of_a_project(site: Site) -> None:
    site.move("res:traffic/deep", f"{ULM}:input/")
    assert site.files(f"projects/{ULM}/input/") == {"deep/c.mp4": "traffic/deep/c.mp4"}
    site.move(f"{ULM}:input/deep/c.mp4", "res:c.mp4")
    assert site.files(f"projects/{ULM}/input/") == {}
    assert site.files()["c.mp4"] == "traffic/deep/c.mp4"


@pytest.mark.parametrize(
    ("source", "target", "error", "says"),
    [
        ("res:nothing", "res:x", NotFound, "nothing at res:nothing"),
        ("res:a.mp4", "res:traffic/b.mp4", Conflict, "something at res:traffic/b.mp4 already"),
        ("res:a.mp4", "res:traffic", Conflict, "something at res:traffic already"),
        ("res:a.mp4", "res:a.mp4", UsageError, "its address already"),
        ("res:traffic", "res:traffic/deep/", UsageError, "lies in it"),
        ("res:", "res:x/", UsageError, "whole place"),
        (f"{ULM}#1:a", "res:a", Refused, "written by runs alone"),
        ("res:a.mp4", f"{ULM}:output/a.mp4", Refused, "written by runs alone"),
        ("res:a.mp4", f"{ULM}#next:a.mp4", UsageError, "only within itself"),
    ],
)
def test_what_is_refused_changes_nothing(
    site: Site, source: str, target: str, error: type[WinslowError], says: str
) -> None:
    before = site.files("")
    with pytest.raises(error, match=says):
        site.plan(source, target)
    assert site.files("") == before


def test_a_file_that_was_replaced_meanwhile_is_kept(site: Site) -> None:
    wanted = site.plan("res:traffic", "res:roads")
    site.store.put("resources/traffic/b.mp4", b"newer")
    with pytest.raises(Conflict, match=r"replaced traffic/b\.mp4 meanwhile"):
        moving.move(site.link, wanted, lambda _: None)
    files = site.files()
    assert files["traffic/b.mp4"] == files["roads/b.mp4"] == "newer"
    assert "traffic/deep/c.mp4" not in files
    assert files["roads/deep/c.mp4"] == "traffic/deep/c.mp4"


def test_nothing_goes_into_a_project_that_was_deleted_meanwhile(site: Site) -> None:
    wanted = site.plan("res:traffic", f"{ULM}:input/")
    site.documents.update(ULM, Deleted(id=make.event_id()), apply=apply)
    with pytest.raises(NotFound, match="was deleted meanwhile"):
        moving.move(site.link, wanted, lambda _: None)
    assert site.files(f"projects/{ULM}/input/") == {}
    assert "traffic/b.mp4" in site.files()


class Ending(MemoryStore):
    """Goes away for good after some copies."""

    left = 1

    def copy(self, source: str, target: str) -> str:
        if not self.left:
            raise StoreUnreachable("the store is away")
        self.left -= 1
        return super().copy(source, target)


def test_what_is_broken_off_leaves_every_file_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "PATIENCE", Patience(deadline=0.0))
    site = Site(tmp_path, Ending())
    before = site.files()
    with pytest.raises(StoreUnreachable):
        site.move("res:traffic", "res:roads")
    assert before.items() <= site.files().items()
