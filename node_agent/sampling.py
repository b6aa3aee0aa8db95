"""What the machine uses, told every two seconds, and its recent past every half minute (design 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from broker import topics
from broker.codec import Payload
from broker.topics import Topic
from node_agent.hardware import Sampler
from winslow import metrics
from winslow.core_past import CorePast

SAMPLE_SECONDS = 2.0
HISTORY_SECONDS = 30.0


async def sampling(
    *,
    node: str,
    sampler: Sampler,
    publish: Callable[[Topic, Payload | None], None],
    executor: Executor,
    monotonic: Callable[[], float],
) -> None:
    """Sample and tell until cancelled."""
    loop = asyncio.get_running_loop()
    points: list[metrics.HistoryPoint] = []
    cores = CorePast()
    told = monotonic() - HISTORY_SECONDS
    while True:
        sample = await loop.run_in_executor(executor, sampler.sample)
        publish(topics.NodeMetrics(node=node), sample)
        points.append(sample.point())
        cores.add(sample.at, sample.cpus)
        if monotonic() - told >= HISTORY_SECONDS:
            told = monotonic()
            points = list(metrics.thin(points))
            history = metrics.NodeHistory(
                memory_total=sample.memory_total,
                gpus=tuple(gpu.uuid for gpu in sample.gpus),
                points=tuple(points),
                cores=cores.told(),
            )
            publish(topics.NodeHistory(node=node), history)
        await asyncio.sleep(SAMPLE_SECONDS)
