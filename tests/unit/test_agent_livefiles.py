"""What a node answers about the files of stages that run on it: bounded, and its own attempts' alone."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from broker import codec
from broker.messages import FilesReply, FilesRequest
from broker.topics import Reply, Topic
from node_agent import livefiles
from node_agent.livefiles import LiveFiles
from node_agent.reservations import Key
from winslow.errors import StoreUnreachable
from winslow.store import layout
from winslow.store.memory import MemoryStore

KEY: Key = ("ulm-abcd", 3, 1)
LIVE = layout.live(*KEY)
DEADLINE = 60.0


class _Node:
    """A `LiveFiles` over a directory on disk and a store in memory; what it publishes, by client."""

    def __init__(self, folder: Path, store: MemoryStore) -> None:
        self.store = store
        self.held = {KEY}
        self.sent: dict[str, list[FilesReply]] = {}
        self.working = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []
        self.directory = folder / "attempts" / KEY[0] / "3.1"
        self.workspace = self.directory / "workspace"
        self.workspace.mkdir(parents=True)
        (self.directory / "output").mkdir()
        (self.directory / "placed.json").touch()
        self.files = LiveFiles(
            node="ws1",
            store=store,
            home=lambda key: self.directory if key in self.held else None,
            publish=self._publish,
            patiently=self._patiently,
            spawn=self._spawn,
            monotonic=time.monotonic,
        )

    def _publish(self, topic: Topic, reply: FilesReply) -> None:
        assert isinstance(topic, Reply)
        assert len(codec.encode(topic, reply).data) <= codec.MAX_BYTES
        self.sent.setdefault(topic.client, []).append(reply)
        if reply.status == "working":
            self.working.set()

    async def _patiently(self, work: Callable[[], Awaitable[object]]) -> object:
        while True:
            try:
                return await work()
            except StoreUnreachable:
                await asyncio.sleep(0)

    def _spawn(self, work: Awaitable[None], name: str) -> None:
        async def run() -> None:
            await work

        self.tasks.append(asyncio.create_task(run(), name=name))

    async def ask(self, client: str = "c1", **fields: object) -> FilesReply:
        """The last answer to a request."""
        sent = request(**fields)
        self.files.request(client, sent)
        await asyncio.gather(*self.tasks)
        return [reply for reply in self.sent[client] if reply.id == sent.id][-1]


def request(**fields: object) -> FilesRequest:
    project, run, attempt = KEY
    given = {"id": secrets.token_hex(8), "op": "list", "project": project, "run": run, "attempt": attempt}
    return FilesRequest.model_validate(given | fields)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[_Node]:
    made = _Node(tmp_path, MemoryStore())
    async with asyncio.timeout(DEADLINE):
        yield made
    made.files.close()


async def test_a_listing_comes_in_pages_that_join(node: _Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livefiles, "PAGE_FILES", 10)
    names = [f"f{number:02d}" for number in range(25)]
    for name in names:
        (node.workspace / name).touch()
    found: list[str] = []
    after = ""
    while True:
        reply = await node.ask(after=after)
        assert reply.status == "done"
        assert len(reply.files) <= 10
        found += [each.path for each in reply.files]
        after = reply.next
        if not after:
            break
    assert found == names


async def test_an_answer_fits_into_a_message_whatever_the_names_are(node: _Node) -> None:
    for number in range(1_500):
        (node.workspace / (f"{number:04d}" + "\n" * 250)).touch()
    reply = await node.ask()  # _publish looks at the size
    assert reply.status == "done"
    assert reply.next
    assert len(reply.files) > 200


async def test_copies_are_in_the_store_with_their_sum_and_go_when_the_attempt_ends(node: _Node) -> None:
    (node.workspace / "a").write_bytes(b"aaa")
    (node.workspace / "empty").touch()
    (node.workspace / "away").symlink_to("/etc/passwd")
    os.mkfifo(node.workspace / "pipe")
    (node.workspace / "endless").touch()
    os.truncate(node.workspace / "endless", 1 << 42)  # takes no space, and would take all memory and time
    reply = await node.ask(
        op="copy",
        token="token-of-mine".replace("-", ""),
        paths=("a", "empty", "away", "pipe", "no", "endless"),
    )
    assert reply.status == "done"
    a, empty, *others = reply.files
    assert node.store.get(a.key).data == b"aaa"
    assert a.key.startswith(f"{LIVE}tokenofmine/")
    assert node.store.stat(a.key).sha256 == a.sha256
    assert (empty.size, empty.problem) == (0, "")
    assert all(each.problem and not each.key for each in others)
    node.held.clear()
    node.files.over(KEY)
    await asyncio.gather(*node.tasks)
    assert list(node.store.walk("")) == []
    assert (await node.ask()).status == "over"


async def test_a_file_that_is_written_to_meanwhile_is_sent_as_it_was_read_and_marked(
    node: _Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    (node.workspace / "log").write_bytes(b"one line")
    put = node.store.put

    def slow(key: str, data: bytes, **more: object) -> str:
        with (node.workspace / "log").open("ab") as log:
            log.write(b", and another")
        return put(key, data, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(node.store, "put", slow)
    (copy,) = (await node.ask(op="copy", token="t" * 8, paths=("log",))).files
    assert copy.changed
    assert (node.store.get(copy.key).data, copy.size) == (b"one line", 8)


async def test_attempts_of_others_and_hostile_paths_are_refused(node: _Node, tmp_path: Path) -> None:
    (tmp_path / "attempts" / "secret").write_text("secret")
    assert (await node.ask(project="..")).status == "over"
    assert (await node.ask(attempt=2)).status == "over"
    for path in ("..", "../placed.json", "/etc", "a//b", "a%00b", "%2e%2e"):
        assert (await node.ask(path=path)).status == "refused"
        assert (await node.ask(op="copy", token="t" * 8, paths=(path,))).status == "refused"
    assert (await node.ask(op="copy", token="", paths=("a",))).status == "refused"
    assert (await node.ask(path="none")).status == "missing"
    (node.directory / "placed.json").unlink()
    assert "put away" in (await node.ask()).reason
    assert list(node.store.walk("")) == []


async def test_a_request_that_comes_twice_is_answered_once(node: _Node) -> None:
    again = request()
    for _ in range(2):
        node.files.request("c1", again)
    await asyncio.gather(*node.tasks)
    assert len(node.sent["c1"]) == 1


async def test_who_asks_too_much_is_told_and_does_not_keep_others_out(
    node: _Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    (node.workspace / "a").write_bytes(b"a")
    go = threading.Event()
    put = node.store.put

    def held_up(key: str, data: bytes, **more: object) -> str:
        assert go.wait(DEADLINE)
        return put(key, data, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(node.store, "put", held_up)
    monkeypatch.setattr(livefiles, "WORKING_SECONDS", 0.01)
    for number in range(livefiles.MOST_OF_ONE + 1):
        node.files.request("greedy", request(op="copy", token="t" * 8, paths=("a",), id=f"request{number}"))
    assert [(each.id, each.status) for each in node.sent["greedy"]] == [
        (f"request{livefiles.MOST_OF_ONE}", "refused")
    ]
    await node.working.wait()
    node.files.request("other", request())
    go.set()
    await asyncio.gather(*node.tasks)
    assert node.sent["other"][-1].status == "done"
    assert sum(each.status == "done" for each in node.sent["greedy"]) == livefiles.MOST_OF_ONE


async def test_an_end_stops_what_is_being_copied_before_it_sweeps(
    node: _Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        (node.workspace / f"f{number}").write_bytes(b"x")
    put = node.store.put
    loop = asyncio.get_running_loop()
    begun = asyncio.Event()

    def put_and_tell(key: str, data: bytes, **more: object) -> str:
        loop.call_soon_threadsafe(begun.set)
        return put(key, data, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(node.store, "put", put_and_tell)
    paths = tuple(f"f{number}" for number in range(50))
    node.files.request("c1", request(op="copy", token="t" * 8, paths=paths))
    await begun.wait()
    node.held.clear()
    node.files.over(KEY)
    await asyncio.gather(*node.tasks)
    assert list(node.store.walk("")) == []
    assert node.sent["c1"][-1].status in ("over", "done")


async def test_a_person_can_stop_a_copy(node: _Node) -> None:
    for number in range(200):
        (node.workspace / f"f{number}").write_bytes(b"x")
    wanted = request(op="copy", token="t" * 8, paths=tuple(f"f{number}" for number in range(200)))
    node.files.request("c1", wanted)
    node.files.request("c2", wanted.model_copy(update={"op": "stop"}))  # not his
    node.files.request("c1", wanted.model_copy(update={"op": "stop"}))
    await asyncio.gather(*node.tasks)
    assert node.sent["c1"][-1].status == "over"


async def test_what_an_earlier_agent_left_is_gone_before_anything_new_is_copied(node: _Node) -> None:
    node.store.put(f"{LIVE}oldtoken/x-0", b"left")
    (node.workspace / "a").write_bytes(b"a")
    node.files.adopted(KEY)
    reply = await node.ask(op="copy", token="t" * 8, paths=("a",))
    assert [info.key for info in node.store.walk(LIVE)] == [reply.files[0].key]


async def test_an_overlay_is_seen_as_one_and_the_output_too(node: _Node) -> None:
    (node.directory / "lower").mkdir()
    (node.directory / "lower" / "below").write_text("below")
    (node.workspace / "above").write_text("above")
    (node.directory / "output" / "result").write_text("result")
    assert [each.path for each in (await node.ask()).files] == ["above", "below"]
    assert [each.path for each in (await node.ask(area="output")).files] == ["result"]
