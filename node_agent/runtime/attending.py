"""Dealing with a stage's shim from outside: starting it, reading its files, measuring, cleaning up after one
that was killed. Functions that block."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from node_agent.runtime import shim
from node_agent.runtime.port import ContainerUsage


def read(path: Path) -> dict[str, Any] | None:
    """A JSON file; None where there is none. Raises ValueError for one that somebody damaged."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return content


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def launch(folder: Path) -> str:
    """Start the shim of a stage; `ok`, or why not (empty where the shim itself died)."""
    # as a file, isolated and without site packages: 15 ms instead of 60, and nothing of the agent leaks in
    command = [sys.executable, "-I", "-S", str(Path(shim.__file__)), str(folder)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={}, cwd="/", timeout=60, check=False
    )
    return done.stdout.decode("utf-8", "replace")


def usage(owner: int) -> tuple[float, ContainerUsage]:
    """CPU seconds so far and the rest of a sample (its `cpus` is 0) over a shim's descendants."""
    seconds = 0.0
    memory = read = written = count = 0
    for pid in (owner, *shim.descendants(owner)):
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                times = process.cpu_times()
                seconds += times.user + times.system + times.children_user + times.children_system
                if pid == owner:
                    continue
                memory += process.memory_info().rss
                io = process.io_counters()
                read, written, count = read + io.read_bytes, written + io.write_bytes, count + 1
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return seconds, ContainerUsage(
        cpus=0.0, memory=memory, read_bytes=read, written_bytes=written, processes=count
    )


def age(owner: int) -> float:
    """For how many seconds a shim has lived; 0 where it lives no more."""
    ticks = shim.process_ticks(owner)
    if ticks is None:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def end_strays(folder: Path) -> None:
    """Kill what a killed shim has left: its processes are known by their home directory."""
    spec = read(folder / "spec.json")
    if spec is None:
        return
    mark = f"\0HOME={spec['environment']['HOME']}\0".encode()
    if spec["environment"]["HOME"] != spec["home"]:
        return  # the stage's own HOME marks nothing
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in b"\0" + (path / "environ").read_bytes():
                os.kill(int(path.name), signal.SIGKILL)
        except OSError:
            continue
