"""What happened to a project, as records for people: how they are kept for longer than its document keeps them.

A document holds its last 64 records, one per revision (`project.EventRecord`). Revisions rise by one per write,
so the records come in blocks of 32 revisions: 1 to 32, 33 to 64, … Whoever is about to replace a document whose
revision ends a block stores that block first (`store.activity`). The document holds two blocks, so no record
leaves it before its block is stored, whoever dies when; and since revision 32 of a project is one committed
document, everybody who stores its block stores the same bytes.

A project keeps its newest 1,000 blocks beside its document: 32,000 records. A deleted project keeps one record,
its tombstone's.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import ValidationError

from winslow.errors import InvalidInput
from winslow.project import EventRecord, Project, Tombstone

BLOCK = 32
"""Revisions of a block: half of what a document holds."""

MOST_BLOCKS = 1000
"""Blocks that a project keeps."""


class Block(NamedTuple):
    """A block by its revisions, both included."""

    first: int
    last: int

    @property
    def outlived(self) -> Block | None:
        """The block that goes when this one comes."""
        first = self.first - MOST_BLOCKS * BLOCK
        return Block(first, first + BLOCK - 1) if first > 0 else None


def block_of(revision: int) -> Block:
    """The block that a revision belongs to."""
    first = (revision - 1) // BLOCK * BLOCK + 1
    return Block(first, first + BLOCK - 1)


def full_block(document: Project | Tombstone) -> Block | None:
    """The block that ends with this document: to be stored before the document is replaced by another."""
    if isinstance(document, Tombstone) or document.revision % BLOCK:
        return None
    return block_of(document.revision)


def encode_block(document: Project, block: Block) -> bytes:
    """The block's records as JSON lines, oldest first."""
    kept = (each for each in records(document) if block.first <= each.revision <= block.last)
    return b"".join(record.model_dump_json(exclude_none=True).encode() + b"\n" for record in kept)


def decode_block(data: bytes, *, key: str) -> tuple[EventRecord, ...]:
    """The records of a block, oldest first. Raises InvalidInput naming `key`."""
    try:
        return tuple(EventRecord.model_validate_json(line) for line in data.splitlines())
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise InvalidInput(f"{key}: not a block of activity: {first['msg'][:200]}") from error


def records(document: Project | Tombstone) -> tuple[EventRecord, ...]:
    """What a document itself tells, oldest first; of a deleted project that somebody deleted it."""
    if isinstance(document, Project):
        return tuple(each for each in document.recent_events if each.revision)
    deletion = EventRecord(
        id=document.recent_events[-1] if document.recent_events else "",
        revision=document.revision,
        at=document.deleted_at,
        by=document.by,
        kind="deleted",
        text="deleted",
    )
    return (deletion,)


def newest(document: Project | Tombstone) -> EventRecord | None:
    """What the write that made this document did."""
    return next((each for each in reversed(records(document)) if each.revision == document.revision), None)
