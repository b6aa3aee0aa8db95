"""Does a run fit a node, what would it cost there, and why not (design 5.1 and 5.2).

Agents use these functions on themselves, clients on the retained node states, so anybody can say
why a run waits without asking anyone. Sizes are bytes, rates bytes per second, costs seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from winslow.errors import Refused
from winslow.node import Gpu, NodeState, Presence
from winslow.pipeline import GpuRequirement, Requirements

LOAD_SECONDS = 60.0
"""What a wholly reserved node adds to its price: an idle one may fetch for up to a minute instead."""

WASTE_SECONDS = 120.0
"""What a node with GPUs adds for a stage that needs none: kept for others, unless the data lies there."""

UNKNOWN_IMAGE = 2 << 30
"""Bytes to assume for an image that is not on the node and whose size nobody has said."""

# A driver shows a little less than the board is sold with: 24,564 of 24,576 MiB, 40,536 of 40,960.
_GPU_MEMORY_SHOWN = 0.98


@dataclass(frozen=True, slots=True)
class _Lack:
    need: str  # "64 GiB of memory"
    has: str  # "32 GiB"
    short: float  # how much is missing: 0 nothing, 1 all of it


def size_text(value: int) -> str:
    """Bytes for people: `24 GiB`, `1.5 GiB`, `512 MiB`, `0 B`."""
    for exponent, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if value >= 1 << exponent:
            return f"{round(value / (1 << exponent), 1):g} {unit}"
    return f"{value} B"


def _gpu_text(need: GpuRequirement) -> str:
    kind = f"{need.name} " if need.name else ""
    memory = f" with {size_text(need.memory)}" if need.memory else ""
    return f"{need.count} {kind}GPU{'' if need.count == 1 else 's'}{memory}"


def _suits(gpu: Gpu, need: GpuRequirement) -> bool:
    return (
        gpu.vendor == need.vendor
        and gpu.memory >= need.memory * _GPU_MEMORY_SHOWN
        and need.name.casefold() in gpu.name.casefold()
    )


def _gpu_lack(gpus: Sequence[Gpu], need: GpuRequirement) -> _Lack | None:
    count = sum(_suits(gpu, need) for gpu in gpus)
    if count >= need.count:
        return None
    has = str(count) if count else "none"
    if not count and gpus:
        best = max(gpus, key=lambda gpu: gpu.memory)
        has = f"only {best.name or best.vendor} with {size_text(best.memory)}"
    # A GPU that is too small is nearer than none.
    return _Lack(_gpu_text(need), has, 1 - count / need.count - (0.1 if gpus and not count else 0))


def _lacks(
    requires: Requirements,
    *,
    cpus: float,
    memory: int,
    disk: int,
    gpus: Sequence[Gpu],
    labels: Collection[str],
) -> Iterator[_Lack]:
    if requires.gpus is not None:
        lack = _gpu_lack(gpus, requires.gpus)
        if lack is not None:
            yield lack
    if cpus < requires.cpus:
        cores = f"{requires.cpus:g} core{'' if requires.cpus == 1 else 's'}"
        yield _Lack(cores, f"{max(cpus, 0.0):g}", 1 - max(cpus, 0.0) / requires.cpus)
    if memory < requires.memory:
        need = f"{size_text(requires.memory)} of memory"
        yield _Lack(need, size_text(max(memory, 0)), 1 - max(memory, 0) / requires.memory)
    if disk < requires.disk:
        need = f"{size_text(requires.disk)} of disk"
        yield _Lack(need, size_text(max(disk, 0)), 1 - max(disk, 0) / requires.disk)
    for tag in requires.tags:
        if tag not in labels:
            yield _Lack(f"the tag {tag}", "no such tag", 1.0)


def _whole(node: NodeState, requires: Requirements, secrets: Collection[str]) -> Iterator[_Lack]:
    hardware = node.hardware
    yield from _lacks(
        requires,
        cpus=hardware.cpus,
        memory=hardware.memory,
        disk=hardware.disk,
        gpus=hardware.gpus,
        labels=node.labels,
    )
    for name in secrets:
        if name not in node.secrets:
            yield _Lack(f"the secret {name}", "no such secret", 1.0)


def _free_gpus(node: NodeState) -> tuple[Gpu, ...]:
    return tuple(gpu for gpu in node.hardware.gpus if gpu.uuid in node.free.gpus)


def _now(node: NodeState, requires: Requirements) -> Iterator[_Lack]:
    free = node.free
    return _lacks(
        requires,
        cpus=free.cpus,
        memory=free.memory,
        disk=free.disk,
        gpus=_free_gpus(node) if requires.gpus is not None else (),
        labels=node.labels,
    )


def fits(node: NodeState, requires: Requirements, secrets: Collection[str] = ()) -> tuple[str, ...]:
    """Why the node could not take such a run even if it were idle, one sentence each; empty means it fits.

    `secrets` are the names of those that the run refers to. Says nothing about presence or load: `fits_now` does.
    """
    return tuple(f"needs {lack.need}, has {lack.has}" for lack in _whole(node, requires, secrets))


def fits_now(node: NodeState, requires: Requirements, secrets: Collection[str] = ()) -> tuple[str, ...]:
    """Why the node cannot take such a run at this moment; empty means it is online and has enough free."""
    if node.presence is not Presence.ONLINE:
        return (f"is {node.presence.value}",)
    short = list(_now(node, requires))
    if not short and not secrets:
        return ()
    return fits(node, requires, secrets) or tuple(f"needs {lack.need}, {lack.has} free" for lack in short)


def in_the_way(node: NodeState, other: Requirements, held: Requirements) -> bool:
    """Whether a run that the node can take now would leave too little of something that another one needs there.

    What the other one lacks anyway, and this one takes nothing of, does not count.
    """
    free = node.free
    if other.gpus is not None and held.gpus is not None:
        given = set(pick_gpus(node, other))
        left = [gpu for gpu in _free_gpus(node) if gpu.uuid not in given]
        wanted = any(_suits(gpu, held.gpus) for gpu in _free_gpus(node) if gpu.uuid in given)
        if wanted and _gpu_lack(left, held.gpus) is not None:
            return True
    return (
        round(free.cpus - other.cpus, 6) < held.cpus
        or (other.memory > 0 and free.memory - other.memory < held.memory)
        or (other.disk > 0 and free.disk - other.disk < held.disk)
    )


def missing_summary(
    nodes: Iterable[NodeState],
    requires: Requirements,
    secrets: Collection[str] = (),
    *,
    kept: Callable[[NodeState], str] = lambda _: "",
) -> str:
    """Why such a run waits, in one line: `needs 2 GPUs with 24 GiB; best node ws3 has 1`.

    `kept` says for which other run a node is kept free, if so. Empty when a node could take it now. Names the nodes
    to wait for when some fit but are busy or away, and else the nearest node (the least missing in all) and what it
    lacks.
    """
    known = sorted(nodes, key=lambda node: node.node)
    if impossible := unfit_summary(known, requires, secrets):
        return impossible
    fitting = [node for node in known if not fits(node, requires, secrets)]
    reasons = {
        node.node: fits_now(node, requires, secrets) or tuple(filter(None, [kept(node)])) for node in fitting
    }
    if any(not reason for reason in reasons.values()):
        return ""
    online = [node.node for node in fitting if node.presence is Presence.ONLINE]
    if online:
        return f"waits for {_or(online)}: {'; '.join(reasons[online[0]])}"
    states = sorted({node.presence.value for node in fitting})
    be = "is" if len(fitting) == 1 else "are"
    return f"waits for {_or([node.node for node in fitting])}, which {be} {_or(states)}"


def unfit_summary(nodes: Iterable[NodeState], requires: Requirements, secrets: Collection[str] = ()) -> str:
    """What no node has, however idle: the nearest one (the least missing in all) and what it lacks.

    Empty when the run fits a node, busy or away as that may be.
    """
    known = list(nodes)
    if any(not fits(node, requires, secrets) for node in known):
        return ""
    lacking = {node.node: list(_whole(node, requires, secrets)) for node in known}
    best = min(
        known, key=lambda node: (sum(lack.short for lack in lacking[node.node]), node.node), default=None
    )
    if best is None:
        return "no node is known"
    lacks = lacking[best.node]
    needs, has = _and(lack.need for lack in lacks), _and(lack.has for lack in lacks)
    return f"needs {needs}; best node {best.node} has {has}"


def _and(parts: Iterable[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def _or(names: Sequence[str]) -> str:
    shown = list(names[:3]) + ([f"{len(names) - 3} more"] if len(names) > 3 else [])
    return " or ".join(shown)


def free_slots(node: NodeState) -> int:
    """How many small runs the node could still take, for the limit on its bids (design 5.2): free cores."""
    if node.presence is not Presence.ONLINE or node.free.memory <= 0:
        return 0
    return max(0, math.ceil(node.free.cpus))


def pick_gpus(node: NodeState, requires: Requirements) -> tuple[str, ...]:
    """UUIDs of the free GPUs to give to the run: the smallest that suit, so that big ones stay for others.

    Empty when none are needed. Raises Refused when too few are free (ask `fits_now` first).
    """
    need = requires.gpus
    if need is None:
        return ()
    suited = sorted(
        (gpu for gpu in _free_gpus(node) if _suits(gpu, need)), key=lambda gpu: (gpu.memory, gpu.uuid)
    )
    if len(suited) < need.count:
        raise Refused(f"node {node.node}: needs {_gpu_text(need)}, {len(suited) or 'none'} free")
    return tuple(gpu.uuid for gpu in suited[: need.count])


def price(
    node: NodeState, requires: Requirements, *, fetch_bytes: int, pull_bytes: int, rate: float
) -> dict[str, float]:
    """What starting the run on this node costs, in seconds by part; the bid's cost is their sum (design 5.2).

    fetch: `fetch_bytes` that are not cached, at `rate` bytes per second
    pull:  the image's `pull_bytes`, 0 if it is present, `UNKNOWN_IMAGE` if it is not and its size is unknown
    load:  `LOAD_SECONDS` times the greatest reserved share of cores, memory and (if needed) GPUs
    waste: `WASTE_SECONDS` on a node with GPUs when the stage needs none

    Rounded to milliseconds: what is published is what is compared. Raises ValueError for a rate <= 0.
    """
    if not rate > 0:
        raise ValueError(f"a rate is more than 0 bytes per second, not {rate!r}")
    waste = WASTE_SECONDS if node.hardware.gpus and requires.gpus is None else 0.0
    parts = {
        "fetch": max(fetch_bytes, 0) / rate,
        "pull": max(pull_bytes, 0) / rate,
        "load": LOAD_SECONDS * _reserved(node, gpus=requires.gpus is not None),
        "waste": waste,
    }
    return {name: round(value, 3) for name, value in parts.items()}


def _reserved(node: NodeState, *, gpus: bool) -> float:
    whole, free = node.hardware, node.free
    shares = [(whole.cpus, free.cpus), (whole.memory, free.memory)]
    if gpus:
        shares.append((len(whole.gpus), len(_free_gpus(node))))
    return max(min(max(1 - left / total, 0.0), 1.0) if total else 1.0 for total, left in shares)
