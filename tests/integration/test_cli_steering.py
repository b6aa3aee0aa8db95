"""How a person steers a project's runs, against a real store and a real broker; agents are played by the lifecycle."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.integration.test_cli_commands import Shell, environment
from tests.services.servers import BrokerService, StoreService
from winslow.pipeline import GpuRequirement
from winslow.project import Manifests, Origin, Reason, RunState
from winslow.store import layout
from winslow.workspace import Entry, EntryType, Manifest, encode, quote_path

PIPELINE = """
name: traffic
stages:
  - {name: detect, image: "img:1", env: {CONF: "0.3"}}
  - {name: track, image: "img:1", require_env: [LANE, SPEED]}
  - {name: report, image: "img:1", confirmation: always}
"""


@pytest.fixture
def shell(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    mosquitto_broker: BrokerService,
    seaweedfs_store: StoreService,
) -> Shell:
    site = environment(monkeypatch, tmp_path, mosquitto_broker, seaweedfs_store)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    shell = Shell(capsys, site, tmp_path)
    shell("pipeline", "apply", "p.yaml")
    return shell


@pytest.fixture
def ulm(shell: Shell) -> str:
    """A project's id."""
    return shell("project", "create", "Ulm", "--pipeline", "traffic").strip()


def run(shell: Shell, project: str, n: int, *, ok: bool = True) -> None:
    """A node takes run `n` and ends it."""
    shell.claim(project, n)
    shell.end(project, n, ok=ok)


def test_a_run_with_everything_changed(shell: Shell, ulm: str) -> None:
    shell(
        "start", ulm, "--stage", "detect", "--env", "CONF=0.5", "--image", "img:2", "--requires", "gpus.memory=8GiB",
        "--gpus", "2", "--cpus", "4", "--memory", "2GiB", "--requires", "tags=a,b", "--workspace-from", "none",
        "--single", "--comment", "try",
    )  # fmt: skip
    (made,) = shell.client.project(ulm).runs
    assert (made.stage.image, made.env["CONF"].value, made.env["CONF"].origin) == ("img:2", "0.5", Origin.RUN)
    assert (made.stage.requires.cpus, made.stage.requires.memory) == (4.0, 2 << 30)
    assert made.stage.requires.gpus == GpuRequirement(count=2, memory=8 << 30)
    assert made.stage.requires.tags == ("a", "b")
    assert (made.advance, made.comment, made.workspace_from) == ("single", "try", None)
    assert shell.client.project(ulm).pipeline.definition.stages[0].image == "img:1"


def test_a_stage_that_needs_values_and_one_that_asks(shell: Shell, ulm: str) -> None:
    shell("start", ulm)
    run(shell, ulm, 1)
    told = shell.json("runs", ulm)
    assert (told["state"], told["next"]["needs"]) == ("needs you", ["LANE", "SPEED"])
    shell("wait", ulm, code=1)
    assert f"winslow answer {ulm} LANE=VALUE SPEED=VALUE" in shell.err
    assert shell("wait", ulm, "--for", "paused").startswith(f"{ulm} needs you")
    assert f"go on with: winslow answer {ulm}" in shell("explain", ulm)
    shell("resume", ulm, code=1)
    shell("answer", ulm, "LANE", code=2)
    shell("answer", ulm, "COLOUR=red", code=1)
    assert "asks for LANE, SPEED, not for COLOUR" in shell.err
    told = shell.json("answer", ulm, "LANE=2")
    assert (told["state"], told["needs"]) == ("needs you", ["SPEED"])
    shell("confirm", ulm, code=1)
    assert f"winslow answer {ulm} SPEED=VALUE" in shell.err
    assert shell("answer", ulm, "SPEED=50") == f"{ulm} #2 track QUEUED\n"
    assert shell.client.project(ulm).env == {"LANE": "2", "SPEED": "50"}
    run(shell, ulm, 2)
    assert shell.json("project", "list")[0]["state"] == "needs you"
    assert "waits for a confirmation" in shell("runs", ulm)
    assert shell.json("confirm", ulm)["active"] == [{"run": 3, "stage": "report", "state": "QUEUED"}]
    assert all(each.state is not RunState.FAILED for each in shell.client.project(ulm).runs)


def test_starting_a_stage_that_needs_values_says_how_to_go_on(shell: Shell, ulm: str) -> None:
    out = shell("start", ulm, "--stage", "track")
    assert out == f"{ulm} needs you (stage 'track' needs LANE, SPEED)\n"
    assert f"winslow answer {ulm} LANE=VALUE SPEED=VALUE" in shell.err
    told = shell.json("start", ulm, "--stage", "track", "--env", "LANE=1")
    assert (told["state"], told["needs"]) == ("needs you", ["SPEED"])
    assert shell("resume", ulm, "--env", "SPEED=30") == f"{ulm} #1 track QUEUED\n"


def test_what_comes_next_can_be_put_seen_moved_and_removed(shell: Shell, ulm: str) -> None:
    assert shell.json("queue", ulm)["queue"] == []
    shell("start", ulm, "--single")
    shell("queue", "add", ulm, "--stage", "detect", "--env", "CONF=0.4", "--comment", "second")
    shell("queue", "add", ulm, "--like", "1", "--env", "CONF=0.5")
    shell("queue", "add", ulm, "--stage", "detect", "--env", "CONF=0.6", "--first")
    listed = shell("queue", ulm)
    assert [line.split()[3] for line in listed.splitlines()[1:]] == ["CONF=0.6", "CONF=0.4", "like"]
    assert "then the pipeline goes on with track" in shell.err
    shell("queue", "move", ulm, "3", "1")
    told = shell.json("queue", "list", ulm)
    assert [each["env"]["CONF"] for each in told["queue"]] == ["0.5", "0.6", "0.4"]
    assert shell.json("runs", ulm)["queue"] == told["queue"]
    assert "1 in the queue" in shell("runs", ulm)
    out = shell("queue", "rm", ulm, "1", told["queue"][2]["id"][:8])
    assert "like #1, CONF=0.5" in out
    assert "CONF=0.4" in out
    shell("queue", "rm", ulm, "2", code=3)
    shell("queue", "rm", ulm, told["queue"][0]["id"], code=3)
    shell("queue", "add", ulm, code=2)
    shell("queue", "add", ulm, "--stage", "detect", "--like", "1", code=2)
    shell("queue", "add", ulm, "--stage", "detekt", code=3)
    run(shell, ulm, 1)
    assert shell.json("runs", ulm)["state"] == "paused"
    assert shell("resume", ulm) == f"{ulm} #2 detect QUEUED\n"
    assert shell.client.project(ulm).runs[-1].env["CONF"].value == "0.6"


def test_a_redone_run_takes_the_old_one_as_its_blueprint(shell: Shell, ulm: str) -> None:
    shell("start", ulm, "--env", "CONF=0.5", "--env", "LANE=1", "--single", "--image", "img:2")
    run(shell, ulm, 1)
    shell("start", ulm, "--stage", "track", "--env", "LANE=1", "--env", "SPEED=5", "--single")
    run(shell, ulm, 2)
    shell("redo", ulm, "9", code=3)
    assert shell("redo", ulm, "1", "--env", "CONF=0.7", "--single", "-o", "table").startswith(
        f"{ulm} #3 detect"
    )
    shell("redo", ulm, "1", code=4)
    assert f"winslow queue add {ulm} --like 1" in shell.err
    made = shell.client.project(ulm).runs[-1]
    assert (made.blueprint, made.stage.image, made.env["CONF"].value, made.env["LANE"].value) == (
        1, "img:2", "0.7", "1",
    )  # fmt: skip
    run(shell, ulm, 3)
    assert [row["stale"] for row in shell.json("runs", ulm)["runs"]] == [None, 1, None]
    assert "stale: #1 was redone" in shell("runs", ulm)


def test_a_failed_stage_is_resumed_with_changes(shell: Shell, ulm: str) -> None:
    shell("start", ulm, "--env", "CONF=0.5")
    run(shell, ulm, 1, ok=False)
    assert shell("resume", ulm, "--env", "SEED=1") == f"{ulm} #2 detect QUEUED\n"
    env = shell.client.project(ulm).runs[-1].env
    assert (env["CONF"].value, env["SEED"].value) == ("0.5", "1")


def test_an_abort_that_does_not_wait_for_the_node(shell: Shell, ulm: str) -> None:
    shell("start", ulm)
    shell.claim(ulm)
    assert "asked to stop" in shell("abort", ulm)
    assert shell("abort", ulm, "--now").startswith(f"{ulm} failed")
    made = shell.client.project(ulm).runs[0]
    assert (made.state, made.reason) == (RunState.FAILED, Reason.ABORTED)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["start", "ulm", "--requires", "cpu=4"], 2, "did you mean cpus?"),
        (["start", "ulm", "--memory", "16"], 2, "write a number with KiB"),
        (["start", "ulm", "--workspace-from", "last"], 2, "--workspace-from last"),
        (["start", "ulm", "--workspace-from", "7"], 3, "no run #7"),
        (["start", "ulm", "--workspace-from", "0"], 3, "there is no run 0"),
        (["redo", "ulm", "1"], 3, "no run #1"),
        (["answer", "ulm", "A=1"], 1, "asks for no value"),
        (["confirm", "ulm"], 1, "nothing waits for a confirmation"),
        (["queue", "nobody"], 3, "there is no project 'nobody'"),
        (["queue", "rm", "ulm", "1"], 3, "which is empty"),
    ],
)
def test_what_makes_no_sense_is_said_and_changes_nothing(
    shell: Shell, ulm: str, arguments: list[str], code: int, said: str
) -> None:
    before = shell.client.documents.project_etags()
    shell(*arguments, code=code)
    assert said in shell.err
    assert shell.client.documents.project_etags() == before


def leave(shell: Shell, project: str, n: int, files: dict[str, bytes]) -> Manifests:
    """What a node would store of run `n`: objects and a manifest of its workspace, and an empty output."""
    store, entries = shell.client.store, []
    for number, (path, data) in enumerate(files.items()):
        key = layout.object_(project, n, 1, "workspace", f"f{number}")
        store.put(key, data)
        sha256 = hashlib.sha256(data).hexdigest()
        entries.append(
            Entry(
                path=quote_path(os.fsencode(path)),
                type=EntryType.FILE,
                object=key,
                size=len(data),
                sha256=sha256,
            )
        )
    keys = {}
    for area, held in (("workspace", tuple(entries)), ("output", ())):
        key = f"{layout.attempt(project, n, 1)}{area}/manifest.json"
        store.put(key, encode(Manifest(project=project, run=n, attempt=1, entries=held)))
        keys[area] = key
    return Manifests(**keys)


def test_two_runs_are_compared_and_one_is_shown_whole(shell: Shell, ulm: str) -> None:
    for n, conf in ((1, "0.3"), (2, "0.5")):
        shell("start", ulm, "--stage", "detect", "--env", f"CONF={conf}", "--single", "--image", f"img:{n}")
        shell.claim(ulm, n)
        files = {"same": b"s", f"only-{n}": b"12345"[:n], "evil\x1b[31m\udcff": b"x" * n}
        shell.end(ulm, n, manifests=leave(shell, ulm, n, files))
    told = shell.json("diff", ulm, "1", "2")
    assert told["env"] == [
        {
            "name": "CONF",
            "before": {"value": "0.3", "origin": "run"},
            "after": {"value": "0.5", "origin": "run"},
        }
    ]
    assert {"name": "image", "before": "img:1", "after": "img:2"} in told["stage"]
    assert [(each["path"], each["kind"]) for each in told["files"]] == [
        ("evil\x1b[31m\udcff", "changed"),
        ("only-1", "removed"),
        ("only-2", "added"),
    ]
    shell.client.store.delete(layout.object_(ulm, 1, 1, "workspace", "f0"))  # objects are not looked at
    out = shell("diff", ulm, "1", "2")
    assert "\x1b" not in out
    assert "env CONF" in out
    assert "workspace/only-2" in out
    assert shell("diff", ulm, "1", "1") == ""
    assert "differ in nothing" in shell.err
    shell("diff", ulm, "1", "9", code=3)

    told = shell.json("runs", ulm, "2")
    assert (told["state"], told["env"]["CONF"]["value"], told["asked"]["image"]) == (
        "SUCCEEDED",
        "0.5",
        "img:2",
    )
    assert told["manifests"]["workspace"]["files"] == 3
    assert told["attempts"][0]["bids"][0]["node"] == "ws1"
    out = shell("runs", ulm, "2")
    assert "\x1b" not in out
    assert "left workspace" in out
    assert "ws1 1.5 s" in out
    shell("runs", ulm, "9", code=3)


def test_a_manifest_that_is_gone_is_said_and_hides_nothing_else(shell: Shell, ulm: str) -> None:
    shell("start", ulm, "--single")
    shell.claim(ulm)
    manifests = leave(shell, ulm, 1, {"a": b"a"})
    shell.end(ulm, manifests=manifests)
    shell.client.store.delete(manifests.workspace)
    assert "SUCCEEDED" in shell("runs", ulm, "1")
    assert manifests.workspace in shell.err


def test_runs_are_pinned_and_pruned(shell: Shell, ulm: str) -> None:
    for n in range(1, 5):
        shell("start", ulm, "--stage", "detect", "--single")
        shell.claim(ulm, n)
        shell.end(ulm, n, manifests=leave(shell, ulm, n, {"a": b"12345", "b": b"678"}))
    assert shell("pin", ulm, "1") == f"{ulm} pinned: #1\n"
    shell("project", "retention", ulm, "--keep-last", "2")
    told = shell.json("prune", ulm, "--dry-run")
    assert [(each["run"], each["objects"], each["bytes"]) for each in told["runs"]] == [(2, 2, 8)]
    assert told["stays"] == {
        "1": "it is pinned",
        "3": "it is one of the last 2 of 'detect'",
        "4": "it is the latest of 'detect'",
    }
    before = {info.key for info in shell.client.store.walk("projects/")}
    assert "goes" in shell("prune", ulm, "--dry-run")
    assert "8 B would be freed" in shell.err
    assert {info.key for info in shell.client.store.walk("projects/")} == before
    shell("prune", ulm, "1", code=1)
    assert f"winslow unpin {ulm} 1" in shell.err
    shell("prune", ulm)
    assert "8 B freed" in shell.err
    gone = before - {info.key for info in shell.client.store.walk("projects/")}
    assert gone == {layout.object_(ulm, 2, 1, "workspace", name) for name in ("f0", "f1")}
    assert "files removed" in shell("runs", ulm)
    assert [each["path"] for each in shell.json("files", "ls", f"{ulm}#2:")] == ["a", "b"]
    shell("files", "get", f"{ulm}#2:a", code=1)
    assert "were removed to free space" in shell.err
    assert shell.json("diff", ulm, "2", "3")["files"] == []
    shell("start", ulm, "--stage", "track", "--workspace-from", "2", code=1)
    shell("unpin", ulm, "1")
    assert shell.json("prune", ulm, "1", "3")["bytes"] == 16
    shell("pin", ulm, "1", code=1)
    shell("pin", ulm, "9", code=3)
    assert shell.json("prune", ulm)["runs"] == []
