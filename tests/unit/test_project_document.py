"""Documents from strangers: whatever the bytes are, one short sentence and never anything else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.counter import PIPELINE
from winslow import lifecycle, project
from winslow.errors import InvalidInput
from winslow.events import AbortRequested, Claimed, Disowned, RunQueued
from winslow.project import Project, Reason, RunState, decode, encode
from winslow.store import layout
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore

PROJECT = lifecycle.create(id="p-abcd", event_id="e", name="P", pipeline=PIPELINE, source_revision=1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.sampled_from([*json.loads(encode(PROJECT)), "deleting"])


def refused(data: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        decode(data, key="documents/projects/x.json")
    told = str(caught.value)
    assert len(told) < 600 and "\n" not in told and "documents/projects/x.json" in told
    return told


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff", b"[]", b"null", b'"x"', b"{}", b'{"schema":"2"}', b'{"schema":null}', b'{"schema":1}',
        b"[" * 100_000, b'{"schema":1,"deleting":true}', b'{"schema":1,"runs":' + b"[1," * 9999 + b"1",
        b'{"schema":1e400}', b'{"schema":' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_bytes_that_are_no_document(data: bytes) -> None:
    refused(data)


@given(FIELDS, JSON)
def test_a_quick_look_sees_what_a_close_one_does(field: str, value: object) -> None:
    data = json.dumps(json.loads(encode(PROJECT)) | {field: value}).encode()
    plain = project._plain_project(data)
    if plain is not None:
        assert encode(plain) == encode(project._looked_at(data, key="k"))


def test_ten_thousand_mistakes_are_one_sentence() -> None:
    refused(json.dumps(json.loads(encode(PROJECT)) | {"runs": [1] * 10_000}).encode())


@given(FIELDS, JSON)
def test_any_value_in_any_field(field: str, value: object) -> None:
    data = json.dumps(json.loads(encode(PROJECT)) | {field: value}).encode()
    try:
        decode(data, key="k")
    except InvalidInput as error:
        assert len(str(error)) < 600


def test_a_newer_schema_says_what_to_do() -> None:
    assert "newer Winslow" in refused(b'{"schema": 2}')


def test_a_copied_document_speaks_for_nobody() -> None:
    """A tombstone copied to another key must not delete its namesake's files (I8)."""
    store = MemoryStore()
    store.put(layout.project_document("p-other"), encode(PROJECT))
    with pytest.raises(InvalidInput, match="another project"):
        Documents(store).read("p-other")


def test_a_disowned_run_that_was_to_be_aborted_is_not_offered_again() -> None:
    document = lifecycle.apply(PROJECT, RunQueued(id="1"))
    assert isinstance(document, Project)
    claim = Claimed(id="2", n=1, k=1, claim="c", node="ws1", node_uuid="u")
    for event in (claim, AbortRequested(id="3"), Disowned(id="4", n=1, k=1, claim="c")):
        document = lifecycle.apply(document, event)
        assert isinstance(document, Project)
    assert (document.runs[0].state, document.runs[0].reason) == (RunState.FAILED, Reason.ABORTED)
