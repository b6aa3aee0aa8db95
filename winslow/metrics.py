"""Samples of what nodes and containers use, and the thinned past of a node (design 4).

`at` is seconds on the sender's own monotonic clock: only differences between two samples of one
sender mean anything, so a wrong wall clock bends no curve. Sizes are bytes, rates bytes per second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

HISTORY_SECONDS = 600.0
HISTORY_STEP = 5.0
MAX_POINTS = 200
CORE_STEP = 10.0  # seconds that one of a core's levels stands for
CORE_POINTS = 60
MOST_CORES = 64  # whose past is told: with it a message grows by 4 KiB at most

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Size = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
CoreLevels = Annotated[tuple[Annotated[int, Field(ge=0, le=100)], ...], Field(max_length=CORE_POINTS)]
"""One core's use in whole percent, oldest first: a byte each on the wire."""


class _Sample(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class GpuSample(_Sample):
    """One GPU; `temperature` in degrees Celsius, `power` in watts, None where the driver does not say."""

    uuid: str = Field(max_length=128)
    percent: Percent = 0.0
    memory: Size = 0
    memory_total: Size = 0
    temperature: Amount | None = None
    power: Amount | None = None


class NetworkSample(_Sample):
    """One network interface."""

    name: str = Field(max_length=128)
    in_rate: Amount = 0.0
    out_rate: Amount = 0.0


class DiskSample(_Sample):
    """One file system that Winslow uses; rates are those of the device below it."""

    name: str = Field(max_length=1024)
    used: Size = 0
    total: Size = 0
    read_rate: Amount = 0.0
    write_rate: Amount = 0.0


class NodeSample(_Sample):
    """A node at one moment; `cpus` is the use of each core in percent."""

    at: Seconds
    cpus: tuple[Percent, ...] = Field(default=(), max_length=4096)
    memory: Size = 0
    memory_total: Size = 0
    networks: tuple[NetworkSample, ...] = Field(default=(), max_length=256)
    disks: tuple[DiskSample, ...] = Field(default=(), max_length=256)
    gpus: tuple[GpuSample, ...] = Field(default=(), max_length=256)

    @property
    def cpu(self) -> float:
        """The mean use of all cores in percent; 0 for none."""
        return sum(self.cpus) / len(self.cpus) if self.cpus else 0.0

    def point(self) -> HistoryPoint:
        """This sample as one point of a history: sums over interfaces and disks, each GPU by its place."""
        return HistoryPoint(
            at=self.at,
            cpu=self.cpu,
            memory=self.memory,
            net_in=sum(network.in_rate for network in self.networks),
            net_out=sum(network.out_rate for network in self.networks),
            disk_read=sum(disk.read_rate for disk in self.disks),
            disk_write=sum(disk.write_rate for disk in self.disks),
            gpus=tuple(gpu.percent for gpu in self.gpus),
        )


class UsagePoint(_Sample):
    """The mean over a piece of a container's life, as `ContainerSample`; `gpus` in percent."""

    cpus: Amount = 0.0
    memory: Size = 0
    read_rate: Amount = 0.0
    write_rate: Amount = 0.0
    net_in: Amount = 0.0
    net_out: Amount = 0.0
    processes: Size = 0
    gpus: tuple[Percent, ...] = Field(default=(), max_length=256)


class UsagePast(_Sample):
    """A container's life so far, oldest point first: each stands for `each` samples, the first taken at `since`."""

    since: Seconds
    each: int = Field(default=1, ge=1, lt=2**40)
    points: tuple[UsagePoint, ...] = Field(default=(), max_length=MAX_POINTS)


class ContainerSample(_Sample):
    """One attempt's container at one moment; `cpus` in cores, `memory_limit` 0 for none. Some samples, not each, carry
    what was before them."""

    at: Seconds
    cpus: Amount = 0.0
    memory: Size = 0
    memory_limit: Size = 0
    read_rate: Amount = 0.0
    write_rate: Amount = 0.0
    net_in: Amount = 0.0
    net_out: Amount = 0.0
    processes: Size = 0
    gpus: tuple[GpuSample, ...] = Field(default=(), max_length=256)
    past: UsagePast | None = None


class HistoryPoint(_Sample):
    """The mean over a few seconds of a node's life; `cpu` and `gpus` in percent."""

    at: Seconds
    cpu: Percent = 0.0
    memory: Size = 0
    net_in: Amount = 0.0
    net_out: Amount = 0.0
    disk_read: Amount = 0.0
    disk_write: Amount = 0.0
    gpus: tuple[Percent, ...] = Field(default=(), max_length=256)


class NodeHistory(_Sample):
    """A node's recent past, oldest point first."""

    memory_total: Size = 0
    gpus: tuple[str, ...] = Field(default=(), max_length=256)  # UUIDs, in the order of each point's `gpus`
    points: tuple[HistoryPoint, ...] = Field(default=(), max_length=MAX_POINTS)
    cores: tuple[CoreLevels, ...] = Field(default=(), max_length=MOST_CORES)


def thin(
    points: Sequence[HistoryPoint], *, window: float = HISTORY_SECONDS, step: float = HISTORY_STEP
) -> tuple[HistoryPoint, ...]:
    """The last `window` seconds of `points` (in order of `at`) as one mean per `step` seconds, oldest first.

    A point's `at` is that of the last one averaged into it. Empty steps give no point: a gap stays visible.
    With the defaults at most 121 points come out.
    """
    if not points:
        return ()
    oldest = points[-1].at - window
    buckets: dict[int, list[HistoryPoint]] = {}
    for point in points:
        if point.at >= oldest:
            buckets.setdefault(int(point.at // step), []).append(point)
    return tuple(_mean(bucket) for bucket in buckets.values())


def _mean(bucket: list[HistoryPoint]) -> HistoryPoint:
    last, count = bucket[-1], len(bucket)
    same = [point for point in bucket if len(point.gpus) == len(last.gpus)]
    return HistoryPoint(
        at=last.at,
        cpu=min(100.0, sum(point.cpu for point in bucket) / count),
        memory=sum(point.memory for point in bucket) // count,
        net_in=sum(point.net_in for point in bucket) / count,
        net_out=sum(point.net_out for point in bucket) / count,
        disk_read=sum(point.disk_read for point in bucket) / count,
        disk_write=sum(point.disk_write for point in bucket) / count,
        gpus=tuple(
            min(100.0, sum(point.gpus[place] for point in same) / len(same))
            for place in range(len(last.gpus))
        ),
    )
