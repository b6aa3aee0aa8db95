"""What only the Docker runtime has: overlays, limits, GPUs, and an engine that restarts."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from node_agent.runtime.docker import DockerRuntime
from node_agent.runtime.port import ContainerSpec, Labels, Mount, OutputChunk, RuntimeFailure
from tests.services.engine import (
    DockerService,
    engine_daemon,
    import_busybox,
)
from tests.services.waiting import wait_until

pytestmark = pytest.mark.docker
DEADLINE = 150.0
NODE = f"docker-test-{os.getpid()}"  # others may try the same on this engine
_numbers = itertools.count()


def spec(image: str, *command: str, directory: Path, **changes: Any) -> ContainerSpec:
    n = next(_numbers)
    made = ContainerSpec(
        name=f"winslow-docker-test-{os.getpid()}-{n}",
        labels=Labels(site="test", node_uuid=NODE, project="demo", run=n, attempt=1, claim=f"c{n}"),
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
    for found in await runtime.find("test", NODE):
        await runtime.remove(found.id)
    await runtime.close()


@pytest.fixture
def client(docker_engine: DockerService) -> Iterator[docker.DockerClient]:
    client = docker_engine.client()
    yield client
    client.close()


# --- containers ---------------------------------------------------------------------------------


async def test_defaults(
    runtime: DockerRuntime, client: docker.DockerClient, busybox_image: str, tmp_path: Path
) -> None:
    made = spec(
        busybox_image, "true", directory=tmp_path, cpus=0.5, memory=96 << 20, shm=32 << 20, log_limit=1 << 20
    )
    container = await runtime.create(made)
    found = client.api.inspect_container(container)
    host = found["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (500_000_000, 96 << 20, 96 << 20)
    assert host["ShmSize"] == 32 << 20
    assert host["Init"] is True
    assert host["Privileged"] is False
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert set(host["CapDrop"]) == {"NET_RAW", "MKNOD", "AUDIT_WRITE", "SETFCAP"}
    assert host["PidsLimit"] > 1000
    assert host["Binds"] is None
    assert host["RestartPolicy"]["Name"] in ("", "no")
    assert host["LogConfig"]["Type"] == "local"
    assert int(host["LogConfig"]["Config"]["max-size"]) > 1 << 20
    assert host["LogConfig"]["Config"]["max-file"] == "1"
    assert not host["DeviceRequests"]
    assert not found["Config"]["Tty"]
    assert found["Config"]["Labels"]["winslow.project"] == "demo"
    assert found["Config"]["Labels"]["winslow.claim"] == made.labels.claim


async def test_limits_hold_in_the_container(
    runtime: DockerRuntime, busybox_image: str, tmp_path: Path
) -> None:
    container = await runtime.create(
        spec(busybox_image, "sh", "-c", "mknod /dev/x c 1 3 || cat /proc/self/status", directory=tmp_path)
    )
    await runtime.start(container)
    async with asyncio.timeout(DEADLINE):
        lines = [each.data.decode() async for each in runtime.output(container)]
    assert "NoNewPrivs:\t1" in lines


async def test_out_of_memory_is_told(runtime: DockerRuntime, busybox_image: str, tmp_path: Path) -> None:
    made = spec(busybox_image, "sh", "-c", "exec tail /dev/zero", directory=tmp_path, memory=16 << 20)
    container = await runtime.create(made)
    await runtime.start(container)
    async with asyncio.timeout(DEADLINE):
        status = await runtime.wait(container)
    assert (status.exit_code, status.oom) == (137, True)


async def test_a_mount_that_is_not_there_is_refused(
    runtime: DockerRuntime, busybox_image: str, tmp_path: Path
) -> None:
    made = spec(busybox_image, "true", directory=tmp_path, mounts=(Mount("/input", tmp_path / "none"),))
    with pytest.raises(RuntimeFailure, match="none"):
        await runtime.start(await runtime.create(made))


# --- overlays -----------------------------------------------------------------------------------


async def test_overlays(
    runtime: DockerRuntime, client: docker.DockerClient, busybox_image: str, tmp_path: Path
) -> None:
    if not await runtime.overlays(tmp_path):
        pytest.skip("this machine's kernel or file system has no overlays")
    lower, upper, work = (tmp_path / name for name in ("lower", "upper", "work"))
    for folder in (lower, upper, work):
        folder.mkdir()
    (lower / "kept").write_text("old")
    (lower / "removed").write_text("old")
    mount = Mount("/bin/../workspace", upper, lower=lower, work=work)
    made = spec(
        busybox_image, "sh", "-c", "cat kept; echo new > made; echo more >> kept; rm removed", directory=tmp_path,
        mounts=(replace(mount, target="/workspace"),), workdir="/workspace",
    )  # fmt: skip
    container = await runtime.create(made)
    await runtime.start(container)
    async with asyncio.timeout(DEADLINE):
        assert (await runtime.wait(container)).exit_code == 0
        assert [each.data async for each in runtime.output(container)] == [b"old"]
    assert sorted(path.name for path in lower.iterdir()) == ["kept", "removed"]
    assert (lower / "kept").read_text() == "old"
    assert (upper / "made").read_text() == "new\n"
    assert (upper / "kept").read_text() == "oldmore\n"
    assert (upper / "removed").is_char_device()  # a whiteout
    volumes = [volume.name for volume in client.volumes.list() if str(volume.name).startswith(made.name)]
    assert len(volumes) == 1
    await runtime.remove(container)
    assert [volume.name for volume in client.volumes.list() if str(volume.name).startswith(made.name)] == []
    assert (upper / "made").exists()


async def test_the_overlay_probe_says_no_and_leaves_nothing(
    runtime: DockerRuntime, client: docker.DockerClient, tmp_path: Path
) -> None:
    hostile = tmp_path / "a,b"
    hostile.mkdir()
    assert await runtime.overlays(hostile) is False
    own = f"winslow-probe-{os.getpid()}-"  # the engine is shared with agents that probe, too
    names = [name for each in client.api.containers(all=True) for name in each["Names"]]
    names += [volume.name for volume in client.volumes.list()]
    assert [name for name in names if own in name] == []


# --- engines of the test's own ------------------------------------------------------------------


async def test_no_engine_is_named_with_a_way_out(tmp_path: Path) -> None:
    runtime = DockerRuntime(base_url=f"unix://{tmp_path}/none.sock")
    with pytest.raises(RuntimeFailure, match="does not answer") as failure:
        await runtime.check()
    assert failure.value.retryable
    assert "systemctl start docker" in failure.value.hint
    await runtime.close()


class OwnEngine:
    """A dockerd in a network namespace of its own, which may be killed and started again."""

    def __init__(self, directory: Path, *extra: str, path: str = "") -> None:
        self._directory = directory
        self.daemon, self.service = engine_daemon(directory)
        command = [*self.daemon.command, "--bridge=none", "--iptables=false", *extra]
        self._command = ["unshare", "--net", "--", *command]
        self._environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"} if path else None
        self._log = directory / "own.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)
        wait_until(self._answers, seconds=100, what="dockerd")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(5)
            try:
                door.connect(self.service.url.removeprefix("unix://"))
                door.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 OK" in door.recv(1000)
            except OSError:
                return False

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        # where nobody reaps orphans its containerd stays a zombie, which the next dockerd takes for a live one
        for name in ("docker.pid", "exec/containerd/containerd.pid"):
            (self._directory / name).unlink(missing_ok=True)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(100)


def _own_engine(directory: Path, *extra: str, path: str = "") -> OwnEngine:
    if os.geteuid() != 0 or shutil.which("dockerd") is None or shutil.which("unshare") is None:
        if os.environ.get("WINSLOW_TEST_REQUIRE") == "all":
            pytest.fail("an engine of the test's own needs root and dockerd", pytrace=False)
        pytest.skip("an engine of the test's own needs root and dockerd")
    directory.mkdir()
    engine = OwnEngine(directory, *extra, path=path)
    engine.start()
    import_busybox(engine.service)
    return engine


async def test_a_restart_of_the_engine_is_outlived(service_folder: Path, tmp_path: Path) -> None:
    """dockerd is killed and started again while a stage runs: same container, one exit code, whole output."""
    engine = _own_engine(service_folder / "restart", "--live-restore")
    runtime = DockerRuntime(base_url=engine.service.url)
    workspace = tmp_path / "ws"
    workspace.mkdir()
    script = "i=0; while [ ! -e go ]; do echo line-$i; i=$((i+1)); sleep 0.01; done; echo $i > count; exit 6"
    try:
        made = spec(
            "winslow-test/busybox:1", "sh", "-c", script, directory=tmp_path,
            mounts=(Mount("/workspace", workspace),), workdir="/workspace",
        )  # fmt: skip
        container = await runtime.create(made)
        await runtime.start(container)
        waiting = asyncio.create_task(runtime.wait(container))
        chunks: list[OutputChunk] = []
        seen = asyncio.Event()

        async def follow() -> None:
            async with aclosing(runtime.output(container)) as output:
                async for each in output:
                    chunks.append(each)
                    if len(chunks) > 20:
                        seen.set()

        following = asyncio.create_task(follow())
        async with asyncio.timeout(DEADLINE):
            await seen.wait()
            await asyncio.to_thread(engine.kill)
            await asyncio.to_thread(engine.start)
            assert not waiting.done()
            (workspace / "go").touch()
            status = await waiting
            await following
        count = int((workspace / "count").read_text())
        assert status.exit_code == 6
        lines = [each.data for each in chunks]
        assert lines == [b"line-%d" % number for number in range(count)]
    finally:
        (workspace / "go").touch()
        with suppress(RuntimeFailure):
            for found in await runtime.find("test", NODE):
                await runtime.remove(found.id)
        await runtime.close()
        engine.stop()


async def test_gpus_are_asked_for_by_uuid(service_folder: Path, tmp_path: Path) -> None:
    """Without a GPU: a stub stands in for NVIDIA's hook, and the engine shows what was asked of it."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    hook = hooks / "nvidia-container-runtime-hook"
    hook.write_text("#!/bin/sh\nexit 0\n")
    hook.chmod(0o755)
    engine = _own_engine(service_folder / "gpus", path=str(hooks))
    runtime = DockerRuntime(base_url=engine.service.url)
    client = engine.service.client()
    try:
        made = spec("winslow-test/busybox:1", "sh", "-c", "echo $NVIDIA_VISIBLE_DEVICES", directory=tmp_path)
        container = await runtime.create(replace(made, gpus=("GPU-a", "GPU-b")))
        (request,) = client.api.inspect_container(container)["HostConfig"]["DeviceRequests"]
        assert (request["DeviceIDs"], request["Capabilities"]) == (["GPU-a", "GPU-b"], [["gpu"]])
        await runtime.start(container)
        async with asyncio.timeout(DEADLINE):
            assert (await runtime.wait(container)).exit_code == 0
            assert [each.data async for each in runtime.output(container)] == [b"GPU-a,GPU-b"]
        await runtime.remove(container)
    finally:
        client.close()
        await runtime.close()
        engine.stop()


def test_an_agent_that_is_not_root_runs_containers_as_itself(
    busybox_image: str,
    docker_engine: DockerService,
    client: docker.DockerClient,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from node_agent.runtime import containers

    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(os, "getegid", lambda: 5678)
    users = []
    for user in ("", "99:99"):
        made = spec(busybox_image, "true", directory=tmp_path, user=user)
        container = containers.create(client.api, made)
        users.append(client.api.inspect_container(container)["Config"]["User"])
        containers.remove(client.api, container)
    assert users == ["1234:5678", "99:99"]


async def test_the_process_can_end_while_a_wait_is_open(
    docker_engine: DockerService, busybox_image: str
) -> None:
    """An agent that is told to stop must not hang on threads that wait on containers."""
    script = f"""
import asyncio, os
from pathlib import Path
from node_agent.runtime.docker import DockerRuntime
from node_agent.runtime.port import ContainerSpec, Labels
async def main():
    runtime = DockerRuntime(base_url={docker_engine.url!r})
    labels = Labels(site="test", node_uuid={NODE!r}, project="demo", run=1, attempt=1, claim="end")
    made = ContainerSpec(name=f"winslow-docker-test-end-{{os.getpid()}}", labels=labels, image={busybox_image!r},
                         directory=Path("/"), command=("sleep", "600"))
    container = await runtime.create(made)
    await runtime.start(container)
    waiting = asyncio.create_task(runtime.wait(container))
    async def follow():
        async for _ in runtime.output(container): pass
    following = asyncio.create_task(follow())
    await asyncio.sleep(0.5)
    assert not waiting.done() and not following.done()
    waiting.cancel(); following.cancel()
    await asyncio.gather(waiting, following, return_exceptions=True)
    await runtime.close()
    other = DockerRuntime(base_url={docker_engine.url!r})
    await other.remove(container)
    await other.close()
asyncio.run(main())
print("ended")
"""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("ended\n", 0), done.stderr
