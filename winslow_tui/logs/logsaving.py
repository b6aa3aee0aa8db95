"""A log as a file: whole or what is filtered, as its stage wrote it, as the archive has it, or as a screen shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from winslow import terminal_text
from winslow.errors import InvalidInput
from winslow.logs import Record, RecordParser, Stream, encode
from winslow_tui.logs.loglines import LogLines
from winslow_tui.logs.logscan import Scan

Shape = Literal["raw", "times", "shown"]
"""The stage's bytes; with time and stream before each (the archive's records, design 7); or harmless text."""


def save(lines: LogLines, scan: Scan | None, path: Path, shape: Shape) -> int:
    """Write what is there now into a new file; how many bytes it has. A scan that is not through is waited for.

    Raises InvalidInput for a path that cannot be written and a scan that was stopped, StoreUnreachable."""
    if scan is not None:
        scan.wait()
        if not scan.complete:
            raise InvalidInput("not all of the log was looked at", hint="filter again: &")
    size = 0
    try:
        with path.open("xb") as file:
            for data in pieces(lines, scan, shape):
                size += file.write(data)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}", hint="give another path") from error
    return size


def pieces(lines: LogLines, scan: Scan | None, shape: Shape) -> Iterator[bytes]:
    """The same, block by block."""
    if scan is None and shape == "times":
        for place in range(lines.blocks):
            yield lines.piece(place, 0)[1]
        return
    events = (
        (list(range(len(lines.events))) if scan is None else list(scan.events)) if shape == "shown" else []
    )
    parser, parts = RecordParser(), dict[Stream, list[Record]]()
    at, next_event = 0, 0
    for place in range(lines.blocks):
        shown = []
        for record in parser.feed(lines.piece(place, 0)[1]):
            parts.setdefault(record.stream, []).append(record)
            if not record.complete:
                continue
            while next_event < len(events) and lines.place_of(events[next_event]) <= at:
                shown.append(_event(lines, events[next_event]))
                next_event += 1
            if scan is None or scan.holds(at):
                shown.append(_line(parts[record.stream], shape))
            del parts[record.stream]
            at += 1
        yield b"".join(shown)
    if scan is None:
        yield b"".join(_line(records, shape) for records in parts.values())
    yield b"".join(_event(lines, event) for event in events[next_event:])


def _line(records: Sequence[Record], shape: Shape) -> bytes:
    if shape == "raw":
        return b"".join(record.written for record in records)
    if shape == "times":
        return b"".join(map(encode, records))
    last = records[-1]
    text = terminal_text.log_line(b"".join(record.data for record in records))
    return f"{last.time[:19]}Z {'system' if last.mark else last.stream} {text}\n".encode()


def _event(lines: LogLines, event: int) -> bytes:
    told = lines.events[event]
    return f"{told.time[:19]}Z system {terminal_text.line(told.text)}\n".encode()
