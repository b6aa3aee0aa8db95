"""Brokers and stores for tests: an address with keys, and the power to stop, kill and start them."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from minio import Minio

from broker.embedded import BrokerKind, EmbeddedBroker
from tests.services.installation import find_minio
from winslow.store.daemon import LOOPBACK, Daemon, free_ports
from winslow.store.embedded import EmbeddedStore, bucket_ready

StoreKind = Literal["seaweedfs", "minio"]
_READY_SECONDS = 60.0


class Server(Protocol):
    """What can be switched off and on in an outage test; addresses and data stay the same."""

    @property
    def running(self) -> bool: ...
    @property
    def pid(self) -> int: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...


@dataclass(frozen=True)
class _Service:
    server: Server = field(repr=False)

    @property
    def pid(self) -> int:
        """The server's process id, for SIGSTOP and the like."""
        return self.server.pid

    @property
    def running(self) -> bool:
        return self.server.running

    def start(self) -> None:
        """Start it again; returns when it answers."""
        self.server.start()

    def stop(self) -> None:
        """End it cleanly."""
        self.server.stop()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.server.kill()


@dataclass(frozen=True)
class BrokerService(_Service):
    """An MQTT 5 broker; `url` is `mqtt://127.0.0.1:PORT`."""

    kind: BrokerKind
    url: str
    host: str
    port: int


@dataclass(frozen=True)
class StoreService(_Service):
    """An S3 server; `endpoint` is `http://127.0.0.1:PORT`, `address` the same without `http://`."""

    kind: StoreKind
    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str

    @property
    def address(self) -> str:
        return self.endpoint.removeprefix("http://")

    def client(self) -> Minio:
        """A minio-py client of its own, to look at the store past the code under test."""
        return Minio(
            endpoint=self.address, access_key=self.access_key, secret_key=self.secret_key, secure=False
        )

    def with_new_bucket(self) -> StoreService:
        """The same server with an empty bucket of its own."""
        bucket = f"test-{secrets.token_hex(6)}"
        self.client().make_bucket(bucket)
        return replace(self, bucket=bucket)


class MinioServer:
    """A MinIO server as a child of this process, on one folder."""

    def __init__(self, directory: Path, *, access_key: str, secret_key: str, bucket: str) -> None:
        program = find_minio()
        assert program is not None
        self.port, console = free_ports(2)
        self.bucket = bucket
        self.access_key, self.secret_key = access_key, secret_key
        self._data = directory / "data"
        self._daemon = Daemon(
            name="minio",
            command=[
                program,
                "server",
                "--quiet",
                "--address",
                f"{LOOPBACK}:{self.port}",
                "--console-address",
                f"{LOOPBACK}:{console}",
                "--certs-dir",
                str(directory / "certs"),
                str(self._data),
            ],
            log=directory / "minio.log",
            environment={
                "MINIO_ROOT_USER": access_key,
                "MINIO_ROOT_PASSWORD": secret_key,
                "MINIO_BROWSER": "off",
                "MINIO_UPDATE": "off",
            },
        )

    @property
    def running(self) -> bool:
        return self._daemon.running

    @property
    def pid(self) -> int:
        return self._daemon.pid

    def start(self) -> None:
        self._data.mkdir(parents=True, exist_ok=True)
        self._daemon.start()
        self._daemon.wait_until(
            lambda: bucket_ready(f"{LOOPBACK}:{self.port}", self.access_key, self.secret_key, self.bucket),
            seconds=_READY_SECONDS,
        )

    def stop(self) -> None:
        self._daemon.stop()

    def kill(self) -> None:
        self._daemon.kill()


def start_broker(directory: Path, kind: BrokerKind) -> BrokerService:
    """A started broker with its files in `directory`."""
    server = EmbeddedBroker(directory, kind=kind)
    server.start()
    return BrokerService(server=server, kind=kind, url=server.url, host=LOOPBACK, port=server.port)


def start_store(directory: Path, kind: StoreKind) -> StoreService:
    """A started S3 server with its data in `directory` and the bucket `winslow`."""
    access_key, secret_key, bucket = "winslow-test", secrets.token_urlsafe(24), "winslow"
    server: EmbeddedStore | MinioServer
    if kind == "seaweedfs":
        server = EmbeddedStore(directory, access_key=access_key, secret_key=secret_key, bucket=bucket)
    else:
        server = MinioServer(directory, access_key=access_key, secret_key=secret_key, bucket=bucket)
    server.start()
    return StoreService(
        server=server,
        kind=kind,
        endpoint=f"http://{LOOPBACK}:{server.port}",
        access_key=access_key,
        secret_key=secret_key,
        bucket=bucket,
    )


def draw_ports(site: Path) -> None:
    """Draw the ports of a `winslow up` that is to be started on this folder, as this process draws them: apart from
    those of tests at its side."""
    EmbeddedBroker(site / "broker")
    EmbeddedStore(site / "store", access_key="", secret_key="")


def discard(directory: Path) -> None:
    """Remove a server's folder."""
    shutil.rmtree(directory, ignore_errors=True)
