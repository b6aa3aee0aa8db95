"""The servers that other tests rely on do what these tests take for granted."""

from __future__ import annotations

import io
import json
import urllib.request

import pytest

from broker.embedded import BrokerKind, answers
from tests.conftest import BrokerFactory, StoreFactory
from tests.services.engine import DockerService, RegistryService
from tests.services.servers import BrokerService, StoreKind, StoreService


def test_each_broker_answers(broker: BrokerService) -> None:
    assert broker.url == f"mqtt://127.0.0.1:{broker.port}"
    assert answers(broker.port)


@pytest.mark.parametrize("kind", list(BrokerKind))
def test_a_private_broker_stops_and_comes_back_at_its_address(
    broker_factory: BrokerFactory, kind: BrokerKind
) -> None:
    service = broker_factory(kind)
    service.stop()
    assert not answers(service.port)
    service.start()
    assert answers(service.port)
    service.kill()
    assert not answers(service.port)
    service.start()
    assert answers(service.port)


def test_each_store_has_its_bucket(s3_server: StoreService) -> None:
    assert s3_server.client().bucket_exists(s3_server.bucket)


def test_buckets_are_apart(s3_server: StoreService) -> None:
    one, other = s3_server.with_new_bucket(), s3_server.with_new_bucket()
    one.client().put_object(one.bucket, "a", io.BytesIO(b"x"), 1)
    assert [item.object_name for item in one.client().list_objects(one.bucket)] == ["a"]
    assert list(other.client().list_objects(other.bucket)) == []


@pytest.mark.parametrize("kind", ["seaweedfs", "minio"])
def test_a_private_store_keeps_its_data_through_stop_and_kill(
    store_factory: StoreFactory, kind: StoreKind
) -> None:
    service = store_factory(kind)
    client = service.client()
    client.put_object(service.bucket, "kept", io.BytesIO(b"one"), 3)
    service.stop()
    assert not service.running
    service.start()
    client.put_object(service.bucket, "also", io.BytesIO(b"two"), 3)
    service.kill()
    service.start()
    with client.get_object(service.bucket, "kept") as kept, client.get_object(service.bucket, "also") as also:
        assert (kept.read(), also.read()) == (b"one", b"two")


@pytest.mark.docker
def test_the_image_runs(docker_engine: DockerService, busybox_image: str) -> None:
    client = docker_engine.client()
    try:
        output = client.containers.run(
            busybox_image, ["sh", "-c", "echo 1 | awk '{print $1 + 1}'"], remove=True, network_disabled=True
        )
    finally:
        client.close()
    assert output == b"2\n"


@pytest.mark.docker
def test_an_image_goes_through_the_registry(
    docker_engine: DockerService, busybox_image: str, docker_registry: RegistryService
) -> None:
    name = f"{docker_registry.address}/tools/busybox"
    client = docker_engine.client()
    try:
        client.images.get(busybox_image).tag(name, tag="1")
        pushed = list(client.images.push(name, tag="1", stream=True, decode=True))
        assert not [line for line in pushed if "error" in line], pushed
        client.images.remove(f"{name}:1")
        assert client.images.pull(name, tag="1").id == client.images.get(busybox_image).id
        client.images.remove(f"{name}:1")
    finally:
        client.close()
    with urllib.request.urlopen(f"{docker_registry.url}/v2/_catalog", timeout=60) as response:
        assert "tools/busybox" in json.load(response)["repositories"]
