"""What an attempt's container used, as curves and words: its past as far as it was heard. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from winslow.metrics import ContainerSample, GpuSample
from winslow.placement import size_text
from winslow.project import Attempt, Run
from winslow_tui.noderows import curve, rate

MOST_POINTS = 1024
"""Beyond it two neighbours become one, so that an attempt of any length fits."""


@dataclass(frozen=True)
class Point:
    """One sample, or the mean of some: `cpus` in cores, sizes in bytes, rates in bytes per second, GPUs in percent."""

    cpus: float
    memory: float
    read: float
    write: float
    net_in: float
    net_out: float
    processes: float
    gpus: tuple[float, ...] = ()


@dataclass
class RunUsage:
    """See the module; of one attempt."""

    points: list[Point] = field(default_factory=list)
    last: ContainerSample | None = None
    gpus: tuple[GpuSample, ...] = ()
    """The attempt's own, as its node told last."""
    most: Point | None = None
    _step: int = 1  # samples in a point
    _pending: list[Point] = field(default_factory=list)

    def add(self, sample: ContainerSample) -> None:
        """The next sample."""
        gpus = sample.gpus or self.gpus
        point = Point(
            cpus=sample.cpus, memory=sample.memory, read=sample.read_rate, write=sample.write_rate,
            net_in=sample.net_in, net_out=sample.net_out, processes=sample.processes,
            gpus=tuple(gpu.percent for gpu in gpus),
        )  # fmt: skip
        self.last, self.gpus = sample, gpus
        self.most = point if self.most is None else _merged((self.most, point), max)
        self._pending.append(point)
        if len(self._pending) >= self._step:
            self.points.append(_merged(self._pending, _mean))
            self._pending.clear()
        if len(self.points) > MOST_POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=False)
            self.points = [_merged(pair, _mean) for pair in pairs]
            self._step *= 2

    def rows(self, run: Run, width: int) -> list[tuple[str, str, str]]:
        """Name, curve of `width` columns from the first sample on, and the present value in words."""
        last, most = self.last, self.most
        if last is None or most is None:
            return []
        limit, cores = last.memory_limit, run.stage.requires.cpus
        share = f" of {size_text(limit)}" if limit else ""

        def row(name: str, values: Sequence[float], top: float, words: str) -> tuple[str, str, str]:
            return name, curve(fit(values, width), width, top=top), words

        def rated(name: str, values: Sequence[float], most: float, now: float) -> tuple[str, str, str]:
            return row(name, values, most, f"{rate(now)}/s")

        points = self.points
        found = [
            row("cpu", [each.cpus for each in points], max(cores, most.cpus), f"{last.cpus:.1f} of {cores:g} cores"),
            row("memory", [each.memory for each in points], limit or most.memory, size_text(last.memory) + share),
            rated("disk read", [each.read for each in points], most.read, last.read_rate),
            rated("disk write", [each.write for each in points], most.write, last.write_rate),
            rated("net in", [each.net_in for each in points], most.net_in, last.net_in),
            rated("net out", [each.net_out for each in points], most.net_out, last.net_out),
            row("processes", [each.processes for each in points], most.processes, f"{last.processes}"),
        ]  # fmt: skip
        for place, gpu in enumerate(self.gpus):
            values = [each.gpus[place] if place < len(each.gpus) else 0.0 for each in self.points]
            memory = f", {size_text(gpu.memory)} of {size_text(gpu.memory_total)}" if gpu.memory_total else ""
            heat = f", {gpu.temperature:.0f} °C" if gpu.temperature is not None else ""
            found.append(row(f"gpu {place}", values, 100.0, f"{gpu.percent:.0f} %{memory}{heat}"))
        return found

    def peaks(self) -> list[str]:
        """The most that was heard, in words."""
        most = self.most
        if most is None:
            return []
        told = [f"{most.cpus:.1f} cores", f"{size_text(int(most.memory))} of memory"]
        told += (
            [f"disk {rate(most.read)}/s read, {rate(most.write)}/s written"]
            if most.read or most.write
            else []
        )
        told += (
            [f"net {rate(most.net_in)}/s in, {rate(most.net_out)}/s out"]
            if most.net_in or most.net_out
            else []
        )
        told += [f"gpu {place} {percent:.0f} %" for place, percent in enumerate(most.gpus)]
        return told


def recorded(run: Run, attempt: Attempt) -> list[str]:
    """What the project's document keeps of an attempt's use, in words."""
    peak, requires = attempt.peak, run.stage.requires
    told = []
    if peak.memory:
        share = f" ({100 * peak.memory / requires.memory:.0f} % of its {size_text(requires.memory)})"
        told.append(f"{size_text(peak.memory)} of memory{share if requires.memory else ''}")
    if peak.cpus:
        told.append(f"{peak.cpus:g} of {requires.cpus:g} cores")
    return told


def fit(values: Sequence[float], width: int) -> Sequence[float]:
    """At most `width` values: means of equally many."""
    count = len(values)
    if count <= width:
        return values
    cuts = [place * count // width for place in range(width + 1)]
    return [_mean(values[begin:end]) for begin, end in pairwise(cuts)]


def _merged(points: Sequence[Point], of: Callable[[Sequence[float]], float]) -> Point:
    """One point of several, number by number."""
    gpus = min(len(point.gpus) for point in points)
    return Point(
        cpus=of([point.cpus for point in points]),
        memory=of([point.memory for point in points]),
        read=of([point.read for point in points]),
        write=of([point.write for point in points]),
        net_in=of([point.net_in for point in points]),
        net_out=of([point.net_out for point in points]),
        processes=of([point.processes for point in points]),
        gpus=tuple(of([point.gpus[place] for point in points]) for place in range(gpus)),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
