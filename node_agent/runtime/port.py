"""What an agent needs from whatever runs a stage: a container engine, or plain processes.

Adapters: `docker.DockerRuntime` and `process.ProcessRuntime`; both pass
`tests/integration/test_runtime_contract.py`. All methods are async; blocking libraries run in the
adapter's own bounded, named executor. A running container depends on nothing but its engine: it
goes on when the agent dies, and `find` shows it to the next agent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from winslow.errors import WinslowError


@dataclass(frozen=True)
class Labels:
    """Who a container belongs to; an agent touches only its own site's and node uuid's containers."""

    site: str
    node_uuid: str
    project: str
    run: int
    attempt: int
    claim: str


@dataclass(frozen=True)
class Mount:
    """A host directory shown at `target`; plain processes see one below a directory that the machine has itself
    (`/run/secrets`) where it is.

    With `lower` and `work` it is an overlay: reads fall through to `lower`, which is never changed, and
    everything written lands in `source` (the upper directory; deletions as whiteouts)."""

    target: str
    source: Path
    read_only: bool = False
    lower: Path | None = None
    work: Path | None = None


@dataclass(frozen=True)
class ContainerSpec:
    """Everything needed to create one stage's container. Bytes and cores; `environment` is final."""

    name: str
    labels: Labels
    image: str
    directory: Path  # the attempt's own directory; the process runtime keeps its files there
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    workdir: str = ""
    user: str = ""
    cpus: float = 1.0
    memory: int = 1 << 30
    shm: int = 64 << 20
    gpus: tuple[str, ...] = ()
    network: Literal["default", "none", "host"] = "default"
    log_limit: int = 1 << 30


@dataclass(frozen=True)
class ContainerStatus:
    """A container as the engine knows it now. `error` is a sentence, set where the stage's command could not
    be run at all or the engine lost it; `exit_code` is 128 + the number of the signal that ended it.

    `peak_memory` (bytes, of its largest process) and `cpus` (cores, on average) are what the runtime knows of
    one that has ended; 0 where it knows nothing."""

    id: str
    labels: Labels
    state: Literal["created", "running", "exited"]
    exit_code: int | None = None
    oom: bool = False
    error: str = ""
    image_digest: str = ""
    started_at: str = ""
    finished_at: str = ""
    peak_memory: int = 0
    cpus: float = 0.0


@dataclass(frozen=True)
class OutputChunk:
    """Bytes that a stage wrote to one stream. `complete` is True where they ended with a newline,
    which is then not part of `data`; False for a part of a long line, or an unterminated last one."""

    stream: Literal["stdout", "stderr"]
    data: bytes
    complete: bool
    time: str  # RFC 3339 with nanoseconds, UTC, as the engine recorded it


@dataclass(frozen=True)
class ContainerUsage:
    """One sample: `cpus` in cores since the last one, or in the first one since the container's start (over a second
    at least); bytes otherwise (counters for the I/O)."""

    cpus: float
    memory: int
    read_bytes: int = 0
    written_bytes: int = 0
    net_in: int = 0
    net_out: int = 0
    processes: int = 0


class RuntimeFailure(WinslowError):
    """The engine refused; `kind` chooses the run's reason."""

    def __init__(
        self,
        message: str,
        *,
        kind: Literal["image_unavailable", "runtime_error", "refused_by_node", "disk_full"] = "runtime_error",
        hint: str = "",
        retryable: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.retryable = retryable


PullProgress = Callable[[int, int], None]  # bytes done, bytes in all (0: unknown)


class ContainerRuntime(Protocol):
    """One engine on one node."""

    name: str

    @property
    def guards_mounts(self) -> bool:
        """Whether a stage cannot write through a read-only mount, whoever it runs as."""

    async def check(self) -> str:
        """The engine's version in a sentence. Raises RuntimeFailure when it cannot be used, with a hint."""

    def places(self, mounts: Iterable[Mount]) -> Mapping[str, str]:
        """For each mount's target the path at which the stage sees it (not the target itself where stages
        are plain processes): what the `WINSLOW_DIR_*` variables must say. Known before `create`."""

    async def overlays(self, directory: Path) -> bool:
        """Whether mounts with `lower` work for directories below `directory` (which exists); tried, not guessed."""

    async def sees(self, directory: Path) -> bool:
        """Whether it can mount a directory that the agent has made: not where the agent is itself in a container
        that does not share it. Tried, not guessed."""

    async def has_image(self, image: str) -> bool:
        """Whether `ensure_image` would have nothing to fetch; for a price: it may have been so 10 s ago."""

    async def ensure_image(self, image: str, progress: PullProgress) -> str:
        """Make the image present and return its digest (or id); `progress` is called first, with zeros, when it has
        to be fetched. Raises RuntimeFailure(image_unavailable)."""

    async def user(self, container: str) -> int:
        """The id, on this machine, of the user that a created container will run as. Raises RuntimeFailure."""

    async def create(self, spec: ContainerSpec) -> str:
        """Create, do not start; the container's id. Idempotent by `spec.name`: an existing one is returned."""

    async def start(self, container: str) -> None:
        """Start a created container; one that runs or has ended is left alone.
        Raises RuntimeFailure (command not found and the like)."""

    async def status(self, container: str) -> ContainerStatus | None:
        """None when the engine does not know it."""

    async def wait(self, container: str) -> ContainerStatus:
        """Return when it has ended and all its processes are gone. Survives an engine restart by asking again."""

    def output(self, container: str) -> AsyncIterator[OutputChunk]:
        """Everything the container wrote, from its first byte, in order per stream; goes on while it runs and
        ends when it has ended and all is read."""

    async def usage(self, container: str) -> ContainerUsage | None:
        """One sample now; None when it does not run."""

    async def stop(self, container: str, *, grace: float) -> None:
        """Ask it to end, then SIGKILL to all its processes after `grace` seconds; returns when it has ended.

        Asking is the image's stop signal (SIGTERM unless it says otherwise). A cancelled call asks no more."""

    async def remove(self, container: str) -> None:
        """Remove it and everything the engine keeps of it (volumes of its own included)."""

    async def find(self, site: str, node_uuid: str) -> list[ContainerStatus]:
        """All containers with these labels."""

    async def close(self) -> None:
        """Release connections; running containers go on."""
