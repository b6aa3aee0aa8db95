"""The past of one container in bounds: an agent keeps it and tells it now and then, a viewer goes on with it. Pure.

Each point stands for equally many samples. Where there are too many points, two neighbours become one: so an
attempt of any length fits, from its beginning on, and no clock is asked.
"""

from __future__ import annotations

from collections.abc import Callable

from winslow.metrics import ContainerSample, UsagePast, UsagePoint

MOST_POINTS = 64
"""What an agent keeps: about 5 KB as a message."""


class Usage:
    """See the module. A point stands for `each` samples; the first of all was taken at `since` (`at` of a sample)."""

    def __init__(self, *, most: int = MOST_POINTS) -> None:
        self.each = 1
        self.since: float | None = None
        self._most = most
        self._whole: list[UsagePoint] = []
        self._begun: UsagePoint | None = None
        self._count = 0  # samples in it

    @property
    def points(self) -> list[UsagePoint]:
        """Oldest first; the last may stand for fewer samples."""
        return self._whole if self._begun is None else [*self._whole, self._begun]

    def add(self, sample: ContainerSample) -> None:
        """The next sample."""
        if self.since is None:
            self.since = sample.at
        self._begin(point_of(sample), 1)
        if len(self._whole) > self._most:
            self._thin()

    def past(self) -> UsagePast | None:
        """All of it, for somebody who comes later; None where there is nothing yet."""
        if self.since is None:
            return None
        return UsagePast(since=self.since, each=self.each, points=tuple(self.points))

    def learn(self, past: UsagePast) -> bool:
        """Go on with what another kept, where it goes further back; whether it did."""
        if self.since is not None and past.since >= self.since:
            return False
        self._whole, self.each, self.since = list(past.points), past.each, past.since
        self._begun, self._count = None, 0
        while len(self._whole) > self._most:
            self._thin()
        return True

    def _begin(self, point: UsagePoint, count: int) -> None:
        """Put what stands for so many samples to the point that is not whole yet."""
        had, self._count = self._count, self._count + count
        if self._begun is None:
            self._begun = point
        else:
            self._begun = merged(self._begun, point, lambda a, b: (a * had + b * count) / (had + count))
        if self._count >= self.each:
            self._whole.append(self._begun)
            self._begun, self._count = None, 0

    def _thin(self) -> None:
        points, each = self._whole, self.each
        self._whole = [
            merged(a, b, lambda a, b: (a + b) / 2) for a, b in zip(points[::2], points[1::2], strict=False)
        ]
        self.each = 2 * each
        if len(points) % 2:
            begun, count = self._begun, self._count
            self._begun, self._count = points[-1], each
            if begun is not None:
                self._begin(begun, count)


def point_of(sample: ContainerSample) -> UsagePoint:
    """One sample as a point."""
    return UsagePoint(
        cpus=sample.cpus,
        memory=sample.memory,
        read_rate=sample.read_rate,
        write_rate=sample.write_rate,
        net_in=sample.net_in,
        net_out=sample.net_out,
        processes=sample.processes,
        gpus=tuple(gpu.percent for gpu in sample.gpus),
    )


def merged(a: UsagePoint, b: UsagePoint, of: Callable[[float, float], float]) -> UsagePoint:
    """One point of two, number by number."""
    return UsagePoint(
        cpus=of(a.cpus, b.cpus),
        memory=round(of(a.memory, b.memory)),
        read_rate=of(a.read_rate, b.read_rate),
        write_rate=of(a.write_rate, b.write_rate),
        net_in=of(a.net_in, b.net_in),
        net_out=of(a.net_out, b.net_out),
        processes=round(of(a.processes, b.processes)),
        gpus=tuple(min(100.0, of(x, y)) for x, y in zip(a.gpus, b.gpus, strict=False)),
    )
