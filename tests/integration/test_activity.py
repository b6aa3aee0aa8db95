"""`winslow activity` and the stream behind `watch --events`, against real servers that come and go."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.embedded import BrokerKind
from broker.session import Session, Will
from broker.topics import NodeState as NodeTopic
from tests.conftest import BrokerFactory, StoreFactory
from tests.integration.test_cli_commands import Shell, environment
from tests.services.servers import BrokerService, StoreService
from tests.services.waiting import wait_until
from winslow import config, lifecycle
from winslow.events import CommentChanged
from winslow.node import NodeState, Presence
from winslow.node_wish import DrainWished
from winslow.store.wishes import Wishes
from winslow_tui.facade import activity_stream
from winslow_tui.facade.activity import About, Entry, Subject, Wanted
from winslow_tui.facade.activity_stream import Stream
from winslow_tui.facade.client import Client

PIPELINE = "name: traffic\nstages:\n  - {name: detect, image: img}\n"
DEADLINE = 60.0


def untold(client: Client, project: str, comment: str) -> None:
    """A write whose writer died before it told anybody."""
    event = CommentChanged(id=secrets.token_hex(8), at="2026-01-01T00:00:00Z", by="ghost", comment=comment)
    client.documents.update(project, event, apply=lifecycle.apply)


def told(client: Client, project: str) -> None:
    """Two writes and what is said of them."""
    client.runs.start(project)
    client.runs.abort(project)


@contextmanager
def watching(client: Client) -> Iterator[list[Entry]]:
    """What a stream shows, from when it has begun until the end."""
    shown: list[Entry] = []
    begun: Future[None] = Future()
    stop: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = Future()
    stream = Stream(client.config, client.activity, show=shown.append, say=client.say, wall=lambda: "")

    def before(_places: Mapping[Subject, int]) -> Sequence[Entry]:
        begun.set_result(None)
        return ()

    async def run() -> None:
        task = asyncio.create_task(stream.run(before))
        stop.set_result((asyncio.get_running_loop(), task))
        try:
            await task
        except asyncio.CancelledError:
            pass
        finally:
            if not begun.done():
                begun.cancel()

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(asyncio.run, run())
        begun.result(DEADLINE)
        try:
            yield shown
        finally:
            loop, task = stop.result(DEADLINE)
            loop.call_soon_threadsafe(task.cancel)
            ended.result(DEADLINE)


@pytest.fixture
def site(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    broker_factory: BrokerFactory,
    store_factory: StoreFactory,
) -> tuple[Client, BrokerService, StoreService, list[str]]:
    """A site on servers of its own, and what its client has said."""
    broker, store = broker_factory(BrokerKind.MOSQUITTO), store_factory("seaweedfs")
    environment(monkeypatch, tmp_path, broker, store)
    said: list[str] = []
    monkeypatch.setattr(activity_stream, "LOOK_SECONDS", 1.0)
    return Client(config.load(), say=said.append), broker, store, said


def test_each_thing_is_shown_once_whatever_servers_and_writers_do(
    site: tuple[Client, BrokerService, StoreService, list[str]],
) -> None:
    client, broker, store, said = site
    client.pipelines.apply(PIPELINE, source="test")
    old = client.projects.create("Old", pipeline="traffic").id
    told(client, old)
    before = {(entry.subject, entry.place) for entry in client.activity.back(Wanted())}

    def complete() -> bool:
        new = [e for e in client.activity.back(Wanted()) if (e.subject, e.place) not in before]
        return sorted((e.subject, e.place) for e in new) == sorted((e.subject, e.place) for e in shown)

    def wait(what: str) -> None:
        try:
            wait_until(complete, seconds=DEADLINE, what=what)
        except AssertionError as error:
            seen = [(entry.subject.id, entry.place) for entry in shown]
            raise AssertionError(f"{error}\n{seen}\n{said}") from None

    with watching(client) as shown:
        new = client.projects.create("New", pipeline="traffic").id
        for _ in range(3):
            told(client, new)
        wait("what is told")

        for number in range(100):  # more than a document holds
            untold(client, old, f"lost {number}")
        told(client, old)
        wait("what is missed before the next message")
        untold(client, new, "the last one")
        wait("what nobody tells of")
        Wishes(client.store).update("ws1", DrainWished(id="w", by="ghost"))
        client.pipelines.apply(PIPELINE + "  - {name: track, image: img}\n", source="test")
        wait("a wish that nobody told of, and a pipeline's revision")

        broker.kill()
        wait_until(lambda: any("has gone away" in each for each in said), seconds=DEADLINE)
        told(client, old)
        wait("what happens without a broker")
        broker.start()
        wait_until(lambda: said[-1] == "the broker is back", seconds=DEADLINE)
        store.kill()
        wait_until(lambda: any("what happens is shown later" in each for each in said), seconds=DEADLINE)
        store.start()
        told(client, old)
        client.projects.delete(new)
        client.pipelines.delete("traffic")
        deletions = {"deleted", "pipeline_deleted"}
        wait_until(lambda: {e.kind for e in shown} >= deletions, seconds=DEADLINE, what="deletions")
    assert len({(entry.subject, entry.place) for entry in shown}) == len(shown)
    for subject in {entry.subject for entry in shown}:
        places = [entry.place for entry in shown if entry.subject == subject]
        assert places == sorted(places)
        if subject.about is About.PROJECT:
            assert places == list(range(places[0], places[-1] + 1))


async def test_nodes_come_and_go(
    site: tuple[Client, BrokerService, StoreService, list[str]], tmp_path: Path
) -> None:
    client, broker, _, _ = site
    state = NodeState(node="ws1", node_uuid="u", instance="i", presence=Presence.ONLINE, host="lab")
    away = state.model_copy(update={"presence": Presence.OFFLINE})
    shown: list[Entry] = []
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    stream = Stream(client.config, client.activity, show=shown.append, say=client.say, wall=lambda: "now")

    def before(_places: Mapping[Subject, int]) -> Sequence[Entry]:
        loop.call_soon_threadsafe(begun.set)
        return ()

    task = asyncio.create_task(stream.run(before))
    async with asyncio.timeout(DEADLINE):
        await begun.wait()
        async with Session(
            broker.url,
            client_id="ws1",
            site=client.config.settings.site,
            jitter=random.Random(1).random,
            will=Will(topic=NodeTopic(node="ws1"), payload=away),
        ) as node:
            node.publish(NodeTopic(node="ws1"), state)
            await asyncio.to_thread(wait_until, lambda: len(shown) == 1, seconds=DEADLINE)
        await asyncio.to_thread(wait_until, lambda: len(shown) == 2, seconds=DEADLINE)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [(each.by, each.kind, each.at) for each in shown] == [
        ("ws1", "node_online", "now"),
        ("ws1", "node_offline", "now"),
    ]


@pytest.fixture
def shell(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    mosquitto_broker: BrokerService,
    seaweedfs_store: StoreService,
) -> Shell:
    site = environment(monkeypatch, tmp_path, mosquitto_broker, seaweedfs_store)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    return Shell(capsys, site, tmp_path)


def test_the_command_shows_who_did_what(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shell.json("activity") == []
    shell("pipeline", "apply", "p.yaml")
    ulm = shell("project", "create", "Ulm", "--pipeline", "traffic").strip()
    shell("start", ulm)
    shell.client.runs.pause(ulm, note="\x1b]0;owned\x07 lunch")
    monkeypatch.setenv("WINSLOW_BROKER_URL", "mqtt://127.0.0.1:1")
    told = shell.json("activity")
    assert [(each["about"], each["id"], each["kind"], each["text"]) for each in told] == [
        ("pipeline", "traffic", "pipeline_applied", "applied revision 1"),
        ("project", ulm, "created", "created"),
        ("project", ulm, "run_queued", "started what comes next; #1 detect is queued"),
        ("project", ulm, "paused", "paused: \x1b]0;owned\x07 lunch"),
    ]
    assert told[1]["name"] == "Ulm" and told[1]["by"] == told[3]["by"] != ""
    table = shell("activity")
    assert "\x1b" not in table and "lunch" in table and f" {ulm} " in table
    assert shell.json("activity", "-n", "1", "--project", "Ulm") == told[3:]
    assert shell.json("activity", "--since", "1h", "--kind", "created", "--by", told[1]["by"]) == told[1:2]
    assert shell.json("activity", "--since", "2099-01-01") == []
    shell("activity", "--kind", "creatd", code=2)
    assert "there is no such kind" in shell.err and "created" in shell.err
    shell("activity", "--since", "yesterday", code=2)
    assert "not a duration and no date" in shell.err
    shell("activity", "--project", "bonn", code=3)
    shell("watch", "nodes/#", "--events", code=2)


def test_following_goes_on_where_the_list_ends(shell: Shell) -> None:
    shell("pipeline", "apply", "p.yaml")
    ulm = shell("project", "create", "Ulm", "--pipeline", "traffic").strip()
    commands = (["activity", "-f", "-o", "json", "--project", ulm], ["watch", "--events", "-n", "2"])
    programs = [
        subprocess.Popen(
            [Path(sys.executable).with_name("winslow"), *command], stdout=subprocess.PIPE, text=True
        )
        for command in commands
    ]
    following, watch = programs
    assert following.stdout is not None and watch.stdout is not None
    try:
        assert json.loads(following.stdout.readline())["kind"] == "created"

        def seen_two() -> bool:
            told(shell.client, ulm)  # the watcher does not say when it has begun
            return watch.poll() is not None

        wait_until(seen_two, seconds=DEADLINE)
        assert watch.returncode == 0
        seen = [json.loads(line) for line in watch.stdout]
        followed = [json.loads(following.stdout.readline()) for _ in range(seen[-1]["place"] - 1)]
    finally:
        for program in programs:
            program.terminate()
            program.communicate()
    assert [each["place"] for each in seen] == [seen[0]["place"], seen[0]["place"] + 1]
    assert [each["place"] for each in followed] == list(range(2, seen[-1]["place"] + 1))
