"""A server program as a child of this process: started, waited for, stopped, never left behind.

Used for the servers of a site on one machine (`store.embedded`, `broker.embedded`). Everything here
blocks; asyncio code calls it in an executor.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from winslow.errors import Unreachable, WinslowError

LOOPBACK = "127.0.0.1"
_LOWEST_PORT = 15_000
_POLL_SECONDS = 0.02
_KILL_MARGIN_SECONDS = 5.0
_LOG_TAIL_BYTES = 2_000


class Daemon:
    """One server program under a warden (see `warden`), which ends it when this process is gone.

    It runs in a session of its own, so ctrl+c on the terminal reaches only the owner, who stops its
    servers in the right order. Secrets belong in `environment`, never in `command`. `folder` is its
    working directory.
    """

    def __init__(
        self,
        *,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        grace_seconds: float = 10.0,
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self.log = log
        self._environment = dict(environment or {})
        self._folder = folder
        self._grace_seconds = grace_seconds
        self._warden: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._log_start = 0

    @property
    def running(self) -> bool:
        """Whether the server lives."""
        return self._warden is not None and self._warden.poll() is None

    @property
    def pid(self) -> int:
        """The server's own process id. Raises WinslowError when it does not run."""
        if not self.running:
            raise WinslowError(f"{self.name} is not running")
        return self._pid

    def start(self) -> None:
        """Start the server; its output goes to the end of `log`. Raises WinslowError if it cannot be run."""
        if self.running:
            return
        self.stop()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        warden = [sys.executable, "-I", "-S", str(Path(__file__).with_name("warden.py"))]
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._log_start = os.fstat(descriptor).st_size
        try:
            self._warden = subprocess.Popen(
                [*warden, str(self._grace_seconds), *self.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=descriptor,
                env={**os.environ, **self._environment},
                cwd=self._folder,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        assert self._warden.stdout is not None
        first_line = self._warden.stdout.readline().decode(errors="replace").strip()
        self._warden.stdout.close()
        if not first_line.isdigit():
            self.stop()
            raise WinslowError(
                f"cannot run {self.name} ({self.command[0]}): {first_line.removeprefix('error: ')}",
                hint="install the program, or name another one",
            )
        self._pid = int(first_line)

    def said(self, text: str) -> bool:
        """Whether `text` stands in what the server has printed since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return text.encode() in log.read()

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait until `ready()` holds. Raises Unreachable, with the log's end, when it does not in time."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise Unreachable(
                    f"{self.name} ended while it started: {self._log_tail()}", hint=self._hint()
                )
            if time.monotonic() > deadline:
                tail = self._log_tail()
                raise Unreachable(
                    f"{self.name} was not ready after {seconds:.0f} s: {tail}", hint=self._hint()
                )
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """End the server: SIGTERM, and SIGKILL after the grace time. Fine when it does not run."""
        warden, self._warden = self._warden, None
        if warden is None:
            return
        assert warden.stdin is not None and warden.stdout is not None
        warden.stdin.close()
        warden.stdout.close()
        try:
            warden.wait(self._grace_seconds + _KILL_MARGIN_SECONDS)
        except subprocess.TimeoutExpired:
            warden.kill()
            warden.wait()

    def kill(self) -> None:
        """End the server without a chance to tidy up (SIGKILL), as a crash or a power cut would."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def _hint(self) -> str:
        return f"its log is {self.log}"

    def _log_tail(self) -> str:
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - _LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return " | ".join(lines[-5:]) or "(it printed nothing)"


def kept_ports(file: Path, count: int) -> list[int]:
    """The ports noted in `file` by an earlier start if all are free, else new ones, noted there.

    So the addresses of a site survive its restart.
    """
    try:
        noted = [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        noted = []
    if len(noted) == count and all(port_is_free(port) for port in noted):
        return noted
    ports = free_ports(count)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.write_text(" ".join(str(port) for port in ports) + "\n")
    return ports


def free_ports(count: int) -> list[int]:
    """Distinct loopback TCP ports that nobody listens on.

    They lie below the kernel's range for outgoing connections: a client that keeps trying a port of
    that range while its server is away can be connected to itself, and then holds the port.
    """
    highest = _lowest_ephemeral_port() - 1
    found: list[int] = []
    while len(found) < count:
        port = _LOWEST_PORT + secrets.randbelow(highest - _LOWEST_PORT + 1)
        if port not in found and port_is_free(port):
            found.append(port)
    return found


def require_free(port: int, *, name: str) -> None:
    """Raise WinslowError when somebody listens on a port that a server is about to take.

    Otherwise the probe for "is it ready" could be answered by the stranger.
    """
    if not port_is_free(port):
        raise WinslowError(
            f"{name} cannot listen on {LOOPBACK}:{port}: the port is taken",
            hint="end what listens there (ss -ltnp shows it), or choose another port",
        )


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _lowest_ephemeral_port() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = 32_768
    return first if first > _LOWEST_PORT + 1_000 else 65_536
