"""A real container's output, shipped by two agents one after the other, into a real store (I6)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from node_agent import spool
from node_agent.logship import LogShipper
from node_agent.runtime.docker import DockerRuntime
from node_agent.runtime.port import ContainerSpec, Labels, Mount, OutputChunk
from tests.services.engine import DockerService
from tests.services.servers import StoreService
from tests.stores import connected
from winslow import logs
from winslow.logs import Stream
from winslow.store import layout
from winslow.store.port import ObjectStore

pytestmark = pytest.mark.docker
DEADLINE = 140.0
LINES = 12_000
SCRIPT = f"""
i=0
while [ $i -lt {LINES} ]; do
  echo "line $i of a stage that writes a good deal, so that there are several segments: 0123456789 0123456789"
  echo "error $i" >&2
  i=$((i+1))
  if [ $i = {LINES // 2} ]; then
    printf '\\377\\000 50 %%'; head -c 40000 /dev/zero; echo
    touch half; while [ ! -e go ]; do sleep 0.05; done
  fi
done
echo "WINSLOW_RESULT: lines=$i"
printf 'no newline'
"""


def expected(stream: Stream) -> bytes:
    middle = b"\xff\x00 50 %" + b"\0" * 40_000 + b"\n"
    line = b"line %d of a stage that writes a good deal, so that there are several segments: 0123456789 0123456789\n"
    if stream == "stderr":
        return b"".join(b"error %d\n" % number for number in range(LINES))
    lines = [line % number for number in range(LINES)]
    half = LINES // 2
    return b"".join(
        [*lines[:half], middle, *lines[half:], b"WINSLOW_RESULT: lines=%d\n" % LINES, b"no newline"]
    )


class Agent:
    """One life of an agent, as far as logs go."""

    def __init__(self, directory: Path, store: ObjectStore, executor: ThreadPoolExecutor, url: str) -> None:
        self.runtime = DockerRuntime(base_url=url)
        self.live: list[tuple[int, bytes]] = []
        self.shipper = LogShipper(
            project="demo", run=1, attempt=1, directory=directory, store=store, executor=executor,
            publish=lambda offset, data: self.live.append((offset, data)), now=lambda: "2026-03-01T10:00:00Z",
            monotonic=asyncio.get_running_loop().time,
        )  # fmt: skip


async def _slowly(output: AsyncIterator[OutputChunk], enough: asyncio.Event) -> AsyncIterator[OutputChunk]:
    count = 0
    async for chunk in output:
        count += 1
        if count == LINES // 2:
            enough.set()
        yield chunk


async def test_each_byte_stands_once_in_the_archive(
    docker_engine: DockerService,
    busybox_image: str,
    s3_server: StoreService,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 100_000)
    workspace = tmp_path / "ws"
    workspace.mkdir()
    made = ContainerSpec(
        name=f"winslow-logship-test-{os.getpid()}",
        labels=Labels(site="test", node_uuid="logship-test", project="demo", run=1, attempt=1, claim="c"),
        image=busybox_image,
        directory=tmp_path,
        command=("sh", "-c", SCRIPT),
        mounts=(Mount("/workspace", workspace),),
        workdir="/workspace",
    )
    prefix = layout.logs("demo", 1, 1)
    with ThreadPoolExecutor(4) as executor, connected(s3_server.with_new_bucket()) as store:
        first = Agent(tmp_path / "log", store, executor, docker_engine.url)
        container = await first.runtime.create(made)
        try:
            await first.runtime.start(container)
            enough = asyncio.Event()
            async with asyncio.timeout(DEADLINE), first.shipper:
                shipping = asyncio.create_task(
                    first.shipper.ship(_slowly(first.runtime.output(container), enough))
                )
                await enough.wait()
                shipping.cancel()  # the agent dies while the stage writes
                await asyncio.gather(shipping, return_exceptions=True)
            await first.runtime.close()
            torn = tmp_path / "log" / "output.log"
            os.truncate(torn, torn.stat().st_size - 10)
            (workspace / "go").touch()
            second = Agent(tmp_path / "log", store, executor, docker_engine.url)
            async with asyncio.timeout(DEADLINE), second.shipper:
                await second.shipper.ship(second.runtime.output(container))
                await second.shipper.finish()
                assert second.shipper.results == {"lines": str(LINES)}
                assert second.shipper.percent == 50.0
            assert (await second.runtime.wait(container)).exit_code == 0
        finally:
            cleaner = DockerRuntime(base_url=docker_engine.url)
            await cleaner.remove(container)
            await cleaner.close()
        await second.runtime.close()
        joined = b""
        for info in store.walk(prefix):
            assert layout.segment_start(info.key) == (len(joined), joined.count(b" F "))
            joined += store.get(info.key).data
    assert len(joined) > 1_000_000
    for stream in ("stdout", "stderr"):
        assert logs.inverse(joined, stream) == expected(stream)
    joiner = logs.LogJoiner()  # a viewer that was there all the time
    assert b"".join(joiner.feed(offset, data) for offset, data in first.live + second.live) == joined
