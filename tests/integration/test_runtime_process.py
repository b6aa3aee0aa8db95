"""What only plain processes have: the shim, its death, and what such a node refuses."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from node_agent.runtime import attending, process, shim
from node_agent.runtime.port import ContainerSpec, Labels, Mount, OutputChunk, RuntimeFailure
from node_agent.runtime.process import ProcessRuntime
from node_agent.runtime.shim_output import ShimOutput
from winslow import logs

DEADLINE = 60.0
_numbers = itertools.count()


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[ProcessRuntime]:
    runtime = ProcessRuntime(tmp_path, sandbox=False)
    yield runtime
    for found in await runtime.find("test", "process-test"):
        await runtime.remove(found.id)
    await runtime.close()


def spec(root: Path, *command: str, **changes: Any) -> ContainerSpec:
    n = next(_numbers)
    directory = root / "demo" / f"{n}.1"
    directory.mkdir(parents=True)
    made = ContainerSpec(
        name=f"winslow-process-test-{n}",
        labels=Labels(site="test", node_uuid="process-test", project="demo", run=n, attempt=1, claim=f"c{n}"),
        image="unused",
        directory=directory,
        command=command,
    )
    return replace(made, **changes)


async def ended(runtime: ProcessRuntime, container: str) -> list[bytes]:
    async with asyncio.timeout(DEADLINE):
        await runtime.wait(container)
        return [chunk.data async for chunk in runtime.output(container)]


def shim_pid(root: Path, container: str) -> int:
    return int(json.loads((root / container / "process" / "shim.json").read_text())["pid"])


# --- output frames ------------------------------------------------------------------------------


def frame(data: bytes, stream: int = 1, time: int = 7) -> bytes:
    return bytes([stream]) + len(data).to_bytes(4, "big") + time.to_bytes(8, "big") + data


def test_lines_do_not_depend_on_how_they_were_written() -> None:
    data = b"one\n" + b"x" * 40000 + b"\n\nlast"

    def cut(size: int) -> list[OutputChunk]:
        reader = ShimOutput()
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        return [*reader.feed(b"".join(frame(piece) for piece in pieces)), *reader.end()]

    whole = cut(len(data))
    assert [len(each.data) for each in whole] == [3, 16384, 16384, 7232, 0, 4]
    assert [each.complete for each in whole] == [True, False, False, True, True, False]
    assert cut(1000) == cut(16384) == cut(7) == whole


def test_a_torn_frame_waits() -> None:
    reader = ShimOutput()
    both = frame(b"one\n") + frame(b"two\n", stream=2, time=8)
    found = [chunk for at in range(len(both)) for chunk in reader.feed(both[at : at + 1])]
    assert found == [
        OutputChunk(stream="stdout", data=b"one", complete=True, time=logs.stamp(7)),
        OutputChunk(stream="stderr", data=b"two", complete=True, time=logs.stamp(8)),
    ]
    assert list(reader.end()) == []


# --- what such a node refuses -------------------------------------------------------------------


async def test_what_processes_cannot_give_is_refused(runtime: ProcessRuntime, tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match="no command"):
        await runtime.create(spec(tmp_path))
    with pytest.raises(RuntimeFailure, match="user 'nobody'") as failure:
        await runtime.create(spec(tmp_path, "true", user="nobody"))
    assert failure.value.kind == "refused_by_node"
    with pytest.raises(RuntimeFailure, match="overlay"):
        await runtime.create(
            spec(tmp_path, "true", mounts=(Mount("/workspace", tmp_path, lower=tmp_path, work=tmp_path),))
        )
    with pytest.raises(RuntimeFailure, match="not an attempt's directory"):
        await runtime.create(replace(spec(tmp_path, "true"), directory=tmp_path / "elsewhere"))
    assert await runtime.overlays(tmp_path) is False


@pytest.mark.parametrize("container", ["../../etc", "a", "a/b/c", "/etc/passwd", "demo/..", ""])
async def test_an_id_cannot_leave_the_root(runtime: ProcessRuntime, container: str) -> None:
    with pytest.raises(RuntimeFailure, match="no process container's id"):
        await runtime.remove(container)


async def test_bubblewrap_that_is_wanted_and_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "bubblewrap_works", lambda: False)
    runtime = ProcessRuntime(tmp_path, sandbox=True)
    with pytest.raises(RuntimeFailure, match="bubblewrap"):
        await runtime.check()
    await runtime.close()
    runtime = ProcessRuntime(tmp_path)
    assert await runtime.check() == "plain processes"
    await runtime.close()


# --- the environment ----------------------------------------------------------------------------


async def test_gpus_are_shown_by_uuid_and_hidden_else(runtime: ProcessRuntime, tmp_path: Path) -> None:
    shown = []
    for gpus in (("GPU-a", "GPU-b"), ()):
        container = await runtime.create(
            spec(tmp_path, "sh", "-c", 'echo "[$CUDA_VISIBLE_DEVICES]"', gpus=gpus)
        )
        await runtime.start(container)
        shown += await ended(runtime, container)
    assert shown == [b"[GPU-a,GPU-b]", b"[]"]


async def test_programs_are_found_where_the_agent_says(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "detect").write_text("#!/bin/sh\necho found\n")
    (tools / "detect").chmod(0o755)
    runtime = ProcessRuntime(tmp_path, search=f"{tools}:/usr/bin:/bin")
    container = await runtime.create(spec(tmp_path, "detect"))
    await runtime.start(container)
    assert await ended(runtime, container) == [b"found"]
    await runtime.remove(container)
    await runtime.close()


async def test_signals_and_files_are_as_a_program_expects(runtime: ProcessRuntime, tmp_path: Path) -> None:
    """No ignored SIGPIPE (Python's own habit), no open files but the three, no terminal."""
    ignored = signal.signal(
        signal.SIGQUIT, signal.SIG_IGN
    )  # as a shell leaves it to what it runs in the background
    script = "yes | head -1; grep SigIgn /proc/self/status; ls /proc/self/fd | wc -l; cat | wc -c"
    container = await runtime.create(spec(tmp_path, "sh", "-c", script))
    await runtime.start(container)
    signal.signal(signal.SIGQUIT, ignored)
    lines = await ended(runtime, container)
    assert [lines[0], *lines[2:]] == [b"y", b"4", b"0"]
    label, mask = lines[1].split()
    # Signals 32 and 33 are the C library's own: no program can set them through it, so an inherited mark stays.
    assert label == b"SigIgn:" and int(mask, 16) & ~(0b11 << 31) == 0


# --- the shim -----------------------------------------------------------------------------------


async def test_the_stage_outlives_a_killed_agent(tmp_path: Path) -> None:
    """The program that started the stage is killed with all it has; the next one finds the stage."""
    made = spec(
        tmp_path, "sh", "-c", "echo first; while [ ! -e go ]; do sleep 0.02; done; echo second; exit 9"
    )
    workspace = tmp_path / "ws"
    workspace.mkdir()
    script = f"""
import asyncio, os, signal
from pathlib import Path
from node_agent.runtime.port import ContainerSpec, Labels, Mount
from node_agent.runtime.process import ProcessRuntime
async def main():
    runtime = ProcessRuntime(Path({str(tmp_path)!r}), sandbox=False)
    labels = Labels(site="test", node_uuid="process-test", project="demo", run=1, attempt=1, claim="c")
    await runtime.start(await runtime.create(ContainerSpec(
        name="x", labels=labels, image="", directory=Path({str(made.directory)!r}), command={made.command!r},
        mounts=(Mount("/workspace", Path({str(workspace)!r})),), workdir="/workspace")))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    runtime = ProcessRuntime(tmp_path, sandbox=False)
    (found,) = await runtime.find("test", "process-test")
    assert found.state == "running"
    (workspace / "go").touch()
    async with asyncio.timeout(DEADLINE):
        assert (await runtime.wait(found.id)).exit_code == 9
    assert await ended(runtime, found.id) == [b"first", b"second"]
    await runtime.remove(found.id)
    await runtime.close()


async def test_a_killed_shim_is_told_and_nothing_of_the_stage_stays(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    container = await runtime.create(
        spec(tmp_path, "sh", "-c", "sleep 601 & echo $!; setsid sleep 602 & echo $!; wait")
    )
    await runtime.start(container)
    async with asyncio.timeout(DEADLINE):
        pids: list[int] = []
        async for chunk in runtime.output(container):
            pids.append(int(chunk.data))
            if len(pids) == 2:
                break
        os.kill(shim_pid(tmp_path, container), signal.SIGKILL)
        status = await runtime.wait(container)
        while any(_alive(pid) for pid in pids):  # noqa: ASYNC110  # processes that are being killed, with a deadline
            await asyncio.sleep(0.01)
    assert (status.state, status.exit_code) == ("exited", None)
    assert "killed" in status.error


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_after_a_reboot_a_stage_is_not_taken_for_running(
    runtime: ProcessRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = await runtime.create(spec(tmp_path, "sleep", "600"))
    await runtime.start(container)
    with monkeypatch.context() as reboot:
        reboot.setattr(attending, "boot_id", lambda: "another boot")
        status = await runtime.status(container)
        assert status is not None
        assert (status.state, status.exit_code, status.error) == ("exited", None, "the node was restarted")
        await runtime.stop(container, grace=0)  # whoever has that number now is left alone
    running = await runtime.status(container)
    assert running is not None
    assert running.state == "running"


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "600"])


async def test_a_number_given_to_another_process_is_not_signalled(
    runtime: ProcessRuntime, tmp_path: Path
) -> None:
    container = await runtime.create(spec(tmp_path, "true"))
    await runtime.start(container)
    await ended(runtime, container)
    bystander = sleeper()
    try:
        path = tmp_path / container / "process"
        (path / "exit.json").unlink()
        me = json.loads((path / "shim.json").read_text())
        (path / "shim.json").write_text(json.dumps({**me, "pid": bystander.pid}))
        await runtime.stop(container, grace=0)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_two_starts_start_once(runtime: ProcessRuntime, tmp_path: Path) -> None:
    """As after an agent that died between the start and its own note of it."""
    container = await runtime.create(spec(tmp_path, "sh", "-c", "echo started; sleep 0.3"))
    await asyncio.gather(*(runtime.start(container) for _ in range(4)))
    assert await ended(runtime, container) == [b"started"]


async def test_a_working_directory_that_is_not_there(runtime: ProcessRuntime, tmp_path: Path) -> None:
    container = await runtime.create(spec(tmp_path, "true", workdir="/no/such/place"))
    with pytest.raises(RuntimeFailure, match="working directory '/no/such/place' was not found"):
        await runtime.start(container)
    async with asyncio.timeout(DEADLINE):
        status = await runtime.wait(container)
    assert (status.exit_code, status.state) == (127, "exited")


async def test_output_beyond_the_limit_is_drained(runtime: ProcessRuntime, tmp_path: Path) -> None:
    container = await runtime.create(
        spec(tmp_path, "sh", "-c", "head -c 3000000 /dev/zero; exit 3", log_limit=100_000)
    )
    await runtime.start(container)
    async with asyncio.timeout(DEADLINE):
        assert (await runtime.wait(container)).exit_code == 3
    assert (tmp_path / container / "process" / "output").stat().st_size < 120_000


def test_output_on_a_full_disk_is_dropped_whole_and_counted(tmp_path: Path) -> None:
    limited = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(shim.__file__).parent)!r})
from pathlib import Path
import shim
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
output = shim.Output(Path({str(tmp_path / "output")!r}), 1 << 20)
for _ in range(5):
    output.write(1, b"x" * 30)
print(output.lost)
"""
    done = subprocess.run(
        [sys.executable, "-c", limited], capture_output=True, text=True, check=True, timeout=DEADLINE
    )
    assert done.stdout == "90\n"
    assert [chunk.data for chunk in ShimOutput().feed((tmp_path / "output").read_bytes())] == []
    reader = ShimOutput()
    list(reader.feed((tmp_path / "output").read_bytes()))
    assert [chunk.data for chunk in reader.end()] == [b"x" * 60]


def shown_of(pid: int) -> bytes:
    """What every user of the machine, or at least its owner, can read of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()


async def test_the_shim_is_nobodys_child_and_keeps_no_secret(runtime: ProcessRuntime, tmp_path: Path) -> None:
    container = await runtime.create(spec(tmp_path, "sleep", "600", environment={"TOKEN": "secret"}))
    await runtime.start(container)
    pid = shim_pid(tmp_path, container)
    assert b"secret" not in shown_of(pid)
    assert (tmp_path / container / "process").stat().st_mode & 0o077 == 0
    assert psutil.Process(pid).ppid() != os.getpid()
