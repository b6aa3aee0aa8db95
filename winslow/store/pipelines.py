"""Pipeline definitions in the store: the user's text byte for byte, and a head that names the current one.

A text is written first, under a revision nobody else has (a conditional create), then the head with a
condition on what was read. Revisions rise and may have gaps; a text that no head names is never shown.
Before a head is replaced it is copied beside its text: these records are the history, exactly what was
current once, whoever crashed between two writes.
A deleted pipeline's head stays as a tombstone of a few hundred bytes: not every store keeps a condition
on DELETE, and so a name's revisions rise for ever.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from winslow.errors import Conflict, InvalidInput, NotFound, StoreUnreachable
from winslow.project import SCHEMA, check_schema
from winslow.store import layout
from winslow.store.conditional import JSON
from winslow.store.patience import Patience
from winslow.store.pool import in_parallel
from winslow.store.port import ObjectStore

YAML = "application/yaml"
READERS = 8


class PipelineHead(BaseModel):
    """The document `documents/pipelines/<name>.json`; `sha256` (hex) is its text's, `updated` is for people.

    `since` is the first revision after the name was made, or made again: older records, if a deletion left
    any behind, are not this pipeline's.
    """

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True, serialize_by_alias=True)

    schema_: int = Field(default=SCHEMA, alias="schema")
    name: str
    revision: int = Field(ge=1)
    updated: str = ""
    by: str = ""
    sha256: str
    since: int = 1
    deleted: bool = False

    def encode(self) -> bytes:
        """The document's bytes."""
        return (self.model_dump_json(indent=1) + "\n").encode()


class Unreadable(NamedTuple):
    """A pipeline whose head this program cannot read; `error` says why."""

    name: str
    error: InvalidInput


class PipelineText(NamedTuple):
    """A definition as it was applied."""

    head: PipelineHead
    text: str


class Pipelines:
    """Definitions by name. Blocking and safe for threads, as the store is."""

    def __init__(self, store: ObjectStore, *, patience: Patience | None = None) -> None:
        self._store = store
        self._patience = patience or Patience()

    def apply(
        self, name: str, text: str, *, by: str = "", updated: str = "", if_revision: int | None = None
    ) -> int:
        """Make `text` the current definition and return its revision; the same text again changes nothing.

        With `if_revision` only while that is the newest revision (0: while there is none). The caller has checked
        the text. Raises InvalidInput for a bad name, Conflict when the newest revision is another, StoreUnreachable
        when the outcome stayed unknown.
        """
        data = text.encode()
        digest = hashlib.sha256(data).hexdigest()
        last: StoreUnreachable | None = None
        mine: int | None = None  # the revision whose text is ours
        for _ in self._patience.tries():
            try:
                held, etag = self._head(name)
                if (applied := self._applied(held, digest, mine)) is not None:
                    return applied
                _check_newest(name, held, if_revision)
                if mine is None or (held is not None and mine <= held.revision):
                    mine = self._claim(name, data, held.revision + 1 if held is not None else 1)
                head = PipelineHead(
                    name=name, revision=mine, updated=updated, by=by, sha256=digest, since=mine
                )
                if held is not None and not held.deleted:
                    self._store.put(
                        layout.pipeline_record(name, held.revision), held.encode(), content_type=JSON
                    )
                    head = head.model_copy(update={"since": held.since})
                try:
                    self._write(head, etag)
                    return mine
                except Conflict:
                    pass  # somebody else's head, or our own whose answer was lost: the next read tells
            except StoreUnreachable as error:
                last = error
        raise StoreUnreachable(
            f"applying pipeline '{name}': the store gave no clear answer in time; whether it was done is unknown",
            hint="apply it again: the same text changes nothing",
        ) from last

    def read(self, name: str, *, revision: int | None = None) -> PipelineText:
        """The current definition, or an older revision of it.

        Raises NotFound naming the pipeline or the revision, InvalidInput for a damaged one.
        """
        missing: NotFound | None = None
        for _ in range(3):
            current, _etag = self._head(name)
            if current is None or current.deleted:
                break
            head = self._of(current, revision)
            if head is None:
                known = ", ".join(str(each.revision) for each in reversed(self.history(name)))
                raise NotFound(
                    f"pipeline '{name}' has no revision {revision}", hint=f"its revisions: {known}"
                )
            key = layout.pipeline_text(name, head.revision)
            try:
                data = self._store.get(key).data
            except NotFound as error:
                missing = error  # deleted, or deleted and applied anew, between the two reads
                continue
            if hashlib.sha256(data).hexdigest() != head.sha256:
                raise InvalidInput(
                    f"{key}: the text is not the one that was applied", hint=f"apply pipeline '{name}' again"
                )
            return PipelineText(head=head, text=data.decode())
        raise _none(name) from missing

    def history(self, name: str) -> list[PipelineHead]:
        """The head of every revision since the name was made, newest first. Raises NotFound."""
        current, _etag = self._head(name)
        if current is None or current.deleted:
            raise _none(name)
        older = []
        for info in self._store.walk(layout.pipeline_revisions(name)):
            revision = layout.revision_of_key(info.key)
            if revision is not None and revision < current.revision and info.key.endswith(".json"):
                older.append(revision)
        older.sort(reverse=True)
        records = in_parallel(
            READERS, "history", lambda number: self._of(current, older[number]), range(len(older))
        )
        return [current, *(record for record in records if record is not None)]

    def head(self, name: str) -> PipelineHead | None:
        """The current head; None for a pipeline that is not there (any more). Raises InvalidInput."""
        found = self._head(name)[0]
        return found if found is not None and not found.deleted else None

    def last_head(self, name: str) -> PipelineHead:
        """The newest head, of a deleted pipeline too. Raises NotFound where there never was one."""
        found, _etag = self._head(name)
        if found is None:
            raise _none(name)
        return found

    def heads(self) -> list[PipelineHead]:
        """Every pipeline's head that this program can read, by name."""
        return [each for each in self.all() if isinstance(each, PipelineHead)]

    def all(self) -> list[PipelineHead | Unreadable]:
        """Every pipeline by name, also those whose heads this program cannot read."""
        found: list[PipelineHead | Unreadable] = []
        for info in self._store.walk(layout.PIPELINE_DOCUMENTS):
            name = layout.pipeline_of_document(info.key)
            if name is None:
                continue
            try:
                head = self.head(name)
            except InvalidInput as error:
                found.append(Unreadable(name=name, error=error))
            else:
                found += [head] if head is not None else []
        return found

    def delete(self, name: str, *, by: str = "", updated: str = "") -> None:
        """Mark the head deleted and remove the texts; projects go on with their own copies.

        Raises NotFound, or StoreUnreachable when the outcome stayed unknown.
        """
        last: StoreUnreachable | None = None
        tried = False
        for _ in self._patience.tries():
            try:
                head, etag = self._head(name)
                if head is None or (head.deleted and not tried):
                    raise _none(name)
                if not head.deleted:
                    tried = True
                    gone = head.model_copy(update={"deleted": True, "by": by, "updated": updated})
                    self._write(gone, etag)
                self._remove_revisions(name, head.revision)
                return
            except Conflict:
                pass  # applied anew meanwhile, or our own write whose answer was lost: the next read tells
            except StoreUnreachable as error:
                last = error
        raise StoreUnreachable(
            f"deleting pipeline '{name}': the store gave no clear answer in time; whether it was done is unknown",
            hint="look whether it is still listed",
        ) from last

    def _remove_revisions(self, name: str, last: int) -> None:
        for info in self._store.walk(layout.pipeline_revisions(name)):
            revision = layout.revision_of_key(info.key)
            if revision is not None and revision <= last:
                self._store.delete(info.key)

    def _applied(self, held: PipelineHead | None, digest: str, mine: int | None) -> int | None:
        """The revision under which the text was applied already; None if it was not."""
        if held is None:
            return None
        if held.revision == mine or (held.sha256 == digest and not held.deleted):
            return held.revision
        if mine is not None and not held.deleted and self._of(held, mine) is not None:
            return mine  # ours was the current one, and somebody has gone on from there
        return None

    def _of(self, current: PipelineHead, revision: int | None) -> PipelineHead | None:
        """The head of a revision of the pipeline with this current head; None where there is none."""
        if revision is None or revision == current.revision:
            return current
        if not current.since <= revision < current.revision:
            return None
        key = layout.pipeline_record(current.name, revision)
        try:
            return _decode(self._store.get(key).data, key)
        except NotFound:
            return None

    def _write(self, head: PipelineHead, etag: str | None) -> None:
        key = layout.pipeline_document(head.name)
        self._store.put(key, head.encode(), if_match=etag, if_none_match=etag is None, content_type=JSON)

    def _head(self, name: str) -> tuple[PipelineHead | None, str | None]:
        key = layout.pipeline_document(name)
        try:
            blob = self._store.get(key)
        except NotFound:
            return None, None
        return _decode(blob.data, key), blob.etag

    def _claim(self, name: str, data: bytes, revision: int) -> int:
        """Write the text under the first free revision from `revision` on."""
        while True:
            key = layout.pipeline_text(name, revision)
            try:
                self._store.put(key, data, if_none_match=True, content_type=YAML)
                return revision
            except Conflict:
                try:
                    if self._store.get(key).data == data:
                        return revision
                except NotFound:
                    pass
            revision += 1


class _Versioned(BaseModel):
    """What every document says of itself."""

    schema_: int = Field(alias="schema")


def _decode(data: bytes, key: str) -> PipelineHead:
    try:
        check_schema(_Versioned.model_validate_json(data).schema_, key=key)
        return PipelineHead.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:200]
        raise InvalidInput(f"{key}: not a valid pipeline document: {place}: {first['msg'][:200]}") from error


def _check_newest(name: str, held: PipelineHead | None, wanted: int | None) -> None:
    newest = held.revision if held is not None and not held.deleted else 0
    if wanted is None or wanted == newest:
        return
    if held is None:
        raise Conflict(f"there is no pipeline '{name}', so revision {wanted} is not its newest")
    what = f"was deleted by {held.by}" if held.deleted else f"is at revision {newest}, applied by {held.by}"
    raise Conflict(
        f"pipeline '{name}' {what} at {held.updated}, not at revision {wanted}",
        hint=f"see what changed: winslow pipeline diff {name}" + (f" {wanted}" if wanted and newest else ""),
    )


def _none(name: str) -> NotFound:
    return NotFound(f"there is no pipeline '{name}'", hint="winslow pipeline list shows the pipelines")
