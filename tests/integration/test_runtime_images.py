"""Docker's frames read back to lines, and images: pulled once, with a login, given up, or nowhere."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from node_agent.runtime.docker import DockerRuntime
from node_agent.runtime.frames import FrameReader
from node_agent.runtime.images import Layers
from node_agent.runtime.port import ContainerSpec, Labels, OutputChunk, RuntimeFailure
from tests.services.engine import (
    DockerService,
    RegistryService,
    registry_daemon,
)
from tests.services.waiting import wait_until
from winslow.errors import InvalidInput

pytestmark = pytest.mark.docker
DEADLINE = 120.0
PASSWORD = "secret-password"
PASSWORD_HASH = "$2b$05$abcdefghijklmnopqrstuu8jXihDn6YyI16dkpSl33R.slyuyqYCi"  # its bcrypt
T1, T2 = b"2026-03-01T10:00:00.000000001Z", b"2026-03-01T10:00:00.000000002Z"
_numbers = itertools.count()


def spec(image: str, *command: str, directory: Path, **changes: Any) -> ContainerSpec:
    n = next(_numbers)
    made = ContainerSpec(
        name=f"winslow-docker-test-{os.getpid()}-{n}",
        labels=Labels(site="test", node_uuid="docker-test", project="demo", run=n, attempt=1, claim=f"c{n}"),
        image=image,
        directory=directory,
        command=command,
        memory=64 << 20,
    )
    return replace(made, **changes)


@pytest.fixture
async def runtime(docker_engine: DockerService) -> AsyncIterator[DockerRuntime]:
    runtime = DockerRuntime(base_url=docker_engine.url)
    yield runtime
    for found in await runtime.find("test", "docker-test"):
        await runtime.remove(found.id)
    await runtime.close()


@pytest.fixture
def client(docker_engine: DockerService) -> Iterator[docker.DockerClient]:
    client = docker_engine.client()
    yield client
    client.close()


# --- frames -------------------------------------------------------------------------------------


def frame(data: bytes, *, stream: int = 1, time: bytes = T1) -> bytes:
    payload = time + b" " + data
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


def chunk(data: bytes, complete: bool, time: bytes = T1) -> OutputChunk:
    return OutputChunk(stream="stdout", data=data, complete=complete, time=time.decode())


FULL = b"x" * (16 << 10)


@pytest.mark.parametrize(
    ("frames", "chunks"),
    [
        ([frame(b"line\n")], [chunk(b"line", True)]),
        ([frame(b"")], [chunk(b"", False)]),
        ([frame(b"no newline")], [chunk(b"no newline", False)]),
        ([frame(FULL), frame(b"tail")], [chunk(FULL, False), chunk(b"tail", True)]),
        ([frame(FULL), frame(b"")], [chunk(FULL, False), chunk(b"", True)]),
        ([frame(FULL)], [chunk(FULL, False)]),
        ([frame(FULL), frame(FULL)], [chunk(FULL, False), chunk(FULL, False)]),
        (  # another time: the line before has ended exactly at 16 KiB
            [frame(FULL), frame(b"next\n", time=T2)],
            [chunk(FULL, False), chunk(b"", True), chunk(b"next", True, T2)],
        ),
    ],
)
def test_lines_are_rebuilt_from_frames(frames: list[bytes], chunks: list[OutputChunk]) -> None:
    stream = b"".join(frames)
    assert FrameReader().feed(stream) == chunks
    reader = FrameReader()
    assert [found for at in range(len(stream)) for found in reader.feed(stream[at : at + 1])] == chunks
    assert not reader.torn


def test_streams_have_long_lines_of_their_own() -> None:
    found = FrameReader().feed(frame(FULL) + frame(b"err\n", stream=2) + frame(b"tail"))
    assert [(each.stream, each.complete) for each in found] == [
        ("stdout", False),
        ("stderr", True),
        ("stdout", True),
    ]


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not made of frames"):
        FrameReader().feed(b"plain text of a container with a terminal, long enough to be taken for a frame")
    reader = FrameReader()
    reader.feed(frame(b"line\n")[:20])
    assert reader.torn


# --- images -------------------------------------------------------------------------------------


def test_progress_counts_layers() -> None:
    layers = Layers()
    told = [
        layers.feed(line)
        for line in (
            {"status": "Pulling from team/detect", "id": "latest"},
            {"status": "Downloading", "id": "a", "progressDetail": {"current": 10, "total": 100}},
            {"status": "Downloading", "id": "b", "progressDetail": {"current": 5, "total": 50}},
            {"status": "Download complete", "id": "a", "progressDetail": {}},
            {"status": "Extracting", "id": "a", "progressDetail": {"current": 1, "total": 100}},
            {"status": "Already exists", "id": "c", "progressDetail": {}},
            {"status": "Downloading", "id": "d", "progressDetail": {"current": 7}},
        )
    ]
    assert told == [(0, 0), (10, 100), (15, 150), (105, 150), (105, 150), (105, 150), (112, 150)]


@pytest.fixture
def pushed(
    client: docker.DockerClient, docker_registry: RegistryService, busybox_image: str
) -> Iterator[str]:
    """An image that only the registry has."""
    repository = f"{docker_registry.address}/team/tool-{os.getpid()}"
    client.images.get(busybox_image).tag(repository, "1")
    client.images.push(repository, "1")
    client.images.remove(f"{repository}:1")
    yield f"{repository}:1"
    with suppress(docker.errors.ImageNotFound):
        client.images.remove(f"{repository}:1")


async def test_two_attempts_pull_an_image_once(
    runtime: DockerRuntime, pushed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not await runtime.has_image(pushed)
    opened = []
    images = runtime._images
    real = images._open

    def counted(image: str) -> object:
        opened.append(image)
        return real(image)

    monkeypatch.setattr(images, "_open", counted)
    told: list[tuple[int, int]] = []
    first, second = await asyncio.gather(
        runtime.ensure_image(pushed, lambda done, total: told.append((done, total))),
        runtime.ensure_image(pushed, lambda done, total: None),
    )
    assert first == second
    assert first.startswith("sha256:")
    assert opened == [pushed]
    assert await runtime.has_image(pushed)
    assert told[0] == (0, 0)  # a pull is told of before its first byte
    told.clear()
    assert await runtime.ensure_image(pushed, lambda done, total: told.append((done, total))) == first
    assert not told


async def test_one_of_two_may_give_up_a_pull(runtime: DockerRuntime, pushed: str) -> None:
    giving_up = asyncio.create_task(runtime.ensure_image(pushed, lambda done, total: None))
    staying = asyncio.create_task(runtime.ensure_image(pushed, lambda done, total: None))
    await asyncio.sleep(0)
    giving_up.cancel()
    async with asyncio.timeout(DEADLINE):
        assert (await staying).startswith("sha256:")
    assert giving_up.cancelled()


async def test_a_private_registry_takes_the_users_own_login(
    docker_engine: DockerService,
    client: docker.DockerClient,
    busybox_image: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Refused without; after a login, also one made while the agent runs, pulled."""
    folder = tmp_path / "registry"
    folder.mkdir()
    (folder / "users").write_text(f"team:{PASSWORD_HASH}\n")
    daemon, registry = registry_daemon(folder)
    with (folder / "registry.yml").open("a") as config:
        config.write(f"auth:\n  htpasswd: {{realm: test, path: {folder / 'users'}}}\n")
    home = tmp_path / "docker-config"
    home.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(home))
    image = f"{registry.address}/team/private-{os.getpid()}:1"
    login = {"username": "team", "password": PASSWORD}
    daemon.start()
    try:
        wait_until(lambda: _http_status(registry.url + "/v2/") == 401, what="the registry")
        client.images.get(busybox_image).tag(*image.rsplit(":", 1))
        assert "error" not in client.images.push(*image.rsplit(":", 1), auth_config=login)
        client.images.remove(image)
        runtime = DockerRuntime(base_url=docker_engine.url)
        with pytest.raises(RuntimeFailure, match="auth") as failure:
            await runtime.ensure_image(image, lambda done, total: None)
        assert "docker login" in failure.value.hint
        token = base64.b64encode(f"team:{PASSWORD}".encode()).decode()
        (home / "config.json").write_text(json.dumps({"auths": {registry.address: {"auth": token}}}))
        assert (await runtime.ensure_image(image, lambda done, total: None)).startswith("sha256:")
        client.images.remove(image)
        await runtime.close()
    finally:
        daemon.stop()


def _http_status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


async def test_an_image_that_is_nowhere(runtime: DockerRuntime, docker_registry: RegistryService) -> None:
    image = f"{docker_registry.address}/team/none:1"
    with pytest.raises(RuntimeFailure) as failure:
        await runtime.ensure_image(image, lambda done, total: None)
    assert failure.value.kind == "image_unavailable"
    assert image in str(failure.value)
    assert "not on this node and cannot be pulled" in str(failure.value)
    assert failure.value.hint


async def test_a_registry_that_is_away_may_come_back(runtime: DockerRuntime) -> None:
    with pytest.raises(RuntimeFailure) as failure:
        await runtime.ensure_image("127.0.0.1:9/team/tool:1", lambda done, total: None)
    assert (failure.value.kind, failure.value.retryable) == ("image_unavailable", True)


async def test_a_pull_that_does_not_move_is_given_up(docker_engine: DockerService) -> None:
    """A registry that takes the connection and then says nothing."""
    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda reader, writer: held.append(writer), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    runtime = DockerRuntime(base_url=docker_engine.url, stall=0.5)
    try:
        with pytest.raises(RuntimeFailure, match=r"has not moved for|cannot be pulled") as failure:
            async with asyncio.timeout(DEADLINE):
                await runtime.ensure_image(f"127.0.0.1:{port}/team/tool:1", lambda done, total: None)
        assert failure.value.retryable
    finally:
        silent.close()
        for writer in held:
            writer.close()
        await runtime.close()


@pytest.mark.parametrize("image", ["UPPER/case:1", "a b", "", "x:y:z"])
async def test_a_name_that_is_none(runtime: DockerRuntime, image: str) -> None:
    with pytest.raises(RuntimeFailure) as failure:
        await runtime.ensure_image(image, lambda done, total: None)
    assert failure.value.kind == "image_unavailable"


async def test_creating_from_an_image_that_is_not_here(runtime: DockerRuntime, tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure) as failure:
        await runtime.create(spec("winslow-test/none:1", "true", directory=tmp_path))
    assert failure.value.kind == "image_unavailable"
