"""Making a store of a test's own: an empty bucket on a real server, and a client for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.services.servers import StoreService
from winslow.store.address import StoreConfig
from winslow.store.s3 import COPY_PART, S3Store


def config_of(service: StoreService, *, endpoint: str | None = None) -> StoreConfig:
    """How a program would be told of the service; `endpoint` for one that stands before it."""
    return StoreConfig(
        url=f"{endpoint or service.endpoint}/{service.bucket}",
        access_key=service.access_key,
        secret_key=service.secret_key,
    )


@contextmanager
def connected(
    service: StoreService,
    *,
    endpoint: str | None = None,
    read_timeout: float = 60.0,
    copy_part: int = COPY_PART,
) -> Iterator[S3Store]:
    """A client that is closed at the end."""
    store = S3Store(config_of(service, endpoint=endpoint), read_timeout=read_timeout, copy_part=copy_part)
    try:
        yield store
    finally:
        store.close()
