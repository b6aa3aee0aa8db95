"""What a node says of itself: hardware, share, load, and what it is doing (design 4, nodes/NODE/state)."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from winslow.pipeline import Requirements


class Presence(StrEnum):
    """Whether a node takes part."""

    ONLINE = "online"  # bids on offers
    DRAINING = "draining"  # finishes what runs, bids on nothing
    OFFLINE = "offline"  # its last will, or its goodbye


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Gpu(_Model):
    """One GPU; `memory` in bytes."""

    uuid: str
    vendor: str = "nvidia"
    name: str = ""
    memory: int = 0


class Hardware(_Model):
    """What an agent may give to stages in all: its share of the machine. Bytes and cores."""

    cpus: float
    memory: int
    disk: int = 0
    gpus: tuple[Gpu, ...] = ()
    cpu_model: str = ""

    def places(self, uuids: Collection[str]) -> list[int]:
        """Which of the GPUs have these UUIDs, by their places from 0 on."""
        return [place for place, gpu in enumerate(self.gpus) if gpu.uuid in uuids]


class FreeResources(_Model):
    """What is not reserved now; `gpus` are the UUIDs of free ones."""

    cpus: float
    memory: int
    disk: int = 0
    gpus: tuple[str, ...] = ()


class ActiveRun(_Model):
    """An attempt this node holds."""

    project: str
    run: int
    attempt: int
    stage: str
    phase: str = ""  # pull, fetch, run, collect; held: given up for lost, and still here


class Reservation(_Model):
    """What is set aside for one attempt, from the moment a claim is tried; `gpus` are UUIDs."""

    project: str
    run: int
    attempt: int
    cpus: float = 0.0
    memory: int = 0
    disk: int = 0
    gpus: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, int, int]:
        """Project, run, attempt."""
        return self.project, self.run, self.attempt


class Hold(_Model):
    """The queued run that a node keeps itself free for (design 5.6), what it needs, and how urgent it is."""

    project: str
    run: int
    attempt: int
    requires: Requirements
    priority: int = 0


class NodeState(_Model):
    """The retained message that makes a node known. `wall` is for people and for the skew display only."""

    node: str
    node_uuid: str
    instance: str  # a new random id per agent start: a late last will of an older instance is ignored
    presence: Presence
    host: str = ""
    boot_id: str = ""
    version: str = ""
    runtime: tuple[str, ...] = ()  # "docker", "process"
    hardware: Hardware = Hardware(cpus=0, memory=0)
    free: FreeResources = FreeResources(cpus=0, memory=0)
    labels: tuple[str, ...] = ()  # what a stage's `requires.tags` must be found in
    configured_labels: tuple[str, ...] = ()  # those of them that its own configuration gives it
    secrets: tuple[str, ...] = ()  # the names of those that a stage may refer to here
    runs: tuple[ActiveRun, ...] = ()
    reserved: tuple[Reservation, ...] = ()
    hold: Hold | None = None
    cached: int | None = None  # bytes in its file cache; None where it does not say
    skew: int | None = None  # seconds its clock is ahead of the store's; None where it does not know
    wall: str = ""  # RFC 3339, UTC
    note: str = ""  # a sentence when something is wrong, for example "store away: 2 results wait"

    @property
    def idle(self) -> bool:
        """Nothing runs here, and nothing is set aside for a claim that is under way."""
        whole, free = self.hardware, self.free
        given = (round(whole.cpus, 6), whole.memory, whole.disk, len(whole.gpus))
        left = (round(free.cpus, 6), free.memory, free.disk, len(free.gpus))
        return not self.runs and given == left

    def held(self) -> list[tuple[ActiveRun, Reservation | None]]:
        """What this node holds and what is set aside for it; last what is set aside while it is still claimed."""
        reserved = {each.key: each for each in self.reserved}
        found = [(run, reserved.pop((run.project, run.run, run.attempt), None)) for run in self.runs]
        claims = (
            (
                ActiveRun(project=each.project, run=each.run, attempt=each.attempt, stage="", phase="claim"),
                each,
            )
            for each in reserved.values()
        )
        return [*found, *claims]
