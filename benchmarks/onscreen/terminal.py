"""A pseudo-terminal of 140x45, over SSH as far as the program can tell, and who sits there and sees when what comes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_BEGIN, _END = b"\x1b[?2026h", b"\x1b[?2026l"
_CAN_SYNC, _CAN = (
    b"\x1b[?2026$p",
    b"\x1b[?2026;2$y",
)  # the question whether paints can be marked so, and the answer
KEPT = 200_000  # bytes of what came last


@dataclass(frozen=True)
class Paint:
    """One paint, whole at a time of the monotonic clock."""

    at: float
    data: bytes


@dataclass
class Terminal:
    """Counts the bytes that come, and parts them into paints."""

    master: int
    process: subprocess.Popen[bytes]
    sent: int = 0
    paints: list[Paint] = field(default_factory=list)
    _open: bytes = b""
    _said: bytes = b""  # since a key

    def _read(self, seconds: float) -> bytes:
        """What comes next, within so many seconds; empty: nothing."""
        if not select.select([self.master], [], [], max(0.0, seconds))[0]:
            return b""
        try:
            data = os.read(self.master, 1 << 20)
        except OSError:  # the program has ended
            return b""
        now = time.monotonic()
        self.sent += len(data)
        self._said = (self._said + data)[-KEPT:]
        if _CAN_SYNC in data:
            os.write(self.master, _CAN)
        whole = self._open + data
        while (end := whole.find(_END)) >= 0:
            self.paints.append(Paint(now, whole[whole.find(_BEGIN) + len(_BEGIN) : end]))
            whole = whole[end + len(_END) :]
        self._open = whole
        return data

    def rest(self, seconds: float) -> list[Paint]:
        """The paints of so many seconds."""
        before, end = len(self.paints), time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._read(left)
        return self.paints[before:]

    def until(self, answer: str, *, seconds: float = 60.0) -> float:
        """Seconds until this (a regular expression) has come since the last key. Raises TimeoutError."""
        begun, wanted = time.monotonic(), re.compile(answer.encode())
        while not wanted.search(self._said):
            if time.monotonic() - begun > seconds:
                raise TimeoutError(f"{answer!r} never came, but: {self._said[-2000:]!r}")
            self._read(1.0)
        return time.monotonic() - begun

    def press(self, keys: str, answer: str) -> float:
        """Seconds from a key to its answer."""
        self._said = b""
        os.write(self.master, keys.encode())
        return self.until(answer)


@contextmanager
def opened(arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Terminal]:
    """A program in a terminal of its own, what it remembers in `folder`."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 45, 140, 0, 0))
    around = {
        **os.environ, **environment, "TERM": "xterm-256color", "XDG_STATE_HOME": str(folder),
        "SSH_CONNECTION": "127.0.0.1 1 127.0.0.1 22",
    }  # fmt: skip
    around.pop("PYTHONDONTWRITEBYTECODE", None)  # installed programs are compiled
    process = subprocess.Popen(
        arguments, stdin=slave, stdout=slave, stderr=slave, env=around, start_new_session=True
    )
    os.close(slave)
    terminal = Terminal(master, process)
    try:
        yield terminal
    finally:
        os.write(master, b"\x11")  # ctrl+q
        end = time.monotonic() + 20.0
        while process.poll() is None and time.monotonic() < end:
            terminal.rest(0.1)
        process.kill()
        process.wait()
        os.close(master)
