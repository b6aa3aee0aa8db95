"""Run one server program, and end it when the process that wanted it is gone.

A stand-alone script (`python -I -S warden.py GRACE PROGRAM ARGUMENT...`), so that it starts in a few
milliseconds and never imports the rest of Winslow. Between the owner and its server it is what
`kill -9` of the owner cannot reach: its standard input is a pipe from the owner, so the owner's end,
however it comes, is read as an end of file. Should the warden itself be killed, the kernel ends the
server (parent-death signal). That signal alone would not do: it fires at the end of the *thread*
that started the child, and the owner may start servers from a worker thread.

Standard output: one line with the server's process id, or `error: ...`. Standard error is handed to
the server as its output. Exit code: the server's.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_PARENT_CHECK_SECONDS = 2.0  # a forked sibling can hold the pipe open; the parent's id cannot be held


def _die_with_warden() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _end(server: subprocess.Popen[bytes], grace: float) -> None:
    server.terminate()
    try:
        server.wait(grace)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def main() -> int:
    grace, command = float(sys.argv[1]), sys.argv[2:]
    owner = os.getppid()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    asked_to_end: list[int] = []
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: asked_to_end.append(received))
    try:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            stderr=sys.stderr.fileno(),
            preexec_fn=_die_with_warden,  # this process has one thread, so this is safe
        )
    except OSError as error:
        os.write(1, f"error: {error}\n".encode())
        return 127
    with contextlib.suppress(BrokenPipeError):
        os.write(1, f"{server.pid}\n".encode())
    os.close(1)
    while server.poll() is None:
        readable, _, _ = select.select([0, wake_read], [], [], _PARENT_CHECK_SECONDS)
        if wake_read in readable:
            os.read(wake_read, 4096)
        owner_gone = (0 in readable and os.read(0, 1) == b"") or os.getppid() != owner
        if owner_gone or asked_to_end:
            _end(server, grace)
    code = server.returncode
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
