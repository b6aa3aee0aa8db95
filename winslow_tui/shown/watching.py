"""What a few projects do at this moment, from the broker's topics: lines for scripts, a board for a terminal.

The store is asked now and then as well: messages may be lost, the truth is not.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from broker import messages, topics
from broker.session import Received
from winslow import logs, terminal_text
from winslow.config import Config
from winslow.errors import WinslowError
from winslow.project import Project
from winslow_tui.facade import live

LOG_LINES = 8
LOOK_SECONDS = 2.0
STEP_PERCENT = 20.0
_LOGS = "projects/+/runs/+/log"


@dataclass
class _Row:
    """One project as it was last heard of."""

    name: str
    stage: str = ""
    state: str = "new"
    node: str = ""
    phase: str = ""
    percent: float | None = None
    bids: dict[str, str] = field(default_factory=dict)
    bids_of: tuple[int, int] = (0, 0)
    said_percent: float = -STEP_PERCENT


class Board:
    """What is known of some projects. `take` returns sentences about what is new."""

    def __init__(self, projects: Sequence[Project]) -> None:
        self._rows = {project.id: _Row(name=project.name) for project in projects}
        self._log: deque[Text] = deque(maxlen=LOG_LINES)
        self._parsers: dict[topics.Log, tuple[int, logs.RecordParser]] = {}

    def take(self, received: Received) -> list[str]:
        """Learn from one message; of other projects nothing is kept."""
        topic, payload = received.topic, received.payload
        row = self._rows.get(getattr(topic, "project", ""))
        if row is None:
            return []
        match topic, payload:
            case topics.ProjectState(), messages.ProjectSummary():
                return self._state(row, payload)
            case topics.Bid(), messages.BidMessage():
                return self._bid(row, payload)
            case topics.Progress(), messages.Progress():
                return self._progress(row, payload)
            case topics.Log(), messages.LogChunk():
                self._lines(row, topic, payload)
        return []

    def _state(self, row: _Row, summary: messages.ProjectSummary) -> list[str]:
        active = summary.active[0] if summary.active else None
        state = active.state.value.lower() if active else summary.state
        stage, node = (active.stage, active.node) if active else ("", "")
        if (row.state, row.stage, row.node) == (state, stage, node):
            return []
        if stage != row.stage:
            row.percent, row.said_percent = None, -STEP_PERCENT
        row.state, row.stage, row.node = state, stage, node
        where = f" on {node}" if node else ""
        reason = f": {terminal_text.line(summary.reason)}" if summary.reason else ""
        return [f"{row.name:<14} {stage:<8} {state}{where}{reason}"]

    def _bid(self, row: _Row, bid: messages.BidMessage) -> list[str]:
        if (bid.run, bid.attempt) != row.bids_of:
            row.bids_of, row.bids = (bid.run, bid.attempt), {}
        if bid.cost is not None:
            parts = ", ".join(
                f"{terminal_text.line(name)} {value:.2f}" for name, value in bid.parts.items() if value
            )
            text = f"bids {bid.cost:.2f} s" + (f" ({parts})" if parts else "")
        else:
            text = f"{bid.kind}: {terminal_text.line(bid.reason)}" if bid.reason else str(bid.kind)
        if row.bids.get(bid.node) == text:
            return []
        row.bids[bid.node] = text
        return [f"{row.name:<14} run #{bid.run}   {bid.node} {text}"]

    def _progress(self, row: _Row, progress: messages.Progress) -> list[str]:
        row.phase, row.percent = progress.phase.value, progress.percent
        if progress.percent is None or progress.percent < row.said_percent + STEP_PERCENT:
            return []
        row.said_percent = progress.percent
        return [f"{row.name:<14} {row.stage:<8} {progress.phase.value} {progress.percent:.0f} %"]

    def _lines(self, row: _Row, topic: topics.Log, chunk: messages.LogChunk) -> None:
        end, parser = self._parsers.get(topic, (chunk.offset, logs.RecordParser(chunk.offset)))
        if end != chunk.offset:  # a gap: begin anew there
            parser = logs.RecordParser(chunk.offset)
        with suppress(WinslowError):
            for record in parser.feed(chunk.data):
                self._log.append(Text(f"{row.name:<14} {terminal_text.log_line(record.data)}"))
        self._parsers[topic] = (chunk.offset + len(chunk.data), parser)

    def render(self) -> RenderableType:
        """A table of the projects, the bids on what they do, and the last lines of their logs."""
        table = Table(box=None, pad_edge=False)
        for name in ("PROJECT", "STAGE", "STATE", "NODE", "PROGRESS", "BIDS"):
            table.add_column(name)
        for row in self._rows.values():
            filled = round((row.percent or 0.0) / 10)
            bar = (
                f"{'█' * filled}{'░' * (10 - filled)} {row.percent:.0f} %"
                if row.percent is not None
                else row.phase
            )
            bids = "  ".join(f"{terminal_text.line(node)} {text}" for node, text in sorted(row.bids.items()))
            table.add_row(*(Text(each) for each in (row.name, row.stage, row.state, row.node, bar, bids)))
        return Group(table, Text(""), *self._log)


async def watch(
    config: Config,
    board: Board,
    *,
    ended: Callable[[], bool],
    headless: bool,
    say: Callable[[str], None],
    deadline: float,
) -> None:
    """Show the board until `ended()` (asked every two seconds, in a thread) says so.

    Raises WinslowError after `deadline` seconds.
    """
    until = time.monotonic() + deadline
    async with live.session(config) as session:
        await session.wait_connected(live.CONNECT_SECONDS)
        for below in (topics.PROJECT_STATES, topics.BIDS, topics.PROGRESS, _LOGS):
            await session.subscribe(below)

        async def read() -> None:
            async for received in session.messages():
                for sentence in board.take(received):
                    if headless:
                        say(sentence)

        reading = asyncio.create_task(read(), name="messages")
        try:
            with _Display(board, headless):
                while not await asyncio.to_thread(ended):
                    if time.monotonic() > until:
                        raise WinslowError(
                            f"not ended after {deadline:.0f} s", hint="winslow explain says why it waits"
                        )
                    if reading.done():
                        reading.result()
                    await asyncio.sleep(LOOK_SECONDS)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


class _Display:
    """The board on the terminal, four times a second; nothing where only lines are wanted."""

    def __init__(self, board: Board, headless: bool) -> None:
        console = Console(stderr=True)
        shown = not headless and console.is_terminal
        self._live = (
            Live(get_renderable=board.render, console=console, refresh_per_second=4) if shown else None
        )

    def __enter__(self) -> None:
        if self._live is not None:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
