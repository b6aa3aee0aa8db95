"""Project documents over a store: every event takes effect once, or ends in an error (design 3, I10).

A conditional PUT is never simply repeated. After any answer but 200 the document is read:

    the event's id is in it                   done
    its ETag is the one the write was for     unknown: send the same bytes again
    its ETag is another, without the id       not applied: decide afresh on the new document

Sending the same bytes again is safe because the condition lets only one copy in, and a copy that was
held up on the way can land only while the ETag it names is current.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from winslow.errors import Conflict, NotFound, StoreUnreachable, WinslowError
from winslow.project import RECENT_EVENTS, Project, Tombstone, decode, encode
from winslow.store import layout
from winslow.store.patience import Patience
from winslow.store.port import ObjectInfo, ObjectStore

JSON = "application/json"


class HasId(Protocol):
    """An event: its `id` is random and unique."""

    @property
    def id(self) -> str: ...


E = TypeVar("E", bound=HasId)


class Stored(NamedTuple):
    """A document and the ETag it has in the store."""

    document: Project | Tombstone
    etag: str


@dataclass(frozen=True)
class Listing:
    """Every document's object by project id and by pipeline name; `modified` is the store's own time."""

    projects: dict[str, ObjectInfo]
    pipelines: dict[str, ObjectInfo]


@dataclass(frozen=True)
class _Sent:
    """A write whose outcome is not known to be a success."""

    base: str
    revision: int
    document: Project | Tombstone
    data: bytes


class Documents:
    """The typed face of `documents/projects/`. Blocking and safe for threads, as the store is."""

    def __init__(self, store: ObjectStore, *, patience: Patience | None = None) -> None:
        self._store = store
        self._patience = patience or Patience()

    def read(self, project_id: str) -> Stored:
        """The document as it is now; a deleted project's is a Tombstone.

        Raises NotFound naming the project, InvalidInput for an unreadable document, StoreUnreachable.
        """
        key = layout.project_document(project_id)
        try:
            blob = self._store.get(key)
        except NotFound as error:
            raise NotFound(
                f"there is no project '{project_id}'", hint="winslow project list shows the projects"
            ) from error
        return Stored(document=decode(blob.data, key=key, project_id=project_id), etag=blob.etag)

    def create(self, project: Project) -> str:
        """Write a new project's first document; its ETag.

        `project.recent_events` holds the id of the event that made it: that is how this write is told from
        somebody else's. Raises Conflict when the id is taken (by a tombstone, too), or StoreUnreachable
        when the outcome stayed unknown.
        """
        if not project.recent_events:
            raise ValueError("a new project carries the id of the event that made it")
        key, made_by = layout.project_document(project.id), project.recent_events[-1]
        data = _checked(project, key)
        last: StoreUnreachable | None = None
        for _ in self._patience.tries():
            try:
                return self._store.put(key, data, if_none_match=True, content_type=JSON)
            except Conflict:
                pass  # perhaps our own write: the read tells
            except StoreUnreachable as error:
                last = error
            try:
                held = self.read(project.id)
            except NotFound:
                continue  # nothing landed (yet): the same bytes again
            except StoreUnreachable as error:
                last = error
                continue
            if made_by in held.document.recent_events:
                return held.etag
            raise Conflict(f"the project id '{project.id}' is taken", hint="choose another id")
        raise _unknown(f"creating project '{project.id}'") from last

    def update(
        self,
        project_id: str,
        event: E,
        *,
        apply: Callable[[Project, E], Project | Tombstone],
        known: Stored | None = None,
    ) -> Stored:
        """Make `event` take effect once and return the document that holds it.

        `known` is the newest version the caller has read: if it still is the newest, no read is needed, and if
        not, the condition fails and nothing is lost but a request.

        `apply` is pure; it adds the event's id to `recent_events` and one to `revision`, and is called again
        whenever somebody else's write came first. Raises what `apply` raises (then nothing was written),
        NotFound for a missing or deleted project, or StoreUnreachable when the deadline passed and the
        outcome is unknown.
        """
        key = layout.project_document(project_id)
        sent: _Sent | None = None
        last: StoreUnreachable | None = None
        for _ in self._patience.tries():
            guess, known = known, None
            if guess is not None:
                try:
                    sent = self._decide(key, guess.document, guess.etag, event, apply, sent)
                except WinslowError:
                    continue  # what an old version refuses the newest may allow
            else:
                try:
                    held, etag = self.read(project_id)
                except StoreUnreachable as error:
                    last = error
                    continue
                if event.id in held.recent_events:
                    return Stored(held, etag)
                if sent is None or sent.base != etag:
                    sent = self._decide(key, held, etag, event, apply, sent)
            try:
                done = self._store.put(key, sent.data, if_match=sent.base, content_type=JSON)
                return Stored(sent.document, done)
            except Conflict:
                pass  # perhaps our own write, sent twice by a proxy: the next read tells
            except StoreUnreachable as error:
                last = error
        if sent is not None and (landed := self._landed(project_id, event.id)) is not None:
            return landed
        raise _unknown(f"changing project '{project_id}'") from last

    def _landed(self, project_id: str, event_id: str) -> Stored | None:
        """A last look after the deadline."""
        try:
            held = self.read(project_id)
        except StoreUnreachable:
            return None
        return held if event_id in held.document.recent_events else None

    def _decide(
        self,
        key: str,
        held: Project | Tombstone,
        etag: str,
        event: E,
        apply: Callable[[Project, E], Project | Tombstone],
        sent: _Sent | None,
    ) -> _Sent:
        if sent is not None and held.revision - sent.revision > RECENT_EVENTS:
            # So much was written since that the id may have stood there and been pushed out again.
            raise _unknown(f"changing project '{held.id}'")
        if isinstance(held, Tombstone):
            raise NotFound(f"project '{held.id}' was deleted")
        document = apply(held, event)
        if document.revision != held.revision + 1 or event.id not in document.recent_events:
            raise ValueError("apply must add the event's id to recent_events and one to revision")
        return _Sent(base=etag, revision=held.revision, document=document, data=_checked(document, key))

    def listing(self) -> Listing:
        """Every document's key, ETag and order, by one walk of `documents/`. Raises StoreUnreachable."""
        projects: dict[str, ObjectInfo] = {}
        pipelines: dict[str, ObjectInfo] = {}
        for info in self._store.walk(layout.DOCUMENTS):
            project, pipeline = layout.project_of_document(info.key), layout.pipeline_of_document(info.key)
            if project is not None:
                projects[project] = info
            elif pipeline is not None:
                pipelines[pipeline] = info
        return Listing(projects=projects, pipelines=pipelines)

    def project_etags(self) -> dict[str, str]:
        """Each project's ETag, tombstones included. Raises StoreUnreachable."""
        return {project: info.etag for project, info in self.listing().projects.items()}


def _checked(document: Project | Tombstone, key: str) -> bytes:
    """The document's bytes, once they have been read back: nothing invalid is ever written."""
    data = encode(document)
    decode(data, key=key)
    return data


def _unknown(doing: str) -> StoreUnreachable:
    return StoreUnreachable(
        f"{doing}: the store gave no clear answer in time; whether it was done is unknown",
        hint="look at the present state before trying again",
    )
