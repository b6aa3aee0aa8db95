"""The use of each core over the last ten minutes, coarse enough for a message that is sent twice a minute. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from winslow.metrics import CORE_POINTS, CORE_STEP, MOST_CORES, CoreLevels


class CorePast:
    """One mean per `CORE_STEP` seconds and core; of more than `MOST_CORES` cores the first ones."""

    def __init__(self) -> None:
        self._past: deque[tuple[int, ...]] = deque(maxlen=CORE_POINTS)
        self._step: int | None = None
        self._sums: list[float] = []
        self._count = 0

    def add(self, at: float, cpus: Sequence[float]) -> None:
        """One sample: monotonic seconds, and each core in percent. Another number of cores begins anew."""
        cpus, step = cpus[:MOST_CORES], int(at // CORE_STEP)
        if len(cpus) != len(self._sums):
            self._past.clear()
            self._start(step, len(cpus))
        elif step != self._step:
            self._past.append(self._means())
            self._start(step, len(cpus))
        self._sums = [had + cpu for had, cpu in zip(self._sums, cpus, strict=True)]
        self._count += 1

    def told(self) -> tuple[CoreLevels, ...]:
        """By core, oldest first; the newest mean may be that of a step that has not ended."""
        rows = [*self._past, self._means()] if self._count else []
        return tuple(zip(*rows[-CORE_POINTS:], strict=True))

    def _start(self, step: int, cores: int) -> None:
        self._step, self._sums, self._count = step, [0.0] * cores, 0

    def _means(self) -> tuple[int, ...]:
        return tuple(min(100, round(each / self._count)) for each in self._sums)
