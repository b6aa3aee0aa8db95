"""Nodes as the list of them shows each, and their past as curves. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from winslow import terminal_text
from winslow.metrics import HistoryPoint, NodeHistory, NodeSample
from winslow.node import ActiveRun, Hardware, NodeState, Presence, Reservation
from winslow.placement import size_text
from winslow_tui.program.projectrows import PHASES, bar, duration
from winslow_tui.shown import wording
from winslow_tui.widgets.table import Cell, Column

COLUMNS = (
    Column("NODE", 8, grow=2, rank=9),
    Column("STATE", 10, rank=8),
    Column("CPU", 10, rank=7),
    Column("MEMORY", 10, rank=6),
    Column("GPU", 7, grow=1, rank=5),
    Column("GPU MEM", 7, grow=1, rank=1),
    Column("°C", 5, rank=0),
    Column("NET", 11, rank=3),
    Column("DISK", 11, rank=2),
    Column("RUNS", 19, grow=3, rank=5),
    Column("AGE", 5, align="right", rank=2),
    Column("SKEW", 6, align="right", rank=1),
    Column("VERSION", 7, rank=0),
)
FIELDS = ("node", "state", "label", "run")
_STATES = {
    Presence.ONLINE: ("●", "succeeded"),
    Presence.DRAINING: ("◐", "waiting"),
    Presence.OFFLINE: ("✗", "failed"),
}
BUSY, FULL = "running", "waiting"
"""The styles of bars: a busy machine is a good one, a full memory is not."""
TIGHT = 90.0  # percent of a memory from which on it is shown as full
_NAME, _WORDS, _GAP = 4, 5, 2  # columns of a core's number, of its use, and between two cores
_SHORTEST, _LONGEST = 12, 60  # columns of its curve
_CURVE = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class NodeRow:
    """A node with its newest sample; `age` in seconds since it came, None where none has."""

    state: NodeState
    sample: NodeSample | None = None
    age: float | None = None

    def fields(self) -> dict[str, tuple[str, ...]]:
        """What a filter looks at."""
        return {
            "node": (self.state.node, self.state.host),
            "state": (self.state.presence.value,),
            "label": self.state.labels,
            "run": tuple(run.project for run in self.state.runs),
        }

    def cells(self) -> tuple[Cell, ...]:
        """As `COLUMNS`."""
        state, sample = self.state, self.sample
        sign, style = _STATES[state.presence]
        runs = ", ".join(f"{run.project}#{run.run}" for run in state.runs)
        memory = 100 * sample.memory / sample.memory_total if sample and sample.memory_total else None
        point = sample.point() if sample else None
        gpus = sample.gpus if sample else ()
        return (
            Cell(terminal_text.line(state.node)),
            Cell(f"{sign} {state.presence.value}", state=style),
            Cell(bar(sample.cpu, 5), state=BUSY) if sample else Cell("-", dim=True),
            Cell(bar(memory, 5), state=BUSY if memory < TIGHT else FULL)
            if memory is not None
            else Cell("-", dim=True),
            Cell(" ".join(f"{gpu.percent:.0f}%" for gpu in gpus) or "-"),
            Cell(" ".join(rate(gpu.memory) for gpu in gpus) or "-", dim=True),
            Cell(
                " ".join("-" if gpu.temperature is None else f"{gpu.temperature:.0f}" for gpu in gpus) or "-"
            ),
            Cell(f"↓{rate(point.net_in):>4} ↑{rate(point.net_out):>4}" if point else "-", dim=True),
            Cell(f"r{rate(point.disk_read):>4} w{rate(point.disk_write):>4}" if point else "-", dim=True),
            Cell(terminal_text.line(runs or state.note), dim=not runs),
            Cell(_age(self.age), dim=True),
            _skew(state.skew),
            Cell(terminal_text.line(state.version), dim=True),
        )


def rate(value: float) -> str:
    """Bytes per second in at most four letters: `0`, `12K`, `3.4M`, `1G`."""
    for exponent, unit in ((30, "G"), (20, "M"), (10, "K")):
        if value >= 1 << exponent:
            number = value / (1 << exponent)
            return f"{number:.1f}{unit}" if number < 10 else f"{number:.0f}{unit}"
    return "0" if value < 1 else f"{value:.0f}"


def persecond(value: float) -> str:
    """Bytes per second where there is room: `0 B/s`, `3.4 MiB/s`."""
    return f"{size_text(int(value))}/s"


def _age(age: float | None) -> str:
    if age is None:
        return "-"
    return f"{age:.0f}s" if age < 100 else duration(age)


def _skew(skew: int | None) -> Cell:
    """A clock that is off stands out; also without colours, where it alone is not dimmed."""
    if skew is None or abs(skew) < wording.CLOCK_OFF:
        return Cell(wording.skew_told(skew) if skew is not None else "-", dim=True)
    return Cell(wording.skew_told(skew), state=FULL)


def curve(values: Sequence[float], width: int, *, top: float) -> str:
    """The newest `width` values as one line of blocks; `top` is a full one."""
    shown = values[-width:]
    steps = [min(len(_CURVE) - 1, int(max(0.0, value) / top * len(_CURVE))) if top else 0 for value in shown]
    return "".join(_CURVE[step] for step in steps).rjust(width)


def facts(state: NodeState) -> list[tuple[str, str]]:
    """What a node is, in words."""
    hardware, free, hold = state.hardware, state.free, state.hold
    told = [
        ("state", state.presence.value),
        ("host", state.host),
        ("clock", wording.clock_told(state.skew) if state.skew is not None else ""),
        ("version", state.version),
        ("runtime", ", ".join(state.runtime)),
        ("cores", " · ".join(filter(None, (f"{free.cpus:g} of {hardware.cpus:g} free", hardware.cpu_model)))),
        ("memory", f"{size_text(free.memory)} of {size_text(hardware.memory)} free"),
        ("disk", f"{size_text(free.disk)} of {size_text(hardware.disk)} free"),
        ("cache", size_text(state.cached) if state.cached is not None else ""),
        ("labels", ", ".join(state.labels)),
        ("kept for", f"{hold.project}#{hold.run}" if hold else ""),
        ("note", state.note),
    ]
    told += [
        (f"gpu {place}", f"{gpu.name} · {size_text(gpu.memory)}") for place, gpu in enumerate(hardware.gpus)
    ]
    told += [("runs", _held(run, reserved, hardware)) for run, reserved in state.held()]
    return [(name, terminal_text.line(value)) for name, value in told if value]


def _held(run: ActiveRun, reserved: Reservation | None, hardware: Hardware) -> str:
    """An attempt, and what is set aside for it."""
    words = [" ".join(filter(None, (f"{run.project}#{run.run}", run.stage)))]
    words += [PHASES.get(run.phase, run.phase)] if run.phase else []
    if reserved is not None:
        words += [wording.counted(reserved.cpus, "core"), size_text(reserved.memory)]
        if places := hardware.places(reserved.gpus):
            words.append(f"gpu {', '.join(map(str, places))}")
    return " · ".join(words)


def gpus(sample: NodeSample) -> list[tuple[str, str]]:
    """Each GPU as it is now, in words."""
    return [
        (
            f"gpu {place}",
            " · ".join(
                [
                    f"{gpu.percent:.0f}%",
                    f"{size_text(gpu.memory)} of {size_text(gpu.memory_total)}",
                    *([f"{gpu.temperature:.0f} °C"] if gpu.temperature is not None else []),
                ]
            ),
        )
        for place, gpu in enumerate(sample.gpus)
    ]


def curves(history: NodeHistory, width: int) -> list[tuple[str, str, str]]:
    """Ten minutes of a node: name, curve, the newest value in words."""
    points = history.points
    if not points:
        return []

    def of(name: str, pick: Sequence[float], top: float, words: str) -> tuple[str, str, str]:
        return name, curve(pick, width, top=top), words

    last: HistoryPoint = points[-1]
    most_net = max((max(each.net_in, each.net_out) for each in points), default=1.0) or 1.0
    most_disk = max((max(each.disk_read, each.disk_write) for each in points), default=1.0) or 1.0
    memory = [float(each.memory) for each in points]
    shown = [
        of("cpu", [each.cpu for each in points], 100.0, f"{last.cpu:.0f}%"),
        of("memory", memory, float(history.memory_total or max(memory) or 1), size_text(last.memory)),
        of("net in", [each.net_in for each in points], most_net, persecond(last.net_in)),
        of("net out", [each.net_out for each in points], most_net, persecond(last.net_out)),
        of("disk read", [each.disk_read for each in points], most_disk, persecond(last.disk_read)),
        of("disk write", [each.disk_write for each in points], most_disk, persecond(last.disk_write)),
    ]
    for place in range(len(last.gpus)):
        values = [each.gpus[place] if place < len(each.gpus) else 0.0 for each in points]
        shown.append(of(f"gpu {place}", values, 100.0, f"{last.gpus[place]:.0f}%"))
    return shown


def core_curves(history: NodeHistory, width: int) -> list[list[tuple[str, str, str]]]:
    """Ten minutes of each core in as many columns as there is room for, numbered downwards: lines of cells, each the
    core, its curve, its newest use."""
    cores = history.cores
    if not cores:
        return []
    around = _NAME + _WORDS + _GAP
    lines = -(-len(cores) // max(1, (width + _GAP) // (around + _SHORTEST)))
    columns = -(-len(cores) // lines)
    drawn = max(_SHORTEST, min(_LONGEST, (width + _GAP) // columns - around))
    cells = [
        (
            f"{place:<{_NAME}}",
            curve([float(each) for each in levels], drawn, top=100.0),
            f"{levels[-1] if levels else 0:>4}%",
        )
        for place, levels in enumerate(cores)
    ]
    return [cells[line::lines] for line in range(lines)]
