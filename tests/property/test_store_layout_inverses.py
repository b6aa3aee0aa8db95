"""What `layout` writes into a key can be read out of it, and keys sort as what they name does."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from winslow.errors import InvalidInput
from winslow.store import layout

ids = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,30}[a-z0-9])?", fullmatch=True)
starts = st.tuples(st.integers(0, 10**16 - 1), st.integers(0, 10**12))


@given(ids)
def test_a_documents_key_gives_the_id_back(name: str) -> None:
    assert layout.project_of_document(layout.project_document(name)) == name
    assert layout.pipeline_of_document(layout.pipeline_document(name)) == name
    assert layout.node_of_document(layout.node_document(name)) == name


@given(ids, st.integers(1, 10**9))
def test_a_texts_key_gives_the_revision_back(name: str, revision: int) -> None:
    assert layout.revision_of_key(layout.pipeline_text(name, revision)) == revision


@given(ids, st.lists(starts, min_size=1))
def test_segments_sort_by_their_first_byte(project: str, segments: list[tuple[int, int]]) -> None:
    keys = [
        layout.log_segment(project, 1, 1, first_byte=first_byte, first_line=first_line)
        for first_byte, first_line in segments
    ]
    assert [layout.segment_start(key) for key in keys] == segments
    assert [layout.segment_start(key)[0] for key in sorted(keys)] == sorted(first for first, _ in segments)  # type: ignore[index]


@given(ids, st.text(max_size=60))
def test_a_path_is_kept_as_it_is_or_refused(project: str, path: str) -> None:
    assume(path)
    try:
        key = layout.project_input(project, path)
    except InvalidInput:
        return
    assert key == f"projects/{project}/input/{path}"
    assert not {"", ".", ".."} & set(key.split("/"))
    assert key.isprintable() or all(char.isprintable() or char.isspace() or ord(char) > 0xA0 for char in key)
