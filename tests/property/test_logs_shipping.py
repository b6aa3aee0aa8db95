"""However often an agent dies, and wherever its spool is torn, each byte stands once in the archive (I6)."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.logship import LogShipper
from node_agent.runtime.port import OutputChunk
from winslow import logs
from winslow.logs import Stream
from winslow.store import layout
from winslow.store.memory import MemoryStore

STREAMS: tuple[Stream, ...] = ("stdout", "stderr")
LIMIT = 2000
chunks = st.lists(
    st.builds(
        OutputChunk,
        stream=st.sampled_from(STREAMS),
        data=st.binary(max_size=60).map(lambda data: data.replace(b"\n", b"")),
        complete=st.booleans(),
        time=st.integers(0, 10**18).map(logs.stamp),
    ),
    max_size=25,
)
deaths = st.lists(
    st.tuples(st.integers(0, 25), st.integers(0, 300)), max_size=4
)  # (chunks had, bytes torn off)


async def emit(output: list[OutputChunk]) -> AsyncIterator[OutputChunk]:
    for chunk in output:
        yield chunk


async def live_through(
    output: list[OutputChunk], lives: list[tuple[int, int]], directory: Path, limit: int
) -> tuple[bytes, bytes]:
    store = MemoryStore()
    live: list[tuple[int, bytes]] = []
    with ThreadPoolExecutor(2) as executor:
        for had, torn in [*lives, (len(output), 0)]:
            shipper = LogShipper(
                project="p", run=1, attempt=1, directory=directory, store=store, executor=executor,
                publish=lambda offset, data: live.append((offset, data)), now=lambda: logs.stamp(0),
                monotonic=asyncio.get_running_loop().time, limit=limit,
            )  # fmt: skip
            async with shipper:
                await shipper.ship(emit(output[:had]))
                if had == len(output) and not torn:
                    await shipper.finish()
            path = directory / "output.log"
            os.truncate(path, max(0, path.stat().st_size - torn))
    stored = b"".join(store.get(info.key).data for info in store.walk(layout.logs("p", 1, 1)))
    joiner = logs.LogJoiner()
    shown = b"".join(joiner.feed(offset, data) for offset, data in live)
    return stored, shown


@settings(max_examples=40, deadline=None)
@given(chunks, deaths)
def test_each_byte_once(output: list[OutputChunk], lives: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        stored, shown = asyncio.run(live_through(output, lives, Path(directory), 1 << 30))
    for stream in STREAMS:
        written = b"".join(each.data + b"\n" * each.complete for each in output if each.stream == stream)
        assert logs.inverse(stored, stream) == written
    assert b":gap" not in stored.replace(b"".join(each.data for each in output), b"")
    assert shown == stored


@settings(max_examples=40, deadline=None)
@given(chunks, deaths)
def test_the_cap_is_kept_and_what_stands_before_it_is_exact(
    output: list[OutputChunk], lives: list[tuple[int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        stored, _ = asyncio.run(live_through(output, lives, Path(directory), LIMIT))
    assert len(stored) <= LIMIT
    marks = [record.mark for record in logs.parse(stored) if record.mark]
    assert marks in ([], ["cut"])
    for stream in STREAMS:
        written = b"".join(each.data + b"\n" * each.complete for each in output if each.stream == stream)
        kept = logs.inverse(stored, stream)
        assert written.startswith(kept)
        assert marks or kept == written
