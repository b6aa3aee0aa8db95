"""What happened on a site, newest first, from the store alone: to projects, pipelines and nodes.

Every subject tells its own story in order; between subjects the order is by the times that people's and nodes' own
clocks said, since nothing else is known of it. Only as many subjects and blocks are read as are shown.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import NamedTuple, get_args

from winslow import events, node_wish
from winslow.errors import InvalidInput, NotFound
from winslow.project import EventRecord
from winslow.store.documents import Documents
from winslow.store.pipelines import PipelineHead, Pipelines
from winslow.store.pool import in_parallel
from winslow.store.port import ObjectInfo, ObjectStore
from winslow.store.wishes import Wishes

READERS = 8
AT_ONCE = 32  # subjects that are opened together
SKEW = timedelta(minutes=15)
"""How far the clock of somebody who wrote can be from the store's: S3 refuses requests signed further off."""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class About(StrEnum):
    """What something happened to."""

    PROJECT = "project"
    PIPELINE = "pipeline"
    NODE = "node"


class Subject(NamedTuple):
    """One project (by its id), pipeline or node (by their names)."""

    about: About
    id: str


@dataclass(frozen=True)
class Entry:
    """One thing that happened.

    `place` orders the entries of one subject, and no two have the same; `title` is the project's name; `at` is
    RFC 3339 by the clock of whoever did it, `by` a person or a node, `text` one sentence about the subject. `n`
    and `k` are the run's and the attempt's number where it is about one. All texts may hold anything.
    """

    subject: Subject
    place: int
    at: str
    by: str
    kind: str
    text: str
    title: str = ""
    n: int | None = None
    k: int | None = None

    @property
    def time(self) -> datetime:
        """`at`, for ordering what is shown; long ago where it is no time."""
        return _time(self.at)


PRESENCE_KINDS = {"online": "node_online", "draining": "node_draining", "offline": "node_offline"}
"""What a node's presence becomes as an event; these are seen on the broker only, and kept nowhere."""

KINDS = frozenset(
    {
        "created",
        "pipeline_applied",
        "pipeline_deleted",
        *PRESENCE_KINDS.values(),
        *(kind.model_fields["kind"].default for kind in get_args(get_args(events.Event)[0])),
        *(kind.model_fields["kind"].default for kind in get_args(node_wish.Event)),
    }
)
"""Every kind of entry."""


@dataclass(frozen=True)
class Wanted:
    """Which entries to show: of the project with this id, by this person or node, of this kind, not older."""

    project: str = ""
    by: str = ""
    kind: str = ""
    since: datetime | None = None

    def matches(self, entry: Entry) -> bool:
        """Whether an entry is among them."""
        return (
            self.about(entry.subject)
            and (not self.by or entry.by == self.by)
            and (not self.kind or entry.kind == self.kind)
            and (self.since is None or entry.time >= self.since)
        )

    def about(self, subject: Subject) -> bool:
        """Whether entries of a subject can be among them."""
        return not self.project or subject == (About.PROJECT, self.project)


class SiteActivity:
    """The record in the store. Blocking and safe for threads; `say` takes sentences about what cannot be read."""

    def __init__(self, store: ObjectStore, *, say: Callable[[str], None]) -> None:
        self._say = say
        self._documents = Documents(store)
        self._pipelines = Pipelines(store)
        self._wishes = Wishes(store)

    def newest(self, count: int, wanted: Wanted) -> list[Entry]:
        """The newest entries, the newest last. Raises StoreUnreachable."""
        return list(islice(self.back(wanted), count))[::-1]

    def back(self, wanted: Wanted) -> Iterator[Entry]:
        """Entries, newest first, read as they are asked for. Raises StoreUnreachable."""
        since = wanted.since or _LONG_AGO
        waiting = deque(
            sorted(
                (
                    (_time(info.modified) + SKEW, subject)
                    for subject, info in self.subjects().items()
                    if wanted.about(subject)
                ),
                reverse=True,
            )
        )
        heads: list[_Head] = []
        while waiting or heads:
            if waiting and (not heads or waiting[0][0] >= heads[0].entry.time):
                if waiting[0][0] < since:
                    waiting.clear()
                    continue
                batch = [waiting.popleft()[1] for _ in range(min(AT_ONCE, len(waiting)))]
                for head in self._opened(batch):
                    heapq.heappush(heads, head)
                continue
            head = heads[0]
            if head.entry.time < since - SKEW:
                return
            if wanted.matches(head.entry):
                yield head.entry
            following = self._head(head.rest)
            if following is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, following)

    def subjects(self) -> dict[Subject, ObjectInfo]:
        """Everything that something can have happened to, with its document. Raises StoreUnreachable."""
        listing = self._documents.listing()
        return {
            Subject(about, name): info
            for about, infos in (
                (About.PROJECT, listing.projects),
                (About.PIPELINE, listing.pipelines),
                (About.NODE, listing.nodes),
            )
            for name, info in infos.items()
        }

    def read(self, subject: Subject, *, above: int = 0) -> Iterator[Entry]:
        """What happened to one subject after a place, newest first, read as it is asked for.

        Raises (while one reads) NotFound, InvalidInput for what cannot be read, StoreUnreachable.
        """
        match subject.about:
            case About.PROJECT:
                return self._project(subject, above)
            case About.PIPELINE:
                return self._pipeline(subject, above)
            case About.NODE:
                return self._node(subject, above)

    def places(self, subjects: Sequence[Subject]) -> dict[Subject, int]:
        """The place of the newest entry of each; what cannot be read is left out. Raises StoreUnreachable."""
        heads = self._opened(subjects)
        return {head.entry.subject: head.entry.place for head in heads}

    def _project(self, subject: Subject, above: int) -> Iterator[Entry]:
        document = self._documents.read(subject.id).document
        for record in self._documents.activity.back(document, above=above):
            yield of_record(subject, record, title=document.name)

    def _pipeline(self, subject: Subject, above: int) -> Iterator[Entry]:
        head = self._pipelines.last_head(subject.id)
        newest = of_head(subject, head)
        if newest.place > above:
            yield newest
        if not head.deleted and newest.place > above:
            for older in self._pipelines.history(subject.id):
                entry = of_head(subject, older)
                if above < entry.place < newest.place:
                    yield entry

    def _node(self, subject: Subject, above: int) -> Iterator[Entry]:
        for record in reversed(self._wishes.read(subject.id).document.recent_events):
            if record.revision > above:
                yield of_record(subject, record)

    def _opened(self, batch: Sequence[Subject]) -> list[_Head]:
        def first(number: int) -> _Head | None:
            return self._head(self.read(batch[number]))

        found = in_parallel(READERS, "activity", first, range(len(batch)))
        return [head for head in found if head is not None]

    def _head(self, entries: Iterator[Entry]) -> _Head | None:
        """The next entry of a subject; None where there is none, or none that can be read."""
        try:
            entry = next(entries, None)
        except NotFound:  # deleted while we read
            return None
        except InvalidInput as error:
            self._say(f"not all is shown: {error}")
            return None
        return None if entry is None else _Head(entry, entries)


class _Head(NamedTuple):
    """The newest entry of a subject that is not shown yet, and those before it."""

    entry: Entry
    rest: Iterator[Entry]

    def __lt__(self, other: tuple[object, ...]) -> bool:
        """Whether it is to be shown first, for the heap."""
        assert isinstance(other, _Head)
        return self.entry.time > other.entry.time


def of_record(subject: Subject, record: EventRecord, *, title: str = "") -> Entry:
    """The entry of a record."""
    return Entry(
        subject=subject, place=record.revision, at=record.at, by=record.by, kind=record.kind, text=record.text,
        title=title, n=record.n, k=record.k,
    )  # fmt: skip


def pipeline_place(revision: int) -> int:
    """The place of a pipeline's revision; its deletion, which keeps the revision, comes next."""
    return 2 * revision


def of_head(subject: Subject, head: PipelineHead) -> Entry:
    """The entry of a pipeline's head."""
    return Entry(
        subject=subject,
        place=pipeline_place(head.revision) + head.deleted,
        at=head.updated,
        by=head.by,
        kind="pipeline_deleted" if head.deleted else "pipeline_applied",
        text="deleted" if head.deleted else f"applied revision {head.revision}",
    )


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return _LONG_AGO
