"""What a person changes of a project itself, against a real store and a real broker."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from broker import topics
from broker.messages import ProjectSummary
from tests.integration.test_cli_commands import PIPELINE, Shell, environment
from tests.services.servers import BrokerService, StoreService
from winslow.project import Tombstone
from winslow.store import layout

WINSLOW = f"{sys.executable} -c 'from winslow_tui.cli.main import main; main()'"


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


def test_a_renamed_project_keeps_its_id(shell: Shell, ulm: str) -> None:
    assert shell.json("project", "rename", "Ulm", "Ulm crossing")["name"] == "Ulm crossing"
    assert shell.json("project", "show", "Ulm crossing")["id"] == ulm
    summary = shell.retained(topics.PROJECT_STATES)[f"projects/{ulm}/state"]
    assert isinstance(summary, ProjectSummary)
    assert summary.name == "Ulm crossing"
    shell("project", "rename", ulm, " ", code=1)


def test_tags_and_people_come_and_go(shell: Shell, ulm: str) -> None:
    assert shell("project", "tag", ulm, "drone", "night") == f"{ulm} tags: drone, night\n"
    assert shell.json("project", "tag", ulm, "day", "night-", "gone-")["tags"] == ["drone", "day"]
    assert shell("project", "tag", ulm) == f"{ulm} tags: drone, day\n"
    assert shell.json("project", "participants", ulm, "ann", "bob")["participants"] == ["ann", "bob"]
    assert shell("project", "participants", ulm, "ann-") == f"{ulm} participants: bob\n"
    assert shell.json("project", "list", "--tag", "day")[0]["id"] == ulm
    assert shell.json("project", "list", "--tag", "night") == []
    shell("project", "tag", ulm, "a", "a-", code=2)
    shell("project", "tag", ulm, "x\x1b[31my", code=1)


def test_the_environment_is_set_and_taken_away(shell: Shell, ulm: str) -> None:
    out = shell("project", "env", ulm, "CONF=0.5", "CLIP=Ulm:input/a.mp4", "X=\x1b]0;t\x07y")
    assert "\x1b" not in out
    rows = {row["name"]: row for row in shell.json("project", "env", ulm)["env"]}
    assert (rows["CONF"]["value"], rows["CONF"]["origin"]) == ("0.5", "project")
    shell("project", "env", ulm, "X-", "CONF-")
    assert shell.client.project(ulm).env == {"CLIP": "Ulm:input/a.mp4"}
    shell("project", "env", ulm, "CONF-", code=3)
    shell("project", "env", ulm, "1A=x", code=2)
    shell("project", "env", ulm, "A", code=2)


def test_an_archived_project_is_not_listed_and_starts_nothing(shell: Shell, ulm: str) -> None:
    assert shell("project", "archive", ulm) == f"{ulm} archived: yes\n"
    assert shell.json("project", "list") == []
    assert shell.json("project", "list", "--all")[0]["archived"] is True
    shell("start", ulm, code=1)
    assert f"winslow project archive {ulm} --undo" in shell.err
    shell("project", "archive", ulm, "--undo")
    shell("start", ulm)
    shell("project", "archive", ulm, code=1)
    assert [each["id"] for each in shell.json("project", "list", "--state", "waiting")] == [ulm]
    assert shell.json("project", "list", "--state", "failed") == []
    shell("project", "list", "--state", "lost", code=2)


def test_priority_comment_and_retention(shell: Shell, ulm: str) -> None:
    assert shell.json("project", "priority", ulm, "7")["priority"] == 7
    assert shell("project", "comment", ulm, "look at\x1b[31m lane 2") == f"{ulm} comment: look at lane 2\n"
    shell("project", "retention", ulm, "--keep-last", "2", "--drop-failed")
    assert shell.json("project", "retention", ulm)["retention"]["origin"] == "project"
    shown = shell("project", "show", ulm)
    assert "the last 2 succeeded runs of each stage, no failed ones" in shown
    assert "look at lane 2" in shown
    assert "all succeeded runs" in shell("project", "retention", ulm, "--inherit")
    shell("project", "retention", ulm, "--inherit", "--drop-failed", code=2)


def test_a_clone_with_its_input(shell: Shell, ulm: str) -> None:
    (shell.folder / "a.txt").write_text("hello")
    shell("files", "put", "a.txt", "p.yaml", f"{ulm}:input/deep/")
    shell("project", "env", ulm, f"CLIP={ulm}:input/deep/a.txt")
    shell("project", "tag", ulm, "drone")
    plain = shell("project", "clone", ulm, "Bern").strip()
    assert list(shell.client.store.walk(layout.project_input(plain))) == []
    assert shell.client.project(plain).env["CLIP"] == f"{ulm}:input/deep/a.txt"
    made = shell.json("project", "clone", "Ulm", "Basel", "--with-input")["id"]
    assert "2 files of its input copied" in shell.err
    assert shell.client.project(made).env["CLIP"] == f"{made}:input/deep/a.txt"
    assert shell.client.project(made).tags == ("drone",)
    shell("project", "delete", ulm, "--yes")
    assert shell.client.store.get(layout.project_input(made, "deep/a.txt")).data == b"hello"
    assert [each["path"] for each in shell.json("files", "ls", f"{made}:input/deep/")] == [
        "deep/a.txt",
        "deep/p.yaml",
    ]
    assert f"projects/{made}/state" in shell.retained(topics.PROJECT_STATES)


@pytest.mark.parametrize(("typed", "code"), [("Ulm", 0), ("ulm", 1), ("yes", 1), ("", 1)])
def test_a_deletion_wants_the_name_typed(shell: Shell, ulm: str, typed: str, code: int) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{typed}\n".encode())
        done = subprocess.run(
            [*shlex.split(WINSLOW), "project", "delete", ulm],
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=120,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == code, done.stderr
    assert "Type its name, Ulm:" in done.stderr
    assert isinstance(shell.client.documents.read(ulm).document, Tombstone) == (code == 0)
