"""The program that looks for a person's words in a log: one process beside the screen.

    python -P -m winslow_tui.logs.linesearch

A regular expression can take for ever on a line, and Python's hold on to the interpreter while they do: the
screen would stand still. Here it may, and is killed by whoever waits. stdin gets one JSON line
{pattern, sources}, then frames: their kind, a flag and their size (`FRAME`), and so many bytes.

    kind FORWARD, BACKWARD   whole records of the archive (design 7) that follow those of the last frame of its
                             kind, or, with the flag, do not. Answer (`COUNTS`): how many lines end in them, and
                             how many of these were found; then the places of these among them, from 0.
    kind TEXTS               a JSON list of texts. Answer: a size, and a JSON list of the spans found in each.

What is searched is what a screen shows of a line: made harmless (`terminal_text`), up to MOST_SEARCHED bytes.
A pattern without capital letters finds these too. An empty one is found in every line of the sources.
"""

from __future__ import annotations

import json
import os
import re
import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable

from winslow import terminal_text
from winslow.logs import DATA_AT, MARK_DATA_AT, STREAM_AT, TAG_AT, has_parts

FRAME = struct.Struct("<BBI")
COUNTS = struct.Struct("<II")
SIZE = struct.Struct("<I")
FORWARD, BACKWARD, TEXTS = range(3)
MOST_SEARCHED = 1 << 20
_NEWLINE = re.compile(b"\n")
_CONTROLS = bytes([*range(9), *range(11, 13), *range(14, 32), 127])
_SPECIAL = re.compile(r"[\\^$.|?*+()\[\]{}]")
_ESCAPED_LETTER = re.compile(r"\\.")


def finder(pattern: str) -> Callable[[str], list[tuple[int, int]]]:
    """Where a pattern is found in a text. Raises re.error, OverflowError and RecursionError for what is none."""
    ignore = not any(letter.isupper() for letter in _ESCAPED_LETTER.sub("", pattern))
    compiled = re.compile(pattern, re.IGNORECASE if ignore else 0)
    return lambda text: [match.span() for match in compiled.finditer(text) if match[0]]


def plain_word(pattern: str) -> bool:
    """Whether a pattern is found by comparing letters, in a time that can be foreseen."""
    return not _SPECIAL.search(pattern)


class Search:
    """Sans-I/O: pieces of records in, places of lines out."""

    def __init__(self, pattern: str, sources: list[str]) -> None:
        ignore = not any(letter.isupper() for letter in _ESCAPED_LETTER.sub("", pattern))
        self._fold = ignore and pattern.isascii()
        self._word = (pattern.lower() if self._fold else pattern) if plain_word(pattern) else ""
        if ignore and not self._fold:
            self._word = ""  # letters beyond ASCII in both cases: line by line
        self._pattern = re.compile(pattern, re.IGNORECASE if ignore else 0) if pattern else None
        self._sources = sources
        self._begun: dict[str, bytes] = {}

    def fresh(self) -> None:
        """What comes next does not follow what came."""
        self._begun.clear()

    def feed(self, data: bytes) -> tuple[int, array[int]]:
        """How many lines end in the next records, and the places of those that were found."""
        if self._begun or has_parts(data) or not _harmless(data):
            return self._by_record(data)
        if self._word:
            folded = data.lower() if self._fold else data
            return data.count(b"\n"), self._by_word(data, folded)
        if "stdout" not in self._sources and b"Z stderr " not in data and b" F:" not in data:
            return data.count(b"\n"), array("I")
        lines = data.decode("utf-8", "replace").split("\n")[:-1]
        found = (place for place, line in enumerate(lines) if self._is_hit(line))
        return len(lines), array("I", found)

    def _by_word(self, data: bytes, folded: bytes) -> array[int]:
        found, word = array("I"), self._word.encode()
        at = folded.find(word)
        ends = [match.end() for match in _NEWLINE.finditer(data)] if at >= 0 else []
        while at >= 0:
            place = bisect_right(ends, at)
            line = data[ends[place - 1] if place else 0 : ends[place] - 1]
            if self._is_hit(line.decode("utf-8", "replace")):
                found.append(place)
            at = folded.find(word, ends[place])
        return found

    def _is_hit(self, record: str) -> bool:
        """Whether a line of one record is wanted, and found."""
        source = record[STREAM_AT : STREAM_AT + 6]
        at = DATA_AT
        if record[TAG_AT + 1 : TAG_AT + 2] == ":":
            source, at = "system", MARK_DATA_AT
        if source not in self._sources:
            return False
        text = record[at:]
        if "\r" in text:
            text = terminal_text.log_line(text.encode())
        return self._pattern is None or self._pattern.search(text) is not None

    def _by_record(self, data: bytes) -> tuple[int, array[int]]:
        found, lines = array("I"), 0
        for record in data.split(b"\n")[:-1]:
            source = record[STREAM_AT : STREAM_AT + 6].decode("ascii", "replace")
            tag = record[TAG_AT : TAG_AT + 2]
            if tag == b"P ":
                begun = self._begun.get(source, b"")
                self._begun[source] = (begun + record[DATA_AT:])[:MOST_SEARCHED]
                continue
            if tag == b"F:":
                source, text = "system", record[MARK_DATA_AT:]
            else:
                text = self._begun.pop(source, b"") + record[DATA_AT:]
            if source in self._sources and (
                self._pattern is None or self._pattern.search(terminal_text.log_line(text[:MOST_SEARCHED]))
            ):
                found.append(lines)
            lines += 1
        return lines, found


def _harmless(data: bytes) -> bool:
    """Whether a screen shows the bytes as they are; a carriage return, which lets an earlier part out, aside."""
    if data.isascii():
        return len(data.translate(None, _CONTROLS)) == len(data)
    text = data.decode("utf-8", "replace")
    return text.replace("\n", "").replace("\t", "").replace("\r", "").isprintable()


def main() -> None:
    """Answer frames until stdin ends."""
    os.nice(5)
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    wanted = json.loads(stdin.readline())
    searches = [Search(wanted["pattern"], wanted["sources"]) for _ in (FORWARD, BACKWARD)]
    spans = finder(wanted["pattern"])
    while len(head := stdin.read(FRAME.size)) == FRAME.size:
        kind, fresh, size = FRAME.unpack(head)
        data = stdin.read(size)
        if kind == TEXTS:
            answer = json.dumps([spans(text) for text in json.loads(data)]).encode()
            stdout.write(SIZE.pack(len(answer)) + answer)
        else:
            if fresh:
                searches[kind].fresh()
            lines, found = searches[kind].feed(data)
            stdout.write(COUNTS.pack(lines, len(found)) + found.tobytes())
        stdout.flush()


if __name__ == "__main__":
    main()
