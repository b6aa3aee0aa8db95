"""The container runtime on a Docker engine, with the defaults of design 6.

Output comes from the `local` log driver (facts: it keeps bytes) and is read from its first byte each
time: the engine's `since` goes by clocks. Containers are found by their labels alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path

import docker
import docker.errors

from node_agent.runtime import containers
from node_agent.runtime.cores import Cores
from node_agent.runtime.engine import AWAY, Answer, Engine
from node_agent.runtime.frames import FrameReader
from node_agent.runtime.images import Images
from node_agent.runtime.port import (
    ContainerSpec,
    ContainerStatus,
    ContainerUsage,
    Labels,
    Mount,
    OutputChunk,
    PullProgress,
    RuntimeFailure,
)
from winslow.logs import Skip, Stream

_BACKOFF = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class DockerRuntime:
    """One engine; `base_url` None takes Docker's own settings (DOCKER_HOST and its like).

    `stall` is how many seconds a pull may show no sign of life."""

    name = "docker"
    guards_mounts = True

    def __init__(self, *, base_url: str | None = None, stall: float = 180.0) -> None:
        self._engine = Engine(base_url)
        self._images = Images(self._engine, stall=stall)
        self._cores = Cores()

    async def check(self) -> str:
        """The engine's version. Raises RuntimeFailure when it does not answer or is too old."""
        version = await self._engine.call(lambda client: client.version())
        return f"Docker Engine {version['Version']} (API {version['ApiVersion']})"

    def places(self, mounts: Iterable[Mount]) -> dict[str, str]:
        """A container sees every mount at its target."""
        return {mount.target: mount.target for mount in mounts}

    async def overlays(self, directory: Path) -> bool:
        """Whether mounts with `lower` work for directories below `directory`: tried with a container of
        an empty image that is never started (reading from it mounts its volumes)."""
        root = directory / ".overlay-probe"
        for part in ("lower", "upper", "work"):
            (root / part).mkdir(parents=True, exist_ok=True)
        (root / "lower" / "seen").write_bytes(b"")
        return await self._can_read(
            Mount(target="/probe", source=root / "upper", lower=root / "lower", work=root / "work"), "seen"
        )

    async def sees(self, directory: Path) -> bool:
        """Whether it can mount a directory, tried in the same way: an engine elsewhere refuses what it has not."""
        return await self._can_read(Mount(target="/probe", source=directory, read_only=True), "")

    async def _can_read(self, mount: Mount, path: str) -> bool:
        name = f"winslow-probe-{os.getpid()}-{id(mount):x}"
        spec = ContainerSpec(
            name=name,
            labels=Labels(site="", node_uuid="", project="", run=0, attempt=0, claim=""),
            image=containers.PROBE_IMAGE,
            directory=mount.source,
            command=("none",),
            mounts=(mount,),
        )
        try:
            await self._engine.call(containers.import_probe)
            container = await self.create(spec)
            try:
                await self._engine.call(
                    lambda client: containers.drain(client.get_archive(container, f"/probe/{path}")[0])
                )
            finally:
                await self.remove(container)
        except (RuntimeFailure, docker.errors.APIError):
            return False
        return True

    async def has_image(self, image: str) -> bool:
        """Whether the engine has it, or had it a moment ago."""
        return await self._images.present(image)

    async def ensure_image(self, image: str, progress: PullProgress) -> str:
        """Pull it unless present. Raises RuntimeFailure(image_unavailable)."""
        return await self._images.ensure(image, progress)

    async def create(self, spec: ContainerSpec) -> str:
        """Create the container, and a volume for each overlay. Raises RuntimeFailure."""
        try:
            return await self._engine.call(lambda client: containers.create(client, spec))
        except docker.errors.ImageNotFound as error:
            raise RuntimeFailure(
                f"image '{spec.image}' is not on this node", kind="image_unavailable"
            ) from error
        except docker.errors.APIError as error:
            raise containers.refused(f"creating {spec.name}", error) from error

    async def user(self, container: str) -> int:
        """By the container's settings, which an engine that gives users other ids outside does not know."""
        try:
            return await self._engine.call(lambda client: containers.user_id(client, container))
        except docker.errors.APIError as error:
            raise containers.refused("looking at the container", error) from error

    async def start(self, container: str) -> None:
        """Start it; one that runs or has ended is left alone. Raises RuntimeFailure with the engine's words."""
        try:
            found = await self._engine.call(lambda client: client.inspect_container(container))
            if found["State"]["Status"] == "created":
                await self._engine.call(lambda client: client.start(container))
        except docker.errors.APIError as error:
            raise containers.refused("starting the container", error) from error

    async def status(self, container: str) -> ContainerStatus | None:
        """As the engine knows it. `error` is set where the command could not be run at all."""
        try:
            return await self._engine.call(
                lambda client: containers.status(client, client.inspect_container(container))
            )
        except docker.errors.NotFound:
            return None
        except docker.errors.APIError as error:
            raise containers.refused("looking at the container", error) from error

    async def wait(self, container: str) -> ContainerStatus:
        """Return when it has ended; an engine that is away is asked again for ever.
        Raises RuntimeFailure when the container is gone."""
        pauses = _pauses()
        while True:
            with contextlib.suppress(docker.errors.APIError, RuntimeFailure, *AWAY):
                status = await self.status(container)
                if status is None:
                    break
                if status.state == "exited":
                    return status
                if status.state == "running":
                    async for _ in self._engine.read(partial(self._waiting, container), len):
                        pauses = _pauses()
                    continue
            await asyncio.sleep(next(pauses))
        raise RuntimeFailure(
            f"container {container[:12]} is gone",
            hint="somebody removed it with docker; start the stage again",
        )

    def _waiting(self, container: str) -> Answer[bytes]:
        response = self._engine.post(f"/containers/{container}/wait", {}, {})
        return Answer(response, response.raw.stream(1 << 10))

    async def output(self, container: str) -> AsyncGenerator[OutputChunk, None]:
        """All it wrote. When the engine's stream ends the log is read once more from its first byte, since
        an engine may end a followed one early; what was had already is skipped by count."""
        had: dict[Stream, int] = {"stdout": 0, "stderr": 0}
        pauses = _pauses()
        while True:
            whole = False
            try:
                status = await self.status(container)
                if status is None:
                    raise RuntimeFailure(
                        f"container {container[:12]} is gone, and the rest of its output with it"
                    )
                if status.state != "created":
                    frames, skip = FrameReader(), Skip(had)
                    opened = partial(self._logs, container, frames, follow=status.state == "running")
                    async with aclosing(self._engine.read(opened, _bytes)) as answer:
                        async for chunks in answer:
                            for chunk in chunks:
                                rest = skip.rest(chunk.stream, chunk.data, chunk.complete)
                                if rest is not None:
                                    had[chunk.stream] += len(rest) + chunk.complete
                                    pauses = _pauses()
                                    yield replace(chunk, data=rest)
                    whole = status.state == "exited" and not frames.torn
            except RuntimeFailure as error:
                if not error.retryable:
                    raise
            except (docker.errors.APIError, *AWAY):
                whole = False  # the engine went away in the middle: again, from the start
            if whole:
                return
            await asyncio.sleep(next(pauses))

    def _logs(self, container: str, frames: FrameReader, *, follow: bool) -> Answer[list[OutputChunk]]:
        response = self._engine.get(
            f"/containers/{container}/logs",
            {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow)},
        )
        return Answer(response, (frames.feed(block) for block in response.raw.stream(1 << 16)))

    async def usage(self, container: str) -> ContainerUsage | None:
        """One sample. Engines may take no more than one a second, so a short stage's first one can be its last."""
        try:
            stats = await self._engine.call(
                lambda client: client.stats(container, stream=False, one_shot=True)
            )
            memory = stats.get("memory_stats") or {}
            if not memory.get("usage"):
                self._cores.forget(container)
                return None
            now = asyncio.get_running_loop().time()
            if container not in self._cores:
                found = await self._engine.call(lambda client: client.inspect_container(container))
                self._cores.begin(container, now=now, age=containers.age(found, at=stats["read"]))
        except docker.errors.NotFound:
            return None
        except docker.errors.APIError as error:
            raise containers.refused("reading the container's use", error) from error
        used = int(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / 1e9
        cache = memory.get("stats") or {}
        disk = (stats.get("blkio_stats") or {}).get("io_service_bytes_recursive") or []
        networks = (stats.get("networks") or {}).values()
        return ContainerUsage(
            cpus=self._cores.look(container, now=now, seconds=used),
            memory=max(0, memory["usage"] - cache.get("inactive_file", cache.get("total_inactive_file", 0))),
            read_bytes=sum(entry["value"] for entry in disk if entry["op"].lower() == "read"),
            written_bytes=sum(entry["value"] for entry in disk if entry["op"].lower() == "write"),
            net_in=sum(network["rx_bytes"] for network in networks),
            net_out=sum(network["tx_bytes"] for network in networks),
            processes=(stats.get("pids_stats") or {}).get("current", 0),
        )

    async def stop(self, container: str, *, grace: float) -> None:
        """Its stop signal to its first process (which passes it on), SIGKILL to all after `grace` seconds."""
        if grace > 0 and await self._signal(container, None):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._until_ended(container)
        if await self._signal(container, "SIGKILL"):
            await self._until_ended(container)

    async def _signal(self, container: str, signal: str | None) -> bool:
        """Send it, or the container's own stop signal; False where nothing runs."""

        def send(client: docker.APIClient) -> bool:
            found = client.inspect_container(container)
            if found["State"]["Status"] not in ("running", "paused", "restarting"):
                return False
            client.kill(container, signal or found["Config"].get("StopSignal") or "SIGTERM")
            return True

        try:
            return await self._engine.call(send)
        except docker.errors.APIError as error:
            if error.status_code in (404, 409):  # gone, or ended since
                return False
            raise containers.refused("stopping the container", error) from error

    async def _until_ended(self, container: str) -> None:
        with contextlib.suppress(RuntimeFailure):  # removed meanwhile
            await self.wait(container)

    async def remove(self, container: str) -> None:
        """Kill and remove it with its volumes; one that is gone already is fine."""
        self._cores.forget(container)
        try:
            await self._engine.call(lambda client: containers.remove(client, container))
        except docker.errors.APIError as error:
            raise containers.refused("removing the container", error) from error

    async def find(self, site: str, node_uuid: str) -> list[ContainerStatus]:
        """All containers of this site and node, running or not."""

        def search(client: docker.APIClient) -> list[ContainerStatus]:
            labels = [f"{containers.LABEL}site={site}", f"{containers.LABEL}node={node_uuid}"]
            found = []
            for container in client.containers(all=True, filters={"label": labels}):
                with contextlib.suppress(docker.errors.NotFound):  # removed since the listing
                    found.append(containers.status(client, client.inspect_container(container["Id"])))
            return found

        try:
            return await self._engine.call(search)
        except docker.errors.APIError as error:
            raise containers.refused("listing containers", error) from error

    async def close(self) -> None:
        """Release threads and connections; containers go on."""
        await asyncio.get_running_loop().run_in_executor(None, self._engine.close)


def _pauses() -> Iterator[float]:
    yield from _BACKOFF
    while True:
        yield _BACKOFF[-1]


def _bytes(chunks: list[OutputChunk]) -> int:
    return sum(len(chunk.data) + 64 for chunk in chunks)
