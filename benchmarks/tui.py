"""What the full-screen program costs on a big, busy site, measured inside it and on its terminal.

    python benchmarks/tui.py [--seconds 30] [--projects 10000] [--nodes 200]

A niced process beside it (this file with --load) fills a real broker: so many projects, nodes that send a sample
every two seconds, and 20 changes of state a second. The program runs in a pseudo-terminal of 140x45 as over SSH.
Prints a table and ends with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import fcntl
import gc
import json
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from broker import topics
from broker.embedded import EmbeddedBroker
from broker.messages import ProjectSummary
from winslow.config import BrokerSettings, Config, Settings, StoreSettings
from winslow.metrics import NodeSample
from winslow.node import FreeResources, Hardware, NodeState, Presence
from winslow.store.embedded import EmbeddedStore
from winslow_tui import live

STATES = ("running", "waiting", "failed", "needs you", "succeeded", "paused", "new")
SITE = "bench"
CHANGES_A_SECOND = 20
BEAT_SECONDS = 0.01
IDLE_SECONDS = 30.0
GIB = 1 << 30


def config_of(broker: str, store: Sequence[str]) -> Config:
    """The site's; the store's URL and keys as a person would write them."""
    url, access, secret = store
    settings = Settings.model_validate(
        {
            "site": SITE,
            "broker": BrokerSettings(url=broker),
            "store": StoreSettings.model_validate({"url": url, "access_key": access, "secret_key": secret}),
        }
    )
    return Config(settings=settings, origins={})


# -- the load


def summary(number: int, revision: int) -> ProjectSummary:
    """One of many projects."""
    return ProjectSummary(
        id=f"project-{number:05}", revision=revision, name=f"Project {number}", author="anna", tags=("bench",),
        state=STATES[(number + revision) % len(STATES)], updated="2026-06-12T10:00:00Z",
    )  # fmt: skip


def state(number: int) -> NodeState:
    """One of many nodes."""
    return NodeState(
        node=f"ws{number:03}", node_uuid=f"uuid-{number}", instance="i", presence=Presence.ONLINE,
        hardware=Hardware(cpus=16, memory=64 * GIB), free=FreeResources(cpus=16, memory=64 * GIB),
    )  # fmt: skip


def load(config: Config, *, projects: int, nodes: int, lively: float) -> None:
    """Fill the broker, say so, then keep it busy for some seconds."""
    for at in range(0, projects, 2_000):
        numbers = range(at, min(projects, at + 2_000))
        live.publish(
            config, [(topics.ProjectState(project=f"project-{n:05}"), summary(n, 1)) for n in numbers]
        )
    live.publish(config, [(topics.NodeState(node=f"ws{n:03}"), state(n)) for n in range(nodes)])
    print("filled", flush=True)
    begun, revision, number = time.monotonic(), 1, 0
    while (now := time.monotonic() - begun) < lively:
        revision += 1
        messages: list[tuple[topics.Topic, Any]] = []
        for _ in range(CHANGES_A_SECOND):
            number = (number + 7919) % projects
            messages.append((topics.ProjectState(project=f"project-{number:05}"), summary(number, revision)))
        for n in range(int(now) % 2, nodes, 2):
            sample = NodeSample(
                at=now, cpus=tuple(float((n + revision + core) % 100) for core in range(16)),
                memory=(n % 60) * GIB, memory_total=64 * GIB,
            )  # fmt: skip
            messages.append((topics.NodeMetrics(node=f"ws{n:03}"), sample))
        live.publish(config, messages)
        time.sleep(max(0.0, 1.0 - (time.monotonic() - begun - now)))


# -- the program, with a beat inside


def program(config: Config, report: Path, *, lively: float) -> None:
    """The program with a beat in its event loop: how late each beat is, is how long the loop did not answer. It beats
    for so many seconds only, so that what follows can be idle."""
    import asyncio

    from winslow_tui.app import WinslowApp

    class Measured(WinslowApp):
        late: list[float]

        def on_mount(self) -> None:
            self.late = []
            self.run_worker(self._beat(), name="beat")

        async def _beat(self) -> None:
            end = time.perf_counter() + lively
            while (begun := time.perf_counter()) < end:
                await asyncio.sleep(BEAT_SECONDS)
                self.late.append(time.perf_counter() - begun - BEAT_SECONDS)

        def on_unmount(self) -> None:
            report.write_text(json.dumps({"late": self.late, "projects": len(self.site.projects)}))

    gc.freeze()  # as cli/screen.py does
    Measured(lambda: config).run(mouse=False)


@dataclass
class Terminal:
    """The other end of the program's pseudo-terminal; counts what is sent and when."""

    master: int
    process: subprocess.Popen[bytes]
    sent: int = 0
    paints: int = 0
    text: bytes = b""

    def take(self, seconds: float, *, until: bytes = b"") -> float:
        """Read for so long, or until this text came; how many seconds that were."""
        begun = time.monotonic()
        while (left := seconds - (time.monotonic() - begun)) > 0:
            ready, _, _ = select.select([self.master], [], [], left)
            if not ready:
                break
            try:
                data = os.read(self.master, 1 << 20)
            except OSError:  # the program has ended
                break
            self.sent += len(data)
            self.paints += data.count(b"\x1b[?2026h") or 1
            self.text = (self.text + data)[-200_000:]
            if until and until in self.text:
                break
        return time.monotonic() - begun

    def press(self, key: bytes) -> float:
        """Seconds until the first byte of the answer."""
        begun = time.monotonic()
        os.write(self.master, key)
        select.select([self.master], [], [], 2.0)
        took = time.monotonic() - begun
        self.take(0.15)
        return took


@contextmanager
def opened(arguments: Sequence[str], folder: Path) -> Iterator[Terminal]:
    """The program in a terminal of its own."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 45, 140, 0, 0))
    environment = {
        **os.environ, "TERM": "xterm-256color", "SSH_CONNECTION": "127.0.0.1 1 127.0.0.1 22", "TEXTUAL_FPS": "10",
        "TEXTUAL_ANIMATIONS": "none", "XDG_STATE_HOME": str(folder),
    }  # fmt: skip
    process = subprocess.Popen(
        arguments, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    os.close(slave)
    terminal = Terminal(master, process)
    try:
        yield terminal
    finally:
        os.write(master, b"\x11")  # ctrl+q
        terminal.take(5.0, until=b"\x1b[?1049l")
        process.wait(timeout=20.0)
        os.close(master)


def first_content(broker: str, store: int, folder: Path) -> float:
    """Seconds from the command `winslow` to its first words on the terminal."""
    environment = {
        "WINSLOW_SITE": SITE, "WINSLOW_BROKER_URL": broker, "WINSLOW_STORE_ACCESS_KEY": "bench",
        "WINSLOW_STORE_SECRET_KEY": "bench-secret", "WINSLOW_STORE_URL": f"http://127.0.0.1:{store}/winslow",
    }  # fmt: skip
    assigned = [f"{name}={value}" for name, value in environment.items()]
    with opened(["env", *assigned, str(Path(sys.executable).with_name("winslow"))], folder) as terminal:
        return terminal.take(20.0, until=b"Projects")


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share lies; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def measure(given: argparse.Namespace, folder: Path) -> list[tuple[str, float, str, float]]:
    """Name, value, unit, and the most it may be."""
    broker = EmbeddedBroker(folder / "broker")
    store = EmbeddedStore(folder / "store", access_key="bench", secret_key="bench-secret", bucket="winslow")
    broker.start()
    store.start()
    itself = [sys.executable, str(Path(__file__).resolve())]
    servers = [
        "--broker",
        broker.url,
        "--store",
        f"http://127.0.0.1:{store.port}/winslow",
        "bench",
        "bench-secret",
    ]
    sizes = ["--projects", str(given.projects), "--nodes", str(given.nodes)]
    lively = given.seconds + 25.0
    generator = subprocess.Popen(
        ["nice", "-n", "10", *itself, "--load", str(lively), *sizes, *servers], stdout=subprocess.PIPE
    )
    try:
        assert generator.stdout is not None
        generator.stdout.readline()
        report = folder / "report.json"
        first = percentile([first_content(broker.url, store.port, folder) for _ in range(5)], 0.5)
        beating = ["--program", str(report), "--seconds", str(given.seconds + 15.0)]
        with opened([*itself, *beating, *servers], folder) as terminal:
            terminal.take(8.0)  # all of them arrive
            process = psutil.Process(terminal.process.pid)
            terminal.sent = terminal.paints = 0
            terminal.take(given.seconds / 2)
            paints = terminal.paints / (given.seconds / 2)
            keys = [terminal.press(key) for key in (b"j", b"j", b"G", b"g", b"\x06", b"k") * 5]
            os.write(terminal.master, b"2")
            terminal.take(given.seconds / 2)
            memory = process.memory_info().rss
            os.write(terminal.master, b"1")
            generator.wait()
            terminal.take(3.0)
            before, begun, terminal.sent = process.cpu_times(), time.monotonic(), 0
            terminal.take(IDLE_SECONDS)
            after, idled = process.cpu_times(), time.monotonic() - begun
            wire = terminal.sent / 1024 / idled
        found = json.loads(report.read_text())
        assert found["projects"] == given.projects, found["projects"]
    finally:
        generator.kill()
        generator.wait()
        store.stop()
        broker.stop()
    idle = (after.user + after.system - before.user - before.system) / idled
    late = found["late"]
    return [
        ("first content", first * 1000, "ms", 500),
        ("loop stalls, p99.9", percentile(late, 0.999) * 1000, "ms", 50),
        ("loop stalls, largest", max(late) * 1000, "ms", float("inf")),
        ("key to answer, median", percentile(keys, 0.5) * 1000, "ms", 50),
        ("key to answer, largest", max(keys) * 1000, "ms", float("inf")),
        ("paints over SSH", paints, "/s", 10.5),
        ("memory", memory / 1e6, "MB", 250),
        ("idle, processor", idle * 100, "%", 1.0),
        ("idle, on the wire", wire, "KiB/s", 0.5),
    ]


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--projects", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--load", type=float)
    parser.add_argument("--program", type=Path)
    parser.add_argument("--broker")
    parser.add_argument("--store", nargs=3)
    given = parser.parse_args()
    if given.load is not None:
        config = config_of(given.broker, given.store)
        load(config, projects=given.projects, nodes=given.nodes, lively=given.load)
        return 0
    if given.program is not None:
        program(config_of(given.broker, given.store), given.program, lively=given.seconds)
        return 0
    with tempfile.TemporaryDirectory(prefix="winslow-bench-") as folder:
        rows = measure(given, Path(folder))
    for name, value, unit, most in rows:
        goal = "" if most == float("inf") else f"at most {most:g}"
        print(f"{name:<28} {value:10.2f} {unit:<6} {goal:<14} {'' if value <= most else 'MISSED'}".rstrip())
    return 0 if all(value <= most for _, value, _, most in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
