"""The broker's part of a command: connect, do one thing, leave. Everything here may fail without harm."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Sequence

from broker.codec import Payload
from broker.session import Received, Session
from broker.topics import Topic
from winslow.config import Config
from winslow.errors import BrokerUnreachable, UsageError

FIRST_TRY_SECONDS = 0.7  # after that a broker that has refused once is taken at its word
CONNECT_SECONDS = 5.0  # for one that says nothing
ANSWER_SECONDS = 5.0


def session(config: Config) -> Session:
    """A session of this command's own. Raises UsageError where nothing says where the broker is."""
    broker = config.settings.broker
    if not broker.url:
        raise UsageError(
            "nothing says where the broker is",
            hint="`winslow up` starts a site on this machine; for another one set WINSLOW_BROKER_URL",
        )
    return Session(
        broker.url,
        client_id=f"client-{secrets.token_hex(8)}",
        site=config.settings.site,
        jitter=random.SystemRandom().random,
        username=broker.username,
        password=broker.password.get_secret_value() if broker.password else None,
    )


async def connected(broker: Session) -> None:
    """Return when there is a connection; people wait for this. Raises BrokerUnreachable, AccessRefused."""
    try:
        await broker.wait_connected(FIRST_TRY_SECONDS)
    except BrokerUnreachable:
        if broker.problem is not None:
            raise
        await broker.wait_connected(CONNECT_SECONDS - FIRST_TRY_SECONDS)


def publish(config: Config, messages: Sequence[tuple[Topic, Payload | None]]) -> None:
    """Send messages in order; None clears a retained one. Raises BrokerUnreachable or UsageError."""
    answer(config, (), lambda _: messages)


def answer(
    config: Config,
    filters: Sequence[str],
    messages: Callable[[list[Received]], Sequence[tuple[Topic, Payload | None]]],
) -> None:
    """As `publish`, messages made from what is retained under the filters."""

    async def send() -> None:
        async with session(config) as broker:
            await connected(broker)
            found = [each for below in filters for each in await broker.snapshot(below, ANSWER_SECONDS)]
            _send(broker, messages(found))
            await broker.flush(ANSWER_SECONDS)

    asyncio.run(send())


def _send(broker: Session, messages: Sequence[tuple[Topic, Payload | None]]) -> None:
    for topic, payload in messages:
        if payload is None:
            broker.clear(topic)
        else:
            broker.publish(topic, payload)


def retained(config: Config, *filters: str) -> list[Received]:
    """Everything retained under the filters. Raises BrokerUnreachable or UsageError."""

    async def read() -> list[Received]:
        async with session(config) as broker:
            await connected(broker)
            return [each for below in filters for each in await broker.snapshot(below, ANSWER_SECONDS)]

    return asyncio.run(read())


def wait_for(
    config: Config,
    below: str,
    done: Callable[[Payload | None], bool],
    *,
    every: float,
    seconds: float | None,
) -> bool:
    """Follow a retained topic until `done` says so, in a thread, of a payload, or of None every few seconds.

    False after `seconds` (None: never). A broker that goes away meanwhile is waited for. Raises what `done`
    raises, BrokerUnreachable where there is none to begin with, or UsageError.
    """

    async def follow() -> None:
        async with session(config) as broker:
            await connected(broker)
            await broker.subscribe(below)
            messages = broker.messages()
            coming = asyncio.ensure_future(anext(messages))
            try:
                while True:
                    await asyncio.wait([coming], timeout=every)
                    if coming.done():
                        payload = coming.result().payload
                        coming = asyncio.ensure_future(anext(messages))
                    else:
                        payload = None
                    if await asyncio.to_thread(done, payload):
                        return
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)

    async def within() -> bool:
        try:
            async with asyncio.timeout(seconds):
                await follow()
        except TimeoutError:
            return False
        return True

    return asyncio.run(within())


def clear(config: Config, below: str, messages: Sequence[tuple[Topic, Payload | None]] = ()) -> None:
    """Remove everything retained under a filter, and send messages. Raises BrokerUnreachable or UsageError."""

    async def sweep() -> None:
        async with session(config) as broker:
            await connected(broker)
            _send(broker, messages)
            for each in await broker.snapshot(below, ANSWER_SECONDS):
                broker.clear(each.topic)
            await broker.flush(ANSWER_SECONDS)

    asyncio.run(sweep())
