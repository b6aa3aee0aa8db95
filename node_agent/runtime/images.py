"""Getting an image onto a node: once for all who ask, with progress, and given up when nothing moves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import docker
import docker.auth
import docker.errors
import requests
from docker.utils import parse_repository_tag

from node_agent.runtime.engine import AWAY, Answer, Engine, said, unreachable
from node_agent.runtime.port import PullProgress, RuntimeFailure

_SEEN_SECONDS = 10.0
_DONE = {"Already exists", "Pull complete", "Download complete"}


class Layers:
    """Bytes done and in all of a pull, from the engine's progress lines."""

    def __init__(self) -> None:
        self._sizes: dict[str, tuple[int, int]] = {}

    def feed(self, line: dict[str, Any]) -> tuple[int, int]:
        """Take one line; (done, total) over the layers seen so far."""
        layer, status = str(line.get("id", "")), line.get("status")
        detail = line.get("progressDetail") or {}
        if status == "Downloading":
            self._sizes[layer] = (int(detail.get("current") or 0), int(detail.get("total") or 0))
        elif status in _DONE and layer in self._sizes:
            total = self._sizes[layer][1]
            self._sizes[layer] = (total, total)
        done = sum(size[0] for size in self._sizes.values())
        return done, max(done, sum(size[1] for size in self._sizes.values()))


class _Pull:
    """One running pull and all who wait for it."""

    def __init__(self) -> None:
        self.listeners: list[PullProgress] = []
        self.task: asyncio.Task[None] | None = None


class Images:
    """The engine's images; `stall` is how many seconds a pull may show no sign of life."""

    def __init__(self, engine: Engine, *, stall: float) -> None:
        self._engine = engine
        self._stall = stall
        self._pulls: dict[str, _Pull] = {}
        self._seen: dict[str, float] = {}  # image -> the loop's time when it was there last

    async def present(self, image: str) -> bool:
        """Whether it is there, or was within the last 10 s. Raises RuntimeFailure."""
        seen = self._seen.get(image)
        if seen is not None and asyncio.get_running_loop().time() - seen < _SEEN_SECONDS:
            return True
        return await self.digest(image) is not None

    async def digest(self, image: str) -> str | None:
        """The present image's repository digest, else its id; None where it is not present."""
        if not image.strip():
            raise RuntimeFailure(
                "the stage names no image", kind="image_unavailable", hint="give it an `image`"
            )
        try:
            found = await self._engine.call(lambda client: _inspect(client, image))
        except docker.errors.ImageNotFound:
            self._seen.pop(image, None)
            return None
        except docker.errors.APIError as error:
            raise RuntimeFailure(
                f"image '{image}': {said(error)}", kind="image_unavailable", hint="check the stage's `image`"
            ) from error
        self._seen[image] = asyncio.get_running_loop().time()
        digests = found.get("RepoDigests") or []
        return str(digests[0]).partition("@")[2] if digests else str(found["Id"])

    async def ensure(self, image: str, progress: PullProgress) -> str:
        """Pull it unless present; its digest. Those who ask for one image at a time share one pull,
        which ends when nobody waits for it any more. Raises RuntimeFailure(image_unavailable)."""
        digest = await self.digest(image)
        if digest is not None:
            return digest
        pull = self._pulls.get(image)
        if pull is None or pull.task is None or pull.task.done():
            pull = self._pulls[image] = _Pull()
            pull.task = asyncio.create_task(self._fetch(image, pull), name=f"pull {image}")
        pull.listeners.append(progress)
        progress(0, 0)
        try:
            await asyncio.shield(pull.task)
        finally:
            pull.listeners.remove(progress)
            if not pull.listeners and not pull.task.done():
                pull.task.cancel()
            if not pull.listeners and self._pulls.get(image) is pull:
                del self._pulls[image]
        digest = await self.digest(image)
        if digest is None:
            raise RuntimeFailure(
                f"image '{image}' was pulled but is not there",
                kind="image_unavailable",
                hint="something else on this node removes images; try again",
                retryable=True,
            )
        return digest

    async def _fetch(self, image: str, pull: _Pull) -> None:
        layers = Layers()
        lines = self._engine.read(lambda: self._open(image), len)
        try:
            async with asyncio.timeout(None) as patience:
                loop = asyncio.get_running_loop()
                patience.reschedule(loop.time() + self._stall)
                async for raw in lines:
                    patience.reschedule(loop.time() + self._stall)
                    line = json.loads(raw)
                    if "error" in line:
                        raise _unavailable(image, str(line["error"]))
                    done, total = layers.feed(line)
                    for listener in tuple(pull.listeners):
                        listener(done, total)
        except docker.errors.APIError as error:
            raise _unavailable(image, said(error)) from error
        except TimeoutError as error:
            raise RuntimeFailure(
                f"image '{image}': the pull has not moved for {self._stall:.0f} s and was given up",
                kind="image_unavailable",
                hint="look at the registry and the network of this node",
                retryable=True,
            ) from error
        except AWAY as error:
            raise unreachable(error) from error
        finally:
            await lines.aclose()

    def _open(self, image: str) -> Answer[bytes]:
        repository, tag = parse_repository_tag(image)
        client = self._engine.client()
        registry, _ = docker.auth.resolve_repository_name(repository)
        client.reload_config()  # a `docker login` since the agent's start counts
        header = docker.auth.get_config_header(client, registry)
        response = self._engine.post(
            "/images/create",
            {"fromImage": repository, "tag": tag or "latest"},
            {"X-Registry-Auth": header.decode("ascii")} if header else {},
            timeout=self._stall + 10.0,  # frees the thread when the engine itself hangs
        )
        return Answer(response, _lines(response))


def _inspect(client: docker.APIClient, image: str) -> dict[str, Any]:
    found: dict[str, Any] = client.inspect_image(image)  # type: ignore[no-untyped-call]  # the stubs lack it
    return found


def _unavailable(image: str, why: str) -> RuntimeFailure:
    return RuntimeFailure(
        f"image '{image}' is not on this node and cannot be pulled: {' '.join(why.split())}",
        kind="image_unavailable",
        hint="check its name, push it to its registry, or `docker login` there as the agent's user",
        retryable=not any(word in why for word in ("not found", "manifest unknown", "denied", "invalid")),
    )


def _lines(response: requests.Response) -> Iterator[bytes]:
    rest = b""
    for block in response.raw.stream(1 << 16):
        *lines, rest = (rest + block).split(b"\n")
        yield from (line for line in lines if line.strip())
    if rest.strip():
        yield rest
