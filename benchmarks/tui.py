"""What the full-screen program costs on a big, busy site, and how long a person waits for it.

    python benchmarks/tui.py [--seconds 20] [--projects 10000] [--nodes 200] [--lines 1000000] [--rate 20000]

It runs in a pseudo-terminal of 140x45 as over SSH, on a real broker and a real store. A niced process beside it (this
file with --load) makes so many projects, nodes, and a log of so many lines; then it changes projects, sends every
node's samples and lets the log grow by so many lines a second, which is followed. Ends with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

import psutil
from onscreen.figures import Figure, share
from onscreen.program import program
from onscreen.site import FILLED, PROJECT, RARE, config_of, hits, load, servers
from onscreen.terminal import Paint, Terminal, opened

STARTS = 9
ARRIVE_SECONDS = 8.0  # until all projects are there and have been drawn
SETTLE_SECONDS = 3.0
IDLE_SECONDS = 30.0
KEYS = 40
_CURSOR = "▶"
_CALM = r"line [\d,]+ of [\d,]+  \d+ %(\x1b\[[\d;]*m| ){20,}"  # below the log nothing is said of a search
_NEWEST = re.compile(rb"frame (\d+) at (\d+\.\d+)")

Store = tuple[str, str, str]


@contextmanager
def loaded(given: argparse.Namespace, broker: str, store: Store) -> Iterator[subprocess.Popen[str]]:
    """The site, filled; it gets busy with a line on the process's stdin, and calm when that ends."""
    command = [
        "nice", "-n", "10", sys.executable, __file__, "--load", "--broker", broker, "--store", *store,
        *("--lines", str(given.lines), "--rate", str(given.rate)),
        *("--projects", str(given.projects), "--nodes", str(given.nodes)),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == FILLED
        yield process
    finally:
        process.kill()
        process.wait()


def starts(broker: str, store: Store, folder: Path) -> list[Figure]:
    """From the command `winslow` to its first words."""
    url, access, secret = store
    environment = {
        "WINSLOW_SITE": "bench", "WINSLOW_BROKER_URL": broker, "WINSLOW_STORE_URL": url,
        "WINSLOW_STORE_ACCESS_KEY": access, "WINSLOW_STORE_SECRET_KEY": secret,
    }  # fmt: skip
    took = []
    for _ in range(STARTS):
        with opened([str(Path(sys.executable).with_name("winslow"))], folder, environment) as terminal:
            took.append(terminal.until("Projects"))
            terminal.rest(1.0)
    return [Figure("first content", median(took) * 1000, "ms", most=500)]


def reading(terminal: Terminal, lines: int) -> list[Figure]:
    """The long log, while nothing else happens: opened from the list, and searched. It stays open, at its start."""
    terminal.press("/", "ilter: words")  # the cursor stands on its first letter
    terminal.press(PROJECT, "The log that is read")
    terminal.press("\r", " open")
    end = terminal.press("\r", f"frame {lines - 1} ")
    terminal.press("\r", " follow\x1b")  # the hint that the log has the keys
    start = terminal.press("g", "frame 0 ")
    terminal.press("/", "search: a word")
    os.write(terminal.master, RARE.encode())
    terminal.rest(0.5)
    begun = time.monotonic()
    first = terminal.press("\r", rf"{RARE}(\x1b\[[\d;]*m)* {hits(lines)[0]} ")
    terminal.until(" 2 found")
    through = time.monotonic() - begun
    terminal.press("\x1b", _CALM)
    terminal.press("/", "search: a word")
    os.write(terminal.master, b"[a-z]+ 9[0-9]*77 ")
    terminal.rest(0.5)
    terminal.press("\r", "% searched")
    ended = terminal.press("\x1b", _CALM)
    return [
        Figure(f"a log of {lines:,} lines, opened at its end", end * 1000, "ms", most=1000),
        Figure("from there to its start", start * 1000, "ms", most=1000),
        Figure("a rare word, first found", first * 1000, "ms", most=2000),
        Figure("a rare word, all of the log searched", through * 1000, "ms", most=2000),
        Figure("a search ended by escape", ended * 1000, "ms"),
    ]


def following(terminal: Terminal, seconds: float) -> list[Figure]:
    """The log, while it grows."""
    terminal.press("G", "following")
    terminal.until("frame [0-9]+ at ")
    paints = terminal.rest(seconds)
    newest = [(paint.at, *_newest(paint)) for paint in paints if _NEWEST.search(paint.data)]
    steps = [later[0] - earlier[0] for earlier, later in pairwise(newest)]
    # Lines that a paint brings were written since the newest one of the paint before.
    delays = [
        at - written for earlier, later in pairwise(newest) for at, written in
        ((later[0], earlier[2]), (later[0], (earlier[2] + later[2]) / 2), (later[0], later[2]))
    ]  # fmt: skip
    taken = (newest[-1][1] - newest[0][1]) / (newest[-1][0] - newest[0][0])
    return [
        Figure("following: lines that pass", taken, "/s"),
        Figure("following: a line's way to the screen, median", median(delays) * 1000, "ms"),
        Figure("following: a line's way, 99 %", share(delays, 0.99) * 1000, "ms"),
        Figure("following: between two steps, median", median(steps) * 1000, "ms"),
        Figure("following: between two steps, longest", max(steps) * 1000, "ms"),
        Figure("following: paints", len(paints) / seconds, "/s", most=10),
    ]


def _newest(paint: Paint) -> tuple[int, float]:
    """The number of the last line that a paint brings, and when it was written."""
    number, written = max((int(number), float(written)) for number, written in _NEWEST.findall(paint.data))
    return number, written


def _leave(terminal: Terminal) -> None:
    """Back to the list: set off no more what was found, out of the project, all projects again."""
    os.write(terminal.master, b"\x1b")
    terminal.rest(0.5)
    terminal.press("\x1b", "PROJECT  ")
    terminal.press("\x1b", "project-0")


def pressing(terminal: Terminal, name: str, keys: Sequence[tuple[str, str]]) -> list[Figure]:
    """Keys with what answers them, one after another, at every moment between two paints."""
    took = []
    for number in range(KEYS):
        took.append(terminal.press(*keys[number % len(keys)]))
        terminal.rest(0.3 + 0.1 * number / KEYS)
    return [
        Figure(f"{name}: key to answer, median", median(took) * 1000, "ms", most=50),
        Figure(f"{name}: key to answer, longest", max(took) * 1000, "ms"),
    ]


def holding(terminal: Terminal, key: str, seconds: float) -> list[Figure]:
    """A key that is held: it comes thirty times a second."""
    paints = []
    for _ in range(round(seconds * 30)):
        os.write(terminal.master, key.encode())
        paints += terminal.rest(1 / 30)
    steps = [later.at - earlier.at for earlier, later in pairwise(paints)]
    return [
        Figure("a key held: paints", 1 / (sum(steps) / len(steps)), "/s", most=10),
        Figure("a key held: between two paints, longest", max(steps) * 1000, "ms"),
    ]


def idling(terminal: Terminal, process: psutil.Process) -> list[Figure]:
    """The list of projects, while nothing happens."""
    before, begun, terminal.sent = process.cpu_times(), time.monotonic(), 0
    terminal.rest(IDLE_SECONDS)
    after, lasted = process.cpu_times(), time.monotonic() - begun
    used = after.user + after.system - before.user - before.system
    return [
        Figure("idle: processor", 100 * used / lasted, "%", most=1.0),
        Figure("idle: on the wire", terminal.sent / 1024 / lasted, "KiB/s", most=0.5),
    ]


def measure(given: argparse.Namespace, broker: str, store: Store, folder: Path) -> list[Figure]:
    """All of it, in one program."""
    report = folder / "report.json"
    itself = [sys.executable, __file__, "--program", str(report), "--broker", broker, "--store", *store]
    with loaded(given, broker, store) as site:
        assert site.stdin is not None
        figures = starts(broker, store, folder)
        with opened(itself, folder, {}) as terminal:
            process = psutil.Process(terminal.process.pid)
            terminal.rest(ARRIVE_SECONDS)
            looked = time.monotonic()
            figures += reading(terminal, given.lines)
            site.stdin.write("\n")
            site.stdin.flush()
            lively = time.monotonic()
            figures += following(terminal, given.seconds)
            figures += pressing(terminal, "following", [("f", r"line [\d,]+ of"), ("f", "following")])
            _leave(terminal)
            listed = terminal.rest(given.seconds / 2)
            figures.append(Figure("list: paints", len(listed) / (given.seconds / 2), "/s", most=10))
            moves = ("j", "G", "k", "g", "\x06", "k")
            figures += pressing(terminal, "list", [(key, _CURSOR) for key in moves])
            figures += holding(terminal, "j", given.seconds / 4)
            os.write(terminal.master, b"2")
            terminal.rest(given.seconds / 2)
            memory = process.memory_info().rss
            terminal.press("1", _CURSOR)
            calm = time.monotonic()
            process.send_signal(signal.SIGUSR1)
            site.stdin.close()
            site.wait()
            terminal.rest(SETTLE_SECONDS)
            figures += idling(terminal, process)
    found = json.loads(report.read_text())
    assert found["projects"] == given.projects + 1, found["projects"]
    quiet = [late for at, late in found["beats"] if looked <= at < lively]
    busy = [late for at, late in found["beats"] if lively <= at < calm]
    return [
        *figures,
        Figure("busy: the loop late, 99.9 %", share(busy, 0.999) * 1000, "ms", most=50),
        Figure("busy: the loop late, longest", max(busy) * 1000, "ms"),
        # Of so few seconds 99.9 % would be the longest but one.
        Figure("searching: the loop late, 99 %", share(quiet, 0.99) * 1000, "ms", most=50),
        Figure("searching: the loop late, longest", max(quiet) * 1000, "ms"),
        Figure("memory", memory / 1e6, "MB", most=250),
    ]


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--projects", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--program", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--broker", help=argparse.SUPPRESS)
    parser.add_argument("--store", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.load:
        config = config_of(given.broker, given.store)
        load(config, lines=given.lines, rate=given.rate, projects=given.projects, nodes=given.nodes)
        return 0
    if given.program is not None:
        program(config_of(given.broker, given.store), given.program)
        return 0
    with tempfile.TemporaryDirectory(prefix="winslow-bench-") as name, servers(Path(name)) as (broker, store):
        figures = measure(given, broker, store, Path(name))
    print("\n".join(map(str, figures)))
    return 0 if all(figure.kept for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
