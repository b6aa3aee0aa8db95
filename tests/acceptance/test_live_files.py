"""The files of a run that is running: seen and fetched through its node while the stage writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import FleetFactory
from tests.acceptance.fleet import PATIENCE, Fleet, Stage
from tests.services.waiting import wait_until
from winslow.project import RunState
from winslow.store import layout
from winslow_tui.cli.main import run
from winslow_tui.facade.changes import Changes

FIRST = "cd $WINSLOW_DIR_WORKSPACE; echo kept > kept; echo gone > gone; mkdir sub; echo s > sub/s"
HOSTILE = "new\nline\x1b[31m"
SECOND = (
    "cd $WINSLOW_DIR_WORKSPACE; rm gone; echo more >> sub/s; ln -s /etc/passwd passwd; ln -s / root;"
    " mkfifo pipe; mkdir -p a/b; echo new > a/b/file; echo x > \"$(printf 'new\\nline\\033[31m')\";"
    " echo half > $WINSLOW_DIR_OUTPUT/half; i=0;"
    " while [ ! -e $HOME/go ]; do i=$((i+1)); echo line $i >> growing; sleep 0.01; done"
)


@dataclass(frozen=True)
class Shell:
    """`winslow` as a person runs it."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        ended = run(arguments)
        told = self.capsys.readouterr()
        assert ended == code, told.err
        return told.out, told.err

    def files(self, *arguments: str) -> dict[str, dict[str, Any]]:
        out, _ = self("files", "ls", "-r", "-o", "json", *arguments)
        return {each["path"]: each for each in json.loads(out)}


@pytest.fixture(scope="module")
def fleet(fleet_factory: FleetFactory) -> Fleet:
    made = fleet_factory()
    made.agent().start().online()
    return made


def test_a_running_run_is_seen_and_fetched_while_it_writes(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("WINSLOW_CONFIG", str(fleet.folder / "client.toml"))
    shell = Shell(capsys)
    project = fleet.start(Stage(FIRST), Stage(SECOND, name="two"))
    fleet.wait_state(project, RunState.RUNNING, n=2)

    def lines() -> int:
        return sum(
            each["size"] for each in shell.files(f"{project}#2:").values() if each["path"] == "growing"
        )

    # seen
    wait_until(lambda: lines() > 5 * len("line 1\n"), seconds=PATIENCE, what="growing")
    found = shell.files(f"{project}#2:")
    assert all(each["live"] for each in found.values())
    assert found.keys() == {
        "a",
        "a/b",
        "a/b/file",
        "growing",
        "kept",
        HOSTILE,
        "passwd",
        "root",
        "sub",
        "sub/s",
    }
    assert (found["passwd"]["kind"], found["passwd"]["target"]) == ("link", "/etc/passwd")
    assert shell.files(f"{project}#2:sub").keys() == {"sub/s"}
    out, err = shell("files", "ls", f"{project}#2:")
    assert "run #2 is on ws1: these files are live and may change" in err
    assert "1 FIFOs, sockets and devices are left out" in err
    assert "\x1b" not in out
    shell("files", "ls", f"{project}#2:gone", code=3)
    shell("files", "ls", f"{project}#2:root/etc", code=3)
    assert shell.files(f"{project}:output/") == {}
    assert shell.files("--live", f"{project}:output/").keys() == {"half"}

    # fetched
    into = tmp_path / "back"
    shell("files", "get", f"{project}#2:", str(into))
    assert (into / "sub" / "s").read_bytes() == b"s\nmore\n"
    assert (into / "a" / "b" / "file").read_bytes() == b"new\n"
    assert (into / HOSTILE).read_bytes() == b"x\n"
    assert (into / "passwd").is_symlink()
    assert (into / "growing").read_bytes().startswith(b"line 1\nline 2\nline 3\nline 4\nline 5\n")
    shell("files", "get", f"{project}#2:passwd/x", code=3)
    shell("files", "get", "--live", f"{project}:output/half", str(tmp_path / "half"))
    assert (tmp_path / "half").read_bytes() == b"half\n"
    prefix = layout.live(project, 2, 1)
    assert list(fleet.store.walk(prefix)) == []

    # its agent is away: the way to look all the same
    fleet.agents["ws1"].stop()
    _, err = shell("files", "ls", f"{project}#2:", code=5)
    assert f"winslow node local files {project} 2" in err
    monkeypatch.setenv("WINSLOW_CONFIG", str(fleet.agents["ws1"].config))
    out, err = shell("node", "local", "files", project, "2", "-o", "json")
    assert {each["path"] for each in json.loads(out)} == found.keys()
    assert str(fleet.agents["ws1"].data) in err
    out, _ = shell("node", "local", "files", project[:-2], "2", "a/b")
    assert out.split() == ["SIZE", "PATH", "4", "B", "a/b/file"]
    shell("node", "local", "files", project, "7", code=3)
    monkeypatch.setenv("WINSLOW_CONFIG", str(fleet.folder / "client.toml"))

    # an agent that was killed while somebody fetched leaves copies behind: the next one removes them
    fleet.store.put(f"{prefix}deadbeef/x-0", b"left")
    fleet.agents["ws1"].start().online()
    assert shell.files(f"{project}#2:").keys() == found.keys()
    fleet.go(project)
    fleet.wait_state(project, RunState.SUCCEEDED, n=2)
    stored = shell.files(f"{project}#2:")
    assert stored.keys() == found.keys()
    assert not any(each["live"] for each in stored.values())
    assert list(fleet.store.walk(prefix)) == []


def test_people_change_what_the_next_run_takes_over_and_nothing_else(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("WINSLOW_CONFIG", str(fleet.folder / "client.toml"))
    shell = Shell(capsys)
    show = "cd $WINSLOW_DIR_WORKSPACE; for f in $(find . -type f | sort); do echo $f $(cat $f); done"
    project = fleet.project(Stage(f"{show}; echo made > made; rm first"), Stage(show, name="two"))
    (tmp_path / "first").write_text("by hand")
    (tmp_path / "made").write_text("corrected")
    (tmp_path / "run.sh").write_text("echo")
    (tmp_path / "run.sh").chmod(0o755)

    shell("files", "put", str(tmp_path / "first"), f"{project}#next:")
    shell("files", "put", str(tmp_path / "first"), f"{project}#next:in/")
    assert shell.files(f"{project}#0:").keys() == {"first", "in/first"}
    fleet.client.runs.start(project, changes=Changes(single=True))
    fleet.wait_state(project, RunState.SUCCEEDED)
    assert fleet.written(project) == b"./first by hand\n./in/first by hand\n"
    run = fleet.run(project)
    kept = {info.key: fleet.store.get(info.key).data for info in fleet.store.walk(layout.project(project))}

    shell("files", "put", str(tmp_path / "made"), str(tmp_path / "run.sh"), f"{project}#next:")
    _, told = shell("files", "rm", f"{project}#next:in/first")
    assert "stage 'two' will take over what run #1 left, changed by" in told
    shell("files", "rm", f"{project}#next:in/first", code=3)
    shell("files", "rm", f"{project}#1:made", code=1)
    fleet.client.runs.resume(project)
    fleet.wait_state(project, RunState.SUCCEEDED, n=2)
    assert fleet.written(project, run=2) == b"./made corrected\n./run.sh echo\n"
    assert fleet.manifest(project, 2).parent == fleet.run(project, 2).workspace_edited
    shell("files", "get", f"{project}#2:run.sh", str(tmp_path / "back"))
    assert (tmp_path / "back").stat().st_mode & 0o111

    # the finished run, its manifest and its objects are what they were, to the byte
    assert fleet.run(project) == run
    assert {key: fleet.store.get(key).data for key in kept} == kept
    shell("project", "delete", project, "--yes")
    assert list(fleet.store.walk(layout.project(project))) == []
