"""`winslow files` of a running run, on each broker, with nodes that are silent, slow or hostile."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker import topics
from broker.messages import FilesReply, FilesRequest, LiveFile
from broker.session import Session
from tests.integration.test_cli_commands import PIPELINE, Shell, environment
from tests.services.servers import BrokerService, StoreService
from tests.services.waiting import wait_until
from winslow.node import NodeState, Presence
from winslow.store import layout
from winslow.store.port import ObjectStore
from winslow.workspace import EntryType
from winslow_tui.facade import livefiles

DEADLINE = 60.0
Answer = Callable[[FilesRequest], Sequence[FilesReply]]


@pytest.fixture
def shell(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    broker: BrokerService,
    seaweedfs_store: StoreService,
) -> Shell:
    """With a project `ulm` whose first run is on the node ws1."""
    site = environment(monkeypatch, tmp_path, broker, seaweedfs_store)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    shell = Shell(capsys, site, tmp_path)
    shell("pipeline", "apply", "p.yaml")
    ulm = shell("project", "create", "ulm", "--pipeline", "traffic").strip()
    shell("start", ulm, "--single")
    shell.claim(ulm)
    return shell


@contextmanager
def node(shell: Shell, broker: BrokerService, answer: Answer) -> Iterator[list[FilesRequest]]:
    """A node `ws1` that is online and answers so; what it was asked."""
    asked: list[FilesRequest] = []
    up, end = threading.Event(), threading.Event()

    async def live() -> None:
        async with Session(broker.url, client_id="node", site=shell.site, jitter=lambda: 0.0) as session:
            await session.subscribe(topics.requests("ws1"), qos=1)
            await session.wait_connected(DEADLINE)
            state = NodeState(node="ws1", node_uuid="u", instance="i", presence=Presence.ONLINE)
            session.publish(topics.NodeState(node="ws1"), state)
            await session.flush(DEADLINE)
            up.set()
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(serve(session))
                await asyncio.to_thread(end.wait)
                serving.cancel()

    async def serve(session: Session) -> None:
        async for received in session.messages():
            if isinstance(received.payload, FilesRequest) and isinstance(received.topic, topics.Request):
                asked.append(received.payload)
                for reply in answer(received.payload):
                    session.publish(topics.Reply(client=received.topic.client), reply)

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    try:
        assert up.wait(DEADLINE)
        yield asked
    finally:
        end.set()
        thread.join()


def done(request: FilesRequest, *files: LiveFile, **more: object) -> FilesReply:
    given = {"id": request.id, "node": "ws1", "status": "done", "files": files}
    return FilesReply.model_validate(given | more)


def a_file(path: str, **more: object) -> LiveFile:
    return LiveFile.model_validate({"path": path, "type": EntryType.FILE, "mode": 0o644, "size": 4} | more)


def test_a_node_that_is_away_or_silent_is_named_with_the_way_out(
    shell: Shell, broker: BrokerService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(livefiles, "SILENCE_SECONDS", 0.5)
    shell("files", "ls", "ulm#1:", code=5)
    assert "node ws1, which has run #1 of ulm-" in shell.err
    assert "is away" in shell.err
    assert "winslow node local files ulm-" in shell.err
    with node(shell, broker, lambda _: []) as asked:
        shell("files", "ls", "ulm#1:", code=5)
        assert "did not answer" in shell.err
        wait_until(lambda: len(asked) >= 2 * livefiles.TRIES, what="the last that it was asked")
    assert [each.op for each in asked] == ["list", "stop"] * livefiles.TRIES


def test_a_node_at_work_is_waited_for_and_pages_are_joined(shell: Shell, broker: BrokerService) -> None:
    def answer(request: FilesRequest) -> list[FilesReply]:
        working = FilesReply(id=request.id, node="ws1", status="working")
        stray = done(request, a_file("stray")).model_copy(update={"id": "strangers"})
        if not request.after:
            first = a_file("a", mtime_ns=1_780_000_000 * 10**9)
            return [stray, working, done(request, first, next="a", left_out={"pipes are left out": 1})]
        assert request.after == "a"
        return [working, done(request, a_file("b"), left_out={"pipes are left out": 2})]

    with node(shell, broker, answer):
        out = shell("files", "ls", "ulm#1:")
    assert [line.split()[-1] for line in out.splitlines()] == ["PATH", "a", "b"]
    assert "2026-05-28" in out, "the date of a live file"
    assert "3 pipes are left out" in shell.err
    assert "run #1 is on ws1: these files are live and may change" in shell.err


def test_a_tree_without_end_is_cut_when_it_is_shown_and_refused_when_it_is_fetched(
    shell: Shell, broker: BrokerService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(livefiles, "MOST_FILES", 3)

    def answer(request: FilesRequest) -> list[FilesReply]:
        path = f"f{int(request.after[1:] or 0) + 1}"
        return [done(request, a_file(path), next=path)]

    with node(shell, broker, answer) as asked:
        assert "f3" in shell("files", "ls", "ulm#1:")
        assert "too much to show" in shell.err
        shell("files", "get", "ulm#1:", "into", code=1)
        assert "name a folder" in shell.err
    assert len(asked) == 6


@pytest.mark.parametrize(
    ("status", "code", "words"), [("refused", 1, "not now"), ("missing", 3, "nothing at ulm-")]
)
def test_a_no_is_told(shell: Shell, broker: BrokerService, status: str, code: int, words: str) -> None:
    def answer(request: FilesRequest) -> list[FilesReply]:
        return [done(request, status=status, reason="not now")]

    with node(shell, broker, answer):
        shell("files", "ls", "ulm#1:x", code=code)
    assert words in shell.err


def test_a_run_that_ends_meanwhile_is_shown_from_the_store(shell: Shell, broker: BrokerService) -> None:
    def answer(request: FilesRequest) -> list[FilesReply]:
        shell.end(request.project)
        return [done(request, status="over", reason="it has ended")]

    with node(shell, broker, answer):
        shell("files", "ls", "ulm#1:", code=3)
    assert "left no workspace" in shell.err


def test_what_a_hostile_node_sends_stays_inside(shell: Shell, broker: BrokerService) -> None:
    store: ObjectStore = shell.client.store
    (project,) = shell.client.documents.project_etags()
    store.put("resources/private", b"not for ws1 to give")
    prefix = layout.live(project, 1, 1)

    def answer(request: FilesRequest) -> list[FilesReply]:
        if request.op == "list":
            wanted = {"": ["good", "bad", "gone", "%1B%5D0%3Bx%07"], "up": ["up/../../x"]}
            return [done(request, *(a_file(path) for path in wanted.get(request.path, [])))]
        keys = {"good": f"{prefix}{request.token}/0", "bad": "resources/private"}
        store.put(keys["good"], b"live")
        copies = [a_file(path, key=keys.get(path, ""), changed=True) for path in request.paths]
        return [done(request, *(each for each in copies if each.path != "gone"))]

    with node(shell, broker, answer):
        assert "\x1b" not in shell("files", "ls", "ulm#1:")
        shell("files", "get", "ulm#1:", "into")
        assert "good was written to while it was read" in shell.err
        assert "left out: bad: ws1 sent no copy of it" in shell.err
        shell("files", "get", "ulm#1:up", "into", code=1)
    assert [(path.name, path.read_bytes()) for path in (shell.folder / "into").iterdir()] == [
        ("good", b"live")
    ]
    assert not (shell.folder / "x").exists()
    assert list(store.walk(prefix)) == []
    assert json.loads(shell("files", "ls", "-o", "json"))[0]["live"] is False
