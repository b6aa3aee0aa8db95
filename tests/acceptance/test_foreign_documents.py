"""A document that this program cannot read keeps nobody from working, and costs no stage its results (design 3)."""

from __future__ import annotations

import json

from tests.acceptance.fleet import PATIENCE, Fleet, Stage, waiting_lines
from tests.services.waiting import wait_until
from winslow.project import RunState
from winslow.store import layout


def test_others_go_on_beside_documents_that_cannot_be_read(fleet: Fleet) -> None:
    fleet.store.put(layout.project_document("newer-aaaa"), b'{"schema": 99, "id": "newer-aaaa"}')
    fleet.store.put(layout.project_document("torn-bbbb"), b'{"schema": 1, "id": "to')
    fleet.agent().start().online()
    project = fleet.start(Stage("echo here"))
    fleet.wait_state(project, RunState.SUCCEEDED)
    assert "newer-aaaa" in fleet.nodes()["ws1"].note
    assert "written by a newer Winslow" in fleet.nodes()["ws1"].note


def test_a_stage_outlives_that_its_document_cannot_be_read(fleet: Fleet) -> None:
    """A newer client rewrote it; the agent is started again meanwhile; when it can be read the run ends well."""
    agent = fleet.agent().start().online()
    script, expected = waiting_lines()
    kept, left = (fleet.start(Stage(script)) for _ in range(2))
    documents = {}
    for project in (kept, left):
        fleet.wait_state(project, RunState.RUNNING)
        key = layout.project_document(project)
        documents[key] = fleet.store.get(key).data
        fleet.store.put(key, json.dumps({**json.loads(documents[key]), "schema": 99}).encode())
    fleet.go(kept)
    wait_until(
        lambda: any(b"written by a newer" in path.read_bytes() for path in agent.data.rglob("events.jsonl")),
        seconds=PATIENCE,
        what="its word about the document",
    )
    agent.stop()
    agent.start().online()
    wait_until(
        lambda: sorted(each.step.value for each in agent.journals) == ["EXITED", "STARTED"],
        seconds=PATIENCE,
        what="the exit in the journal",
    )
    assert fleet.container(left).status == "running"

    for project, data in zip((kept, left), documents.values(), strict=True):
        fleet.store.put(layout.project_document(project), data)
        fleet.client.runs.pause(project)  # which tells the agent that there is something to read
    fleet.go(left)
    for project in (kept, left):
        run = fleet.wait_state(project, RunState.SUCCEEDED)
        assert [each.outcome for each in run.attempts] == ["succeeded"]
        assert fleet.written(project) == expected
    fleet.assert_clean()
