"""What a machine has: looked up on this one, and on one with GPUs by a stand-in for the driver's library
(there is no GPU where tests run)."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from node_agent import hardware
from node_agent.hardware import Nvml, Sampler
from winslow.errors import InvalidInput


class NVMLError(Exception):
    """What the library raises."""


class Driver(ModuleType):
    """Two GPUs; the second does not tell its power, a third has fallen off the bus."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self) -> None:
        super().__init__("pynvml")

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index == 2:
            raise NVMLError("GPU is lost")
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}"

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return b"NVIDIA RTX A5000"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(total=24 << 30, used=3 << 30)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(gpu=87)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return 61

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        if handle == 1:
            raise NVMLError("not supported")
        return 180_500


class NoDriver(Driver):
    def nvmlInit(self) -> None:
        raise NVMLError("driver not loaded")


def test_this_machine(tmp_path: Path) -> None:
    found = hardware.find(tmp_path)
    total = psutil.virtual_memory().total
    assert found.cpus == len(os.sched_getaffinity(0))
    assert total * 0.5 < found.memory <= total - hardware.LEAST_RESERVE
    assert found.disk > 0
    assert found.cpu_model == hardware.cpu_model()


def test_a_share_is_taken_as_it_is(tmp_path: Path) -> None:
    found = hardware.find(tmp_path, cpus=0.5, memory=1 << 30, gpus=("GPU-1",), library=Nvml(Driver()))
    assert (found.cpus, found.memory) == (0.5, 1 << 30)
    assert [gpu.uuid for gpu in found.gpus] == ["GPU-1"]
    assert hardware.find(tmp_path, gpus=(), library=Nvml(Driver())).gpus == ()


def test_a_share_larger_than_the_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cpus is 100000"):
        hardware.find(tmp_path, cpus=100000)
    with pytest.raises(InvalidInput, match="memory is"):
        hardware.find(tmp_path, memory=1 << 60)
    with pytest.raises(InvalidInput, match=r"GPU-7.*this machine has GPU-0, GPU-1"):
        hardware.find(tmp_path, gpus=("GPU-7",), library=Nvml(Driver()))


def test_gpus_as_the_driver_tells_them() -> None:
    library = Nvml(Driver())
    assert [(gpu.uuid, gpu.name, gpu.memory) for gpu in library.gpus()] == [
        ("GPU-0", "NVIDIA RTX A5000", 24 << 30),
        ("GPU-1", "NVIDIA RTX A5000", 24 << 30),
    ]
    first, second = library.samples()
    assert (first.uuid, first.percent, first.memory, first.temperature, first.power) == (
        "GPU-0", 87, 3 << 30, 61, 180.5,
    )  # fmt: skip
    assert second.power is None


def test_without_driver_or_library_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Nvml(NoDriver()).gpus() == ()
    assert Nvml(NoDriver()).samples() == ()
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)  # importing it fails
    assert Nvml().gpus() == ()


def test_the_boot_is_told_by_the_kernel() -> None:
    assert len(hardware.boot_id()) == 36
    assert hardware.boot_id() == hardware.boot_id()


def test_samples_have_rates_from_the_second_on(tmp_path: Path) -> None:
    ticks = itertools.count(100.0, 2.0)
    sampler = Sampler(tmp_path, clock=lambda: next(ticks), library=Nvml(Driver()))
    first = sampler.sample()
    assert first.at == 100.0
    assert len(first.cpus) == psutil.cpu_count()
    assert 0 < first.memory < first.memory_total
    assert all(network.in_rate == network.out_rate == 0 for network in first.networks)
    (disk,) = first.disks
    assert 0 < disk.used <= disk.total
    assert disk.write_rate == 0
    assert [gpu.uuid for gpu in first.gpus] == ["GPU-0", "GPU-1"]
    assert sampler.gpus == first.gpus
    second = sampler.sample()
    assert second.at == 102.0
    assert len(second.cpus) == len(first.cpus)


def test_rates_are_bytes_per_second_and_never_below_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = iter([(1000, 0), (1000, 0), (5000, 600), (100, 700)])
    ticks = itertools.count(0.0, 2.0)

    def networks(**_: object) -> dict[str, SimpleNamespace]:
        received, sent = next(counters)
        return {
            "eth0": SimpleNamespace(bytes_recv=received, bytes_sent=sent),
            "lo": SimpleNamespace(bytes_recv=10**9, bytes_sent=10**9),
            "veth1": SimpleNamespace(bytes_recv=10**9, bytes_sent=10**9),
        }

    monkeypatch.setattr(psutil, "net_io_counters", networks)
    sampler = Sampler(tmp_path, clock=lambda: next(ticks), library=Nvml(NoDriver()))
    seen = []
    for _ in range(4):
        (network,) = sampler.sample().networks
        seen.append((network.name, network.in_rate, network.out_rate))
    assert seen == [("eth0", 0, 0), ("eth0", 0, 0), ("eth0", 2000, 300), ("eth0", 0, 50)]
