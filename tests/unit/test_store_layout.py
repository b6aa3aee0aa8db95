"""Keys: one place for each thing, and no name that reaches into another's (design 8)."""

from __future__ import annotations

import pytest

from winslow.errors import InvalidInput
from winslow.store import layout


def test_the_keys_are_those_of_the_design() -> None:
    assert layout.project_document("ulm-abcd") == "documents/projects/ulm-abcd.json"
    assert layout.pipeline_document("traffic") == "documents/pipelines/traffic.json"
    assert layout.node_document("ws3") == "documents/nodes/ws3.json"
    assert layout.pipeline_text("traffic", 3) == "pipelines/traffic/3.yaml"
    assert layout.resource("traffic/ulm.mp4") == "resources/traffic/ulm.mp4"
    assert layout.project_input("ulm-abcd", "a/b.txt") == "projects/ulm-abcd/input/a/b.txt"
    assert layout.attempt("ulm-abcd", 3, 2) == "projects/ulm-abcd/runs/3.2/"
    assert layout.object_("ulm-abcd", 3, 2, "workspace", "0f") == "projects/ulm-abcd/runs/3.2/workspace/0f"
    assert layout.manifest("ulm-abcd", 3, 2, "output") == "projects/ulm-abcd/runs/3.2/output/manifest.json"
    assert (
        layout.log_segment("ulm-abcd", 3, 2, first_byte=1_048_576, first_line=20)
        == "projects/ulm-abcd/runs/3.2/log/0000000001048576-20.log"
    )
    assert (
        layout.event_segment("ulm-abcd", 3, 2, first_byte=0, first_line=0)
        == "projects/ulm-abcd/runs/3.2/events/0000000000000000-0.jsonl"
    )
    assert layout.alive("ws3") == "alive/ws3"
    assert layout.SITE == "site.json"
    assert layout.probe("f00") == "probe/f00/"


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "a b", ".a", "a.", "a\n", "ä", "a" * 200])
def test_a_name_cannot_leave_its_place(name: str) -> None:
    for make in (
        layout.project_document,
        layout.pipeline_document,
        layout.node_document,
        layout.pipeline_revisions,
        layout.project,
        layout.project_input,
        layout.alive,
    ):
        with pytest.raises(InvalidInput):
            make(name)


@pytest.mark.parametrize("name", ["", "manifest.json", "a/b", "..", "a.b", "x" * 129])
def test_an_object_name_is_generated_and_cannot_hide_the_manifest(name: str) -> None:
    with pytest.raises(InvalidInput):
        layout.object_("ulm-abcd", 1, 1, "workspace", name)


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../a", "a/../../b", "a//b", "a/", "a\0b", "a\x9bb", "\ud800"]
)
def test_a_path_that_is_no_plain_relative_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        layout.resource(path)
    assert raised.value.hint
    assert raised.value.args[0].isprintable()


def test_only_a_documents_own_key_names_it() -> None:
    assert layout.project_of_document("documents/projects/ulm-abcd.json") == "ulm-abcd"
    for key in (
        "documents/projects/ulm-abcd.json.bak",
        "documents/projects/a/b.json",
        "documents/projects/.json",
        "documents/pipelines/traffic.json",
        "projects/ulm-abcd.json",
    ):
        assert layout.project_of_document(key) is None
    assert layout.pipeline_of_document("documents/pipelines/traffic.json") == "traffic"
    assert layout.pipeline_of_document("documents/projects/traffic.json") is None
    assert layout.node_of_document("documents/nodes/ws3.json") == "ws3"
    assert layout.node_of_document("documents/projects/ws3.json") is None
    assert layout.revision_of_key(layout.pipeline_text("traffic", 12)) == 12
    assert layout.revision_of_key(layout.pipeline_record("traffic", 12)) == 12
    assert layout.revision_of_key("pipelines/traffic/x.yaml") is None
    assert layout.run_of_object(layout.object_("traffic", 12, 3, "workspace", "o-1")) == 12
    assert layout.run_of_object(layout.edit_object("traffic", "t", "o-1")) is None
    assert layout.run_of_object(layout.resource("runs/12.3/a")) is None
    assert layout.segment_start("projects/p/runs/1.1/log/notes.txt") is None
