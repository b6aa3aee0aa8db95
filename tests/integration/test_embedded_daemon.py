"""A server started by Winslow ends when its owner does, however the owner ends, and never before."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.services.waiting import wait_until
from winslow.errors import Unreachable, WinslowError
from winslow.store import daemon as module
from winslow.store.daemon import Daemon, free_ports, kept_ports, port_is_free

STUBBORN = (
    sys.executable,
    "-c",
    "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); signal.pause()",
)
# An owner that starts a server from a worker thread, which then ends, and prints the server's id.
OWNER = """
import signal, sys, threading, time
from pathlib import Path
from winslow.store.daemon import Daemon
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have had it ignored
daemon = Daemon(name="sleeper", command=["sleep", "600"], log=Path(sys.argv[1]))
worker = threading.Thread(target=daemon.start)
worker.start()
worker.join()
print(daemon.pid, flush=True)
sys.stdin.read()
"""


def sleeper(folder: Path) -> Daemon:
    return Daemon(name="sleeper", command=["sleep", "600"], log=folder / "log")


def warden_of(pid: int) -> psutil.Process:
    warden = psutil.Process(pid).parent()
    assert warden is not None
    return warden


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that owns a server, and the server's id."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    yield process, int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_it_runs_until_it_is_stopped_and_starts_again(tmp_path: Path) -> None:
    daemon = sleeper(tmp_path)
    daemon.start()
    first = daemon.pid
    daemon.start()
    assert daemon.pid == first
    daemon.stop()
    assert not daemon.running and not alive(first)
    daemon.stop()
    daemon.start()
    assert daemon.pid != first
    daemon.stop()


def test_what_it_said_is_what_it_said_since_its_last_start(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("tide")
    speaker = Daemon(
        name="speaker", command=["sh", "-c", f"cat {tmp_path / 'word'}; exec sleep 600"], log=tmp_path / "log"
    )
    speaker.start()
    wait_until(lambda: speaker.said("tide"))
    assert not speaker.said("ebb")
    speaker.stop()
    (tmp_path / "word").write_text("ebb")
    speaker.start()
    wait_until(lambda: speaker.said("ebb"))
    assert not speaker.said("tide")
    speaker.stop()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_with_its_owner(
    owner: tuple[subprocess.Popen[str], int], end: signal.Signals
) -> None:
    process, server = owner
    assert alive(server), "the end of the thread that started it is not the end of its owner"
    process.send_signal(end)
    wait_until(lambda: not alive(server), what="the server's end")


def test_the_server_ends_with_an_owner_whose_pipe_a_forked_child_still_holds(tmp_path: Path) -> None:
    forking = OWNER.replace(
        "print(daemon.pid, flush=True)",
        "import os\nif os.fork() == 0:\n    time.sleep(100)\n    os._exit(0)\nprint(daemon.pid, flush=True)",
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", forking, str(tmp_path / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    server = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not alive(server), what="the server's end")
    os.killpg(process.pid, signal.SIGKILL)
    process.stdin.close()
    process.stdout.close()


def test_the_server_ends_with_a_killed_warden(tmp_path: Path) -> None:
    daemon = sleeper(tmp_path)
    daemon.start()
    server = daemon.pid
    warden_of(server).kill()
    wait_until(lambda: not alive(server), what="the server's end")
    wait_until(lambda: not daemon.running)
    daemon.stop()


def test_ctrl_c_on_the_terminal_does_not_reach_the_server(tmp_path: Path) -> None:
    daemon = sleeper(tmp_path)
    daemon.start()
    assert os.getpgid(daemon.pid) != os.getpgid(0)
    assert os.getsid(daemon.pid) != os.getsid(0)
    daemon.stop()


def test_a_server_that_ignores_sigterm_is_killed_after_the_grace_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KILL_MARGIN_SECONDS", 200.0)  # the warden does it, not its owner
    daemon = Daemon(name="stubborn", command=STUBBORN, log=tmp_path / "log", grace_seconds=0.2)
    daemon.start()
    server = daemon.pid
    wait_until(lambda: (tmp_path / "log").read_text() == "1\n")
    began = time.monotonic()
    daemon.stop()
    assert not alive(server)
    assert time.monotonic() - began < 100.0


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    daemon = Daemon(name="the broker", command=["/nowhere/broker"], log=tmp_path / "log")
    with pytest.raises(
        WinslowError, match=r"cannot run the broker \(/nowhere/broker\).*No such file"
    ) as error:
        daemon.start()
    assert error.value.hint
    assert not daemon.running
    with pytest.raises(WinslowError, match="the broker is not running"):
        _ = daemon.pid


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    daemon = Daemon(name="the store", command=["sh", "-c", "echo port taken >&2; exit 3"], log=log)
    daemon.start()
    with pytest.raises(Unreachable, match="the store ended while it started: port taken") as error:
        daemon.wait_until(lambda: False, seconds=60)
    assert str(log) in error.value.hint
    daemon.stop()


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    daemon = sleeper(tmp_path)
    daemon.start()
    with pytest.raises(Unreachable, match="sleeper was not ready after 0 s"):
        daemon.wait_until(lambda: False, seconds=0.1)
    daemon.stop()


def test_secrets_go_by_environment_and_the_log_is_private(tmp_path: Path) -> None:
    log = tmp_path / "log"
    daemon = Daemon(
        name="teller",
        command=["sh", "-c", 'echo "$SECRET"; exec sleep 600'],
        log=log,
        environment={"SECRET": "s3cret"},
    )
    daemon.start()
    wait_until(lambda: log.read_text() == "s3cret\n")
    server = psutil.Process(daemon.pid)
    assert "s3cret" not in " ".join([*server.cmdline(), *warden_of(daemon.pid).cmdline()])
    assert log.stat().st_mode & 0o777 == 0o600
    daemon.stop()


def test_ports_are_free_distinct_and_never_ones_of_outgoing_connections() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    lowest_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(port < lowest_outgoing and port_is_free(port) for port in ports)


def test_ports_are_kept_until_somebody_takes_one(tmp_path: Path) -> None:
    noted = tmp_path / "deep" / "ports"
    ports = kept_ports(noted, 2)
    assert kept_ports(noted, 2) == ports
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", ports[1]))
        taker.listen()
        assert kept_ports(noted, 2) != ports
    noted.write_text("garbage")
    assert len(kept_ports(noted, 2)) == 2
