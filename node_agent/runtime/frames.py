"""From the frames of Docker's log endpoint back to what a stage wrote (facts: "what log drivers do to bytes").

Each frame has a header (stream, length) and holds `<time> <bytes>`. The `local` driver keeps bytes, but
hands a line over 16 KiB out in full parts without newline, and drops the newline after the last part.
All parts of one line carry the time of the first, so the tail of a long line is the shorter frame with
the same time as the full part before it (an empty one where the line was exactly k x 16 KiB). One case
cannot be told apart: a stream whose very last line is over 16 KiB and not terminated; it is taken for
a terminated one.
"""

from __future__ import annotations

from collections.abc import Iterator

from node_agent.runtime.port import OutputChunk
from winslow.errors import InvalidInput
from winslow.logs import LINE_PART, Stream

_HEADER = 8
_TIME = len("2026-03-01T10:00:00.000000000Z ")
_STREAMS: dict[int, Stream] = {1: "stdout", 2: "stderr"}


class FrameReader:
    """Sans-I/O: bytes of the multiplexed stream in, chunks out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._open: dict[Stream, str] = {}  # stream -> time of the full part that was its last frame

    @property
    def torn(self) -> bool:
        """Whether the stream ended within a frame."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[OutputChunk]:
        """The chunks that end in `data`. Raises InvalidInput for what is no such stream."""
        self._buffer += data
        chunks: list[OutputChunk] = []
        start, size = 0, len(self._buffer)
        while size - start >= _HEADER:
            stream = _STREAMS.get(self._buffer[start])
            if stream is None or any(self._buffer[start + 1 : start + 4]):
                raise _no_frames()
            end = start + _HEADER + int.from_bytes(self._buffer[start + 4 : start + _HEADER], "big")
            if end > size:
                break
            payload = bytes(self._buffer[start + _HEADER : end])
            if payload[_TIME - 1 : _TIME] != b" ":
                raise _no_frames()
            chunks += self._chunks(stream, payload[: _TIME - 1].decode("ascii", "replace"), payload[_TIME:])
            start = end
        del self._buffer[:start]
        return chunks

    def _chunks(self, stream: Stream, time: str, data: bytes) -> Iterator[OutputChunk]:
        part_of = self._open.pop(stream, None)
        if part_of is not None and part_of != time:  # a new line: the one before has lost its newline
            yield OutputChunk(stream=stream, data=b"", complete=True, time=part_of)
        if data.endswith(b"\n"):
            yield OutputChunk(stream=stream, data=data[:-1], complete=True, time=time)
        elif len(data) >= LINE_PART:
            self._open[stream] = time
            yield OutputChunk(stream=stream, data=data, complete=False, time=time)
        else:
            yield OutputChunk(stream=stream, data=data, complete=part_of == time, time=time)


def _no_frames() -> InvalidInput:
    return InvalidInput(
        "the engine's log stream is not made of frames", hint="was the container made with a tty?"
    )
