"""A container engine, an image and a registry for tests, on machines where nothing can be pulled."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from tests.services.installation import find_program
from winslow.store.daemon import LOOPBACK, Daemon, free_ports

BUSYBOX_IMAGE = "winslow-test/busybox:1"
_REPOSITORY, _TAG = BUSYBOX_IMAGE.split(":")
_SOCKET = "/var/run/docker.sock"
_READY_SECONDS = 60.0


@dataclass(frozen=True)
class DockerService:
    """A Docker engine; `url` is `unix:///…`, `started_here` whether it is the tests' own."""

    url: str
    started_here: bool

    def client(self) -> docker.DockerClient:
        """A client of its own; the caller closes it."""
        return docker.DockerClient(base_url=self.url, timeout=60)

    @property
    def environment(self) -> dict[str, str]:
        """For a program that finds its engine through the environment."""
        return {"DOCKER_HOST": self.url}


@dataclass(frozen=True)
class RegistryService:
    """A private registry; `address` (`127.0.0.1:PORT`) is the first part of an image's name."""

    address: str
    url: str


def engine_answers(url: str) -> bool:
    """Whether a Docker engine answers at `url` (`unix://…`; an engine elsewhere is not for tests)."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(url.removeprefix("unix://"))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return connection.recv(64).split()[1:2] == [b"200"]
        except OSError:
            return False


def running_engine() -> DockerService | None:
    """The machine's own engine, if this user may use it."""
    url = os.environ.get("DOCKER_HOST") or f"unix://{_SOCKET}"
    return DockerService(url=url, started_here=False) if engine_answers(url) else None


def why_no_engine() -> str:
    """Why an engine of the tests' own cannot be started; empty when it can."""
    if os.geteuid() != 0:
        return "no Docker engine answers, and only root can start one"
    if lacking := [name for name in ("dockerd", "iptables") if find_program(name) is None]:
        return f"no Docker engine answers, and {' and '.join(lacking)} is not installed"
    if _dockerd_runs():
        return "a dockerd that does not answer runs here; a second one would take its bridge away"
    return ""


def _dockerd_runs() -> bool:
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() == "dockerd":
                return True
        except OSError:
            continue
    return False


def engine_daemon(directory: Path) -> tuple[Daemon, DockerService]:
    """A dockerd with everything it has in `directory` (a short path: it holds sockets), not started."""
    program = find_program("dockerd")
    assert program is not None
    url = f"unix://{directory / 'docker.sock'}"
    daemon = Daemon(
        name="dockerd",
        command=[
            program,
            f"--host={url}",
            f"--data-root={directory / 'data'}",
            f"--exec-root={directory / 'exec'}",
            f"--pidfile={directory / 'docker.pid'}",
            "--shutdown-timeout=5",
            "--log-level=warn",
        ],
        log=directory / "dockerd.log",
        grace_seconds=20.0,
    )
    return daemon, DockerService(url=url, started_here=True)


def start_engine(directory: Path) -> tuple[Daemon, DockerService]:
    """Start it and wait until it answers."""
    daemon, service = engine_daemon(directory)
    daemon.start()
    try:
        daemon.wait_until(lambda: engine_answers(service.url), seconds=_READY_SECONDS)
    except BaseException:
        daemon.stop()
        raise
    return daemon, service


def import_busybox(engine: DockerService) -> str:
    """Make sure that the engine has `BUSYBOX_IMAGE`: a static busybox with all its names; the name."""
    client = engine.client()
    try:
        try:
            client.images.get(BUSYBOX_IMAGE)
        except ImageNotFound:
            client.api.import_image_from_data(
                _busybox_root(),
                repository=_REPOSITORY,
                tag=_TAG,
                changes=["ENV PATH=/bin", 'CMD ["sh"]'],
            )
    finally:
        client.close()
    return BUSYBOX_IMAGE


def _busybox_root() -> bytes:
    program = find_program("busybox")
    assert program is not None
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as root:
        for folder, mode in (("bin", 0o755), ("tmp", 0o1777), ("etc", 0o755), ("root", 0o700)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            root.addfile(entry)
        passwd = b"root:x:0:0:root:/root:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(passwd)
        root.addfile(entry, io.BytesIO(passwd))
        binary = Path(program).read_bytes()
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(binary), 0o755
        root.addfile(entry, io.BytesIO(binary))
        for name in names:
            if name == "busybox":
                continue
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            root.addfile(entry)
    return buffer.getvalue()


def registry_daemon(directory: Path) -> tuple[Daemon, RegistryService]:
    """A registry that keeps its images in `directory`, not started."""
    program = find_program("docker-registry")
    assert program is not None
    (port,) = free_ports(1)
    address = f"{LOOPBACK}:{port}"
    config = directory / "registry.yml"
    config.write_text(
        f"""version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {directory / "images"}}}
  delete: {{enabled: true}}
http: {{addr: "{address}"}}
"""
    )
    daemon = Daemon(
        name="docker-registry",
        command=[program, "serve", str(config)],
        log=directory / "registry.log",
        environment={"OTEL_TRACES_EXPORTER": "none"},
    )
    return daemon, RegistryService(address=address, url=f"http://{address}")
