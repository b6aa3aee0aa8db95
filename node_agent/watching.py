"""From the start of a stage to the end of all its processes; also where an earlier agent started it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from broker.messages import Phase
from node_agent import limits
from node_agent.held import Displaced, Held
from node_agent.journal import Step, sync_filesystem
from node_agent.matching import matching
from node_agent.measuring import Measuring, pauses
from node_agent.outcome import stop_sentence
from node_agent.runtime.port import ContainerStatus, RuntimeFailure
from winslow.project import Peak, Reason

PEAK_SECONDS = (
    30.0  # between two notes of a new peak, so that an agent that is killed takes little of it along
)


async def watch(held: Held, *, seen: bool) -> None:
    """Return when the exit stands in the journal and in the document, and all output is on disk. `seen`: the
    container was there just now.

    Raises Displaced, also after the container was lost.
    """
    async with matching(held) as lines:
        await _Watch(held).run(seen=seen)
        if lines is not None:
            await lines.finish()


async def make_up(held: Held) -> None:
    """An earlier agent wrote the exit down; the document and the log may not have all of it yet."""
    await held.tell_started()
    await held.tell_exited(held.journal.exit_code)
    async with matching(held) as lines:
        if await held.gone(held.journal.container):
            held.telling.event("log", "the container is gone: the end of its log may be missing")
        else:
            await held.ship(held.journal.container)
        if lines is not None:
            await lines.finish()


class _Watch:
    def __init__(self, held: Held) -> None:
        self._held = held
        self._container = held.journal.container
        self._peak = held.journal.peak

    async def run(self, *, seen: bool) -> None:
        held, container = self._held, self._container
        tools, journal = held.tools, held.journal
        if not seen and await held.gone(container):
            await held.lose(f"its container is gone from node {tools.node}")
        if journal.boot_id != tools.boot_id:
            await held.lose(f"node {tools.node} was rebooted")
        held.telling.enter(Phase.RUN)
        shipping = asyncio.create_task(held.ship(container), name=f"log {journal.name}")
        measuring = asyncio.create_task(self._measure(), name=f"usage {journal.name}")
        telling = asyncio.create_task(held.tell_started(), name=f"started {journal.name}")
        tasks = [shipping, measuring, telling]
        try:
            status = await self._ended(telling)
            held.telling.event(
                "exited", f"exit code {status.exit_code}" + (" (out of memory)" if status.oom else "")
            )
            told = asyncio.create_task(self._tell_end(telling, status), name=f"exited {journal.name}")
            tasks.append(told)
            # What the stage wrote must outlive a power cut before the exit does (design 6).
            await held.blocking(lambda: sync_filesystem(tools.spools.parent))
            await held.record(
                Step.EXITED,
                exit_code=status.exit_code,
                oom=status.oom,
                peak=self._peak_of(status),
                detail=held.journal.detail or status.error,
            )
            await told
            await shipping
        except RuntimeFailure:
            if not await held.gone(container):
                raise
            await held.lose(f"its container was removed from node {tools.node}")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if held.journal.step is Step.STARTED:  # it may go on under another number
                held.journal = held.journal.model_copy(update={"peak": self._peak})

    async def _tell_end(self, telling: asyncio.Task[None], status: ContainerStatus) -> None:
        await telling
        await self._held.tell_exited(status.exit_code)

    async def _ended(self, telling: asyncio.Task[None]) -> ContainerStatus:
        """Wait for the end, and bring it about where a person or a limit wants that. Raises Displaced."""
        held, runtime, container = self._held, self._held.tools.runtime, self._container
        waiting = asyncio.create_task(held.engine(lambda: runtime.wait(container)), name="wait")
        displaced = asyncio.create_task(held.displaced.wait(), name="displaced")
        unwanted = asyncio.create_task(self._unwanted(), name="unwanted")
        watched: set[asyncio.Task[Any]] = {waiting, displaced, unwanted, telling}
        try:
            while True:
                done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                if waiting in done:
                    return waiting.result()
                if displaced in done:
                    raise Displaced
                for task in done:
                    task.result()
        finally:
            for task in (waiting, displaced, unwanted):
                task.cancel()
            await asyncio.gather(waiting, displaced, unwanted, return_exceptions=True)

    async def _unwanted(self) -> None:
        """Stop the stage when a person aborts it or a limit is reached: by an earlier agent's decision, too.
        The grace is an agent's: the next one gives all of it again."""
        held, runtime, container = self._held, self._held.tools.runtime, self._container
        grace = held.run.stage.stop_grace
        if held.journal.reason is None:
            aborted = asyncio.create_task(held.abort.wait(), name="abort")
            limited = asyncio.create_task(limits.reached(held), name="limits")
            try:
                await asyncio.wait({aborted, limited}, return_when=asyncio.FIRST_COMPLETED)
                if not aborted.done():
                    limit = limited.result()
                    held.telling.event(limit.reason.value, limit.detail)
                    await held.note(reason=limit.reason, detail=limit.detail)
            finally:
                for task in (aborted, limited):
                    task.cancel()
                await asyncio.gather(aborted, limited, return_exceptions=True)
        reason = held.journal.reason or Reason.ABORTED
        held.telling.event("aborting" if reason is Reason.ABORTED else "stopping", stop_sentence(grace))
        await held.engine(lambda: runtime.stop(container, grace=grace))

    async def _measure(self) -> None:
        held, tools = self._held, self._held.tools
        noted = tools.clock.monotonic()
        limit, own = held.run.stage.requires.memory, held.journal.gpus
        measuring = Measuring(now=noted, memory_limit=limit, gpus=own)
        for pause in pauses():
            with suppress(RuntimeFailure):
                usage = await tools.runtime.usage(self._container)
                if usage is not None:
                    now = tools.clock.monotonic()
                    self._peak = _most(self._peak, memory=usage.memory, cpus=usage.cpus)
                    if now - noted >= PEAK_SECONDS and self._peak != held.journal.peak:
                        noted = now
                        await held.note(peak=self._peak)
                    held.telling.used(measuring.sample(now, usage, gpus=tools.gpus()))
            await asyncio.sleep(pause)

    def _peak_of(self, status: ContainerStatus) -> Peak:
        """With what the runtime knows at the end; a stage killed for its memory had all it was allowed."""
        limit = self._held.run.stage.requires.memory if status.oom else 0
        return _most(self._peak, memory=max(status.peak_memory, limit), cpus=status.cpus)


def _most(peak: Peak, *, memory: int, cpus: float) -> Peak:
    return Peak(memory=max(peak.memory, memory), cpus=max(peak.cpus, cpus))
