"""`winslow node drain`, `undrain`, `label` and `forget` against a real store and a real broker; agents are played."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from broker import topics
from broker.messages import DrainNotice, WishNotice
from tests.integration.test_cli_commands import PIPELINE, Shell, environment
from tests.services.servers import BrokerService, StoreService
from winslow import config
from winslow.errors import Conflict, NotFound
from winslow.loss import Mark
from winslow.node import ActiveRun, FreeResources, Hardware, NodeState, Presence
from winslow.node_wish import NodeWish, Returned
from winslow.project import Reason, RunState
from winslow.store import layout
from winslow.store.wishes import Wishes
from winslow_tui.facade import live
from winslow_tui.facade.waiting import OutOfReach


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
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    return Shell(capsys, site, tmp_path)


def say_presence(presence: Presence = Presence.ONLINE, *, runs: tuple[ActiveRun, ...] = ()) -> None:
    """What the agent of ws1 would say."""
    state = NodeState(
        node="ws1",
        node_uuid="uuid-ws1",
        instance="i",
        presence=presence,
        host="ws1.lab",
        hardware=Hardware(cpus=8, memory=32 << 30),
        free=FreeResources(cpus=8 - len(runs), memory=32 << 30),
        labels=("gpu-room",),
        configured_labels=("gpu-room",),
        runs=runs,
    )
    live.publish(config.load(), [(topics.NodeState(node="ws1"), state)])


def wish_of(shell: Shell, node: str = "ws1") -> NodeWish:
    return Wishes(shell.client.store).read(node).document


def test_a_drain_stands_in_the_store_and_on_the_broker_and_is_shown(shell: Shell) -> None:
    say_presence()
    shell("node", "drain", "ws1", "--reason", "a new disk")
    assert "takes nothing new" in shell.err
    drain = wish_of(shell).drain
    assert drain is not None and (drain.reason, drain.by) == ("a new disk", "ann")
    assert shell.retained(topics.NODE_WISHES) == {
        "nodes/ws1/wish": WishNotice(
            node="ws1", revision=1, drain=DrainNotice(reason="a new disk", by="ann"), labels=()
        )
    }
    for shown in (shell("node", "list"), shell("node", "show", "ws1")):
        assert "asked to drain by ann: a new disk" in shown
    assert shell.json("node", "list")[0]["wish"] == {
        "drain": {"reason": "a new disk", "by": "ann"},
        "labels": [],
    }
    say_presence(Presence.DRAINING)
    assert "asked to drain" not in shell("node", "show", "ws1")

    shell("node", "undrain", "ws1")
    assert wish_of(shell).drain is None
    shell("node", "undrain", "ws1", code=1)
    assert "nobody asked node 'ws1' to drain" in shell.err
    shell("node", "drain", "ws1", "--timeout", "1", code=2)


def test_a_node_is_known_by_what_it_left_in_the_store_and_no_other_name_is(shell: Shell) -> None:
    say_presence()
    shell("node", "drain", "ws2", code=3)
    assert "there is no node 'ws2'" in shell.err and "did you mean ws1?" in shell.err
    shell("node", "label", "../ws1", "quiet", code=1)
    with pytest.raises(NotFound, match="ws2"):
        wish_of(shell, "ws2")
    mark = Mark(node_uuid="u", instance="i", counter=1)
    shell.client.store.put(layout.alive("ws2"), mark.encode())
    shell("node", "drain", "ws2")
    assert wish_of(shell, "ws2").drain is not None


def test_without_a_broker_a_wish_waits_in_the_store(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    say_presence()
    shell("node", "drain", "ws1")
    monkeypatch.setenv("WINSLOW_BROKER_URL", "mqtt://127.0.0.1:9")
    shell("node", "undrain", "ws1")
    assert "the broker was not told" in shell.err
    assert wish_of(shell).drain is None
    shell("node", "forget", "ws1", "--yes", code=5)
    assert not wish_of(shell).forgotten


def test_labels_of_people_come_and_go_and_those_of_the_configuration_stay(shell: Shell) -> None:
    say_presence()
    assert shell("node", "label", "ws1", "quiet", "fast disk") == "ws1: gpu-room, fast disk, quiet\n"
    assert shell.json("node", "label", "ws1", "quiet-", "loud") == {
        "node": "ws1",
        "labels": ["gpu-room", "fast disk", "loud"],
    }
    assert shell.retained(topics.NODE_WISHES) == {
        "nodes/ws1/wish": WishNotice(node="ws1", revision=2, labels=("fast disk", "loud"))
    }
    shell("node", "label", "ws1", "gpu-room-", code=1)
    assert "'gpu-room' comes from the configuration of node 'ws1'" in shell.err
    assert "ws1.lab" in shell.err
    shell("node", "label", "ws1", "quiet-", code=1)
    assert "nobody gave node 'ws1' the label 'quiet'" in shell.err
    shell("node", "label", "ws1", "a", "a-", code=1)
    shell("node", "label", "ws1", "a,b", code=1)
    assert wish_of(shell).labels == ("fast disk", "loud")


def test_waiting_for_a_drain_ends_when_nothing_runs_there(shell: Shell) -> None:
    shell("pipeline", "apply", "p.yaml")
    ulm = shell("project", "create", "Ulm", "--pipeline", "traffic").strip()
    shell("start", ulm)
    shell.claim(ulm)
    run = ActiveRun(project=ulm, run=1, attempt=1, stage="detect")
    for presence, runs in (
        (Presence.ONLINE, (run,)),
        (Presence.DRAINING, (run,)),
        (Presence.OFFLINE, ()),
        (Presence.DRAINING, ()),  # its agent has just started, and not yet looked what is left there
    ):
        say_presence(presence, runs=runs)
        shell("node", "drain", "ws1", "--wait", "--timeout", "0.5", code=1)
        assert f"node 'ws1' still has {ulm} #1 detect after 0.5 s" in shell.err

    ended: list[object] = []

    def wait() -> None:
        try:
            shell.client.node_wishes.wait_drained("ws1", timeout=60)
        except (OutOfReach, Conflict) as error:
            ended.append(error)
        else:
            ended.append("drained")

    def waiting() -> threading.Thread:
        thread = threading.Thread(target=wait)
        thread.start()
        return thread

    say_presence(Presence.DRAINING, runs=(run,))
    thread = waiting()
    shell.end(ulm, ok=False)
    say_presence(Presence.DRAINING)
    thread.join(60)
    assert ended == ["drained"]
    say_presence(Presence.OFFLINE)
    shell("node", "drain", "ws1", "--wait")
    assert "is away" in shell.err and "is drained" in shell.err

    say_presence(Presence.DRAINING, runs=(run,))
    thread = waiting()
    shell("node", "undrain", "ws1")
    thread.join(60)
    assert isinstance(ended[-1], Conflict) and "take part" in str(ended[-1])


def test_a_node_that_is_there_is_not_forgotten(shell: Shell) -> None:
    say_presence(Presence.DRAINING)
    shell("node", "forget", "ws1", "--yes", code=1)
    assert "node 'ws1' is draining (on ws1.lab)" in shell.err and "stop its agent" in shell.err
    say_presence(Presence.OFFLINE)
    shell("node", "forget", "ws1", code=2)
    assert "add --yes" in shell.err
    shell("node", "forget", "ws9", "--yes", code=3)
    with pytest.raises(NotFound, match="ws1"):
        wish_of(shell)


def test_forgetting_leaves_a_tombstone_and_loses_what_the_node_had(shell: Shell) -> None:
    shell("pipeline", "apply", "p.yaml")
    ulm, ingolstadt = (
        shell("project", "create", name, "--pipeline", "traffic").strip() for name in ("Ulm", "Ingolstadt")
    )
    for project in (ulm, ingolstadt):
        shell("start", project)
    shell.claim(ulm)
    mark = Mark(node_uuid="uuid-ws1", instance="i", counter=1)
    shell.client.store.put(layout.alive("ws1"), mark.encode())
    say_presence(Presence.ONLINE)
    shell("node", "label", "ws1", "quiet")
    say_presence(Presence.OFFLINE)

    shell("node", "forget", "ws1", "--yes")
    assert f"{ulm} #1 detect is lost" in shell.err
    wish = wish_of(shell)
    assert (wish.forgotten, wish.labels, wish.by) == (True, (), "ann")
    assert shell.retained("nodes/#") == {}
    assert [info.key for info in shell.client.store.walk(layout.ALIVE)] == []
    run = shell.client.project(ulm).runs[0]  # its retry rule covers the loss of a node
    assert (run.state, run.reason, run.detail) == (
        RunState.QUEUED,
        Reason.NODE_LOST,
        "node ws1 was removed from the site by ann",
    )
    assert shell.client.project(ingolstadt).runs[0].reason is None
    assert shell.json("node", "list") == []
    shell("node", "drain", "ws1", code=3)
    assert "was removed from the site" in shell.err and "comes back when an agent starts" in shell.err

    shell("node", "forget", "ws1", "--yes")  # again only finishes what might have been cut
    Wishes(shell.client.store).update("ws1", Returned(id="r"))
    say_presence()
    shell("node", "drain", "ws1")
    assert wish_of(shell).drain is not None
