"""Documents that change by events and conditional writes: every event takes effect once, or ends in an error
(design 3, I10).

A conditional PUT is never simply repeated. After any answer but 200 the document is read:

    the event's id is in it                   done
    its ETag is the one the write was for     unknown: send the same bytes again
    its ETag is another, without the id       not applied: decide afresh on the new document

Sending the same bytes again is safe because the condition lets only one copy in, and a copy that was
held up on the way can land only while the ETag it names is current. A document that is not there yet
counts as one with an ETag of its own: it is written on condition that there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from winslow.errors import Conflict, NotFound, StoreUnreachable, WinslowError
from winslow.project import RECENT_EVENTS
from winslow.store.patience import Patience
from winslow.store.port import ObjectStore

JSON = "application/json"


class Revised(Protocol):
    """What such a document carries: a number that rises by one per write, and whether one of its newest events has
    an id."""

    @property
    def revision(self) -> int: ...

    def holds(self, event_id: str) -> bool: ...


D = TypeVar("D", bound=Revised)


class Version(NamedTuple, Generic[D]):
    """A document and the ETag it has in the store."""

    document: D
    etag: str


@dataclass(frozen=True)
class _Sent(Generic[D]):
    """A write whose outcome is not known to be a success; `held` None: on condition that there is no document."""

    held: Version[D] | None
    document: D
    data: bytes

    @property
    def base(self) -> str | None:
        """The ETag that the write is for."""
        return self.held.etag if self.held is not None else None

    @property
    def revision(self) -> int:
        """The revision that the write is for."""
        return self.held.document.revision if self.held is not None else 0


class ConditionalWriter(Generic[D]):
    """Reads and changes documents of one kind. Blocking and safe for threads, as the store is.

    `decode(data, key)` raises InvalidInput for what is no such document.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        patience: Patience,
        encode: Callable[[D], bytes],
        decode: Callable[[bytes, str], D],
    ) -> None:
        self._store = store
        self._patience = patience
        self._encode = encode
        self._decode = decode

    def read(self, key: str) -> Version[D]:
        """The document as it is now. Raises NotFound, InvalidInput for an unreadable one, StoreUnreachable."""
        blob = self._store.get(key)
        return Version(document=self._decode(blob.data, key), etag=blob.etag)

    def change(
        self,
        key: str,
        event_id: str,
        decide: Callable[[D | None], D],
        *,
        doing: str,
        known: Version[D] | None = None,
        new: bool = False,
        before: Callable[[D, D], None] | None = None,
    ) -> Version[D]:
        """Make one event take effect once and return the document that holds it.

        `decide` is pure: from the document (None: there is none) it makes the one with the event's id in
        `recent_events`, one revision higher, and is called again whenever somebody else's write came first.
        `known` is the newest version the caller has read, `new` says that it believes there is none: if that
        is so, no read is needed, and if not, the condition fails and nothing is lost but a request. `before` is
        called ahead of every write with the document that it replaces and the new one; it may use the store.

        Raises what `decide` raises (then nothing was written), or StoreUnreachable saying `doing` when the
        deadline passed and the outcome is unknown.
        """
        guessing = new or known is not None
        sent: _Sent[D] | None = None
        last: StoreUnreachable | None = None
        for _ in self._patience.tries():
            if guessing:
                guessing = False
                try:
                    sent = self._decide(key, known, event_id, decide, sent, doing)
                except WinslowError:
                    continue  # what an old version refuses the newest may allow
            else:
                try:
                    held = self._held(key)
                except StoreUnreachable as error:
                    last = error
                    continue
                if held is not None and held.document.holds(event_id):
                    return held
                if sent is None or sent.base != (held.etag if held is not None else None):
                    sent = self._decide(key, held, event_id, decide, sent, doing)
            try:
                if before is not None and sent.held is not None:
                    before(sent.held.document, sent.document)
                done = self._store.put(
                    key,
                    sent.data,
                    if_match=sent.base,
                    if_none_match=sent.base is None,
                    content_type=JSON,
                )
                return Version(document=sent.document, etag=done)
            except Conflict:
                pass  # perhaps our own write, sent twice by a proxy: the next read tells
            except StoreUnreachable as error:
                last = error
        if sent is not None and (landed := self._landed(key, event_id)) is not None:
            return landed
        raise _unknown(doing) from last

    def _held(self, key: str) -> Version[D] | None:
        try:
            return self.read(key)
        except NotFound:
            return None

    def _landed(self, key: str, event_id: str) -> Version[D] | None:
        """A last look after the deadline."""
        try:
            held = self._held(key)
        except StoreUnreachable:
            return None
        return held if held is not None and held.document.holds(event_id) else None

    def _decide(
        self,
        key: str,
        held: Version[D] | None,
        event_id: str,
        decide: Callable[[D | None], D],
        sent: _Sent[D] | None,
        doing: str,
    ) -> _Sent[D]:
        base = held.document.revision if held is not None else 0
        if sent is not None and base - sent.revision > RECENT_EVENTS:
            # So much was written since that the id may have stood there and been pushed out again.
            raise _unknown(doing)
        document = decide(held.document if held is not None else None)
        raised = held is None or document.revision == base + 1
        if not raised or not document.holds(event_id):
            raise ValueError("apply must add the event's id to recent_events and one to revision")
        data = self._encode(document)
        self._decode(data, key)  # nothing invalid is ever written
        return _Sent(held=held, document=document, data=data)


def _unknown(doing: str) -> StoreUnreachable:
    return StoreUnreachable(
        f"{doing}: the store gave no clear answer in time; whether it was done is unknown",
        hint="look at the present state before trying again",
    )
