"""What every attempt of an agent works with: the node's identity, its stores, its runtime, its limits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from broker.codec import Payload
from broker.topics import Topic
from node_agent.cache import Cache
from node_agent.clock import Clock
from node_agent.journal import Journals
from node_agent.mirror import Mirror
from node_agent.places import PlacePlan, Placer
from node_agent.runtime.port import ContainerRuntime
from node_agent.sources import Sources
from node_agent.vault import Vault
from winslow.metrics import GpuSample
from winslow.store.port import ObjectStore


@dataclass(frozen=True)
class Tools:
    """One set per agent. `jitter` is a random number from 0 to 1, new at each call; `gpus` are the machine's as they
    were sampled last."""

    site: str
    node: str
    node_uuid: str
    boot_id: str
    clock: Clock
    executor: Executor
    store: ObjectStore
    sources: Sources
    mirror: Mirror
    journals: Journals
    spools: Path  # where logs lie until the attempt is gone
    runtime: ContainerRuntime
    placer: Placer
    cache: Cache
    publish: Callable[[Topic, Payload | None], None]
    log_limit: int
    images: tuple[str, ...]
    allow_user: bool
    allow_host_network: bool
    vault: Vault
    jitter: Callable[[], float]
    gpus: Callable[[], tuple[GpuSample, ...]]

    def bytes_to_fetch(self, plan: PlacePlan) -> int:
        """How much of a plan is not in the node's cache."""
        sources = plan.sources()
        return sum(source.size for source in sources) - self.cache.cached_bytes(sources)
