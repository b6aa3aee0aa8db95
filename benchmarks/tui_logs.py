"""Reading logs in the full-screen program, with a real store and broker: how long a person waits, and what it takes.

    python benchmarks/tui_logs.py [--lines N] [--rate LINES] [--seconds S]

A log of 1,000,000 lines (200 MB) is opened at its end and its start, and searched for a rare word; then it
grows by 20,000 lines a second, sent by another, niced process, while it is followed and while it is not.
Stalls of the event loop are measured inside. Ends with 1 where one of the limits is not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from textual.pilot import Pilot

from broker.embedded import EmbeddedBroker
from broker.messages import LogChunk
from broker.topics import Log
from winslow import lifecycle
from winslow.config import BrokerSettings, Config, Settings, StoreSettings
from winslow.events import Claimed, Event, RunQueued, Started
from winslow.logs import Segment
from winslow.pipeline import parse
from winslow.project import Project
from winslow.store import layout
from winslow.store.embedded import EmbeddedStore
from winslow_tui import live
from winslow_tui.app import WinslowApp
from winslow_tui.client import Client
from winslow_tui.screens.logpane import LogPane
from winslow_tui.surroundings import Surroundings

PROJECT = "bench-aaaa"
SEGMENT_BYTES = 1 << 20
RARE = "needle-in-a-haystack"
BATCH_SECONDS = 0.05
_PIPELINE = "name: bench\nstages: [{name: work, image: img}]\n"
_REST = " of many frames, each with some more words so that a line has about two hundred bytes, as they have in life"


def record(number: int, text: str = "frame") -> bytes:
    """A line of the archive, of 200 bytes."""
    seconds, rest = divmod(number, 1000)
    hours, minutes = divmod(seconds // 60, 60)
    time_ = f"2026-06-12T{hours % 24:02}:{minutes:02}:{seconds % 60:02}.{rest:03}000000Z"
    return f"{time_} stdout F {text} {number}{_REST}".ljust(199).encode() + b"\n"


@dataclass
class Row:
    """One measured value and its limit; 0: none."""

    name: str
    value: float
    unit: str
    limit: float = 0.0

    @property
    def kept(self) -> bool:
        return not self.limit or self.value <= self.limit

    def __str__(self) -> str:
        limit = f"at most {self.limit:g}" if self.limit else ""
        return f"{self.name:<44} {self.value:9.1f} {self.unit:<8} {limit}{'' if self.kept else '  NOT KEPT'}"


@contextmanager
def servers(folder: Path) -> Iterator[Config]:
    """A store and a broker that end with this program, and how to reach them."""
    keys = secrets.token_hex(8), secrets.token_hex(16)
    store = EmbeddedStore(folder / "store", access_key=keys[0], secret_key=keys[1], bucket="bench")
    broker = EmbeddedBroker(folder / "broker")
    store.start()
    try:
        broker.start()
        try:
            yield Config(
                settings=Settings(
                    broker=BrokerSettings(url=f"mqtt://127.0.0.1:{broker.port}"),
                    store=StoreSettings(
                        url=f"http://127.0.0.1:{store.port}/bench", access_key=keys[0], secret_key=keys[1]
                    ),
                ),
                origins={},
            )
        finally:
            broker.stop()
    finally:
        store.stop()


def fill(client: Client, lines: int) -> int:
    """A project with a run whose log has so many lines; its bytes."""
    project: Project = lifecycle.create(
        id=PROJECT, event_id="0", name="bench", pipeline=parse(_PIPELINE, source="bench"), source_revision=1
    )
    events: tuple[Event, ...] = (
        RunQueued(id="1"),
        Claimed(id="2", n=1, k=1, claim="c", node="ws1", node_uuid="u"),
        Started(id="3", n=1, k=1, claim="c"),
    )
    for event in events:
        changed = lifecycle.apply(project, event)
        assert isinstance(changed, Project)
        project = changed
    client.documents.create(project)
    rare = {lines // 7, lines // 2}
    segment, data, written = Segment(0, 0), bytearray(), 0
    for number in range(lines):
        data += record(number, RARE if number in rare else "frame")
        if len(data) >= SEGMENT_BYTES or number == lines - 1:
            key = layout.log_segment(
                PROJECT, 1, 1, first_byte=segment.first_byte, first_line=segment.first_line
            )
            client.store.put(key, bytes(data))
            written += len(data)
            segment, data = Segment(written, number + 1), bytearray()
    return written


@dataclass
class Stalls:
    """How much later than asked for the event loop came back, in milliseconds."""

    late: list[float] = field(default_factory=list)

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(0.002)
            self.late.append((time.perf_counter() - begun - 0.002) * 1000)

    def take(self, share: float) -> float:
        """The value that so great a share stays below."""
        ordered = sorted(self.late)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Bench:
    """One program, driven by its keys."""

    def __init__(self, pilot: Pilot[Any], app: WinslowApp) -> None:
        self._pilot = pilot
        self._app = app
        self.paints = 0
        inner = app._display

        def display(*given: Any) -> None:
            self.paints += 1
            inner(*given)

        app._display = display  # type: ignore[method-assign,assignment]

    @property
    def pane(self) -> LogPane:
        """The log."""
        return self._app.screen.query_one(LogPane)

    def texts(self) -> list[str]:
        """What the view shows; what is still to come is a dot."""
        return [strip.text.strip() for _, _, strip in self.pane.view._shown()]

    async def until(self, condition: Callable[[], object], seconds: float = 60.0) -> float:
        """Seconds until something is so."""
        begun = time.perf_counter()
        while not condition():
            await asyncio.sleep(0.005)
            if time.perf_counter() - begun > seconds:
                raise TimeoutError("\n".join(self.texts()))
        return time.perf_counter() - begun

    def shows(self, first: str) -> bool:
        """Whether the whole screen is there, and a text in it."""
        texts = self.texts()
        return bool(texts) and "…" not in texts and any(first in text for text in texts)

    async def read(self, lines: int) -> list[Row]:
        """Opening and searching."""
        self._app.open_project(PROJECT)
        opened = await self.until(
            lambda: self._app.screen.query("#lines") and self.shows(f"frame {lines - 1} ")
        )
        begun = time.perf_counter()
        await self._pilot.press("enter", "g")
        start = time.perf_counter() - begun + await self.until(lambda: self.shows("frame 0 "))
        stalls = Stalls()
        watching = asyncio.create_task(stalls.watch())
        begun = time.perf_counter()
        self.pane._look_for(RARE)
        search = self.pane._search
        assert search is not None
        first = await self.until(lambda: self.pane.view.marked is not None)
        through = first + await self.until(lambda: search.complete)
        found = len(search.found)
        await self._pilot.press("escape")
        self.pane._look_for("[a-z]+ 9[0-9]*77 ")
        other = self.pane._search
        assert other is not None
        await asyncio.sleep(0.3)
        begun = time.perf_counter()
        await self._pilot.press("escape")
        await self.until(lambda: not other._thread.is_alive())
        cancelled = time.perf_counter() - begun
        watching.cancel()
        assert found == 2
        return [
            Row("opened at its end, from the list", opened * 1000, "ms", 1000),
            Row("from there to its start", start * 1000, "ms", 1000),
            Row("a rare word, first found", first * 1000, "ms", 2000),
            Row("a rare word, all of the log searched", through * 1000, "ms", 2000),
            Row("a search ended by escape", cancelled * 1000, "ms", 500),
            Row("stall while searching, p99.9", stalls.take(0.999), "ms", 50),
            Row("stall while searching, largest", stalls.take(1.0), "ms"),
        ]

    async def follow(self, seconds: float, name: str) -> list[Row]:
        """While lines come."""
        lines = self.pane._feed.lines if self.pane._feed else None
        assert lines is not None
        stalls, paints, before = Stalls(), self.paints, lines.lines
        watching = asyncio.create_task(stalls.watch())
        begun = time.perf_counter()
        await asyncio.sleep(seconds)
        lasted = time.perf_counter() - begun
        watching.cancel()
        return [
            Row(f"{name}: lines taken", (lines.lines - before) / lasted, "a second"),
            Row(f"{name}: paints", (self.paints - paints) / lasted, "a second", 12),
            Row(f"{name}: stall p99.9", stalls.take(0.999), "ms", 50),
            Row(f"{name}: stall, largest", stalls.take(1.0), "ms"),
        ]


async def send(config: Config, offset: int, first: int, rate: int, seconds: float) -> None:
    """Lines on their way as an agent sends them; the other process."""
    os.nice(10)
    topic, each = Log(project=PROJECT, run=1, attempt=1), int(rate * BATCH_SECONDS)
    async with live.session(config) as session:
        await live.connected(session)
        begun = time.monotonic()
        for turn in itertools.count():
            if turn * BATCH_SECONDS > seconds:
                break
            data = b"".join(record(first + turn * each + number) for number in range(each))
            for start in range(0, len(data), 64_000):
                session.publish(topic, LogChunk(offset=offset + start, data=data[start : start + 64_000]))
            offset += len(data)
            await asyncio.sleep(max(0.0, begun + (turn + 1) * BATCH_SECONDS - time.monotonic()))
        await session.flush(10.0)


async def measure(config: Config, folder: Path, size: int, given: argparse.Namespace) -> list[Row]:
    """All of it."""
    gc.freeze()  # as `winslow` does
    app = WinslowApp(lambda: config, around=Surroundings(state=folder))
    process = psutil.Process()
    async with app.run_test(size=(140, 45)) as pilot:
        bench = Bench(pilot, app)
        await bench.until(lambda: app.site.broker.up and app.site.store.up)
        before = process.memory_info().rss
        rows = await bench.read(given.lines)
        settings = config.settings
        seconds = 2 * given.seconds + 4
        sender = await asyncio.create_subprocess_exec(
                sys.executable, __file__, "--send", settings.broker.url, "--offset", str(size),
                "--lines", str(given.lines), "--rate", str(given.rate), "--seconds", str(seconds),
        )  # fmt: skip
        try:
            await pilot.press("G")
            lines = bench.pane._feed.lines if bench.pane._feed else None
            assert lines is not None
            await bench.until(lambda: lines.lines > given.lines)
            rows += await bench.follow(given.seconds, "following")
            await pilot.press("g")
            await bench.until(lambda: bench.shows("frame 0 "))
            rows += await bench.follow(given.seconds, "reading its start")
        finally:
            sender.kill()
            await sender.wait()
        after = process.memory_info().rss
        rows += [
            Row("memory, of the whole program", after / 1e6, "MB", 250),
            Row("of it for the log", (after - before) / 1e6, "MB"),
        ]
        await pilot.press("q")
    return rows


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--send", default="", help=argparse.SUPPRESS)
    parser.add_argument("--offset", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.send:
        config = Config(settings=Settings(broker=BrokerSettings(url=given.send)), origins={})
        asyncio.run(send(config, given.offset, given.lines, given.rate, given.seconds))
        return 0
    with tempfile.TemporaryDirectory(prefix="winslow-bench-") as name, servers(Path(name)) as config:
        size = fill(Client(config), given.lines)
        print(f"{given.lines:,} lines, {size / 1e6:.0f} MB; then {given.rate:,} lines a second")
        rows = asyncio.run(measure(config, Path(name) / "state", size, given))
    print("\n".join(map(str, rows)))
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
