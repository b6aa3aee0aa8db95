"""Look, adjust, redo, answer: what a person does with a project all day, and that no command alters what has ended
(I3). Stages that ask run in real containers."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import FleetFactory
from tests.acceptance.fleet import PATIENCE, Fleet, Stage
from tests.integration.test_cli_commands import Shell
from tests.services.waiting import wait_until
from winslow.project import RunState
from winslow.store import layout
from winslow.store.pruning import leftovers

TREE = """
cd $WINSLOW_DIR_WORKSPACE
tree() {
    find . -mindepth 1 | sort | while read -r path; do
        if [ -L "$path" ]; then echo "$1 $path -> $(readlink "$path")"
        elif [ -d "$path" ]; then echo "$1 $path/ $(stat -c %a "$path")"
        else echo "$1 $path $(stat -c '%a %s %Y' "$path") $(sha256sum < "$path")"; fi
    done
}
tree before
"""
"""Prints what the workspace holds: names, modes, sizes, times, sums, links."""

PREPARE = """
rm given/old
mkdir -p .cache/deep empty; chmod 700 .cache; chmod 750 empty
echo secret > .hidden; chmod 600 .hidden
echo tool > .cache/deep/tool; chmod 755 .cache/deep/tool
echo data > data; chmod 444 data; touch -d '2020-02-02 02:02:02' data
: > nothing
ln -s data link; ln -s /etc/absolute absolute; ln -s gone dangling; ln -s .cache/deep folder
echo later > later; mkdir later.d; echo x > later.d/x
"""
DETECT = """
rm later; rm -r later.d; rm .hidden; chmod 640 data; echo more >> .cache/deep/tool
rm link; ln -s nothing link; rmdir empty; echo $CONF > boxes; echo .boxes > .boxes
echo "WINSLOW_RESULT: conf=$CONF"
"""
REPORT = """
rm -r .cache; rm data; echo report > .hidden; mkdir data; echo $(cat boxes) > data/report
cp boxes $WINSLOW_DIR_OUTPUT/boxes
"""
AFTER = "tree after; exit ${FAIL:-0}"


@pytest.fixture(scope="module")
def fleet(fleet_factory: FleetFactory) -> Fleet:
    made = fleet_factory()
    made.agent().start().online()
    return made


@dataclass
class Watched:
    """A person's commands to one project; after every one of them all that had ended before is what it was, to the
    byte: its runs in the document, and every object below them."""

    shell: Shell
    fleet: Fleet
    project: str
    ended: dict[int, str] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        out = self.shell(*arguments, code=code)
        self.check()
        return out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))

    def check(self) -> None:
        text = self.fleet.store.get(layout.project_document(self.project)).data
        runs = {run["n"]: run for run in json.loads(text)["runs"]}
        assert self.ended.keys() <= runs.keys()
        for n, run in runs.items():
            if run["state"] not in ("SUCCEEDED", "FAILED"):
                continue
            shown = json.dumps(run, indent=1)
            assert "\n".join(f"  {line}" for line in shown.splitlines()) in text.decode(), (
                "as it stands there"
            )
            if n not in self.ended:
                self.ended[n] = shown
                prefix = layout.attempt(self.project, n, len(run["attempts"]))
                self.stored |= {info.key: info.etag for info in self.fleet.store.walk(prefix)}
            assert shown == self.ended[n], f"run #{n} was altered"
        held = {info.key: info.etag for info in self.fleet.store.walk(layout.project(self.project))}
        assert self.stored.items() <= held.items(), "what a run left was altered"

    def idle(self) -> None:
        """Wait until nothing runs."""
        self.fleet.wait_idle(self.project)
        self.check()

    def tree(self, n: int, moment: str) -> list[str]:
        """What run `n` saw in its workspace `before` it did anything, or `after`."""
        lines = self.fleet.written(self.project, run=n).decode().splitlines()
        return [line.removeprefix(f"{moment} ./") for line in lines if line.startswith(f"{moment} ./")]


@pytest.fixture
def shell(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Shell:
    monkeypatch.setenv("WINSLOW_CONFIG", str(fleet.folder / "client.toml"))
    monkeypatch.chdir(tmp_path)
    return Shell(capsys, fleet.site, tmp_path)


@pytest.fixture
def ulm(fleet: Fleet, shell: Shell) -> Watched:
    """A project of three stages, each of which leaves something else of what it takes over."""
    project = fleet.project(
        Stage(TREE + PREPARE + AFTER, name="prepare"),
        Stage(TREE + DETECT + AFTER, name="detect", env={"CONF": "0.3"}),
        Stage(TREE + REPORT + AFTER, name="report"),
    )
    given = shell.folder / "given"
    given.mkdir()
    (given / "old").write_text("goes")
    (given / "kept").write_text("stays")
    watched = Watched(shell, fleet, project)
    watched("files", "put", str(given), f"{project}#next:")
    return watched


def test_a_redone_stage_takes_over_its_predecessors_workspace_and_makes_later_runs_stale(
    ulm: Watched,
) -> None:
    project = ulm.project
    ulm("start", project)
    ulm.idle()
    ulm("start", project, "--stage", "report", "--comment", "once more")
    ulm.idle()
    assert [line.split()[0] for line in ulm.tree(1, "before")] == ["given/", "given/kept", "given/old"]
    prepared, detected = ulm.tree(1, "after"), ulm.tree(2, "after")
    assert ulm.tree(2, "before") == prepared
    assert ulm.tree(3, "before") == ulm.tree(4, "before") == detected
    for line in (
        ".cache/ 700",
        "empty/ 750",
        "link -> data",
        "absolute -> /etc/absolute",
        "dangling -> gone",
        "folder -> .cache/deep",
    ):
        assert line in prepared
    gone = {"given/old", "later", "later.d/", ".hidden", "empty/"}
    assert not gone & {line.split()[0] for line in detected}

    ulm("redo", project, "2", "--env", "CONF=0.7", "--single")
    ulm.idle()
    assert ulm.tree(5, "before") == prepared, "stage 1's workspace, not that of a later run"
    told = ulm.json("runs", project)
    assert [(run["run"], run["stale"]) for run in told["runs"]] == [
        (1, None),
        (2, None),
        (3, 2),
        (4, 2),
        (5, None),
    ]
    assert told["runs"][4]["workspace_from"] == 1
    assert told["state"] == "paused"
    assert ulm("runs", project).count("stale: #2 was redone") == 2

    compared = ulm.json("diff", project, "2", "5")
    assert [(each["name"], each["before"]["value"], each["after"]["value"]) for each in compared["env"]] == [
        ("CONF", "0.3", "0.7")
    ]
    assert {each["path"]: each["kind"] for each in compared["files"]} == {"boxes": "changed"}
    assert "conf" in ulm("diff", project, "2", "5")

    # what the next run takes over is adjusted by hand, and nothing else is
    (ulm.shell.folder / "boxes").write_text("by hand")
    (ulm.shell.folder / ".rc").write_text("rc")
    ulm("files", "put", "boxes", ".rc", f"{project}#next:")
    ulm("files", "rm", f"{project}#next:.boxes")
    ulm("files", "rm", f"{project}#5:boxes", code=1)
    ulm("resume", project)
    ulm.idle()
    kept = [line for line in ulm.tree(5, "after") if not line.startswith(("boxes ", ".boxes "))]
    seen = [line for line in ulm.tree(6, "before") if not line.startswith(("boxes ", ".rc "))]
    assert seen == kept
    assert ulm.fleet.files(project, 6)["boxes"] == b"by hand"
    assert ulm.fleet.files(project, 5)["boxes"] == b"0.7\n"
    assert ulm.json("runs", project)["runs"][5]["stale"] is None
    ulm("files", "get", f"{project}:output/boxes", "got")
    assert (ulm.shell.folder / "got").read_text() == "by hand"


def test_a_failed_stage_is_resumed_and_the_queue_comes_before_the_pipeline(ulm: Watched) -> None:
    project = ulm.project
    ulm("start", project, "--single")
    ulm.idle()
    assert ulm.json("runs", project)["next"] | {"way_on": ""} == {
        "stage": "detect", "state": "PAUSED", "reason": "single", "note": "", "needs": [], "way_on": "",
    }  # fmt: skip
    ulm("resume", project, "--env", "FAIL=3", "--env", "CONF=0.4")
    ulm.idle()
    told = ulm.json("runs", project)
    assert (told["state"], told["runs"][1]["detail"]) == ("failed", "exit code 3")
    assert (told["next"]["stage"], told["next"]["reason"]) == ("detect", "stage_failed")

    ulm("resume", project, "--env", "FAIL=0", "--single")
    ulm.idle()
    assert ulm.tree(3, "before") == ulm.tree(1, "after"), "not what the failed run left"
    assert ulm.fleet.run(project, 3).results == {"conf": "0.4"}, "what was changed for the failed run stays"

    # three runs are put behind the last stage, seen, moved and taken out; then it goes on in that order
    for conf in ("0.5", "0.6", "0.8"):
        ulm("queue", "add", project, "--stage", "detect", "--env", f"CONF={conf}")
    ulm("queue", "add", project, "--like", "2", "--env", "FAIL=0", "--env", "CONF=0.9", "--first")
    ulm("queue", "move", project, "4", "2")
    ulm("queue", "rm", project, "3")
    asked = [each["env"]["CONF"] for each in ulm.json("queue", project)["queue"]]
    assert asked == ["0.9", "0.8", "0.6"]
    ulm("resume", project)
    ulm.idle()
    runs = ulm.json("runs", project)["runs"]
    assert [run["stage"] for run in runs] == ["prepare", *["detect"] * 5, "report"]
    assert [run["results"].get("conf") for run in runs] == [None, "0.4", "0.4", "0.9", "0.8", "0.6", None]
    assert all(ulm.tree(n, "before") == ulm.tree(1, "after") for n in range(3, 7))
    assert ulm.tree(7, "before") == ulm.tree(6, "after"), "the latest success of the stage before"
    assert ulm.json("project", "show", project)["state"] == "succeeded"
    ulm.fleet.assert_clean()
    ulm.fleet.assert_topics_true()


def test_pruned_runs_lose_their_files_alone_and_an_agent_finishes_what_a_client_left(ulm: Watched) -> None:
    project, fleet, shell = ulm.project, ulm.fleet, ulm.shell  # files go here: `Watched` would see them
    shell("start", project)
    fleet.wait_idle(project)
    shell("redo", project, "1", "--single")
    fleet.wait_idle(project)
    left = {n: fleet.files(project, n) for n in range(1, 5)}
    told = shell.json("prune", project, "1", "--dry-run")["runs"][0]
    assert told["bytes"] > 0
    assert told["shared_bytes"] > 0, "run 2 took some of it over"
    killed = subprocess.run(
        [sys.executable, "-P", "-m", "tests.acceptance.doomed_client", "prune", project, "1"],
        env={**os.environ, "DOOM": "after files_pruned", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        timeout=PATIENCE,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (before,) = leftovers(fleet.store, fleet.document(project), [1])
    assert sum(info.size for info in before.unneeded) == told["bytes"], (
        "the client died before it removed any"
    )
    agent = fleet.agents["ws1"]
    agent.stop()
    agent.start().online()  # it looks at everything
    wait_until(
        lambda: not leftovers(fleet.store, fleet.document(project), [1])[0].unneeded,
        seconds=PATIENCE,
        what="the agent's sweep",
    )
    assert {n: fleet.files(project, n) for n in range(2, 5)} == {n: left[n] for n in range(2, 5)}
    listed = {
        each["path"] for each in shell.json("files", "ls", "-r", f"{project}#1:") if each["kind"] == "file"
    }
    assert listed == left[1].keys()
    shell("files", "get", f"{project}#1:data", code=1)
    shell("start", project, "--stage", "detect", "--workspace-from", "1", code=1)
    shell("start", project, "--stage", "detect", "--single")
    fleet.wait_idle(project)
    assert fleet.run(project, 5).workspace_from == 4


# -- a pipeline that asks

ECHO = "echo $WINSLOW_STAGE_NAME $SITE $LANE $SPEED"


def asking(shell: Shell, fleet: Fleet, *stages: str, more: str = "") -> str:
    """A new project; `stages` are names with further keys."""
    name = f"p{secrets.token_hex(4)}"
    common = f"image: {fleet.image}, command: [sh, -c, '{ECHO}'], requires: {{cpus: 0.1, memory: 32MiB}}"
    lines = [f"name: {name}", more, "stages:", *(f"- {{{common}, {stage}}}" for stage in stages)]
    (shell.folder / "p.yaml").write_text("\n".join(lines))
    shell("pipeline", "apply", "p.yaml")
    return shell("project", "create", name, "--pipeline", name).strip()


def said(fleet: Fleet, project: str) -> list[str]:
    """What every run wrote; all of them succeeded."""
    runs = fleet.wait_idle(project).runs
    assert all(run.state is RunState.SUCCEEDED for run in runs), "a question is no failure"
    return [fleet.written(project, run=run.n).decode().strip() for run in runs]


def test_values_of_the_pipeline_and_of_a_stage_are_asked_for_once(shell: Shell, fleet: Fleet) -> None:
    more = "require_env: [SITE]"
    ulm = asking(shell, fleet, "name: one", "name: two, require_env: [LANE, SPEED]", more=more)
    assert "needs SITE" in shell("start", ulm)
    assert said(fleet, ulm) == []
    shell("answer", ulm, "SITE=ulm")
    assert said(fleet, ulm) == ["one ulm"]
    told = shell.json("runs", ulm)
    assert (told["state"], told["next"]["stage"], told["next"]["needs"]) == (
        "needs you",
        "two",
        ["LANE", "SPEED"],
    )
    shell("answer", ulm, "LANE=2")
    shell("answer", ulm, "SPEED=50")
    assert said(fleet, ulm) == ["one ulm", "two ulm 2 50"]
    shell("start", ulm, "--stage", "one", "--env", "SITE=bern")
    assert said(fleet, ulm)[2:] == ["one bern 2 50", "two ulm 2 50"], (
        "what was set for one run is that run's alone"
    )


@pytest.mark.parametrize(
    ("pipeline", "stage", "first", "second"),
    [
        ("never", "", [], []),
        ("once", "", ["one"], []),
        ("always", "", ["one", "two"], ["two"]),
        ("never", "once", ["two"], []),
        ("never", "always", ["two"], ["two"]),
        ("always", "never", ["one"], []),
    ],
)
def test_confirmations(
    shell: Shell, fleet: Fleet, pipeline: str, stage: str, first: list[str], second: list[str]
) -> None:
    """`stage` is what the second of two says itself; who names a stage to start has confirmed it."""
    own = f", confirmation: {stage}" if stage else ""
    ulm = asking(shell, fleet, "name: one", f"name: two{own}", more=f"confirmation: {pipeline}")
    for arguments, wanted in (([], first), (["--stage", "one"], second)):
        asked = []
        shell("start", ulm, *arguments)
        fleet.wait_idle(ulm)
        while (told := shell.json("runs", ulm))["state"] == "needs you":
            asked.append(told["next"]["stage"])
            assert told["next"]["reason"] == "confirmation"
            shell("confirm", ulm)
            fleet.wait_idle(ulm)
        assert (told["state"], asked) == ("succeeded", wanted)
    assert said(fleet, ulm) == ["one", "two"] * 2
