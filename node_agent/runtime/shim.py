"""The one process between an agent and a stage that runs without a container engine.

    python shim.py DIRECTORY

reads `DIRECTORY/spec.json`, goes into a session of its own, starts the stage, and stays until every
process of the stage is gone. It depends on nothing: the agent may die and come back. Files it writes:

    lock          held (flock) for its life
    shim.json     {pid, ticks, boot, started}: who it is
    output        frames: stream (1 byte: 1 stdout, 2 stderr), length (4), time (8, ns since 1970), bytes
    exit.json     {code, error, finished, lost, memory, cpus}: written last, beside, with fsync, and renamed;
                  the most memory of one process in bytes, and cores on average

SIGTERM is passed on to all processes of the stage, SIGUSR1 becomes SIGKILL for all of them. The shim
is the reaper of its descendants, so none can leave it. It imports nothing but the standard library and
is run as a file, without site packages, to start fast. To its parent it prints one line: `ok`, or why not.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_READ = 1 << 16
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


def process_ticks(pid: int) -> int | None:
    """When a process started, in ticks since boot; None where it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def descendants(root: int) -> list[int]:
    """All live processes below `root`."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208  # a Path per process is dear
        if not entry.isdigit():
            continue
        try:
            fields = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b") ")[2].split()
        except OSError:
            continue
        if fields[0] not in (b"Z", b"X"):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, wanted = [], [root]
    while wanted:
        below = children.get(wanted.pop(), [])
        found.extend(below)
        wanted.extend(below)
    return found


def write_whole(path: Path, content: dict[str, object]) -> None:
    """A reader sees the old file or the new one, also after a power cut."""
    beside = path.with_suffix(".new")
    with beside.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


class Output:
    """Frames appended to a file, up to a limit of bytes; what cannot be written is dropped and counted."""

    def __init__(self, path: Path, limit: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._left = limit
        self._size = os.fstat(self._file).st_size
        self.lost = 0

    def write(self, stream: int, data: bytes) -> None:
        """Append one frame, whole or not at all."""
        if len(data) > self._left:
            self._left = 0  # the agent, which counts more per line, has cut the log before this
            return
        frame = bytes([stream]) + len(data).to_bytes(4, "big") + time.time_ns().to_bytes(8, "big") + data
        try:
            whole = os.write(self._file, frame) == len(frame)
        except OSError:
            whole = False
        if whole:
            self._size += len(frame)
            self._left -= len(data)
        else:  # the disk is full: leave no torn frame, and go on, so that the stage does not hang
            os.ftruncate(self._file, self._size)
            self.lost += len(data)


class Shim:
    """One stage, from its start to the end of its last process."""

    def __init__(self, directory: Path, spec: dict[str, object]) -> None:
        self._directory = directory
        self._argv: list[str] = list(spec["argv"])  # type: ignore[call-overload]
        self._environment: dict[str, str] = dict(spec["environment"])  # type: ignore[call-overload]
        self._workdir = str(spec["workdir"])
        self._sandboxed = bool(spec["sandboxed"])
        self._output = Output(directory / "output", int(str(spec["limit"])))
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._main = -1
        self._code: int | None = None
        self._begun = time.monotonic()
        self._pipes: dict[int, int] = {}
        self._wake = (-1, -1)

    def start(self) -> tuple[int, str] | None:
        """Fork and exec the stage; None, or the exit code and why that failed."""
        self._libc.prctl(_SUBREAPER, 1, 0, 0, 0)
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        for heard in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(heard, lambda *_: None)
        for ignored in (signal.SIGHUP, signal.SIGINT):
            signal.signal(ignored, signal.SIG_IGN)
        out, out_end = os.pipe2(os.O_CLOEXEC)
        err, err_end = os.pipe2(os.O_CLOEXEC)
        trouble, trouble_end = os.pipe2(os.O_CLOEXEC)
        self._main = os.fork()
        if self._main == 0:
            self._become(out_end, err_end, trouble_end)
        for end in (out_end, err_end, trouble_end):
            os.close(end)
        why = os.read(trouble, 4096).decode("utf-8", "replace")
        os.close(trouble)
        if why:
            os.waitpid(self._main, 0)
            code, _, sentence = why.partition(" ")
            return int(code), sentence
        for number, pipe in ((1, out), (2, err)):
            os.set_blocking(pipe, False)
            self._pipes[pipe] = number
        return None

    def _become(self, out: int, err: int, trouble: int) -> None:
        """In the child: turn into the stage."""
        place = "the stage's process"
        try:
            os.setsid()
            self._libc.prctl(_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out, 1)
            os.dup2(err, 2)
            signal.set_wakeup_fd(-1)
            # Python ignores some, and whoever started the agent may have had others ignored.
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_DFL)
            place = f"working directory '{self._workdir}'"
            os.chdir(self._workdir)
            place = f"command '{self._argv[0]}'"
            os.execvpe(self._argv[0], self._argv, self._environment)  # noqa: S606  # the stage's own command
        except (OSError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError)
            why = "was not found" if missing else f"cannot be used: {getattr(error, 'strerror', error)}"
            os.write(trouble, f"{_NOT_FOUND if missing else _NOT_EXECUTABLE} {place} {why}".encode()[:4096])
        finally:
            os._exit(_NOT_FOUND)

    def attend(self) -> int:
        """Pass output and signals on until all processes are gone; the exit code."""
        poll = select.poll()
        poll.register(self._wake[0], select.POLLIN)
        for pipe in self._pipes:
            poll.register(pipe, select.POLLIN)
        while True:
            for file, _ in poll.poll():
                if file == self._wake[0]:
                    self._signals(os.read(file, 512))
                elif not self._drain(file, once=True):
                    poll.unregister(file)
                    os.close(file)
                    del self._pipes[file]
            if self._reap():
                for pipe in self._pipes:
                    self._drain(pipe, once=False)
                return self._code if self._code is not None else 128 + signal.SIGKILL

    def _signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number in (signal.SIGTERM, signal.SIGUSR1):
                self._tell_all(signal.SIGTERM if number == signal.SIGTERM else signal.SIGKILL)

    def _tell_all(self, number: int) -> None:
        for pid in descendants(os.getpid()):
            if pid == self._main and self._sandboxed and number == signal.SIGTERM:
                continue  # bubblewrap itself would die of it, and take the stage along before it can react
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def _reap(self) -> bool:
        """Collect who has ended; True when nobody is left. With the stage's first process go all others."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == self._main:
                code = os.waitstatus_to_exitcode(status)
                self._code = code if code >= 0 else 128 - code
            if pid == 0 and self._code is None:
                return False
            if pid == 0:
                self._tell_all(signal.SIGKILL)
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)

    def _drain(self, pipe: int, *, once: bool) -> bool:
        """Take what the pipe holds; False at its end."""
        while True:
            try:
                data = os.read(pipe, _READ)
            except BlockingIOError:
                return True
            if not data:
                return False
            self._output.write(self._pipes[pipe], data)
            if once:
                return True

    def finish(self, code: int, error: str) -> None:
        """The last word."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = max(time.monotonic() - self._begun, 0.001)
        write_whole(
            self._directory / "exit.json",
            {
                "code": code,
                "error": error,
                "finished": time.time_ns(),
                "lost": self._output.lost,
                "memory": used.ru_maxrss << 10,
                "cpus": round((used.ru_utime + used.ru_stime) / seconds, 3),
            },
        )


def main(directory: Path) -> None:
    """Fork away from the caller and run the stage; the caller reads one line and goes its way."""
    word, word_end = os.pipe2(os.O_CLOEXEC)
    if os.fork():
        os.close(word_end)
        sys.stdout.buffer.write(os.read(word, 4096))
        return
    os.setsid()
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # another shim has this stage: it runs
        os.write(word_end, b"ok")
        return
    if (directory / "shim.json").exists():
        os.write(word_end, b"ok")
        return
    null = os.open(os.devnull, os.O_RDWR)
    trouble = os.open(directory / "shim.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, file in ((0, null), (1, null), (2, trouble)):
        os.dup2(file, number)
    spec = json.loads((directory / "spec.json").read_text())
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    me: dict[str, object] = {
        "pid": os.getpid(),
        "ticks": process_ticks(os.getpid()),
        "boot": boot,
        "started": time.time_ns(),
    }
    write_whole(directory / "shim.json", me)
    shim = Shim(directory, spec)
    failure = shim.start()
    if failure is None:
        os.write(word_end, b"ok")
        os.close(word_end)
        shim.finish(shim.attend(), "")
    else:
        shim.finish(*failure)
        os.write(word_end, failure[1].encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
