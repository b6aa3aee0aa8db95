"""docs/protocol.md is true: its payloads are ours, its lines and its program work as they stand."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from broker import codec, messages, topics
from broker.embedded import BrokerKind
from broker.session import Session
from broker.topics import Travel
from tests.conftest import BrokerFactory
from tests.services.servers import BrokerService

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
BLOCKS = re.findall(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
EXAMPLES = [(language, path, text) for language, path, text in BLOCKS if path]
LINES = [
    line
    for language, _, text in BLOCKS
    if language == "sh"
    for line in text.splitlines()
    if line and not line.startswith("#")
]
PROGRAMS = [text for language, _, text in BLOCKS if language == "python"]
DEADLINE = 60.0
OFFSET = 1234


def _topic(path: str) -> topics.Topic:
    return topics.parse("main", f"winslow/main/{path}")


def _payload(language: str, path: str, text: str) -> codec.Payload:
    """An example as a receiver gets it from the wire."""
    if language == "log":
        return messages.LogChunk(offset=OFFSET, data=text.encode())
    data = text.encode() if language == "json" else msgpack.packb(json.loads(text))
    payload = codec.decode(_topic(path), data)
    assert payload is not None
    return payload


def _without_defaults(value: Any) -> Any:
    """Samples leave out what is 0 or empty; the document shows it where that helps a reader."""
    if isinstance(value, dict):
        return {name: _without_defaults(item) for name, item in value.items() if item not in (0, "", [])}
    return [_without_defaults(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("language", "path", "text"), EXAMPLES, ids=[path for _, path, _ in EXAMPLES])
def test_an_example_is_exactly_what_is_sent(language: str, path: str, text: str) -> None:
    sent = codec.encode(_topic(path), _payload(language, path, text))
    if language == "json":
        assert json.loads(sent.data) == json.loads(text)
    elif language == "msgpack":
        assert _without_defaults(msgpack.unpackb(sent.data)) == _without_defaults(json.loads(text))
    else:
        assert sent.data == text.encode()


def test_every_topic_has_an_example_and_a_row_that_says_how_it_travels() -> None:
    shown = {type(_topic(path)) for _, path, _ in EXAMPLES}
    kinds = set(topics.Topic.__args__)
    assert shown == kinds - {topics.Echo}
    rows = dict(re.findall(r"^\| `(\S+)` \| (.*) \|$", DOCUMENT, re.MULTILINE))
    made: list[topics.Topic] = [_topic(path) for _, path, _ in EXAMPLES]
    for topic in [*made, topics.Echo(client="CLIENT")]:
        generic = topic.path
        words = {
            "ulm-crossing-kwpt": "ID",
            "3.1": "N.K",
            "traffic": "NAME",
            "ws3": "NODE",
            "client-5b1e": "CLIENT",
        }
        for name, word in words.items():
            generic = generic.replace(name, word)
        cells = [cell.strip() for cell in rows.pop(generic).split("|")]
        assert cells[1] == ("no" if topic.travel is Travel.LIVE else "yes")
        assert cells[2] == str(topic.qos)
        assert cells[4] == {Travel.LIVE: "", Travel.OWN: "yes", Travel.SHARED: "no"}[topic.travel]
    assert rows == {}


@pytest.fixture
async def service(broker_factory: BrokerFactory) -> BrokerService:
    """A mosquitto of our own: the lines in the document are about the site `main`."""
    assert shutil.which("mosquitto_sub") is not None
    return broker_factory(BrokerKind.MOSQUITTO)


@pytest.fixture
async def publishing(service: BrokerService) -> AsyncIterator[BrokerService]:
    """Sends all examples again and again while the test runs."""
    exchanges = [(_topic(path), _payload(language, path, text)) for language, path, text in EXAMPLES]

    async def publish_for_ever(session: Session) -> None:
        await session.wait_connected(DEADLINE)
        while True:
            for topic, payload in exchanges:
                session.publish(topic, payload)
            await asyncio.sleep(0.05)

    async with Session(service.url, client_id="examples", jitter=lambda: 0.0) as session:
        task = asyncio.create_task(publish_for_ever(session))
        yield service
        task.cancel()


async def _first_output(command: list[str], url: str) -> str:
    """The first line a program prints; it is ended then. The shell's children go with it."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "WINSLOW_BROKER_URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        async with asyncio.timeout(DEADLINE):
            line = await process.stdout.readline()
            if not line:
                raise AssertionError((await process.stderr.read()).decode())
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()
    return line.decode(errors="replace").rstrip("\n")


def _shell(line: str) -> list[str]:
    # `python3` in a line means one that has msgpack.
    return ["sh", "-c", line.replace("python3 ", f"{shlex.quote(sys.executable)} ")]


@pytest.mark.parametrize("line", LINES)
async def test_a_line_to_paste_shows_something(publishing: BrokerService, line: str) -> None:
    assert line.startswith("mosquitto_sub ")
    output = await _first_output(_shell(line), publishing.url)
    payloads = {path: text for language, path, text in EXAMPLES if language in ("json", "log")}
    if "msgpack" in line:
        assert "'at': 81422.5" in output
    elif "%C" in line:
        log = "winslow/main/projects/ulm-crossing-kwpt/runs/3.1/log"
        assert output.startswith(
            f"{log} application/octet-stream offset:{OFFSET} 2026-03-02T09:15:00.123456789Z"
        )
    elif line.endswith(" -N"):
        assert f"{output}\n" == payloads["projects/ulm-crossing-kwpt/runs/3.1/log"]
    elif line.endswith(" -v"):
        assert output.startswith("winslow/main/")
    else:
        topic, _, payload = output.rpartition(" {") if "%t" in line else ("", "", output.removeprefix("{"))
        assert json.loads("{" + payload) in [
            json.loads(text)
            for path, text in payloads.items()
            if topic in ("", f"winslow/main/{path}") and text[0] == "{"
        ]


async def test_the_program_rings_when_a_run_fails(service: BrokerService) -> None:
    (program,) = PROGRAMS
    async with Session(service.url, client_id="writer", jitter=lambda: 0.0) as session:
        await session.wait_connected(DEADLINE)

        async def fail_for_ever() -> None:
            topic = topics.ProjectState(project="ulm-crossing-kwpt")
            revision = 0
            while True:
                revision += 1
                session.publish(
                    topic,
                    messages.ProjectSummary(
                        id=topic.project, revision=revision, name="Ulm", state="failed", reason="exit code 1"
                    ),
                )
                await asyncio.sleep(0.05)

        task = asyncio.create_task(fail_for_ever())
        output = await _first_output([sys.executable, "-c", program], service.url)
        task.cancel()
    assert output == "\a ulm-crossing-kwpt exit code 1"
