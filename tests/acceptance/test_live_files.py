"""The files of a run that is running: seen and fetched through its node while the stage writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import FleetFactory
from tests.acceptance.fleet import Fleet, Stage
from winslow.project import RunState
from winslow.store import layout
from winslow_tui.cli.main import run

FIRST = "cd $WINSLOW_DIR_WORKSPACE; echo kept > kept; echo gone > gone; mkdir sub; echo s > sub/s"
HOSTILE = "new\nline\x1b[31m"
SECOND = (
    "cd $WINSLOW_DIR_WORKSPACE; rm gone; echo more >> sub/s; ln -s /etc/passwd passwd; ln -s / root;"
    " mkfifo pipe; mkdir -p a/b; echo new > a/b/file; echo x > \"$(printf 'new\\nline\\033[31m')\";"
    " echo half > $WINSLOW_DIR_OUTPUT/half; i=0;"
    " while [ ! -e $HOME/go ]; do i=$((i+1)); echo line $i >> growing; [ $i != 5 ] || echo written; sleep 0.01; done"
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
    fleet.wait_live(project, b"written\n", run=2)

    # seen
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
