"""`winslow up` as a user has it: ready, used, stopped, started again with everything there, never twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from broker.embedded import find_mosquitto
from tests.conftest import missing
from tests.services.servers import draw_ports
from tests.services.waiting import wait_until
from winslow.store.embedded import find_weed

WINSLOW = str(Path(sys.executable).with_name("winslow"))
PIPELINE = """
name: hello
stages:
  - name: one
    image: none
    command: [sh, -c, "cat $VIDEO > $WINSLOW_DIR_OUTPUT/copy; echo 'half 50 %'; echo 'WINSLOW_RESULT: n=3'"]
    requires: {cpus: 0.5, memory: 64MiB}
"""
AGENT = ["-P", "-m", "node_agent"]
ENDED = 100.0  # seconds; every server has a time of its own to end in, one after another
Up = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """Starts `winslow up` on one directory and waits until it is ready; all ends with the test."""
    if find_weed() is None or find_mosquitto() is None:
        missing("mosquitto or weed is not installed")
    draw_ports(tmp_path / "site")
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        ready = tmp_path / f"ready{len(started)}"
        with (tmp_path / "up.log").open("ab") as log:
            command = [WINSLOW, "up", "--dir", str(tmp_path / "site"), "--agents", "2"]
            process = subprocess.Popen(
                [*command, "--runtime", "process", "--ready-file", str(ready)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(tmp_path),
            )
        started.append(process)
        wait_until(
            lambda: ready.exists() or process.poll() is not None, seconds=150, what="the site is ready"
        )
        assert process.poll() is None, (tmp_path / "up.log").read_text()
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(ENDED)


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WINSLOW_")}
    return kept | {"HOME": str(home), "WINSLOW_CONFIG": str(home / "site/config.toml")}


def winslow(home: Path, *arguments: str, code: int = 0) -> str:
    """Standard output of a command that must end with `code`."""
    done = subprocess.run(
        [WINSLOW, *arguments],
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout


def stop(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """SIGTERM; the exit code is 0; the children it had."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    assert process.wait(ENDED) == 0
    return children


def living(processes: list[psutil.Process]) -> list[list[str]]:
    """The command lines of those that live."""
    found = []
    for each in processes:
        with suppress(psutil.NoSuchProcess):  # so is a zombie's
            if each.status() != psutil.STATUS_ZOMBIE:
                found.append(each.cmdline())
    return found


def ends(processes: list[psutil.Process]) -> None:
    wait_until(lambda: not living(processes), seconds=ENDED, what=f"the end of {living(processes)}")


def test_a_site_is_used_stopped_and_found_again(tmp_path: Path, up: Up) -> None:
    process = up()
    config = tmp_path / "site/config.toml"
    assert config.stat().st_mode & 0o077 == 0
    secret = next(line for line in config.read_text().splitlines() if "secret_key" in line).split('"')[1]
    children = psutil.Process(process.pid).children(recursive=True)
    for each in [psutil.Process(process.pid), *children]:
        with suppress(psutil.NoSuchProcess):  # agents run programs that end at once
            command = each.cmdline()
            assert secret not in " ".join(command)
            for connection in each.net_connections():
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip in ("127.0.0.1", "::1"), (command, connection)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    (tmp_path / "v.bin").write_bytes(os.urandom(300_000))
    winslow(tmp_path, "pipeline", "apply", str(tmp_path / "p.yaml"))
    winslow(tmp_path, "files", "put", str(tmp_path / "v.bin"), "res:v.bin")
    winslow(tmp_path, "project", "create", "First", "--pipeline", "hello", "--env", "VIDEO=res:v.bin")
    winslow(tmp_path, "start", "first")
    winslow(tmp_path, "wait", "first", "--timeout", "120")
    told = json.loads(winslow(tmp_path, "explain", "first", "-o", "json"))
    assert {bid["node"] for bid in told["runs"][0]["attempts"][0]["bids"]} <= {"ws1", "ws2"}, told
    ends(stop(process))

    process = up()
    runs = json.loads(winslow(tmp_path, "runs", "first", "-o", "json"))
    assert json.dumps(runs).count("SUCCEEDED") == 1
    winslow(tmp_path, "files", "get", "first:output/", str(tmp_path / "out"))
    assert next((tmp_path / "out").rglob("copy")).read_bytes() == (tmp_path / "v.bin").read_bytes()
    assert "half 50 %" in winslow(tmp_path, "logs", "first", "1")
    winslow(tmp_path, "start", "first", "--stage", "one")
    winslow(tmp_path, "wait", "first", "--timeout", "120")
    stop(process)


def test_a_second_up_on_the_same_directory_is_refused(tmp_path: Path, up: Up) -> None:
    up()
    done = subprocess.run(
        [WINSLOW, "up", "--dir", str(tmp_path / "site")],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "running there already" in done.stderr and "WINSLOW_CONFIG" in done.stderr


def test_what_ends_by_itself_is_started_again_and_nothing_outlives_a_killed_up(
    tmp_path: Path, up: Up
) -> None:
    process = up()
    servers = [each for warden in psutil.Process(process.pid).children() for each in warden.children()]
    agents = [each for each in servers if [command[1:] for command in living([each])] == [AGENT]]
    assert len(agents) == 2
    agents[0].kill()
    wait_until(
        lambda: (
            len(json.loads(winslow(tmp_path, "node", "list", "-o", "json"))) == 2
            and "starting it again" in (tmp_path / "up.log").read_text()
        ),
        seconds=90,
        what="the agent is started again",
    )
    left = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait(ENDED)
    ends(left)
