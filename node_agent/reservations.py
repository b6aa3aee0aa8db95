"""Who holds what of this node's share (design 5.2, 5.3): nothing is given out twice."""

from __future__ import annotations

from winslow.errors import Refused
from winslow.node import FreeResources, Hardware, NodeState, Reservation
from winslow.pipeline import Requirements
from winslow.placement import fits_now, pick_gpus

Key = tuple[str, int, int]  # project, run, attempt


class Reservations:
    """Cores, bytes and GPUs by attempt. Used from one event loop only."""

    def __init__(self, hardware: Hardware) -> None:
        self.hardware = hardware
        self._held: dict[Key, tuple[Requirements, tuple[str, ...]]] = {}

    def free(self) -> FreeResources:
        """What is left; never below zero."""
        needs = [requires for requires, _ in self._held.values()]
        taken = {uuid for _, gpus in self._held.values() for uuid in gpus}
        return FreeResources(
            cpus=max(0.0, round(self.hardware.cpus - sum(each.cpus for each in needs), 6)),
            memory=max(0, self.hardware.memory - sum(each.memory for each in needs)),
            disk=max(0, self.hardware.disk - sum(each.disk for each in needs)),
            gpus=tuple(gpu.uuid for gpu in self.hardware.gpus if gpu.uuid not in taken),
        )

    def all(self) -> tuple[Reservation, ...]:
        """What is set aside, by its keys."""
        return tuple(
            Reservation(
                project=project,
                run=run,
                attempt=attempt,
                cpus=requires.cpus,
                memory=requires.memory,
                disk=requires.disk,
                gpus=gpus,
            )
            for (project, run, attempt), (requires, gpus) in sorted(
                self._held.items(), key=lambda item: item[0]
            )
        )

    def reserve(self, key: Key, requires: Requirements, state: NodeState) -> bool:
        """Set resources aside; False when `state` (this node's own, now) has too few. Again is harmless."""
        if key in self._held:
            return True
        if fits_now(state, requires):
            return False
        self._held[key] = (requires, pick_gpus(state, requires))
        return True

    def restore(self, key: Key, requires: Requirements, gpus: tuple[str, ...]) -> None:
        """What an attempt that outlived the last agent already holds, whether or not it still fits."""
        self._held[key] = (requires, gpus)

    def holds(self, key: Key) -> bool:
        """Whether something is set aside for it."""
        return key in self._held

    def gpus(self, key: Key) -> tuple[str, ...]:
        """The GPUs of an attempt. Raises Refused when it holds nothing."""
        if key not in self._held:
            raise Refused(f"attempt {key[0]} {key[1]}.{key[2]} holds no resources here")
        return self._held[key][1]

    def rename(self, key: Key, new: Key) -> None:
        """The attempt goes on under another number, with what it holds, if anything."""
        if key in self._held:
            self._held[new] = self._held.pop(key)

    def release(self, key: Key) -> None:
        """Give back; fine when nothing is held."""
        self._held.pop(key, None)
