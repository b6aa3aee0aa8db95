"""Whatever stands in documents, messages, logs and files: no command prints a character on which a terminal acts."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from broker import topics
from broker.session import Received
from tests import hostile, screens
from tests.hostile import Texts
from winslow.config import Config
from winslow.metrics import NodeHistory
from winslow.node import NodeState
from winslow_tui.cli import main
from winslow_tui.cli.commands import app

ULM, FAILED, ASKS = screens.ULM, "test-e5kd", "b10-night-d2aa"
SHOW = (
    "project list", f"project show {ULM}", f"project env {ULM}", f"runs {ULM}", f"runs {ULM} 1", f"runs {ULM} 2",
    f"runs {FAILED} 1", f"diff {ULM} 1 2", f"logs {ULM} 3", f"explain {ULM}", "explain a8-ramp-c9xw",
    f"queue list {ULM}", "activity", f"activity --project {ULM}", "pipeline list", "pipeline show traffic",
    "pipeline history traffic", "pipeline diff traffic", f"pipeline diff traffic --project {ULM}", "node list",
    "node show ws2", "files ls res:", f"files ls {ULM}#2:",
)  # fmt: skip
"""Commands that print what others wrote."""

CHANGE = (
    f"prune {ULM} --dry-run", f"prune {ULM} 2", f"wait {FAILED} --for failed", f"start {FAILED} --stage nothing",
    f"abort {FAILED}", f"abort {ULM}", f"pause {ULM}", f"resume {ULM}", f"redo {ULM} 2", f"pin {ULM} 2",
    f"unpin {ULM} 2", f"answer {ASKS} THRESHOLD=1", f"confirm {ASKS}", f"project tag {ULM} new",
    f"project participants {ULM} ben", f"project priority {ULM} 3", f"project comment {ULM} short",
    f"project retention {ULM} --keep-last 3", f"project set-pipeline {ULM} hello --yes",
    f"project update-pipeline {ULM} --yes", f"project clone {ULM} again", f"project archive {FAILED}",
    "project create new --pipeline traffic", f"project rename {ULM} other", f"project delete {FAILED} --yes",
    f"queue add {ULM} --stage detect", f"queue move {ULM} 1 2", f"queue rm {ULM} 1", "node drain ws2",
    "node undrain ws2", "node label ws2 fast", "node forget ws4 --yes", "files rm res:readme.txt",
    "files mv res:readme.txt res:notes/",
    f"files restore {ULM}", "pipeline delete hello", "pipeline check nowhere.yaml", "pipeline apply nowhere.yaml",
)  # fmt: skip
"""Commands that change something or are refused, with a sentence."""

ELSEWHERE = {
    "agent", "up", "demo", "watch", "info", "keys", "pipeline schema", "pipeline edit", "project edit", "files get",
    "files put", "node local files",
}  # fmt: skip
"""What runs until it is stopped, needs another program, or prints nothing that others wrote."""


@given(st.lists(hostile.TEXTS, min_size=60, max_size=60, unique=True))
@settings(max_examples=1, deadline=None, phases=[Phase.generate], database=None)  # it holds a hundred texts
def test_no_command_lets_a_text_act(texts: list[str]) -> None:
    make = Texts([*hostile.KNOWN, *texts])
    site = hostile.site(make)
    seen: set[str] = set()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        _connect(patch, site, Path(folder))
        for line in (*SHOW, *CHANGE):
            printed = _printed(line.split())
            for text in printed.split("\n"):
                assert not set(hostile.acting(text)) - {"\t"}, f"{line}: {text!r}"
                assert not Texts.eaten(text), f"{line}: {text!r}"
            seen |= Texts.seen(printed)
            assert "Usage: " not in printed, f"{line}: {printed}"
            assert Texts.seen(printed) or line in CHANGE, f"{line}: none of the texts was printed:\n{printed}"
    assert len(seen) > 100


def test_every_command_is_looked_at() -> None:
    for name in _names(typer.main.get_command(app)):
        assert name in ELSEWHERE or any(f"{line} ".startswith(f"{name} ") for line in (*SHOW, *CHANGE)), name


def _names(command: Any, above: str = "") -> Iterator[str]:
    below = getattr(command, "commands", None)
    if below is None:
        yield above
    for name, each in (below or {}).items():
        yield from _names(each, f"{above} {name}".strip())


def _connect(patch: pytest.MonkeyPatch, site: screens.Site, folder: Path) -> None:
    """Let commands find the site instead of a store and a broker."""

    nodes = site.nodes | {"ws2": site.nodes["ws2"].model_copy(update={"node": "ws2"})}  # one can be named

    def retained(_config: Config, *filters: str) -> list[Received]:
        told: list[tuple[topics.Topic, NodeState | NodeHistory]] = [
            *((topics.NodeState(node=name), state) for name, state in nodes.items()),
            *((topics.NodeHistory(node=name), history) for name, history in site.histories.items()),
        ]
        return [
            Received(topic=topic, payload=payload, retained=True)
            for topic, payload in told
            if any(topics.matches(below, topic.path) for below in filters)
        ]

    patch.setenv("XDG_CONFIG_HOME", str(folder))
    patch.delenv("WINSLOW_CONFIG", raising=False)
    patch.setenv("WINSLOW_STORE_URL", "http://store.example:9000/winslow")
    patch.setenv("WINSLOW_BROKER_URL", "mqtt://127.0.0.1:1")
    patch.setattr("winslow.store.s3.S3Store", lambda _config, **_: site.store)
    patch.setattr("winslow_tui.facade.live.retained", retained)
    for tells in ("answer", "publish", "clear"):
        patch.setattr(f"winslow_tui.facade.live.{tells}", lambda *_: None)


def _printed(arguments: list[str]) -> str:
    """Both streams of a command."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        main.run(arguments)
    return out.getvalue()
