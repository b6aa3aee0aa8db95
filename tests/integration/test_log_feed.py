"""A log on its way from an agent's spool to the screen, over a real broker and a real store that both go away."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broker import topics
from broker.embedded import BrokerKind
from broker.messages import LogChunk
from node_agent.logship import LogShipper
from node_agent.runtime.port import OutputChunk
from tests.conftest import BrokerFactory, StoreFactory
from tests.stored_logs import ATTEMPT, PROJECT, RUN, at
from tests.stores import connected
from winslow.config import BrokerSettings, Config, Settings
from winslow_tui.facade import live
from winslow_tui.facade.client import Client
from winslow_tui.logs.logscan import Scan, Wanted
from winslow_tui.program.logfeed import LogFeed
from winslow_tui.program.sitewatch import SiteWatch

DEADLINE = 120.0


async def until(condition: Callable[[], object], what: str) -> None:
    """Return once something is so."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110  other threads change it
            await asyncio.sleep(0.02)
    assert condition(), what


class Stage:
    """A stage whose output a test gives, line by line."""

    def __init__(self) -> None:
        self.wrote: list[str] = []
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()

    def write(self, *texts: str) -> None:
        """Lines."""
        for text in texts:
            self.wrote.append(text)
            self._queue.put_nowait(text)

    def end(self) -> None:
        """No more."""
        self._queue.put_nowait(None)

    async def output(self) -> AsyncIterator[OutputChunk]:
        """As a runtime gives it."""
        number = 0
        while (text := await self._queue.get()) is not None:
            yield OutputChunk(stream="stdout", time=at(number), data=text.encode(), complete=True)
            number += 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


async def test_every_line_reaches_the_screen_once_though_broker_and_store_go_away(
    broker_factory: BrokerFactory, store_factory: StoreFactory, folder: Path
) -> None:
    broker, service = broker_factory(BrokerKind.MOSQUITTO), store_factory("seaweedfs")
    settings = Settings(site=f"t{secrets.token_hex(4)}", broker=BrokerSettings(url=broker.url))
    config = Config(settings=settings, origins={})
    topic = topics.Log(project=PROJECT, run=RUN, attempt=ATTEMPT)
    stage = Stage()
    with connected(service, read_timeout=5.0) as store, ThreadPoolExecutor(4) as executor:
        watch = SiteWatch(config, Client(config, store=store))
        watch.start()
        feed = LogFeed(store, watch, project=PROJECT, n=RUN, k=ATTEMPT)
        lines = feed.lines
        scan = Scan(lines, Wanted("5$"), start=0)

        def texts() -> list[str]:
            found = [lines.line_of(key) for key in range(lines.lines)]
            feed.wake()
            return [each.data.decode() if each else "?" for each in found]

        try:
            async with (
                live.session(config) as session,
                LogShipper(
                    project=PROJECT,
                    run=RUN,
                    attempt=ATTEMPT,
                    directory=folder,
                    store=store,
                    executor=executor,
                    publish=lambda offset, data: session.publish(topic, LogChunk(offset=offset, data=data)),
                    now=lambda: at(0),
                    monotonic=asyncio.get_running_loop().time,
                ) as shipper,
            ):
                await live.connected(session)
                await until(lambda: watch.broker_up, "the watch is connected")
                shipping = asyncio.create_task(shipper.ship(stage.output()))
                shipper.event("claimed", "claimed by ws1")
                stage.write(*(f"one {number} " + "x" * 500 for number in range(5_000)))
                await until(lambda: lines.lines == 5_000, "lines come while all is well")

                service.stop()
                stage.write(*(f"two {number}" for number in range(500)))
                await until(lambda: lines.lines == 5_500, "lines come live while the store is away")
                feed.changed(ended=False)
                await until(lambda: feed.problem, "that the store is away is said")
                service.start()
                await until(lambda: not feed.problem, "it is noticed that it is back")

                broker.stop()
                stage.write(*(f"three {number} " + "x" * 500 for number in range(3_000)))  # seals a segment
                await until(lambda: lines.lines > 5_500, "lines come from the store while the broker is away")
                broker.start()
                await until(lambda: watch.broker_up and session.connected, "the broker is back")
                stage.write("last 5")
                stage.end()
                await shipping
                await shipper.finish()
                feed.changed(ended=True)
            await until(lambda: lines.lines == len(stage.wrote) and lines.events, "the end")
            await until(lambda: texts() == stage.wrote, "each line once, in order")
            assert lines.events[0].text == "claimed by ws1"
            wanted = [number for number, text in enumerate(stage.wrote) if text.endswith("5")]
            await until(lambda: list(scan.found) == wanted, "what was searched for all the time is found")
        finally:
            scan.stop()
            feed.close()
            watch.close()
