"""What this machine has and how busy it is, found without asking anybody (requirements R1510 to R1530).

GPUs come from NVIDIA's management library. A machine without the driver has none; nothing is installed
for it. Use is sampled in one call that blocks for a few milliseconds (R1510: CPU, R1520: memory, R1530:
network; also disks and GPUs).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

from winslow.errors import InvalidInput
from winslow.metrics import DiskSample, GpuSample, NetworkSample, NodeSample
from winslow.node import Gpu, Hardware

RESERVE_SHARE = 0.05  # of the memory stays with the system and the agent,
LEAST_RESERVE = 512 << 20  # at least so much
_MOST_INTERFACES = 64


def boot_id() -> str:
    """A new one per boot: containers of another boot do not run."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def cpu_model() -> str:
    """The processor's name; empty where the kernel does not say."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model"):
                return " ".join(value.split())
    return ""


def free_disk(directory: Path) -> int:
    """Bytes that this user may still write on the file system below `directory`."""
    return shutil.disk_usage(directory).free


def find(
    directory: Path,
    *,
    cpus: float | None = None,
    memory: int | None = None,
    gpus: tuple[str, ...] | None = None,
    library: Nvml | None = None,
) -> Hardware:
    """The share of this machine that an agent gives: all of it, or what `cpus` (cores), `memory` (bytes) and
    `gpus` (UUIDs) say. `disk` is what is free below `directory` now.

    Raises InvalidInput where the share is more than the machine has."""
    cores = len(os.sched_getaffinity(0))
    total = psutil.virtual_memory().total
    present = (library or Nvml()).gpus()
    if cpus is not None and cpus > cores:
        raise InvalidInput(
            f"[agent] cpus is {cpus:g}, and this machine has {cores}", hint="give less, or leave it out"
        )
    if memory is not None and memory > total:
        raise InvalidInput(
            f"[agent] memory is {memory} bytes, and this machine has {total}",
            hint="give less, or leave it out",
        )
    if gpus is not None and (missing := set(gpus) - {gpu.uuid for gpu in present}):
        known = ", ".join(gpu.uuid for gpu in present) or "none"
        raise InvalidInput(f"[agent] gpus names {', '.join(sorted(missing))}; this machine has {known}")
    return Hardware(
        cpus=float(cores) if cpus is None else cpus,
        memory=total - max(LEAST_RESERVE, int(total * RESERVE_SHARE)) if memory is None else memory,
        disk=free_disk(directory),
        gpus=tuple(gpu for gpu in present if gpus is None or gpu.uuid in gpus),
        cpu_model=cpu_model(),
    )


class Nvml:
    """NVIDIA's management library, as thin as can be. `library` is `pynvml`; None: look for it.

    Where the library or the driver is missing there are no GPUs; a GPU that fails to answer is left out."""

    def __init__(self, library: ModuleType | None = None) -> None:
        self._library: Any = library
        try:
            if library is None:
                import pynvml

                self._library = pynvml
            self._library.nvmlInit()
        except ImportError:
            self._library = None
        except self._library.NVMLError:
            self._library = None

    def gpus(self) -> tuple[Gpu, ...]:
        """All GPUs, in the driver's order."""
        return tuple(
            Gpu(uuid=uuid, name=_text(self._library.nvmlDeviceGetName(handle)), memory=memory.total)
            for uuid, handle, memory in self._devices()
        )

    def samples(self) -> tuple[GpuSample, ...]:
        """How busy each is now."""
        return tuple(self._sample(*device) for device in self._devices())

    def _sample(self, uuid: str, handle: Any, memory: Any) -> GpuSample:
        library = self._library
        rates = self._ask(library.nvmlDeviceGetUtilizationRates, handle)
        milliwatts = self._ask(library.nvmlDeviceGetPowerUsage, handle)
        return GpuSample(
            uuid=uuid,
            percent=min(100, max(0, rates.gpu)) if rates is not None else 0,
            memory=memory.used,
            memory_total=memory.total,
            temperature=self._ask(library.nvmlDeviceGetTemperature, handle, library.NVML_TEMPERATURE_GPU),
            power=None if milliwatts is None else milliwatts / 1000,
        )

    def _devices(self) -> list[tuple[str, Any, Any]]:
        if self._library is None:
            return []
        library = self._library
        found = []
        for index in range(self._ask(library.nvmlDeviceGetCount) or 0):
            with suppress(library.NVMLError):
                handle = library.nvmlDeviceGetHandleByIndex(index)
                found.append(
                    (
                        _text(library.nvmlDeviceGetUUID(handle)),
                        handle,
                        library.nvmlDeviceGetMemoryInfo(handle),
                    )
                )
        return found

    def _ask(self, question: Callable[..., Any], *about: Any) -> Any:
        """The answer; None where this GPU or driver does not know."""
        try:
            return question(*about)
        except self._library.NVMLError:
            return None


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class Sampler:
    """Samples of the whole machine. `clock` is monotonic; `directory` is where Winslow keeps its files.

    The first sample's rates are 0: they are counted between two samples."""

    def __init__(self, directory: Path, *, clock: Callable[[], float], library: Nvml | None = None) -> None:
        self._directory = directory
        self._clock = clock
        self._nvml = library or Nvml()
        self._device = _device_of(directory)
        self._last: tuple[float, Mapping[str, tuple[int, int]]] | None = None
        self.gpus: tuple[GpuSample, ...] = ()
        """All GPUs as they were last sampled."""
        psutil.cpu_percent(percpu=True)  # the first answer is about no time at all

    def sample(self) -> NodeSample:
        """One sample now; call it from one thread at a time."""
        now = self._clock()
        counters = {f"net {name}": (net.bytes_recv, net.bytes_sent) for name, net in _networks().items()}
        disk = psutil.disk_io_counters(perdisk=True).get(self._device) if self._device else None
        if disk is not None:
            counters["disk"] = (disk.read_bytes, disk.write_bytes)
        before = self._last
        self._last = (now, counters)

        def rates(name: str) -> tuple[float, float]:
            if before is None or name not in before[1] or name not in counters or now <= before[0]:
                return (0.0, 0.0)
            first, second = (
                max(0.0, (new - old) / (now - before[0]))  # counters start over when a driver is loaded again
                for new, old in zip(counters[name], before[1][name], strict=True)
            )
            return (first, second)

        memory = psutil.virtual_memory()
        usage = shutil.disk_usage(self._directory)
        read, write = rates("disk")
        self.gpus = self._nvml.samples()
        networks = []
        for name in sorted(key[4:] for key in counters if key.startswith("net "))[:_MOST_INTERFACES]:
            incoming, outgoing = rates(f"net {name}")
            networks.append(NetworkSample(name=name, in_rate=incoming, out_rate=outgoing))
        return NodeSample(
            at=now,
            cpus=tuple(min(100.0, max(0.0, percent)) for percent in psutil.cpu_percent(percpu=True)),
            memory=memory.total - memory.available,
            memory_total=memory.total,
            networks=tuple(networks),
            disks=(
                DiskSample(
                    name=str(self._directory),
                    used=usage.used,
                    total=usage.total,
                    read_rate=read,
                    write_rate=write,
                ),
            ),
            gpus=self.gpus,
        )


def _networks() -> dict[str, Any]:
    """Interfaces that lead out of this machine: a container's are on both sides of a bridge and would count twice."""
    inner = ("lo", "veth", "docker", "br-", "virbr", "cni", "flannel")
    found = psutil.net_io_counters(pernic=True, nowrap=True)
    return {name: net for name, net in found.items() if not name.startswith(inner)}


def _device_of(directory: Path) -> str:
    """The block device below a directory as psutil names it; empty where there is none (network, overlay)."""
    number = directory.stat().st_dev
    link = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    return link.resolve().name if link.exists() else ""
