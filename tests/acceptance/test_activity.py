"""`winslow activity` tells of each event once after clients and agents were killed and the broker was away."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import FragileSite
from tests.acceptance.fleet import PATIENCE, Fleet, Stage, waiting_lines
from winslow import lifecycle
from winslow.events import CommentChanged
from winslow.project import RunState

COMMENTS = 70  # more than a document holds


def program(fleet: Fleet, *arguments: str, doom: str = "") -> subprocess.CompletedProcess[str]:
    """`winslow` as a person runs it, or, with `doom`, one that kills itself at that moment."""
    doomed = [sys.executable, "-P", "-m", "tests.acceptance.doomed_client"]
    command = doomed if doom else [str(Path(sys.executable).with_name("winslow"))]
    environment = {
        **os.environ,
        "WINSLOW_CONFIG": str(fleet.folder / "client.toml"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "DOOM": doom,
    }
    return subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE
    )


def test_each_event_stands_there_once_whoever_was_killed_or_away(fragile_broker: FragileSite) -> None:
    fleet, broker = fragile_broker.fleet, fragile_broker.broker
    agent = fleet.agent(runtime="process").start().online()
    project = fleet.project(Stage("true"), Stage(waiting_lines(3, 3)[0], "two"))
    assert program(fleet, "start", project, doom="after run_queued").returncode == -signal.SIGKILL
    fleet.client.runs.pause(project)  # of which the agent hears
    fleet.client.runs.resume(project)
    fleet.wait_state(project, RunState.RUNNING, n=2)
    broker.kill()
    agent.kill()
    for number in range(COMMENTS):  # by a client that dies each time before it can tell anybody
        event = CommentChanged(id=secrets.token_hex(8), by="ghost", comment=str(number))
        fleet.client.documents.update(project, event, apply=lifecycle.apply)
    assert program(fleet, "project", "rename", project, "Other").returncode == 0
    broker.start()
    fleet.go(project)
    agent.start_doomed("after exited")
    agent.start()
    document = fleet.wait_idle(project)
    told: list[dict[str, Any]] = json.loads(program(fleet, "activity", "-n", "1000", "-o", "json").stdout)
    own = [each for each in told if each["id"] == project]
    assert [each["place"] for each in own] == list(range(1, document.revision + 1))
    kinds = Counter(each["kind"] for each in own)
    assert kinds == {
        "created": 1, "run_queued": 1, "paused": 1, "unpaused": 1, "renamed": 1, "comment_changed": COMMENTS,
        "claimed": 2, "started": 2, "exited": 2, "ended": 2,
    }  # fmt: skip
    assert [(each["run"], each["attempt"], each["by"]) for each in own if each["kind"] == "ended"] == [
        (1, 1, "ws1"), (2, 1, "ws1"),
    ]  # fmt: skip
    assert [each["kind"] for each in told if each["id"] != project] == ["pipeline_applied"]
    fleet.assert_clean()  # of the first run, too, which the agent may not have cleaned up after when it was killed
