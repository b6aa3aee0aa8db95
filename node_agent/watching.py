"""From the start of a stage to the end of all its processes; also where an earlier agent started it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from broker.messages import Phase
from node_agent.held import Displaced, Held
from node_agent.journal import Step, sync_filesystem
from node_agent.runtime.port import ContainerStatus, RuntimeFailure
from winslow.metrics import ContainerSample
from winslow.project import Peak

STOP_GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL for an aborted stage, as `docker stop` gives."""

USAGE_SECONDS = 2.0


async def watch(held: Held) -> None:
    """Return when the exit stands in the journal and in the document, and all output is on disk.

    Raises Displaced, also after the container was lost.
    """
    await _Watch(held).run()


async def make_up(held: Held) -> None:
    """An earlier agent wrote the exit down; the document and the log may not have all of it yet."""
    await held.tell_started()
    await held.tell_exited()
    if await held.gone(held.journal.container):
        held.telling.event("log", "the container is gone: the end of its log may be missing")
        return
    await held.ship(held.journal.container)


class _Watch:
    def __init__(self, held: Held) -> None:
        self._held = held
        self._container = held.journal.container
        self._peak = held.journal.peak

    async def run(self) -> None:
        held, container = self._held, self._container
        tools, journal = held.tools, held.journal
        if await held.gone(container):
            await held.lose(f"its container is gone from node {tools.node}")
        if journal.boot_id != tools.boot_id:
            await held.lose(f"node {tools.node} was rebooted")
        held.telling.enter(Phase.RUN)
        shipping = asyncio.create_task(held.ship(container), name=f"log {journal.name}")
        measuring = asyncio.create_task(self._measure(), name=f"usage {journal.name}")
        telling = asyncio.create_task(held.tell_started(), name=f"started {journal.name}")
        try:
            status = await self._ended(telling)
            held.telling.event(
                "exited", f"exit code {status.exit_code}" + (" (out of memory)" if status.oom else "")
            )
            # What the stage wrote must outlive a power cut before the exit does (design 6).
            await held.blocking(lambda: sync_filesystem(tools.spools.parent))
            await held.record(
                Step.EXITED,
                exit_code=status.exit_code,
                oom=status.oom,
                peak=self._peak,
                detail=status.error,
            )
            await telling
            await held.tell_exited()
            await shipping
        except RuntimeFailure:
            if not await held.gone(container):
                raise
            await held.lose(f"its container was removed from node {tools.node}")
        except Displaced:
            await held.engine(lambda: tools.runtime.stop(container, grace=0.0))
            raise
        finally:
            for task in (measuring, telling, shipping):
                task.cancel()
            await asyncio.gather(measuring, telling, shipping, return_exceptions=True)

    async def _ended(self, telling: asyncio.Task[None]) -> ContainerStatus:
        held, runtime, container = self._held, self._held.tools.runtime, self._container
        waiting = asyncio.create_task(held.engine(lambda: runtime.wait(container)), name="wait")
        stopped = False
        try:
            while True:
                watched: set[asyncio.Task[Any]] = {waiting, asyncio.create_task(held.displaced.wait())}
                if not stopped:
                    watched.add(asyncio.create_task(held.abort.wait()))
                if not telling.done():
                    watched.add(telling)
                done, pending = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                for task in pending - {waiting, telling}:
                    task.cancel()
                if waiting in done:
                    return waiting.result()
                if telling in done:
                    telling.result()
                if held.displaced.is_set():
                    raise Displaced
                if held.abort.is_set() and not stopped:
                    stopped = True
                    held.telling.event("aborting", "stopping: SIGTERM, after 10 s SIGKILL")
                    await held.engine(lambda: runtime.stop(container, grace=STOP_GRACE))
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def _measure(self) -> None:
        held, tools = self._held, self._held.tools
        requires = held.run.stage.requires
        last: tuple[float, int, int, int, int] | None = None
        while True:
            with suppress(RuntimeFailure):
                usage = await tools.runtime.usage(self._container)
                if usage is not None:
                    now = tools.clock.monotonic()
                    counters = (now, usage.read_bytes, usage.written_bytes, usage.net_in, usage.net_out)
                    rates = [0.0] * 4
                    if last is not None and now > last[0]:
                        rates = [
                            max(0.0, (b - a) / (now - last[0]))
                            for a, b in zip(last[1:], counters[1:], strict=True)
                        ]
                    last = counters
                    self._peak = Peak(
                        memory=max(self._peak.memory, usage.memory), cpus=max(self._peak.cpus, usage.cpus)
                    )
                    held.telling.used(
                        ContainerSample(
                            at=now,
                            cpus=usage.cpus,
                            memory=usage.memory,
                            memory_limit=requires.memory,
                            read_rate=rates[0],
                            write_rate=rates[1],
                            net_in=rates[2],
                            net_out=rates[3],
                            processes=usage.processes,
                        )
                    )
            await asyncio.sleep(USAGE_SECONDS)
