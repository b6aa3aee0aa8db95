"""What a container uses, as samples (`node_agent.measuring`)."""

from __future__ import annotations

from itertools import islice

from node_agent.measuring import PAST_SECONDS, Measuring, pauses
from node_agent.runtime.port import ContainerUsage
from winslow.metrics import GpuSample


def usage(number: int, *, cpus: float = 1.5) -> ContainerUsage:
    return ContainerUsage(
        cpus=cpus, memory=1000 + number, read_bytes=100 * number, written_bytes=50 * number, processes=3
    )


def test_rates_are_counted_between_two_looks_and_never_negative() -> None:
    measuring = Measuring(now=100.0, memory_limit=4096)
    first, second = measuring.sample(100.0, usage(0)), measuring.sample(104.0, usage(8))
    assert (first.read_rate, second.read_rate, second.write_rate) == (0.0, 200.0, 100.0)
    assert (second.memory, second.memory_limit, second.processes) == (1008, 4096, 3)
    assert measuring.sample(106.0, usage(2)).read_rate == 0.0, "the container's counters began anew"
    assert measuring.sample(106.0, usage(9)).read_rate == 0.0, "no time has passed"


def test_the_use_of_its_own_gpus_has_a_past_too() -> None:
    measuring = Measuring(now=0.0, memory_limit=0, gpus=("GPU-1",))
    other = GpuSample(uuid="GPU-0", percent=99.0)
    samples = [
        measuring.sample(2.0 * turn, usage(turn), gpus=(other, GpuSample(uuid="GPU-1", percent=10.0 * turn)))
        for turn in range(6)
    ]
    last = samples[-1]
    assert [(gpu.uuid, gpu.percent) for gpu in last.gpus] == [("GPU-1", 50.0)]
    assert last.past is not None
    assert [point.gpus for point in last.past.points] == [(0.0,), (10.0,), (20.0,), (30.0,), (40.0,)]


def test_short_stages_are_looked_at_sooner() -> None:
    assert list(islice(pauses(), 7)) == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_now_and_then_a_sample_carries_all_that_was_before() -> None:
    measuring = Measuring(now=0.0, memory_limit=0)
    samples = [measuring.sample(2.0 * turn, usage(turn)) for turn in range(20)]
    told = [sample.at for sample in samples if sample.past is not None]
    assert told == [PAST_SECONDS * turn for turn in (1, 2, 3)]
    past = samples[15].past
    assert past is not None and past.since == 0.0 and len(past.points) == 15
    assert [point.memory for point in past.points] == list(range(1000, 1015))
