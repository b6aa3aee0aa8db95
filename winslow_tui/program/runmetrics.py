"""What an attempt's container used, as curves and words: its past as far as it was heard. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from winslow.metrics import ContainerSample, UsagePoint
from winslow.placement import size_text
from winslow.project import Attempt, Run
from winslow.usage import Usage, merged, point_of
from winslow_tui.program.noderows import curve, persecond
from winslow_tui.shown.wording import counted

MOST_POINTS = 128  # more than a screen has columns for, and twice what an agent keeps


@dataclass
class RunUsage:
    """See the module; of one attempt."""

    life: Usage = field(default_factory=lambda: Usage(most=MOST_POINTS))
    last: ContainerSample | None = None
    most: UsagePoint | None = None

    def add(self, sample: ContainerSample) -> None:
        """The next sample, and what it tells of the time before."""
        heard = [point_of(sample)]
        if sample.past is not None and self.life.learn(sample.past):
            heard += sample.past.points
        self.life.add(sample)
        self.last = sample
        for point in heard:
            self.most = point if self.most is None else merged(self.most, point, max)

    @property
    def seconds(self) -> float:
        """How much of its life is known."""
        last, since = self.last, self.life.since
        return last.at - since if last is not None and since is not None else 0.0

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
            return row(name, values, most, persecond(now))

        points, of_cores = self.life.points, f" of {counted(cores, 'core')}"
        found = [
            row("cpu", [each.cpus for each in points], max(cores, most.cpus), f"{last.cpus:.1f}{of_cores}"),
            row("memory", [each.memory for each in points], limit or most.memory, size_text(last.memory) + share),
            rated("disk read", [each.read_rate for each in points], most.read_rate, last.read_rate),
            rated("disk write", [each.write_rate for each in points], most.write_rate, last.write_rate),
            rated("net in", [each.net_in for each in points], most.net_in, last.net_in),
            rated("net out", [each.net_out for each in points], most.net_out, last.net_out),
            row("processes", [each.processes for each in points], most.processes, f"{last.processes}"),
        ]  # fmt: skip
        for place, gpu in enumerate(last.gpus):
            values = [each.gpus[place] if place < len(each.gpus) else 0.0 for each in points]
            memory = f", {size_text(gpu.memory)} of {size_text(gpu.memory_total)}" if gpu.memory_total else ""
            heat = f", {gpu.temperature:.0f} °C" if gpu.temperature is not None else ""
            found.append(row(f"gpu {place}", values, 100.0, f"{gpu.percent:.0f}%{memory}{heat}"))
        return found

    def peaks(self) -> list[tuple[str, str]]:
        """The most that was heard: name, and in words."""
        most = self.most
        if most is None:
            return []
        rates = {
            "disk read": most.read_rate,
            "disk write": most.write_rate,
            "net in": most.net_in,
            "net out": most.net_out,
        }
        return [
            ("cpu", f"{most.cpus:.1f} cores"),
            ("memory", size_text(most.memory)),
            *((name, persecond(value)) for name, value in rates.items() if value),
            *((f"gpu {place}", f"{percent:.0f}%") for place, percent in enumerate(most.gpus)),
        ]


def recorded(run: Run, attempt: Attempt) -> list[tuple[str, str]]:
    """What the project's document keeps of an attempt's use: name, and in words."""
    peak, requires = attempt.peak, run.stage.requires
    told = []
    if peak.cpus:
        told.append(("cpu", f"{peak.cpus:.3g} of {counted(requires.cpus, 'core')}"))
    if peak.memory:
        share = f", {100 * peak.memory / requires.memory:.0f}% of its {size_text(requires.memory)}"
        told.append(("memory", f"{size_text(peak.memory)}{share if requires.memory else ''}"))
    return told


def fit(values: Sequence[float], width: int) -> Sequence[float]:
    """At most `width` values: means of equally many."""
    count = len(values)
    if count <= width:
        return values
    cuts = [place * count // width for place in range(width + 1)]
    return [sum(values[begin:end]) / (end - begin) for begin, end in pairwise(cuts)]
