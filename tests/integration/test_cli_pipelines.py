"""Definitions and projects' own copies over a real store: history, differences, the editor, taking over."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_cli_commands import PIPELINE, Shell, environment
from tests.services.servers import BrokerService, StoreService
from winslow.lifecycle import ProjectState, state_of

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
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.chdir(tmp_path)
    shell = Shell(capsys, site, tmp_path)
    apply(shell, PIPELINE)
    return shell


@pytest.fixture
def ulm(shell: Shell) -> str:
    """A project's id."""
    return shell("project", "create", "Ulm", "--pipeline", "traffic").strip()


def apply(shell: Shell, text: str) -> str:
    (shell.folder / "p.yaml").write_text(text)
    return shell("pipeline", "apply", "p.yaml")


def editor(shell: Shell, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """From now on the editor is this shell script; the file is $1."""
    program = shell.folder / "editor.sh"
    program.write_text(f"#!/bin/sh\nset -e\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setenv("EDITOR", str(program))


def drafts(shell: Shell) -> list[Path]:
    return sorted((shell.folder / "state" / "winslow" / "drafts").glob("*"))


def test_every_revision_can_be_looked_at(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ben")
    assert apply(shell, PIPELINE.replace("cpus: 2", "cpus: 3")) == "traffic revision 2\n"
    told = shell.json("pipeline", "history", "traffic")
    assert [(each["revision"], each["by"] == "ben") for each in told] == [(2, True), (1, False)]
    assert all(each["updated"] for each in told)
    lines = shell("pipeline", "history", "traffic").splitlines()
    assert lines[0].split() == ["REVISION", "APPLIED", "BY"]
    assert (len(lines), lines[1].split()[0], lines[1].split()[-1]) == (3, "2", "ben")
    assert shell("pipeline", "show", "traffic", "--revision", "1") == PIPELINE
    cpus = shell.json("pipeline", "show", "traffic", "--revision", "1")["definition"]["stages"][0]["requires"]
    assert cpus["cpus"] == 2
    shell("pipeline", "show", "traffic", "--revision", "3", code=3)
    assert "its revisions: 1, 2" in shell.err
    shell("pipeline", "history", "trafic", code=3)
    assert "did you mean traffic?" in shell.err


def test_what_revisions_differ_in(shell: Shell) -> None:
    shell("pipeline", "diff", "traffic", code=3)
    assert "has only revision 1" in shell.err
    apply(shell, PIPELINE.replace("cpus: 2", "cpus: 3"))
    apply(shell, PIPELINE.replace("cpus: 2", "cpus: 4"))
    lines = shell("pipeline", "diff", "traffic").splitlines()
    assert lines[0].startswith("--- traffic revision 2")
    assert lines[1].startswith("+++ traffic revision 3")
    assert [line for line in lines if line.startswith(("-  ", "+  "))] == [
        '-  - {name: detect, image: "img:1", requires: {cpus: 3}}',
        '+  - {name: detect, image: "img:1", requires: {cpus: 4}}',
    ]
    assert "cpus: 2" in shell("pipeline", "diff", "traffic", "1")
    assert "+++ traffic revision 2" in shell("pipeline", "diff", "traffic", "1", "2")
    assert shell("pipeline", "diff", "traffic", "2", "2") == ""
    told = shell.json("pipeline", "diff", "traffic", "1", "3")
    assert (told["before"]["revision"], told["after"]["revision"]) == (1, 3)
    assert "+++" in told["diff"][1]


def test_applying_only_on_top_of_what_one_has_seen(shell: Shell) -> None:
    (shell.folder / "q.yaml").write_text(PIPELINE.replace("cpus: 2", "cpus: 3"))
    shell("pipeline", "apply", "q.yaml", "--if-revision", "0", code=4)
    assert "is at revision 1" in shell.err
    assert shell("pipeline", "apply", "q.yaml", "--if-revision", "1") == "traffic revision 2\n"
    shell("pipeline", "apply", "p.yaml", "--if-revision", "1", code=4)
    assert "winslow pipeline diff traffic 1" in shell.err


def test_a_pipeline_in_the_editor(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDITOR", raising=False)
    shell("pipeline", "edit", "traffic", code=2)
    assert "export EDITOR=" in shell.err
    editor(shell, monkeypatch, 'sed -i "s/cpus: 2/cpus: 3/" "$1"')
    assert shell("pipeline", "edit", "traffic") == "traffic revision 2\n"
    assert shell("pipeline", "show", "traffic") == PIPELINE.replace("cpus: 2", "cpus: 3")
    assert shell("pipeline", "edit", "traffic") == ""
    assert "nothing was changed" in shell.err
    assert drafts(shell) == []
    editor(shell, monkeypatch, 'sed -i "s/name: traffic/name: other/" "$1"')
    shell("pipeline", "edit", "traffic", code=1)
    assert "is the definition of a pipeline 'other', not of 'traffic'" in shell.err


def test_a_mistake_in_the_editor_stores_nothing_and_loses_nothing(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor(shell, monkeypatch, 'sed -i "s/cpus: 2/cups: 3/" "$1"')
    shell("pipeline", "edit", "traffic", code=1)
    (draft,) = drafts(shell)
    assert f"{draft}:4:47: stages[0].requires.cups: unknown key 'cups'; did you mean 'cpus'?" in shell.err
    assert f"the text is kept in {draft}" in shell.err
    assert "cups: 3" in draft.read_text()
    assert shell("pipeline", "show", "traffic") == PIPELINE


def test_somebody_applies_while_the_editor_is_open(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    (shell.folder / "ben.yaml").write_text(PIPELINE.replace("cpus: 2", "cpus: 7"))
    editor(
        shell, monkeypatch, f'{WINSLOW} pipeline apply ben.yaml; sed -i "s/name: track/name: follow/" "$1"'
    )
    shell("pipeline", "edit", "traffic", code=4)
    assert "winslow: pipeline 'traffic' is at revision 2, applied by" in shell.err
    assert "\n+  - {name: detect" in shell.err and "cpus: 7" in shell.err
    (draft,) = drafts(shell)
    assert "name: follow" in draft.read_text()
    command = f"winslow pipeline apply {draft} --if-revision 2"
    assert f"when it is right: {command}" in shell.err
    assert shell(*command.split()[1:]) == "traffic revision 3\n"


def test_on_a_terminal_the_editor_opens_again(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(
        shell, monkeypatch,
        'if grep -q cups "$1"; then sed -i s/cups/cpus/ "$1"; else sed -i "s/cpus: 2/cups: 3/" "$1"; fi',
    )  # fmt: skip
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "wb", buffering=0) as keyboard:
        keyboard.write(b"y\n")
        done = subprocess.run(
            [*shlex.split(WINSLOW), "pipeline", "edit", "traffic"],
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    os.close(theirs)
    assert (done.returncode, done.stdout) == (0, "traffic revision 2\n"), done.stderr
    assert "Edit it again?" in done.stderr
    assert drafts(shell) == []


def test_a_projects_own_copy_in_the_editor(shell: Shell, ulm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(shell, monkeypatch, 'cp "$1" seen.yaml; sed -i "s/cpus: 2/cpus: 3/" "$1"')
    assert shell("project", "edit", ulm) == (
        f"{ulm}: its copy of the pipeline is changed\nstages.detect.requires.cpus: 2 -> 3\n"
    )
    assert f"in project {ulm} (as revision 1)" in (shell.folder / "seen.yaml").read_text()
    assert shell("pipeline", "show", "traffic") == PIPELINE
    assert "traffic (edited from traffic revision 1)" in shell("project", "show", ulm)
    assert shell("pipeline", "diff", "traffic", "--project", ulm) == "stages.detect.requires.cpus: 3 -> 2\n"
    told = shell.json("pipeline", "diff", "traffic", "--project", "Ulm")
    assert told["changes"] == [
        {"path": "stages.detect.requires.cpus", "change": "changed", "before": "3", "after": "2"}
    ]
    assert drafts(shell) == []


def test_two_people_edit_one_copy(shell: Shell, ulm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (shell.folder / "ben.yaml").write_text(PIPELINE.replace("cpus: 2", "cpus: 7"))
    other = f"{WINSLOW} project set-pipeline {ulm} --file ben.yaml --yes"
    editor(shell, monkeypatch, f'{other}; sed -i "s/image: img:1/image: img:2/" "$1"')
    shell("project", "edit", ulm, code=4)
    assert "was changed meanwhile by" in shell.err
    assert "stages.detect.requires.cpus: 2 -> 7" in shell.err
    (draft,) = drafts(shell)
    assert "image: img:2" in draft.read_text()
    command = f"winslow project set-pipeline {ulm} --file {draft}"
    assert f"when it is right: {command}" in shell.err
    shell(*command.split()[1:], code=2)
    assert "add --yes" in shell.err
    assert shell(*command.split()[1:], "--yes").splitlines() == [
        "stages.detect.image: img:1 -> img:2",
        "stages.detect.requires.cpus: 7 -> 2",
        "stages.track.image: img:1 -> img:2",
    ]


def test_a_definition_edited_and_deleted_while_its_project_runs(shell: Shell, ulm: str) -> None:
    shell("start", ulm)
    shell.claim(ulm)
    newer = PIPELINE.replace("cpus: 2", "cpus: 4") + '  - {name: stats, image: "img:1"}\n'
    apply(shell, newer)
    before = shell.client.project(ulm)
    assert "copied from traffic revision 1; traffic revision 2 is newer" in shell("project", "show", ulm)
    assert "traffic (revision 2 is newer)" in shell("project", "list")
    assert shell.json("project", "list")[0]["pipeline_news"] == "revision 2 is newer"
    shell("pipeline", "delete", "traffic")
    assert "traffic was deleted" in shell("project", "show", ulm)
    assert shell.client.project(ulm) == before
    shell("project", "update-pipeline", ulm, "--yes", code=3)
    shell.end(ulm)
    shell.claim(ulm, 2)  # its own copy goes on
    assert [run.stage.name for run in shell.client.project(ulm).runs] == ["detect", "track"]

    assert apply(shell, newer) == "traffic revision 3\n"
    first = shell.client.project(ulm).runs[0]
    shell("project", "update-pipeline", ulm, code=2)
    assert shell.client.project(ulm).pipeline.source_revision == 1
    assert shell("project", "update-pipeline", ulm, "--yes").splitlines() == [
        "stages.detect.requires.cpus: 2 -> 4",
        "stages.stats: added after track",
    ]
    assert "copied from traffic revision 3)" in shell("project", "show", ulm)
    shell("project", "update-pipeline", ulm, "--yes")
    assert "says this already" in shell.err
    assert shell.client.project(ulm).runs[0] == first
    shell.end(ulm, 2)
    changed = shell.client.project(ulm)
    assert [run.stage.name for run in changed.active] == ["stats"]
    assert state_of(changed)[0] is ProjectState.WAITING


def test_another_pipeline_for_a_project(shell: Shell, ulm: str) -> None:
    (shell.folder / "q.yaml").write_text("name: small\nstages: [{name: detect, image: 'img:9'}]\n")
    shell("pipeline", "apply", "q.yaml")
    shell("project", "set-pipeline", ulm, code=2)
    told = shell.json("project", "set-pipeline", ulm, "small", "--yes")
    assert [(each["path"], each["change"]) for each in told["changes"]] == [
        ("name", "changed"),
        ("stages.track", "removed"),
        ("stages.detect.image", "changed"),
        ("stages.detect.requires.cpus", "changed"),
    ]
    copied = shell.client.project(ulm).pipeline
    assert (copied.definition.name, copied.source, copied.source_revision) == ("small", "small", 1)
    assert not copied.edited


def test_what_is_edited_is_deleted_meanwhile(shell: Shell, ulm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(shell, monkeypatch, f'{WINSLOW} project delete {ulm} --yes; sed -i "s/cpus: 2/cpus: 3/" "$1"')
    shell("project", "edit", ulm, code=3)
    assert f"project '{ulm}' was deleted" in shell.err
    (copy,) = drafts(shell)
    assert "cpus: 3" in copy.read_text()
    copy.unlink()
    editor(shell, monkeypatch, f'{WINSLOW} pipeline delete traffic; sed -i "s/cpus: 2/cpus: 3/" "$1"')
    shell("pipeline", "edit", "traffic", code=4)
    assert "pipeline 'traffic' was deleted by" in shell.err
    assert "storing makes pipeline traffic again" in shell.err
    (draft,) = drafts(shell)
    assert shell("pipeline", "apply", str(draft), "--if-revision", "0") == "traffic revision 2\n"
