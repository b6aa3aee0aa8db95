"""What every runtime must do (node_agent/runtime/port.py): one body over Docker, and over processes with
and without bubblewrap."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from node_agent.runtime.docker import DockerRuntime
from node_agent.runtime.port import (
    ContainerRuntime,
    ContainerSpec,
    ContainerStatus,
    Labels,
    Mount,
    OutputChunk,
    RuntimeFailure,
)
from node_agent.runtime.process import ProcessRuntime
from tests.services.engine import DockerService
from winslow.logs import Stream

DEADLINE = 150.0
_numbers = itertools.count()


@dataclass
class Bench:
    """A runtime and what a test needs to make stages for it."""

    kind: str
    make: Callable[[], ContainerRuntime]
    root: Path
    image: str
    runtime: ContainerRuntime = field(init=False)
    made: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runtime = self.make()
        self.uuid = f"test-{os.getpid()}-{next(_numbers)}"

    @property
    def sees_targets(self) -> bool:
        return self.kind != "plain"

    def spec(self, *command: str, **changes: object) -> ContainerSpec:
        n = next(_numbers)
        directory = self.root / "attempts" / "demo" / f"{n}.1"
        directory.mkdir(parents=True)
        spec = ContainerSpec(
            name=f"winslow-test-{os.getpid()}-{n}",
            labels=Labels(site="test", node_uuid=self.uuid, project="demo", run=n, attempt=1, claim=f"c{n}"),
            image=self.image,
            directory=directory,
            command=command,
            memory=64 << 20,
        )
        return replace(spec, **changes)  # type: ignore[arg-type]

    async def create(self, spec: ContainerSpec) -> str:
        container = await self.runtime.create(spec)
        self.made.append(container)
        return container

    async def start(self, *command: str, **changes: object) -> str:
        container = await self.create(self.spec(*command, **changes))
        await self.runtime.start(container)
        return container

    async def run(self, *command: str, **changes: object) -> tuple[ContainerStatus, dict[Stream, bytes]]:
        container = await self.start(*command, **changes)
        async with asyncio.timeout(DEADLINE):
            status = await self.runtime.wait(container)
            return status, written(await everything(self.runtime, container))


async def everything(runtime: ContainerRuntime, container: str) -> list[OutputChunk]:
    return [chunk async for chunk in runtime.output(container)]


def written(chunks: list[OutputChunk]) -> dict[Stream, bytes]:
    result: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
    for chunk in chunks:
        assert b"\n" not in chunk.data
        assert len(chunk.data) <= 16 << 10
        result[chunk.stream] += chunk.data + b"\n" * chunk.complete
    return result


@pytest.fixture(params=["docker", "bubblewrap", "plain"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    root = tmp_path / "data"
    attempts = root / "attempts"
    attempts.mkdir(parents=True)
    image = "none"
    if request.param == "docker":
        engine = request.getfixturevalue("docker_engine")
        assert isinstance(engine, DockerService)
        image = request.getfixturevalue("busybox_image")
        url = engine.url

        def make() -> ContainerRuntime:
            return DockerRuntime(base_url=url)
    elif request.param == "bubblewrap" and shutil.which("bwrap") is None:
        if os.environ.get("WINSLOW_TEST_REQUIRE") == "all":
            pytest.fail("bubblewrap is not installed", pytrace=False)
        pytest.skip("bubblewrap is not installed")
    else:
        sandbox = request.param == "bubblewrap"

        def make() -> ContainerRuntime:
            return ProcessRuntime(attempts, sandbox=sandbox)

    bench = Bench(kind=request.param, make=make, root=root, image=image)
    yield bench
    for container in bench.made:
        await bench.runtime.remove(container)
    assert await bench.runtime.find("test", bench.uuid) == []
    await bench.runtime.close()


async def output_until(runtime: ContainerRuntime, container: str, text: bytes) -> list[OutputChunk]:
    """What came until `text` was written; then lets go of the stream."""
    chunks: list[OutputChunk] = []
    async with asyncio.timeout(DEADLINE), aclosing(runtime.output(container)) as output:  # type: ignore[type-var]
        async for chunk in output:
            chunks.append(chunk)
            if text in b"".join(written(chunks).values()):
                return chunks
    raise AssertionError(f"{text!r} was not written, only {chunks}")


async def test_a_life(bench: Bench) -> None:
    runtime = bench.runtime
    assert await runtime.check()
    assert await runtime.has_image(bench.image)
    assert isinstance(await runtime.ensure_image(bench.image, lambda done, total: None), str)
    spec = bench.spec("sh", "-c", "echo ready; sleep 600")
    container = await bench.create(spec)
    created = await runtime.status(container)
    assert created is not None
    assert (created.state, created.exit_code, created.labels) == ("created", None, spec.labels)
    assert await bench.create(spec) == container
    await runtime.start(container)
    await output_until(runtime, container, b"ready\n")
    await runtime.start(container)
    running = await runtime.status(container)
    assert running is not None
    assert (running.state, running.id, running.finished_at) == ("running", container, "")
    assert running.started_at.startswith("2")
    assert [found.id for found in await runtime.find("test", bench.uuid)] == [container]
    assert await runtime.find("test", "another node") == []
    assert await runtime.find("another site", bench.uuid) == []
    async with asyncio.timeout(DEADLINE):
        await runtime.stop(container, grace=0)
        ended = await runtime.wait(container)
    assert ended.state == "exited"
    assert ended.exit_code is not None
    assert ended.exit_code > 128
    assert ended.finished_at >= ended.started_at
    await runtime.start(container)
    assert await runtime.status(container) == ended
    assert await runtime.usage(container) is None
    await runtime.stop(container, grace=0)
    await runtime.remove(container)
    await runtime.remove(container)
    assert await runtime.status(container) is None
    with pytest.raises(RuntimeFailure, match="gone"):
        await runtime.wait(container)


@pytest.mark.parametrize(
    ("command", "code"),
    [("true", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137), ("exit 127", 127)],
)
async def test_exit_codes(bench: Bench, command: str, code: int) -> None:
    status, _ = await bench.run("sh", "-c", command)
    assert (status.exit_code, status.oom, status.error) == (code, False, "")


STREAMS = [
    ("nothing", "true", b"", b""),
    ("lines", "echo one; echo; echo two", b"one\n\ntwo\n", b""),
    ("unterminated", "printf 'a\\nb'", b"a\nb", b""),
    ("carriage returns", "printf '1%%\\r2%%\\r\\n'", b"1%\r2%\r\n", b""),
    ("two streams", "echo out; echo err >&2; printf end >&2", b"out\n", b"err\nend"),
    ("not text", "printf '\\377\\376\\000\\033[31m\\n\\200'", b"\xff\xfe\x00\x1b[31m\n\x80", b""),
    ("40,000 bytes", "head -c 40000 /dev/zero; echo; echo x", b"\0" * 40000 + b"\nx\n", b""),
    ("16 KiB", "head -c 16384 /dev/zero; echo", b"\0" * 16384 + b"\n", b""),
    ("16 KiB unterminated", "head -c 16384 /dev/zero", b"\0" * 16384, b""),
    (
        "32 KiB twice",
        "for i in 1 2; do head -c 32768 /dev/zero; echo; done",
        (b"\0" * 32768 + b"\n") * 2,
        b"",
    ),
    ("16 KiB + 1", "head -c 16385 /dev/zero; echo", b"\0" * 16385 + b"\n", b""),
]


@pytest.mark.parametrize(
    ("command", "out", "err"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS]
)
async def test_output_is_exact(bench: Bench, command: str, out: bytes, err: bytes) -> None:
    container = await bench.start("sh", "-c", command)
    async with asyncio.timeout(DEADLINE):
        followed = await everything(bench.runtime, container)  # from the start, ends by itself
        assert written(followed) == {"stdout": out, "stderr": err}
        assert await everything(bench.runtime, container) == followed
    assert all(len(chunk.time) == 30 for chunk in followed)


async def test_much_output_is_followed_while_it_runs(bench: Bench) -> None:
    """2 MB in 100,000 lines while both streams are in use."""
    script = "i=0; while [ $i -lt 50000 ]; do echo line-number-$i; echo error-$i >&2; i=$((i+1)); done"
    container = await bench.start("sh", "-c", script)
    async with asyncio.timeout(DEADLINE):
        found = written(await everything(bench.runtime, container))
    assert found["stdout"] == b"".join(b"line-number-%d\n" % number for number in range(50000))
    assert found["stderr"] == b"".join(b"error-%d\n" % number for number in range(50000))


async def test_the_environment_is_the_specs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINSLOW_STORE_SECRET_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    environment = {
        "WINSLOW_PROJECT_NAME": "Ulm, crossing 4 = 'west' \"$HOME\" \\n",
        "EMPTY": "",
        "LINES": "one\ntwo\n",
        "UMLAUT": "Größe",
    }
    status, output = await bench.run("sh", "-c", "cat /proc/self/environ", environment=environment)
    found = dict(entry.split("=", 1) for entry in output["stdout"].decode().rstrip("\0").split("\0"))
    assert status.exit_code == 0
    assert {name: found[name] for name in environment} == environment
    own = {"PATH", "HOME", "LANG", "HOSTNAME", "PWD", "SHLVL", "OLDPWD", "_", "NVIDIA_VISIBLE_DEVICES"}
    assert set(found) - set(environment) <= own | {"CUDA_VISIBLE_DEVICES"}


async def test_mounts_and_places(bench: Bench) -> None:
    inputs, workspace = bench.root / "in", bench.root / "ws with space"
    inputs.mkdir()
    workspace.mkdir()
    (inputs / "video").write_text("frames")
    mounts = (Mount("/input", inputs, read_only=True), Mount("/workspace", workspace))
    places = bench.runtime.places(mounts)
    expected = {"/input": "/input", "/workspace": "/workspace"}
    assert places == (
        expected if bench.sees_targets else {"/input": str(inputs), "/workspace": str(workspace)}
    )
    script = (
        'pwd; cat "$IN/video"; echo; echo made > made; mkdir -p sub/dir; cd "$IN"; echo bad > new; echo $?'
    )
    status, output = await bench.run(
        "sh", "-c", script, mounts=mounts, workdir="/workspace", environment={"IN": places["/input"]}
    )
    lines = output["stdout"].decode().splitlines()
    assert status.exit_code == 0
    assert lines[:2] == [places["/workspace"], "frames"]
    assert (workspace / "made").read_text() == "made\n"
    assert (workspace / "sub" / "dir").is_dir()
    if bench.sees_targets:  # plain processes are trusted: they see the directories as they are
        assert lines[2] != "0"
        assert sorted(path.name for path in inputs.iterdir()) == ["video"]
    assert (workspace / "made").stat().st_uid == os.geteuid()


async def test_entrypoint_comes_before_the_command(bench: Bench) -> None:
    _, output = await bench.run("a b", "$HOME", entrypoint=("printf", "%s|"))
    assert output["stdout"] == b"a b|$HOME|"


async def test_a_command_that_is_not_there_is_named(bench: Bench) -> None:
    container = await bench.create(bench.spec("no-such-program", "x"))
    try:
        await bench.runtime.start(container)
        async with asyncio.timeout(DEADLINE):
            status = await bench.runtime.wait(container)
    except RuntimeFailure as error:
        assert error.kind == "runtime_error"
        text = str(error)
    else:
        assert status.exit_code == 127
        text = status.error
    assert "no-such-program" in text


async def test_a_command_that_is_no_program_is_named(bench: Bench) -> None:
    workspace = bench.root / "ws"
    workspace.mkdir()
    (workspace / "data.txt").write_text("not a program")
    container = await bench.create(
        bench.spec("./data.txt", mounts=(Mount("/workspace", workspace),), workdir="/workspace")
    )
    try:
        await bench.runtime.start(container)
        async with asyncio.timeout(DEADLINE):
            text = (await bench.runtime.wait(container)).error
    except RuntimeFailure as error:
        text = str(error)
    assert "data.txt" in text


async def test_stop_asks_first(bench: Bench) -> None:
    container = await bench.start(
        "sh", "-c", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    )
    await output_until(bench.runtime, container, b"ready\n")
    async with asyncio.timeout(DEADLINE):
        await bench.runtime.stop(container, grace=30)
        status = await bench.runtime.wait(container)
        assert written(await everything(bench.runtime, container))["stdout"] == b"ready\nbye\n"
    assert status.exit_code == 7


STUBBORN = (
    "trap '' TERM; (trap '' TERM; while :; do sleep 0.05; echo tick >> T; done) & "
    "while [ ! -s T ]; do sleep 0.05; done; echo ready; wait; wait"
)


async def test_stop_ends_children_that_ignore_it(bench: Bench) -> None:
    workspace = bench.root / "ws"
    workspace.mkdir()
    container = await bench.start(
        "sh", "-c", STUBBORN, mounts=(Mount("/workspace", workspace),), workdir="/workspace"
    )
    await output_until(bench.runtime, container, b"ready\n")
    async with asyncio.timeout(DEADLINE):
        await bench.runtime.stop(container, grace=0.2)
        status = await bench.runtime.wait(container)
    assert status.exit_code == 137
    ticks = size(workspace / "T")
    assert await size_later(workspace / "T") == ticks


async def size_later(path: Path) -> int:
    """After a time in which a child that went on would have written."""
    await asyncio.sleep(0.2)
    return size(path)


def size(path: Path) -> int:
    return path.stat().st_size


async def test_nothing_of_a_stage_outlives_its_first_process(bench: Bench) -> None:
    workspace = bench.root / "ws"
    workspace.mkdir()
    stray = "(setsid sh -c 'while :; do echo tick >> T; sleep 0.05; done' &)"
    script = f"{stray}; while [ ! -s T ]; do sleep 0.05; done; exit 4"
    status, _ = await bench.run(
        "sh", "-c", script, mounts=(Mount("/workspace", workspace),), workdir="/workspace"
    )
    assert status.exit_code == 4
    ticks = size(workspace / "T")
    assert await size_later(workspace / "T") == ticks


async def test_the_next_agent_adopts(bench: Bench) -> None:
    workspace = bench.root / "ws"
    workspace.mkdir()
    script = "echo first; while [ ! -e go ]; do sleep 0.05; done; echo second; exit 5"
    container = await bench.start(
        "sh", "-c", script, mounts=(Mount("/workspace", workspace),), workdir="/workspace"
    )
    await output_until(bench.runtime, container, b"first\n")
    await bench.runtime.close()
    bench.runtime = bench.make()
    (found,) = await bench.runtime.find("test", bench.uuid)
    assert (found.id, found.state) == (container, "running")
    waiting = asyncio.create_task(bench.runtime.wait(container))
    following = asyncio.create_task(everything(bench.runtime, container))
    (workspace / "go").touch()
    async with asyncio.timeout(DEADLINE):
        assert (await waiting).exit_code == 5
        assert written(await following)["stdout"] == b"first\nsecond\n"


async def test_removals_at_the_same_time_all_end_when_it_is_gone(bench: Bench) -> None:
    """As by an agent whose predecessor was killed in the middle of one."""
    workspace = bench.root / "ws"
    workspace.mkdir()
    container = await bench.start("sleep", "600", mounts=(Mount("/workspace", workspace),))
    removals = [asyncio.create_task(bench.runtime.remove(container)) for _ in range(4)]
    async with asyncio.timeout(DEADLINE):
        for removal in removals:
            await removal
            assert await bench.runtime.status(container) is None


async def test_waiting_can_be_given_up(bench: Bench) -> None:
    container = await bench.start("sleep", "600")
    waiting = asyncio.create_task(bench.runtime.wait(container))
    following = asyncio.create_task(everything(bench.runtime, container))
    await asyncio.sleep(0.2)
    for task in (waiting, following):
        task.cancel()
    async with asyncio.timeout(DEADLINE):
        await asyncio.wait([waiting, following])
    assert waiting.cancelled()
    assert following.cancelled()


async def test_usage(bench: Bench) -> None:
    container = await bench.start("sh", "-c", "while :; do :; done")
    async with asyncio.timeout(DEADLINE):
        while True:
            usage = await bench.runtime.usage(container)
            if usage is not None and usage.cpus > 0.1:
                break
            await asyncio.sleep(0.1)
    assert 0.1 < usage.cpus < 3
    assert 0 < usage.memory < 1 << 30
    assert usage.processes >= 1


async def test_the_first_sample_tells_what_was_used_since_the_start(bench: Bench) -> None:
    burn = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo burnt; sleep 600"
    container = await bench.start("sh", "-c", burn)
    async with asyncio.timeout(DEADLINE):
        async with aclosing(bench.runtime.output(container)) as output:  # type: ignore[type-var]
            assert (await anext(output)).data == b"burnt"
        usage = await bench.runtime.usage(container)
    assert usage is not None
    assert 0 < usage.cpus < 3


async def test_what_a_short_stage_used_is_known_at_its_end(bench: Bench) -> None:
    """Where the runtime keeps it: an engine does not, and is asked while the stage runs."""
    status, _ = await bench.run("sh", "-c", "head -c 40000000 /dev/zero | tail -c 39000000 > /dev/null")
    if bench.kind == "docker":
        assert (status.peak_memory, status.cpus) == (0, 0.0)
    else:
        assert 38 << 20 < status.peak_memory < 200 << 20
        assert 0 < status.cpus < 8


async def test_without_a_network(bench: Bench) -> None:
    interfaces = ("sh", "-c", "grep -c : /proc/net/dev")
    if bench.kind == "plain":
        with pytest.raises(RuntimeFailure, match="wants no network") as caught:
            await bench.create(bench.spec(*interfaces, network="none"))
        assert caught.value.kind == "refused_by_node"
        return
    status, output = await bench.run(*interfaces, network="none")
    assert (status.exit_code, output["stdout"]) == (0, b"1\n"), "only the loopback"


async def test_the_host_network(bench: Bench) -> None:
    """The host's is the engine's: the same interfaces with the same names."""
    show = ("sh", "-c", "readlink /proc/self/ns/net")
    _, own = await bench.run(*show)
    _, host = await bench.run(*show, network="host")
    assert (own == host) is (bench.kind != "docker")


async def test_a_directory_is_seen_where_it_can_be_mounted(bench: Bench, tmp_path: Path) -> None:
    assert await bench.runtime.sees(tmp_path)
    assert await bench.runtime.sees(tmp_path / "absent") is (bench.kind != "docker")


async def test_a_mount_below_a_directory_of_the_machines_own(bench: Bench, tmp_path: Path) -> None:
    """Where the stage finds it is what `places` says, in every runtime."""
    (tmp_path / "TOKEN").write_bytes(b"s3cret\n")
    mount = Mount(target="/run/secrets", source=tmp_path, read_only=True)
    seen = bench.runtime.places([mount])["/run/secrets"]
    script = f"cat {seen}/TOKEN; (echo x > {seen}/TOKEN) 2>/dev/null && echo written"
    _, output = await bench.run("sh", "-c", script, mounts=(mount,))
    assert output["stdout"] == b"s3cret\n" + b"written\n" * (not bench.runtime.guards_mounts)
    assert (seen == "/run/secrets") is (bench.kind == "docker")


async def test_the_user_of_a_stage(bench: Bench) -> None:
    container = await bench.create(bench.spec("true"))
    assert await bench.runtime.user(container) == os.geteuid()
    if bench.kind == "docker":
        for name, number in (("1234:5", 1234), ("root", 0)):
            container = await bench.create(bench.spec("true", user=name))
            assert await bench.runtime.user(container) == number
        container = await bench.create(bench.spec("true", user="nobody-of-this-name"))
        with pytest.raises(RuntimeFailure, match="the image has no user 'nobody-of-this-name'"):
            await bench.runtime.user(container)


async def test_a_stop_can_be_given_up(bench: Bench) -> None:
    """The one who waits out a long grace may want it killed at once."""
    script = "trap 'echo asked' TERM; echo up; while :; do sleep 0.05; done"
    container = await bench.start("sh", "-c", script)
    await output_until(bench.runtime, container, b"up")
    stopping = asyncio.create_task(bench.runtime.stop(container, grace=3600))
    await output_until(bench.runtime, container, b"asked")
    assert not stopping.done()
    stopping.cancel()
    await asyncio.wait([stopping])
    async with asyncio.timeout(DEADLINE):
        await bench.runtime.stop(container, grace=0)
        assert (await bench.runtime.wait(container)).exit_code == 137


async def test_hostile_names_and_labels(bench: Bench) -> None:
    spec = bench.spec("true")
    await bench.create(spec)
    other = replace(spec, labels=replace(spec.labels, claim="another"))
    with pytest.raises(RuntimeFailure, match="belongs to something else"):
        await bench.runtime.create(other)
