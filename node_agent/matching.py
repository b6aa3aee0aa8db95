"""A stage's own patterns, `fail_on` and `progress`, looked for in its log while it is written.

The log on the node's disk is what is looked at, by a process of its own (`patterns.py` says why), so that
neither the stage nor the log ever waits for it; an agent that starts over looks at all of it again. What is
beyond the log's cap is not looked at.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from node_agent import patterns
from node_agent.held import Held
from node_agent.outcome import pattern_sentence

FINISH_SECONDS = 60.0
"""How long the end of a stage waits for the end of its log to be looked at."""

_TRIES = 3
_EVENT = "patterns"


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)

    upto: int
    found: tuple[int, str] | None
    percent: float | None
    slow: tuple[int, ...]
    dropped: tuple[bool, ...]


@asynccontextmanager
async def matching(held: Held) -> AsyncIterator[Matching | None]:
    """Look for the stage's patterns inside of the context; None where it has none."""
    stage = held.run.stage
    if not stage.fail_on and not stage.progress:
        yield None
        return
    matching = Matching(held)
    held.telling.own_progress = bool(stage.progress)
    held.telling.shipper.grew = matching.grew
    task = asyncio.create_task(matching.run(), name=f"patterns {held.journal.name}")
    try:
        yield matching
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Matching:
    """One attempt's patterns, for one life of an agent; made by `matching`."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._stage = held.run.stage
        self._spool = held.telling.shipper.path
        self._size = held.telling.shipper.size
        self._upto = 0
        self._last = False
        self._wanted = asyncio.Event()
        self._answered = asyncio.Event()
        self._given_up: tuple[bool, ...] = ()

    def grew(self, size: int) -> None:
        """The log has so many bytes on the disk."""
        self._size = size
        self._wanted.set()

    async def finish(self) -> None:
        """Return when all of the log was looked at, or that took too long, which the run's events then say."""
        self._last = True
        self._wanted.set()
        try:
            async with asyncio.timeout(FINISH_SECONDS):
                await self._answered.wait()
        except TimeoutError:
            self._say(f"only {self._upto} of {self._size} bytes of the log were searched in time")

    async def run(self) -> None:
        """Look until cancelled."""
        for _ in range(_TRIES):
            if await self._look():
                break
        else:
            self._say("the program that searches the log ended by itself; the log is not searched any more")
        self._answered.set()

    async def _look(self) -> bool:
        """Ask one process; True when all was looked at, False when it ended too early, or cannot be had."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                str(Path(patterns.__file__)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError:
            return False
        assert process.stdin is not None and process.stdout is not None
        try:
            return await self._ask(process.stdin, process.stdout)
        finally:
            process.stdin.close()
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _ask(self, questions: asyncio.StreamWriter, answers: asyncio.StreamReader) -> bool:
        stage = self._stage
        begin = {"spool": str(self._spool), "fail_on": stage.fail_on, "progress": stage.progress}
        questions.write(json.dumps(begin).encode() + b"\n")
        self._wanted.set()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            last = self._last
            questions.write(f"{self._size}{' last' if last else ''}\n".encode())
            line = await answers.readline()
            if not line:
                return False
            await self._take(_Answer.model_validate_json(line))
            if last:
                return True

    async def _take(self, answer: _Answer) -> None:
        held, names = self._held, self._names()
        self._upto = answer.upto
        for number, dropped in enumerate(answer.dropped):
            if dropped and not (self._given_up and self._given_up[number]):
                self._say(f"{names[number]} is given up: {answer.slow[number]} lines took it too long")
        self._given_up = answer.dropped
        if answer.percent is not None and answer.percent != held.telling.percent:
            held.telling.at(answer.percent)
        if answer.found is not None and not held.journal.matched:
            number, line = answer.found
            sentence = pattern_sentence(line.encode("latin-1"), self._stage.fail_on[number])
            held.telling.event("matched", sentence)
            await held.note(matched=sentence)

    def _names(self) -> list[str]:
        stage = self._stage
        return [*(f"fail_on '{pattern}'" for pattern in stage.fail_on), f"progress '{stage.progress}'"]

    def _say(self, text: str) -> None:
        self._held.telling.event(_EVENT, text)
