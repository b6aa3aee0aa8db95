"""docs/projects.md: its commands do what they say, in their order, and its tables name what there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.integration.test_cli_commands import Shell, environment
from tests.services.servers import BrokerService, StoreService
from winslow.lifecycle import ProjectState, state_of
from winslow.project import Project
from winslow_tui.cli import main

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "projects.md").read_text()


IN_PASSING = ("queue", "pause", "resume", "abort")
"""Commands that are given while a run waits or goes on: nodes do nothing before them."""


def work(shell: Shell) -> None:
    """Nodes take all that waits and end it well, until nothing waits any more."""
    while waiting := [
        (project.id, run.n)
        for project in shell.client.projects.all()
        if isinstance(project, Project)
        for run in project.active
    ]:
        for project_id, n in waiting:
            shell.claim(project_id, n)
            shell.end(project_id, n)


def test_every_command_of_the_text_works(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    mosquitto_broker: BrokerService,
    seaweedfs_store: StoreService,
) -> None:
    site = environment(monkeypatch, tmp_path, mosquitto_broker, seaweedfs_store)
    monkeypatch.chdir(tmp_path)
    (definition,) = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "traffic.yaml").write_text(definition)
    shell = Shell(capsys, site, tmp_path)
    blocks = re.findall(r"```\n(winslow .*?)```", TEXT, flags=re.DOTALL)
    seen: dict[str, str] = {}
    for block in blocks:
        work(shell)
        for command in block.splitlines():
            words = shlex.split(command)[1:]
            if words[0] not in IN_PASSING:
                work(shell)
            out = shell(*words)
            seen.setdefault(command, out + shell.err)
    assert "needs LANES" in seen["winslow resume Ulm"]
    assert "winslow answer" in seen["winslow resume Ulm"]
    assert "report QUEUED" in seen["winslow confirm Ulm"]
    assert "as before" in seen["winslow queue Ulm"]
    assert "env CONF" in seen["winslow diff Ulm 1 7"]
    assert "pauses then" in seen['winslow pause Ulm --note "look at lane 2 first"']
    assert state_of(shell.client.project("Ulm crossing"))[0] is ProjectState.FAILED


def test_every_state_is_in_the_table() -> None:
    rows = re.findall(r"^\| `([a-z ]+)` \| [A-Z]", TEXT, flags=re.MULTILINE)
    assert rows == [state.value for state in ProjectState]


def test_every_option_that_changes_a_run_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["start", "--help"]) == 0
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {
        "--stage",
        "--output",
        "--help",
        "--single",
    }
    told = set(re.findall(r"--[a-z-]+", "".join(re.findall(r"^\| `--.*$", TEXT, flags=re.MULTILINE))))
    assert known <= told
