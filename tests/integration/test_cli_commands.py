"""Every command against a real store and a real broker; agents are played by the lifecycle."""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker import topics
from broker.embedded import BrokerKind
from broker.messages import OfferHint, PipelineNotice, ProjectSummary
from tests.conftest import BrokerFactory
from tests.services.servers import BrokerService, StoreService
from winslow import config, lifecycle
from winslow.events import Claimed, Ended, Event, Exited, Lost, Started
from winslow.metrics import HistoryPoint, NodeHistory
from winslow.node import FreeResources, Hardware, NodeState, Presence
from winslow.project import BidRecord, Manifests, Reason, Tombstone
from winslow.store import layout
from winslow_tui.cli import main
from winslow_tui.facade import live
from winslow_tui.facade.client import Client

PIPELINE = """# kept as it is
name: traffic
stages:
  - {name: detect, image: "img:1", requires: {cpus: 2}}
  - {name: track, image: "img:1"}
"""


@dataclass
class Shell:
    """Runs command lines as a user does, on a site of the test's own."""

    capsys: pytest.CaptureFixture[str]
    site: str
    folder: Path
    err: str = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """What stands on stdout; the exit code must be `code`."""
        self.capsys.readouterr()
        given = main.run(arguments)
        out, self.err = self.capsys.readouterr()
        assert given == code, (arguments, given, out, self.err)
        if code:
            assert "\nwinslow: " in f"\n{self.err}", self.err
        assert "Traceback" not in self.err
        return out

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "-o", "json", code=code))

    @property
    def client(self) -> Client:
        return Client(config.load())

    def retained(self, below: str) -> dict[str, object]:
        return {each.topic.path: each.payload for each in live.retained(config.load(), below)}

    def apply(self, project: str, *events: Event) -> None:
        """What an agent would write."""
        for event in events:
            self.client.documents.update(project, event, apply=lifecycle.apply)

    def claim(self, project: str, n: int = 1) -> None:
        bid = BidRecord(node="ws1", kind="bid", cost=1.5, parts={"fetch": 1.5})
        self.apply(
            project,
            Claimed(
                id=secrets.token_hex(8), n=n, k=1, claim="c", node="ws1", node_uuid="uuid-ws1", bids=(bid,)
            ),
            Started(id=secrets.token_hex(8), n=n, k=1, claim="c"),
        )

    def end(
        self,
        project: str,
        n: int = 1,
        *,
        ok: bool = True,
        manifests: Manifests | None = None,
        reason: Reason = Reason.EXIT_CODE,
        detail: str = "exit code 7",
    ) -> None:
        self.apply(
            project,
            Exited(id=secrets.token_hex(8), n=n, k=1, claim="c", exit_code=0 if ok else 7),
            Ended(
                id=secrets.token_hex(8),
                n=n,
                k=1,
                claim="c",
                outcome="succeeded" if ok else "failed",
                reason=None if ok else reason,
                detail="" if ok else detail,
                manifests=manifests or Manifests(),
            ),
        )


def environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broker: BrokerService, store: StoreService
) -> str:
    """A site name and a bucket of the test's own; the site's name."""
    bucket = store.with_new_bucket()
    site = f"t{secrets.token_hex(4)}"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("WINSLOW_CONFIG", raising=False)
    monkeypatch.setenv("WINSLOW_SITE", site)
    monkeypatch.setenv("WINSLOW_BROKER_URL", broker.url)
    monkeypatch.setenv("WINSLOW_STORE_URL", f"{bucket.endpoint}/{bucket.bucket}")
    monkeypatch.setenv("WINSLOW_STORE_ACCESS_KEY", bucket.access_key)
    monkeypatch.setenv("WINSLOW_STORE_SECRET_KEY", bucket.secret_key)
    return site


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


@pytest.fixture
def ulm(shell: Shell) -> str:
    """A project's id."""
    shell("pipeline", "apply", "p.yaml")
    return shell("project", "create", "Ulm", "--pipeline", "traffic").strip()


# -- pipelines


def test_a_pipelines_life(shell: Shell) -> None:
    assert shell("pipeline", "apply", "p.yaml") == "traffic revision 1\n"
    assert shell("pipeline", "apply", "p.yaml") == "traffic revision 1\n"  # the same text changes nothing
    assert shell("pipeline", "show", "traffic") == PIPELINE
    assert shell.json("pipeline", "show", "traffic")["definition"]["stages"][0]["requires"]["cpus"] == 2.0
    (shell.folder / "p.yaml").write_text(PIPELINE.replace("img:1", "img:2"))
    assert shell.json("pipeline", "apply", "p.yaml") == {"name": "traffic", "revision": 2}
    assert [(head["name"], head["revision"]) for head in shell.json("pipeline", "list")] == [("traffic", 2)]
    assert shell.retained(topics.PIPELINES) == {
        "pipelines/traffic": PipelineNotice(name="traffic", revision=2)
    }
    shell("pipeline", "show", "trafic", code=3)
    assert "did you mean traffic?" in shell.err
    shell("pipeline", "delete", "traffic")
    assert shell.json("pipeline", "list") == []
    assert shell.retained(topics.PIPELINES) == {}
    shell("pipeline", "delete", "traffic", code=3)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("stages: [{name: a, image: b}]\n", "p.yaml:1:1: name: the key 'name' is missing"),
        ("name: traffic\n", "p.yaml:1:1: stages: the key 'stages' is missing"),
        ("name: traffic\nstages: []\n", "p.yaml:2:9: stages: a pipeline needs at least one stage"),
        (
            PIPELINE.replace("requires", "require"),
            "p.yaml:4:36: stages[0].require: unknown key 'require'; did you mean 'requires'?",
        ),
        (PIPELINE.replace("cpus: 2", "memory: 2GX"), "p.yaml:4:55: stages[0].requires.memory: not a size"),
        (PIPELINE.replace("track", "detect"), "p.yaml:5:12: stages[1].name: two stages are called 'detect'"),
        (PIPELINE + "x: [\n", "p.yaml:7:1: not YAML: "),
        (PIPELINE.replace("cpus: 2", "cpus: two"), "p.yaml:4:53: stages[0].requires.cpus: "),
    ],
    ids=["no-name", "no-stages", "no-stage", "unknown-key", "unit", "duplicate", "syntax", "number"],
)
def test_an_invalid_pipeline_is_explained_and_not_stored(shell: Shell, text: str, place: str) -> None:
    (shell.folder / "p.yaml").write_text(text)
    for command in ("check", "apply"):
        shell("pipeline", command, "p.yaml", code=1)
        assert place in shell.err
    assert list(shell.client.store.walk("")) == []
    assert shell.retained(topics.EVERYTHING) == {}


# -- projects


def test_a_project_from_creation_to_deletion(shell: Shell, ulm: str) -> None:
    assert ulm.startswith("ulm-")
    shell("files", "put", "p.yaml", f"{ulm}:input/")
    assert shell.json("start", "Ulm", "--env", "A=1", "--single", "--comment", "first")["state"] == "waiting"
    assert set(shell.retained(topics.OFFERS)) == {f"projects/{ulm}/offers/1.1"}
    summary = shell.retained(topics.PROJECT_STATES)[f"projects/{ulm}/state"]
    assert isinstance(summary, ProjectSummary)
    assert summary.state == "waiting"
    shell.claim(ulm)
    shell.end(ulm)
    assert shell("wait", ulm, "--for", "paused") == f"{ulm} paused (single)\n"
    told = shell.json("runs", ulm)
    assert (told["runs"][0]["state"], told["runs"][0]["comment"]) == ("SUCCEEDED", "first")
    assert (told["next"]["stage"], told["next"]["state"]) == ("track", "PAUSED")
    shown = shell.json("project", "show", "ulm")
    assert shown["runs"][0]["env"]["A"] == {"value": "1", "origin": "run"}
    assert [stage["state"] for stage in shown["stages"]] == ["SUCCEEDED", "PAUSED"]

    shell("resume", ulm)
    shell("project", "delete", ulm, code=2)  # nobody can be asked here
    shell("project", "delete", ulm, "--yes")
    assert isinstance(shell.client.documents.read(ulm).document, Tombstone)
    assert list(shell.client.store.walk(layout.project(ulm))) == []
    assert shell.retained("projects/#") == {}
    assert shell.json("project", "list") == []
    shell("start", ulm, code=3)
    assert "was deleted" in shell.err


def test_a_deleted_pipelines_projects_go_on(shell: Shell, ulm: str) -> None:
    shell("pipeline", "delete", "traffic")
    assert shell("start", ulm) == f"{ulm} #1 detect QUEUED\n"
    shell("project", "create", "Bern", "--pipeline", "traffic", code=3)


def test_pause_resume_and_abort(shell: Shell, ulm: str) -> None:
    shell("pause", ulm, code=1)
    assert "winslow start" in shell.err
    shell("start", ulm)
    shell("start", ulm, code=4)
    assert "winslow queue add" in shell.err
    assert "pauses then" in shell("pause", ulm)
    assert "pauses then" not in shell("resume", ulm)
    shell.claim(ulm)
    assert "asked to stop" in shell("abort", ulm)
    shell.end(ulm, ok=False)
    shell("wait", ulm, code=1)
    assert shell.json("runs", ulm)["runs"][0]["reason"] == "aborted"
    assert shell("wait", ulm, "--for", "failed")
    assert shell("start", ulm, "--stage", "detect") == f"{ulm} #2 detect QUEUED\n"
    assert shell("abort", ulm, "2").startswith(f"{ulm} failed")
    shell("abort", ulm, code=1)
    shell("abort", ulm, "9", code=1)
    assert f"projects/{ulm}/offers/2.1" not in shell.retained(topics.OFFERS)


@pytest.mark.parametrize(
    ("reason", "detail"),
    [
        (Reason.EXIT_CODE, "exit code 7"),
        (Reason.IMAGE_UNAVAILABLE, "image 'img:1' is not on this node and cannot be pulled"),
        (Reason.RUNTIME_ERROR, "the command 'detect' was not found"),
        (Reason.INPUT_MISSING, "res:traffic/none.mp4: there is no such file in the store"),
    ],
)
def test_why_a_stage_failed_is_said_wherever_one_looks(
    shell: Shell, ulm: str, reason: Reason, detail: str
) -> None:
    shell("start", ulm)
    shell.claim(ulm)
    shell.end(ulm, ok=False, reason=reason, detail=detail)
    shell("wait", ulm, code=1)
    assert detail in shell.err
    for command in (["runs"], ["explain"], ["project", "show"]):
        assert detail in " ".join(shell(*command, ulm).split()), command
    (run,) = shell.json("runs", ulm)["runs"]
    assert (run["state"], run["reason"], run["detail"]) == ("FAILED", reason.value, detail)


def test_names(shell: Shell, ulm: str) -> None:
    other = shell("project", "create", "Ulm", "--pipeline", "traffic", "--tag", "a", "--tag", "a").strip()
    shell("project", "show", "Ulm", code=4)
    assert ulm in shell.err
    assert other in shell.err
    shell("project", "show", "ulm", code=4)
    assert shell.json("project", "show", other[:-1])["tags"] == ["a"]
    shell("project", "show", "Ulmm", code=3)
    assert "did you mean Ulm" in shell.err
    for command in (["runs"], ["logs"], ["start"], ["pause"], ["resume"], ["abort"], ["wait"], ["explain"]):
        shell(*command, "nobody", code=3)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["start", "ulm", "--stage", "nope"], 3),
        (["start", "ulm", "--env", "1A=x"], 2),
        (["start", "ulm", "--env", "WINSLOW_X=x"], 2),
        (["start", "ulm", "--env", "A"], 2),
        (["start", "ulm", "--env", "CLIP=bern:input/x"], 3),
        (["project", "create", " ", "--pipeline", "traffic"], 1),
        (["project", "create", "B", "--pipeline", "nope"], 3),
        (["logs", "ulm"], 3),
        (["logs", "ulm", "3"], 3),
        (["files", "ls", "ulm#3:"], 3),
        (["files", "get", "res:nope"], 3),
        (["files", "put", "p.yaml", "ulm:output/"], 1),
    ],
)
def test_what_makes_no_sense_changes_nothing(shell: Shell, ulm: str, arguments: list[str], code: int) -> None:
    before = shell.client.documents.project_etags()
    shell(*arguments, code=code)
    assert shell.client.documents.project_etags() == before


def test_an_address_in_the_environment_names_the_whole_id(shell: Shell, ulm: str) -> None:
    shell("start", ulm, "--env", "CLIP=ulm:input/a.mp4", "--env", "TEXT=Ulm: red")
    env = shell.client.project(ulm).runs[0].env
    assert (env["CLIP"].value, env["TEXT"].value) == (f"{ulm}:input/a.mp4", "Ulm: red")


def test_the_sites_environment_reaches_a_run(shell: Shell, ulm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shell.folder / "config.toml"
    path.write_text("[site_env]\nTZ = 'Europe/Berlin'\n")
    shell("--config", str(path), "start", ulm)
    assert shell.client.project(ulm).runs[0].env["TZ"].origin == "site"


def test_explain(shell: Shell, ulm: str) -> None:
    publish_node(cpus=1)
    shell("start", ulm)
    impossible = "needs 2 cores; best node ws1 has 1"
    assert f"{ulm} {impossible}" in shell.err
    summary = shell.retained(topics.PROJECT_STATES)[f"projects/{ulm}/state"]
    assert isinstance(summary, ProjectSummary) and summary.reason == impossible
    assert impossible in shell("project", "list") and impossible in shell("project", "show", ulm)
    assert impossible in shell("explain", ulm)
    told = shell.json("explain", ulm)["runs"][0]
    assert told["nodes"]["ws1"] == {
        "answer": "pass",
        "reasons": ["needs 2 cores, has 1"],
        "presence": "online",
    }
    shell.claim(ulm)
    assert "fetch 1.5" in shell("explain", ulm)
    assert shell.json("runs", ulm)["runs"][0]["state"] == "RUNNING"
    publish_node(cpus=1, presence=Presence.OFFLINE)
    assert shell.json("runs", ulm)["runs"][0]["state"] == "UNKNOWN"


def test_an_adopted_container_is_told_of(shell: Shell, ulm: str) -> None:
    shell("start", ulm)
    shell.claim(ulm)
    second = Claimed(id=secrets.token_hex(8), n=1, k=2, claim="d", node="ws1", node_uuid="uuid-ws1", adopts=1)
    shell.apply(ulm, Lost(id=secrets.token_hex(8), n=1, k=1, claim="c"), second)
    assert "attempt 2, with the container of attempt 1, on ws1" in shell("explain", ulm)
    assert "2, from 1" in shell("runs", ulm, "1")
    assert shell.json("explain", ulm)["runs"][0]["attempts"][1]["adopted_from"] == 1


# -- nodes and the wire


def publish_node(*, cpus: float, presence: Presence = Presence.ONLINE) -> None:
    """What an agent would publish; hostile where it can be."""
    state = NodeState(
        node="ws1",
        node_uuid="uuid-ws1",
        instance="i",
        presence=presence,
        hardware=Hardware(cpus=cpus, memory=8 << 30, cpu_model="CPU \x1b[31mred"),
        free=FreeResources(cpus=cpus, memory=8 << 30),
        note="\x1b]0;title\x07note",
    )
    history = NodeHistory(points=(HistoryPoint(at=1.0, cpu=12.0, memory=3 << 30, net_in=2048.0),))
    live.publish(
        config.load(), [(topics.NodeState(node="ws1"), state), (topics.NodeHistory(node="ws1"), history)]
    )


def test_nodes(shell: Shell) -> None:
    assert shell.json("node", "list") == []
    publish_node(cpus=4)
    assert shell.json("node", "list")[0]["presence"] == "online"
    out = shell("node", "list") + shell("node", "show", "ws1")
    assert "\x1b" not in out
    assert "4/4" in out
    assert "12 % of the machine used" in out
    assert shell.json("node", "show", "ws1")["usage"]["net_in"] == 2048.0
    shell("node", "show", "ws2", code=3)
    assert "ws1" in shell.err


def test_a_node_looked_at_on_the_spot(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = shell.folder / "data" / "attempts" / "ulm-abcd" / "1.2"
    attempt.mkdir(parents=True)
    (attempt / "attempt.json").write_text(
        json.dumps({"project": "ulm-abcd", "run": 1, "attempt": 2, "step": "EXITED"})
    )
    for name in ("WINSLOW_BROKER_URL", "WINSLOW_STORE_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("WINSLOW_AGENT_DATA_DIR", str(shell.folder / "data"))
    assert main.run(["node", "local", "-o", "json"]) == 1  # no agent runs
    told = json.loads(shell.capsys.readouterr().out)
    assert told["agent_runs"] is False
    assert told["attempts"][0]["unsent"] is True
    assert main.run(["node", "show", "local"]) == 1
    assert "results are not stored yet" in shell.capsys.readouterr().out


def test_watch_prints_what_is_on_the_wire(shell: Shell, ulm: str) -> None:
    shell("start", ulm)
    lines = [json.loads(line) for line in shell("watch", "projects/#", "-n", "2").splitlines()]
    assert {line["topic"] for line in lines} == {f"projects/{ulm}/state", f"projects/{ulm}/offers/1.1"}
    offer = next(line for line in lines if "offers" in line["topic"])
    assert offer["retained"] is True
    assert OfferHint.model_validate(offer["payload"]).requires.cpus == 2.0
    shell("watch", "a#b", code=1)


# -- servers that are away


def test_without_a_broker_every_command_on_documents_works(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINSLOW_BROKER_URL", "mqtt://127.0.0.1:1")
    shell("pipeline", "apply", "p.yaml")
    assert "broker was not told" in shell.err
    ulm = shell("project", "create", "Ulm", "--pipeline", "traffic").strip()
    shell("start", ulm)
    assert "broker was not told" in shell.err
    shell.claim(ulm)
    assert shell.json("runs", ulm)["runs"][0]["state"] == "RUNNING"
    shell("explain", ulm)
    shell("abort", ulm)
    for arguments in (["node", "list"], ["watch"]):
        shell(*arguments, code=5)
        assert "127.0.0.1:1" in shell.err


def test_a_store_that_is_away_is_said_in_a_sentence(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINSLOW_STORE_URL", "http://127.0.0.1:1/winslow")
    for arguments in (
        ["pipeline", "list"],
        ["project", "list"],
        ["start", "x"],
        ["files", "ls"],
        ["pipeline", "apply", "p.yaml"],
    ):
        shell(*arguments, code=5)
        assert "127.0.0.1:1" in shell.err


def test_wrong_keys_are_said_without_the_keys(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINSLOW_STORE_SECRET_KEY", "not-the-secret")
    shell("project", "list", code=5)
    assert "not-the-secret" not in shell.err


def test_a_broker_that_says_nothing_does_not_hold_a_command_for_long(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, broker_factory: BrokerFactory
) -> None:
    frozen = broker_factory(BrokerKind.MOSQUITTO)
    monkeypatch.setenv("WINSLOW_BROKER_URL", frozen.url)
    os.kill(frozen.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        shell("pipeline", "apply", "p.yaml")
        assert time.monotonic() - began < 60
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
    assert "broker was not told" in shell.err
