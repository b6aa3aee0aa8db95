"""Fixtures for tests of whole agents: a fleet on the session's servers, and one on servers it may stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from broker.embedded import BrokerKind
from tests.acceptance.fleet import Buckets, Fleet, fleet
from tests.conftest import BrokerFactory, StoreFactory
from tests.faults.proxy import FaultyProxy, Plan
from tests.services.engine import DockerService
from tests.services.servers import BrokerService, StoreService

FleetFactory = Callable[[], Fleet]
FleetBehind = Callable[[Plan], Fleet]


@pytest.fixture(scope="session")
def buckets(seaweedfs_store: StoreService) -> Buckets:
    """The session's buckets for fleets."""
    return Buckets(seaweedfs_store)


@pytest.fixture(scope="session")
def fleet_factory(
    tmp_path_factory: pytest.TempPathFactory,
    mosquitto_broker: BrokerService,
    buckets: Buckets,
    docker_engine: DockerService,
    busybox_image: str,
) -> Iterator[FleetFactory]:
    """Makes fleets that last as long as the session, for modules whose tests share one."""
    with ExitStack() as ends:

        def make() -> Fleet:
            folder = tmp_path_factory.mktemp("fleet")
            return ends.enter_context(
                fleet(
                    folder,
                    broker=mosquitto_broker,
                    store=ends.enter_context(buckets.one()),
                    engine=docker_engine,
                    image=busybox_image,
                )
            )

        yield make


@pytest.fixture(name="fleet")
def own_fleet(
    tmp_path: Path,
    mosquitto_broker: BrokerService,
    buckets: Buckets,
    docker_engine: DockerService,
    busybox_image: str,
) -> Iterator[Fleet]:
    """A fleet without agents yet."""
    with (
        buckets.one() as store,
        fleet(
            tmp_path, broker=mosquitto_broker, store=store, engine=docker_engine, image=busybox_image
        ) as made,
    ):
        yield made


@pytest.fixture
def fleet_behind(
    tmp_path: Path,
    mosquitto_broker: BrokerService,
    buckets: Buckets,
    docker_engine: DockerService,
    busybox_image: str,
) -> Iterator[FleetBehind]:
    """Makes a fleet whose agents reach the store through a proxy with this plan."""
    with ExitStack() as ends:

        def make(plan: Plan) -> Fleet:
            bucket = ends.enter_context(buckets.one())
            proxy = FaultyProxy(bucket.endpoint, plan)
            proxy.start()
            ends.callback(proxy.stop)
            made: AbstractContextManager[Fleet] = fleet(
                tmp_path,
                broker=mosquitto_broker,
                store=bucket,
                agents_store=replace(bucket, endpoint=proxy.url),
                engine=docker_engine,
                image=busybox_image,
            )
            return ends.enter_context(made)

        yield make


@dataclass(frozen=True)
class FragileSite:
    """A fleet whose broker a test may stop, kill and start, and with `fragile` its store, too."""

    fleet: Fleet
    broker: BrokerService
    store: StoreService


@pytest.fixture
def fragile(
    tmp_path: Path,
    broker_factory: BrokerFactory,
    store_factory: StoreFactory,
    docker_engine: DockerService,
    busybox_image: str,
) -> Iterator[FragileSite]:
    """A fleet without agents yet, on a broker and a store of its own."""
    broker, store = broker_factory(BrokerKind.MOSQUITTO), store_factory("seaweedfs")
    with fleet(tmp_path, broker=broker, store=store, engine=docker_engine, image=busybox_image) as made:
        yield FragileSite(fleet=made, broker=broker, store=store)


@pytest.fixture
def fragile_broker(
    tmp_path: Path,
    broker_factory: BrokerFactory,
    buckets: Buckets,
    docker_engine: DockerService,
    busybox_image: str,
) -> Iterator[FragileSite]:
    """A fleet without agents yet, on a broker of its own."""
    broker = broker_factory(BrokerKind.MOSQUITTO)
    with (
        buckets.one() as store,
        fleet(tmp_path, broker=broker, store=store, engine=docker_engine, image=busybox_image) as made,
    ):
        yield FragileSite(fleet=made, broker=broker, store=store)
