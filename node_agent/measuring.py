"""What a container uses, as samples for its viewers: rates between two looks, and now and then all before. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from node_agent.runtime.port import ContainerUsage
from winslow.metrics import ContainerSample, GpuSample
from winslow.usage import Usage

FIRST_SECONDS, LAST_SECONDS = 0.1, 2.0  # between the first two looks, and between two later ones
PAST_SECONDS = 10.0  # between two samples that carry what was before them


def pauses() -> Iterator[float]:
    """Seconds from one look to the next, for ever: twice as long each time, so that short stages have a peak, too."""
    pause = FIRST_SECONDS
    while True:
        yield min(pause, LAST_SECONDS)
        pause *= 2


class Measuring:
    """One container, looked at from `now` (monotonic seconds) on. `memory_limit` in bytes, 0: none; `gpus`
    are the UUIDs of those it was given."""

    def __init__(self, *, now: float, memory_limit: int, gpus: Collection[str] = ()) -> None:
        self._limit = memory_limit
        self._gpus = gpus
        self._life = Usage()
        self._told = now
        self._last: tuple[float, ContainerUsage] | None = None

    def sample(
        self, now: float, usage: ContainerUsage, *, gpus: tuple[GpuSample, ...] = ()
    ) -> ContainerSample:
        """What is told of a look at it; `gpus` are all of the machine."""
        seconds, before = 0.0, usage
        if self._last is not None:
            seconds, before = now - self._last[0], self._last[1]
        self._last = (now, usage)

        def rate(total: int, had: int) -> float:
            return max(0.0, (total - had) / seconds) if seconds > 0 else 0.0

        due = now - self._told >= PAST_SECONDS
        sample = ContainerSample(
            at=now,
            cpus=usage.cpus,
            memory=usage.memory,
            memory_limit=self._limit,
            read_rate=rate(usage.read_bytes, before.read_bytes),
            write_rate=rate(usage.written_bytes, before.written_bytes),
            net_in=rate(usage.net_in, before.net_in),
            net_out=rate(usage.net_out, before.net_out),
            processes=usage.processes,
            gpus=tuple(gpu for gpu in gpus if gpu.uuid in self._gpus),
            past=self._life.past() if due else None,
        )
        self._life.add(sample)
        self._told = now if due else self._told
        return sample
