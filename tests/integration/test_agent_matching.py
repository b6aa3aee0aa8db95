"""The program that searches a stage's log: what its agent does when it dies, or takes too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from node_agent import matching as module
from node_agent import patterns
from node_agent.held import Held
from node_agent.matching import Matching, matching
from tests.services.waiting import wait_until
from winslow.logs import Record, encode
from winslow.pipeline import StageDefinition

DEADLINE = 60.0
LINES = b"".join(
    encode(Record(time="2026-01-01T00:00:00.000000000Z", stream="stdout", complete=True, data=data))
    for data in (b"fine", b"at 40", b"ERROR: x", b"at 60")
)


class Stage:
    """As much of an attempt as a search needs: a log on disk, and who is told."""

    def __init__(self, folder: Path, **definition: object) -> None:
        self.spool = folder / "output.log"
        self.spool.write_bytes(b"")
        self.events: list[tuple[str, str]] = []
        stage = StageDefinition.model_validate({"name": "one", "image": "x:1", **definition})
        self.shipper = SimpleNamespace(path=self.spool, size=0, grew=lambda size: None)
        self.telling = SimpleNamespace(
            shipper=self.shipper, percent=None, own_progress=False, event=self._event, at=self._at
        )
        self.run = SimpleNamespace(stage=stage)
        self.journal = SimpleNamespace(name="p 1.1", matched="")

    def _event(self, kind: str, text: str) -> None:
        self.events.append((kind, text))

    def _at(self, percent: float) -> None:
        self.telling.percent = percent

    async def note(self, *, matched: str) -> None:
        self.journal.matched = matched

    def write(self, data: bytes) -> None:
        with self.spool.open("ab") as file:
            file.write(data)
        self.shipper.size += len(data)
        self.shipper.grew(self.shipper.size)

    @property
    def held(self) -> Held:
        return cast(Held, self)


async def _until(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_until, condition, seconds=DEADLINE)


def _searching() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE and any("patterns.py" in part for part in child.cmdline())
    ]


async def _finished(search: Matching | None) -> None:
    assert search is not None
    async with asyncio.timeout(DEADLINE):
        await search.finish()


async def test_a_log_is_searched_while_it_grows(tmp_path: Path) -> None:
    stage = Stage(tmp_path, fail_on=["^ERROR"], progress=r"at (\d+)")
    async with matching(stage.held) as search:
        stage.write(LINES)
        await _until(lambda: stage.journal.matched)
        assert stage.telling.percent == 60
        stage.write(LINES.replace(b"60", b"70"))
        await _finished(search)
        assert stage.telling.percent == 70
    assert stage.events == [("matched", "wrote 'ERROR: x' (fail_on '^ERROR')")]
    assert not _searching()


async def test_a_stage_without_patterns_costs_nothing(tmp_path: Path) -> None:
    async with matching(Stage(tmp_path).held) as search:
        assert search is None
        assert not _searching()


async def test_a_search_that_is_killed_begins_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path, fail_on=["^ERROR"])
    async with matching(stage.held) as search:
        stage.write(LINES[: LINES.index(b"\n") + 1])
        await _until(_searching)
        for child in _searching():
            child.kill()
        stage.write(LINES[LINES.index(b"\n") + 1 :])
        await _finished(search)
    assert stage.journal.matched == "wrote 'ERROR: x' (fail_on '^ERROR')"


async def test_a_program_that_only_dies_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "patterns.py"
    broken.write_text("raise SystemExit(1)")
    monkeypatch.setattr(patterns, "__file__", str(broken))
    stage = Stage(tmp_path, fail_on=["^ERROR"])
    async with matching(stage.held) as search:
        stage.write(LINES)
        await _finished(search)
    said = "the program that searches the log ended by itself; the log is not searched any more"
    assert stage.events == [("patterns", said)]


async def test_the_end_of_a_stage_does_not_wait_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "patterns.py"
    slow.write_text("import sys, time\ntime.sleep(1000)")
    monkeypatch.setattr(patterns, "__file__", str(slow))
    monkeypatch.setattr(module, "FINISH_SECONDS", 0.1)
    stage = Stage(tmp_path, fail_on=["^ERROR"])
    async with matching(stage.held) as search:
        stage.write(LINES)
        await _finished(search)
    text = f"only 0 of {len(LINES)} bytes of the log were searched in time"
    assert cast(Any, stage.events) == [("patterns", text)]
    assert not _searching()
