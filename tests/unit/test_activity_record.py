"""The site's record from the store alone: one order, filters, and no more read than is shown."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.store import Fault, FaultyStore
from winslow import lifecycle
from winslow.events import CommentChanged, Deleted, Event, Paused, RunQueued
from winslow.node_wish import DrainEnded, DrainWished
from winslow.pipeline import parse
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore
from winslow.store.pipelines import Pipelines
from winslow.store.wishes import Wishes
from winslow_tui.facade.activity import About, Entry, SiteActivity, Subject, Wanted

TEXT = "name: traffic\nstages:\n  - {name: detect, image: img}\n"
TRAFFIC = parse(TEXT, source="test")
START = datetime(2026, 3, 2, 9, tzinfo=UTC)


class Site:
    """A store whose clock goes on by a minute with everything that somebody does; people's clocks agree with it."""

    def __init__(self) -> None:
        self.now = START
        self.store = MemoryStore(now=lambda: self.now)
        self.documents = Documents(self.store)
        self.wishes = Wishes(self.store)
        self.pipelines = Pipelines(self.store)
        self.said: list[str] = []
        self.record = SiteActivity(self.store, say=self.said.append)
        self._number = 0

    def stamp(self, by: str) -> dict[str, str]:
        self._number += 1
        self.now += timedelta(minutes=1)
        return {"id": f"e{self._number}", "at": self.now.isoformat(), "by": by}

    def create(self, project: str, by: str = "ann") -> None:
        stamp = self.stamp(by)
        self.documents.create(
            lifecycle.create(
                id=project, event_id=stamp["id"], name=project.title(), pipeline=TRAFFIC, source_revision=1,
                author=by, at=stamp["at"],
            )
        )  # fmt: skip

    def change(self, project: str, event: type[Event] = Paused, by: str = "ann", **more: object) -> None:
        self.documents.update(project, event(**self.stamp(by), **more), apply=lifecycle.apply)

    def apply(self, text: str, by: str = "ann") -> None:
        stamp = self.stamp(by)
        self.pipelines.apply("traffic", text, by=by, updated=stamp["at"])

    def newest(self, count: int = 100, **wanted: object) -> list[str]:
        return shown(self.record.newest(count, Wanted(**wanted)))  # type: ignore[arg-type]


def shown(entries: Iterable[Entry]) -> list[str]:
    return [f"{entry.by} {entry.subject.about.value} {entry.subject.id}: {entry.text}" for entry in entries]


@pytest.fixture
def site() -> Site:
    made = Site()
    made.apply(TEXT)
    made.create("p-a")
    made.create("p-b", by="bob")
    made.change("p-a", RunQueued)
    made.wishes.update("ws1", DrainWished(**made.stamp("eve"), reason="a new disk"))
    made.apply(TEXT + "  - {name: track, image: img}\n", by="bob")
    made.change("p-b", Deleted, by="bob")
    made.wishes.update("ws1", DrainEnded(**made.stamp("eve")))
    made.change("p-a", by="ws1")
    return made


STORY = [
    "ann pipeline traffic: applied revision 1",
    "ann project p-a: created",
    "ann project p-a: started what comes next; #1 detect is queued",
    "eve node ws1: asked it to drain: a new disk",
    "bob pipeline traffic: applied revision 2",
    "bob project p-b: deleted",
    "eve node ws1: let it take part again",
    "ws1 project p-a: paused",
]


def test_everything_stands_in_one_order(site: Site) -> None:
    assert site.newest() == STORY
    assert site.newest(3) == STORY[-3:]
    assert site.newest(0) == []


def test_a_deleted_pipeline_is_told_of(site: Site) -> None:
    site.pipelines.delete("traffic", by="bob", updated=site.stamp("bob")["at"])
    assert site.newest()[-1] == "bob pipeline traffic: deleted"
    assert not any("applied" in each for each in site.newest())


def test_filters(site: Site) -> None:
    assert site.newest(by="bob") == [STORY[4], STORY[5]]
    assert site.newest(kind="drain_ended") == [STORY[6]]
    assert site.newest(project="p-a") == [STORY[1], STORY[2], STORY[7]]
    assert site.newest(project="p-a", by="ann", count=1) == [STORY[2]]
    assert site.newest(since=site.now - timedelta(minutes=2)) == STORY[-3:]
    assert site.newest(since=site.now + timedelta(hours=9)) == []


def test_what_cannot_be_read_is_told_of_and_hides_nothing_else(site: Site) -> None:
    site.store.put("documents/projects/p-c.json", b"{")
    for number in range(70):
        site.change("p-a", CommentChanged, comment=f"t{number}")
    site.store.put("projects/p-a/activity/000000001-000000032.jsonl", b"torn")
    assert len(site.newest(1000)) == 64 + len([each for each in STORY if "p-a" not in each])
    assert [each.partition(": ")[2].partition(":")[0] for each in site.said] == [
        "documents/projects/p-c.json",
        "projects/p-a/activity/000000001-000000032.jsonl",
    ]


def test_a_clock_that_is_off_breaks_no_projects_own_order(site: Site) -> None:
    site.change("p-a", CommentChanged, comment="x")
    wrong = (site.now - timedelta(days=400)).isoformat()
    site.documents.update("p-a", Paused(id="late", at=wrong, by="zoe"), apply=lifecycle.apply)
    site.documents.update("p-a", Paused(id="none", at="\x1b[31m", by="zoe"), apply=lifecycle.apply)
    own = site.newest(project="p-a")
    assert own[-3:] == [
        "ann project p-a: changed the comment",
        "zoe project p-a: paused",
        "zoe project p-a: paused",
    ]
    assert sorted(site.newest()) == sorted([*STORY, *own[-3:]])


def test_the_last_hundred_of_two_hundred_projects_are_found_in_a_few(site: Site) -> None:
    for number in range(200):
        site.create(f"many-{number:03d}")
        for tag in range(9):
            site.change(f"many-{number:03d}", CommentChanged, comment=f"t{tag}")
    link = FaultyStore(site.store, lambda *_: Fault.NONE)
    record = SiteActivity(link, say=site.said.append)
    newest = record.newest(100, Wanted())
    assert [entry.subject.id for entry in newest] == [f"many-{190 + n // 10:03d}" for n in range(100)]
    reads = [key for operation, key, _ in link.seen if operation == "get"]
    assert len(reads) <= 32
    link.seen.clear()
    assert len(record.newest(5, Wanted(project="many-007"))) == 5
    assert [operation for operation, _, _ in link.seen] == ["walk", "get"]


def test_a_long_history_is_paged(site: Site) -> None:
    for number in range(300):
        site.change("p-a", CommentChanged, comment=f"t{number}")
    link = FaultyStore(site.store, lambda *_: Fault.NONE)
    entries = SiteActivity(link, say=site.said.append).back(Wanted(project="p-a"))
    first = [next(entries) for _ in range(150)]
    assert [entry.place for entry in first] == list(range(303, 153, -1))
    assert len([key for operation, key, _ in link.seen if "/activity/" in key]) == 4
    assert [entry.place for entry in entries] == list(range(153, 0, -1))


def test_places_tell_where_each_subject_stands(site: Site) -> None:
    subjects = [Subject(About.PROJECT, "p-a"), Subject(About.PIPELINE, "traffic"), Subject(About.NODE, "ws1")]
    assert site.record.places(subjects) == dict(zip(subjects, (3, 4, 2), strict=True))
    site.pipelines.delete("traffic")
    assert site.record.places(subjects[1:2]) == {subjects[1]: 5}
    assert site.record.places([Subject(About.PROJECT, "p-none")]) == {}
