"""A person's terminal: tmux, and in it ssh to a real sshd on loopback. Keys go in, lines come out."""

from __future__ import annotations

import getpass
import os
import secrets
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.services.installation import find_program
from tests.services.waiting import wait_until
from winslow.store.daemon import LOOPBACK, Daemon, free_ports

PATIENCE = 60.0


class SshServer:
    """An sshd of a test's own, with keys of its own; only this user may come in."""

    def __init__(self, folder: Path) -> None:
        program = find_program("sshd")
        assert program is not None
        self.folder = folder
        (self.port,) = free_ports(1)
        folder.mkdir(mode=0o700, parents=True)
        for name in ("host", "person"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
            )
        (folder / "person.pub").rename(folder / "allowed")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd separates its privileges
        config = folder / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress {LOOPBACK}\nHostKey {folder / 'host'}\nPidFile none\n"
            f"AuthorizedKeysFile {folder / 'allowed'}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin yes\nPrintMotd no\n"
        )
        self._daemon = Daemon(
            name="sshd", command=[program, "-D", "-e", "-f", str(config)], log=folder / "sshd.log"
        )

    def start(self) -> None:
        """Returns when it answers."""
        self._daemon.start()
        self._daemon.wait_until(lambda: "listening" in self.log, seconds=PATIENCE)

    @property
    def log(self) -> str:
        """What it said."""
        path = self.folder / "sshd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        """End it."""
        self._daemon.stop()

    def command(self, remote: Sequence[str]) -> list[str]:
        """The command that runs `remote` there, in a terminal."""
        options = [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "IdentitiesOnly=yes",
        ]
        return [
            "ssh", "-tt", "-i", str(self.folder / "person"), "-p", str(self.port),
            *(part for option in options for part in ("-o", option)),
            f"{getpass.getuser()}@{LOOPBACK}", shlex.join(remote),
        ]  # fmt: skip


class Terminal:
    """One window of a tmux server of its own."""

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        *,
        width: int,
        height: int,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._environ = {**os.environ, "TERM": "xterm-256color", **(environ or {})}
        self._socket = str(folder / f"tmux-{secrets.token_hex(3)}")
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), shlex.join(command)
        )
        self._tmux("set-option", "-g", "escape-time", "0")
        self._tmux("set-option", "-g", "remain-on-exit", "on")

    def _tmux(self, *arguments: str) -> str:
        found = subprocess.run(
            ["tmux", "-u", "-S", self._socket, *arguments],
            check=True, capture_output=True, text=True, timeout=PATIENCE,
            env=self._environ,
        )  # fmt: skip
        return found.stdout

    def press(self, *keys: str) -> None:
        """Press keys as tmux names them: `Enter`, `Escape`, `C-s`, `Space`, `a`."""
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type a text."""
        self._tmux("send-keys", "-l", text)

    def resize(self, width: int, height: int) -> None:
        """As a person drags the window."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def sees(self) -> str:
        """What stands on the screen."""
        return self._tmux("capture-pane", "-p")

    def reads(self, *texts: str, seconds: float = PATIENCE) -> str:
        """Return once all these texts are on the screen, with the screen."""
        return self.until(lambda seen: all(text in seen for text in texts), what=repr(texts), seconds=seconds)

    def until(self, condition: Callable[[str], object], *, what: str, seconds: float = PATIENCE) -> str:
        """Return once the screen fulfils the condition, with the screen."""
        seen = [""]

        def looked() -> object:
            seen[0] = self.sees()
            return condition(seen[0])

        try:
            wait_until(looked, seconds=seconds, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen:\n{seen[0]}") from None
        return seen[0]

    def ends(self, seconds: float = PATIENCE) -> str:
        """Return once the program has ended, with the screen it left.

        tmux is asked: the line it writes itself needs the exit status, and 3.3a does not collect each of them."""
        return self.until(
            lambda _: self._asked("pane_dead") == "1",
            what="the program's end",
            seconds=seconds,
        )

    @property
    def mouse(self) -> bool:
        """Whether the program asked to be told of the mouse."""
        return self._asked("mouse_any_flag") == "1"

    @property
    def pid(self) -> int:
        """The process that the terminal began with."""
        return int(self._asked("pane_pid"))

    @property
    def server(self) -> int:
        """The process that is the terminal."""
        return int(self._asked("pid"))

    def _asked(self, name: str) -> str:
        return self._tmux("display-message", "-p", f"#{{{name}}}").strip()

    def close(self) -> None:
        """End it, as a lost connection does; nothing where it has ended."""
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], check=False, capture_output=True)


@contextmanager
def terminals(folder: Path, remote: Sequence[str]) -> Iterator[Callable[[int, int], Terminal]]:
    """Opens terminals of a width and a height with `remote` in them, over ssh; all of it ends with the block."""
    server = SshServer(folder / "ssh")
    with ExitStack() as ends:
        ends.callback(server.stop)
        server.start()

        def open_(width: int, height: int) -> Terminal:
            opened = Terminal(folder, server.command(remote), width=width, height=height)
            ends.callback(opened.close)
            return opened

        yield open_
