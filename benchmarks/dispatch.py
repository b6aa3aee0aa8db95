"""What Winslow adds to Docker: a chain of 20 no-op stages against a bare loop of `docker run --rm`, and how long
a queued run waits for its claim with three idle agents.

    python benchmarks/dispatch.py [--stages 20] [--chains 5]

Prints medians and the ratio; ends with 1 where the ratio is over 1.5, or the waits over p50 30 ms or p99 250 ms.
Needs a Docker engine and the image `winslow-test/busybox:1` (made here where it is missing).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from broker import messages, topics
from broker.session import Session
from tests.services.engine import import_busybox, running_engine, start_engine
from winslow import config
from winslow.project import RunState
from winslow_tui.cli.up import wait_ready
from winslow_tui.facade.client import Client
from winslow_tui.site import Site

MOST_RATIO, MOST_P50, MOST_P99 = 1.5, 0.030, 0.250
AGENTS = 3


def bare_loop(image: str, stages: int) -> float:
    """Seconds for so many `docker run --rm` one after the other."""
    begin = time.monotonic()
    for _ in range(stages):
        subprocess.run(["docker", "run", "--rm", "--network", "bridge", image, "true"], check=True)
    return time.monotonic() - begin


def definition(image: str, stages: int) -> str:
    """A pipeline of no-ops that any node can take."""
    lines = ["name: chain", "stages:"]
    lines += [
        f"  - {{name: s{number}, image: '{image}', command: ['true'], requires: {{cpus: 0.1, memory: 16MiB}}}}"
        for number in range(stages)
    ]
    return "\n".join(lines) + "\n"


async def chains(
    settings: config.Config, image: str, *, stages: int, count: int
) -> tuple[list[float], list[float]]:
    """Seconds of each chain, and of each wait from the notice of a queued run to that of its claim."""
    client = Client(settings, say=lambda text: print(text, file=sys.stderr))
    await asyncio.to_thread(client.pipelines.apply, definition(image, stages), source="chain")
    durations: list[float] = []
    waits: list[float] = []
    session = Session(settings.settings.broker.url, client_id="benchmark", jitter=random.Random(0).random)
    async with session:
        await session.wait_connected(10)
        await session.subscribe(topics.PROJECT_STATES)
        stream = session.messages()
        for number in range(count):
            project = await asyncio.to_thread(client.projects.create, f"chain {number}", pipeline="chain")
            begin = time.monotonic()
            started = asyncio.create_task(asyncio.to_thread(client.runs.start, project.id))
            queued: dict[int, float] = {}
            claimed: set[int] = set()
            async for received in stream:
                summary = received.payload
                if not isinstance(summary, messages.ProjectSummary) or summary.id != project.id:
                    continue
                now = time.monotonic()
                for run in summary.active:
                    if run.state is RunState.QUEUED:
                        queued.setdefault(run.n, now)
                    elif run.n in queued and run.n not in claimed:
                        claimed.add(run.n)
                        waits.append(now - queued[run.n])
                if summary.state == "succeeded":
                    break
                if summary.state == "failed":
                    raise SystemExit(f"the chain failed: {summary.reason}")
            durations.append(time.monotonic() - begin)
            await started
    return durations, waits


def main() -> int:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--stages", type=int, default=20)
    arguments.add_argument("--chains", type=int, default=5)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="winslow-bench-") as folder:
        engine, daemon = running_engine(), None
        if engine is None:
            daemon, engine = start_engine(Path(folder) / "docker")
        os.environ.update(engine.environment)  # for the bare loop and the agents
        image = import_busybox(engine)
        site = Site(
            Path(folder) / "site",
            agents=AGENTS,
            runtime="docker",
            say=lambda text: print(text, file=sys.stderr),
        )
        try:
            site.start()
            wait_ready(site)
            settings = config.load(environ={"WINSLOW_CONFIG": str(site.config)})
            bare = [bare_loop(image, given.stages)]
            durations, waits = asyncio.run(chains(settings, image, stages=given.stages, count=given.chains))
            bare.append(bare_loop(image, given.stages))
        finally:
            site.stop()
            if daemon is not None:
                daemon.stop()
    return report(bare, durations, waits, given.stages)


def report(bare: list[float], durations: list[float], waits: list[float], stages: int) -> int:
    """Print the table; the exit code."""
    loop, chain = statistics.mean(bare), statistics.median(durations)
    waits = sorted(waits)
    p50, p99 = waits[len(waits) // 2], waits[min(len(waits) - 1, int(len(waits) * 0.99))]
    print(f"bare loop of {stages}      {loop:6.2f} s   ({', '.join(f'{each:.2f}' for each in bare)})")
    print(f"winslow chain of {stages}  {chain:6.2f} s   ({', '.join(f'{each:.2f}' for each in durations)})")
    print(f"ratio                {chain / loop:6.2f}     at most {MOST_RATIO}")
    print(f"queued to claim  p50 {p50 * 1000:6.1f} ms  at most {MOST_P50 * 1000:.0f}   ({len(waits)} claims)")
    print(f"                 p99 {p99 * 1000:6.1f} ms  at most {MOST_P99 * 1000:.0f}")
    return 0 if chain / loop <= MOST_RATIO and p50 <= MOST_P50 and p99 <= MOST_P99 else 1


if __name__ == "__main__":
    sys.exit(main())
