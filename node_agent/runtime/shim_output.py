"""From the frames a shim wrote back to lines and their parts, the same ones however often it is read."""

from __future__ import annotations

from collections.abc import Iterator

from node_agent.runtime.port import OutputChunk
from winslow.logs import LINE_PART, Stream, stamp

_HEADER = 13  # stream, length (4), time (8)
_STREAMS: dict[int, Stream] = {1: "stdout", 2: "stderr"}


class ShimOutput:
    """Sans-I/O: bytes of the file in, chunks out. Cuts depend on the stage's bytes alone."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._lines: dict[Stream, bytes] = {}
        self._times: dict[Stream, str] = {}

    def feed(self, data: bytes) -> Iterator[OutputChunk]:
        """The lines, and 16 KiB parts of longer ones, that end in `data`."""
        self._buffer += data
        start, size = 0, len(self._buffer)
        while size - start >= _HEADER:
            end = start + _HEADER + int.from_bytes(self._buffer[start + 1 : start + 5], "big")
            if end > size:
                break
            stream = _STREAMS[self._buffer[start]]
            time = stamp(int.from_bytes(self._buffer[start + 5 : start + _HEADER], "big"))
            yield from self._cut(stream, time, bytes(self._buffer[start + _HEADER : end]))
            start = end
        del self._buffer[:start]

    def end(self) -> Iterator[OutputChunk]:
        """What was not terminated."""
        for stream, rest in self._lines.items():
            if rest:
                yield OutputChunk(stream=stream, data=rest, complete=False, time=self._times[stream])
        self._lines.clear()

    def _cut(self, stream: Stream, time: str, data: bytes) -> Iterator[OutputChunk]:
        self._times[stream] = time
        *lines, rest = (self._lines.get(stream, b"") + data).split(b"\n")
        for line in lines:
            *parts, last = [line[at : at + LINE_PART] for at in range(0, len(line) or 1, LINE_PART)]
            for part in parts:
                yield OutputChunk(stream=stream, data=part, complete=False, time=time)
            yield OutputChunk(stream=stream, data=last, complete=True, time=time)
        while len(rest) > LINE_PART:
            yield OutputChunk(stream=stream, data=rest[:LINE_PART], complete=False, time=time)
            rest = rest[LINE_PART:]
        self._lines[stream] = rest
