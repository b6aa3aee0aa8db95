"""`winslow files` and `winslow logs` against every S3 server and every broker of the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from broker import topics
from broker.messages import LogChunk
from tests.integration.test_cli_commands import PIPELINE, Shell, environment
from tests.services.servers import BrokerService, StoreService
from tests.services.waiting import wait_until
from winslow import config
from winslow.logs import Record, RunEvent, encode, encode_event
from winslow.store import layout
from winslow_tui.facade import live

BIG = 20 << 20  # more than one PUT and one range


@pytest.fixture
def files(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    mosquitto_broker: BrokerService,
    s3_server: StoreService,
) -> Shell:
    """On each S3 server."""
    site = environment(monkeypatch, tmp_path, mosquitto_broker, s3_server)
    monkeypatch.chdir(tmp_path)
    return Shell(capsys, site, tmp_path)


@pytest.fixture
def logs(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    broker: BrokerService,
    seaweedfs_store: StoreService,
) -> Shell:
    """On each broker, with a project `ulm` whose first run is running."""
    site = environment(monkeypatch, tmp_path, broker, seaweedfs_store)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    shell = Shell(capsys, site, tmp_path)
    shell("pipeline", "apply", "p.yaml")
    ulm = shell("project", "create", "ulm", "--pipeline", "traffic").strip()
    shell("start", ulm, "--single")
    shell.claim(ulm)
    return shell


def test_files_go_there_and_come_back(files: Shell) -> None:
    big = os.urandom(BIG)
    folder = files.folder / "clips"
    (folder / "süd").mkdir(parents=True)
    (folder / "süd" / "big one.mp4").write_bytes(big)
    (folder / "empty").touch()
    assert files("files", "put", "clips", "res:traffic/") == "res:traffic/\n"
    assert "2 files, 20 MiB" in files.err
    assert "/s)" in files.err
    listed = {each["path"]: each for each in files.json("files", "ls", "-r", "res:")}
    assert set(listed) == {"traffic/clips/süd/big one.mp4", "traffic/clips/empty"}
    assert listed["traffic/clips/süd/big one.mp4"]["size"] == BIG
    assert listed["traffic/clips/empty"]["address"] == "res:traffic/clips/empty"
    assert [each["path"] for each in files.json("files", "ls")] == ["traffic"]

    assert files("files", "get", "res:traffic/clips", "back") == "back/clips\n"
    assert (files.folder / "back/clips/süd/big one.mp4").read_bytes() == big
    assert (files.folder / "back/clips/empty").read_bytes() == b""
    assert files("files", "get", "res:traffic/clips/empty", "other-name") == "other-name\n"

    files("files", "rm", "res:traffic/clips", code=2)
    files("files", "rm", "res:traffic/clips/empty")
    files("files", "rm", "--recursive", "res:traffic")
    assert list(files.client.store.walk("")) == []
    files("files", "rm", "res:traffic/clips/empty", code=3)


def test_files_get_another_name_and_another_folder(files: Shell) -> None:
    clips = files.folder / "clips"
    clips.mkdir()
    (clips / "süd one.mp4").write_bytes(b"one")
    (clips / "empty").touch()
    files("files", "put", "clips", "res:traffic/")
    assert files("files", "mv", "res:traffic/clips", "res:old/") == "res:old/clips\n"
    assert "2 files" in files.err
    assert files("files", "mv", "res:old/clips/süd one.mp4", "res:ulm.mp4") == "res:ulm.mp4\n"
    assert {each["path"] for each in files.json("files", "ls", "-r", "res:")} == {
        "old/clips/empty",
        "ulm.mp4",
    }
    files("files", "get", "res:ulm.mp4", "back")
    assert (files.folder / "back").read_bytes() == b"one"
    files("files", "mv", "res:ulm.mp4", "res:old/clips/empty", code=4)
    files("files", "mv", "res:nothing", "res:x", code=3)
    files("files", "mv", "res:old", "res:old/clips/", code=2)


def test_a_hostile_name_in_the_store_acts_on_nobody(files: Shell) -> None:
    files.client.store.put("resources/\u202egpj.exe", b"x")
    out = files("files", "ls")
    assert "\u202e" not in out
    assert "gpj.exe" in out
    assert json.loads(files("files", "ls", "-o", "json"))[0]["path"] == "\u202egpj.exe"


# -- logs


def record(number: int, text: bytes) -> bytes:
    return encode(
        Record(time=f"2026-01-01T10:00:{number:02d}.000000000Z", stream="stdout", complete=True, data=text)
    )


def ulm_of(shell: Shell) -> str:
    return str(shell.client.project("ulm").id)


def put_segment(shell: Shell, first_byte: int, first_line: int, data: bytes) -> None:
    key = layout.log_segment(ulm_of(shell), 1, 1, first_byte=first_byte, first_line=first_line)
    shell.client.store.put(key, data)


def put_events(shell: Shell) -> None:
    event = RunEvent(time="2026-01-01T10:00:00.000000000Z", event="claimed", text="claimed by ws1\x1b[31m")
    key = layout.event_segment(ulm_of(shell), 1, 1, first_byte=0, first_line=0)
    shell.client.store.put(key, encode_event(event))


def test_a_log_that_has_ended(logs: Shell) -> None:
    first, second = record(1, b"hello \x1b]0;evil\x07"), record(2, b"caf\xe9")
    put_segment(logs, 0, 0, first)
    put_segment(logs, len(first), 1, second)
    put_events(logs)
    logs.end(ulm_of(logs))
    assert logs("logs", "ulm") == "[2026-01-01 10:00:00Z] claimed by ws1\nhello \ncaf\ufffd\n"
    assert logs("logs", "ulm", "1", "--stream", "stdout", "--tail", "1") == "caf\ufffd\n"
    lines = [json.loads(line) for line in logs("logs", "ulm", "-o", "json").splitlines()]
    assert [line["stream"] for line in lines] == ["system", "stdout", "stdout"]
    assert lines[0]["event"] == "claimed"
    assert logs("logs", "ulm", "--follow") == logs("logs", "ulm")
    logs("logs", "ulm", "--attempt", "2", code=3)
    logs("logs", "ulm", "--raw", "--follow", code=2)


def test_raw_is_what_the_stage_wrote_and_never_goes_to_a_terminal(logs: Shell) -> None:
    put_segment(logs, 0, 0, record(1, b"hello \x1b]0;evil\x07") + record(2, b"caf\xe9"))
    command = [sys.executable, "-c", "from winslow_tui.cli.main import main; main()", "logs", "ulm", "--raw"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == b"hello \x1b]0;evil\x07\ncaf\xe9\n"
    terminal, screen = os.openpty()
    try:
        refused = subprocess.run(command, stdout=screen, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(screen)
        os.close(terminal)
    assert refused.returncode == 2
    assert b"terminal" in refused.stderr


class Following:
    """`winslow logs -f` in a thread of its own, as JSON lines."""

    def __init__(self, shell: Shell) -> None:
        self.lines: list[str] = []
        self.client = shell.client
        self.client.link.say = lambda _: None
        self._thread = threading.Thread(target=self._run, args=(ulm_of(shell),), daemon=True)
        self._thread.start()

    def _run(self, project: str) -> None:
        import asyncio

        from winslow_tui.logs.logview import follow

        show: Callable[..., None] = lambda line: self.lines.append(line.data.decode())  # noqa: E731
        asyncio.run(follow(self.client, project, 1, stream=None, tail=None, show=show))

    def wait(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


def test_following_joins_the_store_and_the_wire(logs: Shell) -> None:
    ulm = ulm_of(logs)
    texts = [f"line {number}" for number in range(6)]
    whole = [record(number, text.encode()) for number, text in enumerate(texts)]
    offsets = [sum(map(len, whole[:number])) for number in range(7)]
    topic = topics.Log(project=ulm, run=1, attempt=1)

    def send(*numbers: int) -> None:
        live.publish(config.load(), [(topic, LogChunk(offset=offsets[n], data=whole[n])) for n in numbers])

    put_segment(logs, 0, 0, whole[0])
    following = Following(logs)
    wait_until(lambda: following.lines == texts[:1], what="the segment")
    send(1)
    wait_until(lambda: following.lines == texts[:2], what="a live batch")
    send(3, 3, 1)  # 2 was lost on the way; others came twice
    put_segment(logs, 0, 0, b"".join(whole[:3]))
    wait_until(lambda: following.lines == texts[:4], what="what was lost")
    put_segment(logs, 0, 0, b"".join(whole))
    logs.end(ulm)
    following.wait()
    assert following.lines == texts
