"""One connection to a broker: its address, how it opens and ends, and failures in words.

A `Link` is an aiomqtt client that lives for one connection; the session makes a new one each time.
Everything that depends on how aiomqtt 2 and paho work inside is in this file.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from broker.codec import MAX_BYTES, Encoded
from broker.outbox import Outgoing
from winslow.errors import BrokerUnreachable, InvalidInput

KEEPALIVE = 15  # seconds; a silent connection is given up after twice that
OPEN_SECONDS = 5.0  # of silence, before a connection or a subscription is given up
ACK_SECONDS = 10.0  # of silence, before a message's acknowledgement is
FIRST_DELAY = 0.2
LAST_DELAY = 15.0
WINDOW = 16  # messages under way to the broker at once; paho queues beyond 20

# Small messages go at once: else one that follows another waits until the broker's kernel has acknowledged that,
# which it delays by up to 40 ms (RFC 9293, 3.7.4 and 3.8.6.3).
_SOCKET_OPTIONS = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_MAX_PACKET = MAX_BYTES + (64 << 10)  # payload, topic and properties
_REFUSED_LOGIN = (
    134,
    135,
    4,
    5,
)  # MQTT 5 (3.2.2.2): bad user name or password, not authorized; and 3.1.1's two
_WRONG_VERSION = (132, 1)
_TAKEN_OVER = 142
_FAILURE = 128  # reason codes from here on are failures


class AccessRefused(BrokerUnreachable):
    """The broker answers, but not to this user name and password; waiting does not help."""

    retryable = False


@dataclass(frozen=True)
class Address:
    """Where a broker is, and as whom to log in there; the password never shows in `repr` or `str`."""

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str, *, username: str | None = None, password: str | None = None) -> Address:
        """From `mqtt://host:port` or `mqtts://host:port`; a login in the URL counts where none is given.
        Raises InvalidInput, which does not repeat the URL: it may hold a password."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise InvalidInput(f"the broker's URL is not one: {error}", hint=_URL_HINT) from None
        if parts.scheme not in _PORTS or not host or parts.path.strip("/") or parts.query or parts.fragment:
            raise InvalidInput(
                "the broker's URL is not mqtt://HOST:PORT or mqtts://HOST:PORT", hint=_URL_HINT
            )
        if username is None and parts.username:
            username = unquote(parts.username)
            password = unquote(parts.password) if parts.password else password
        return cls(
            host=host,
            port=port or _PORTS[parts.scheme],
            tls=parts.scheme == "mqtts",
            username=username,
            password=password,
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


_URL_HINT = (
    "set WINSLOW_BROKER_URL or the broker's url in the configuration, for example mqtt://127.0.0.1:1883"
)


def backoff(failures: int, jitter: float) -> float:
    """Seconds before the next attempt after `failures` in a row (from 0); `jitter` is random in 0 to 1.

    Between 0.2 s and a ceiling that doubles from 0.4 s to 15 s, so a site's sessions do not return in step.
    """
    ceiling = min(LAST_DELAY, 2 * FIRST_DELAY * 2.0 ** min(failures, 16))
    return FIRST_DELAY + (ceiling - FIRST_DELAY) * jitter


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails; paho would leave that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:
            self.close()
            raise


def tls_context(given: ssl.SSLContext | None = None) -> ssl.SSLContext:
    """The context given, or one that trusts what the machine trusts, made ready for a Link."""
    context = given or ssl.create_default_context()
    context.sslsocket_class = _TlsSocket
    return context


Arrival = Callable[[aiomqtt.Message], None]
T = TypeVar("T")


class Link(aiomqtt.Client):
    """One connection. What arrives goes to `arrived` at once, inside paho's callback: it must not block."""

    def __init__(
        self,
        address: Address,
        *,
        client_id: str,
        arrived: Arrival,
        will: tuple[str, Encoded, int] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        link = self

        class Sink(asyncio.Queue[aiomqtt.Message]):
            """aiomqtt's own queue would be unbounded, or drop the newest: nothing is ever put into this one."""

            def put_nowait(self, item: aiomqtt.Message) -> None:
                link._heard += 1
                arrived(item)

        self.refused = 0
        """Messages that the broker acknowledged, but did not take: its rules forbid the topic to this user."""
        self._heard = 0  # messages
        self._address = address
        self._closed = asyncio.Event()
        connect = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no annotations here
        connect.MaximumPacketSize = _MAX_PACKET
        super().__init__(
            address.host,
            address.port,
            username=address.username,
            password=address.password,
            identifier=client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,  # rumqttd keeps no sessions; own state and subscriptions are set up again instead
            queue_type=Sink,
            will=None if will is None else _will(*will),
            timeout=OPEN_SECONDS,
            keepalive=KEEPALIVE,
            properties=connect,
            tls_context=tls if address.tls else None,
            socket_options=_SOCKET_OPTIONS,
        )
        self.pending_calls_threshold = 2 * WINDOW
        self._client.connect_timeout = OPEN_SECONDS

    async def lost(self) -> None:
        """Wait for the end of the connection. Raises MqttError then; never returns otherwise."""
        async for _ in self.messages:
            raise AssertionError("nothing is ever queued")

    async def send(self, message: Outgoing) -> None:
        """Publish, and wait until it is written (QoS 0) or acknowledged (QoS 1). Raises MqttError."""
        properties = _properties(PacketTypes.PUBLISH, message.encoded)
        await self.publish(
            message.topic,
            message.encoded.data,
            qos=message.qos,
            retain=message.retain,
            properties=properties,
            timeout=ACK_SECONDS,
        )

    async def ask(self, topic_filter: str, qos: int) -> None:
        """Subscribe. Raises AccessRefused when the broker's rules forbid the filter, MqttError."""
        for code in await self.subscribe(topic_filter, qos=qos):
            if getattr(code, "value", code) >= _FAILURE:
                raise AccessRefused(
                    f"the broker at {self._address} does not let"
                    f" {_who(self._address)} read {topic_filter}: {code}",
                    hint="check the broker's access rules for this user",
                )

    async def abort(self) -> None:
        """Cut the connection without a goodbye, as a dead process would: the broker sends the will."""
        connection = self._client.socket()
        if not isinstance(connection, socket.socket):
            return
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), timeout=1)

    async def _wait_for(self, fut: Awaitable[T], timeout: float | None) -> T:  # noqa: ASYNC109  # aiomqtt's own
        # An answer comes behind all that the broker had to say before, which is thousands of retained messages on
        # a slow line or a busy machine: what counts against it is its silence, not the time since the question.
        seconds = self.timeout if timeout is None else timeout
        answer = asyncio.ensure_future(fut)
        try:
            while True:
                heard = self._heard
                await asyncio.wait({answer}, timeout=None if seconds == math.inf else seconds)
                if answer.done():
                    return answer.result()
                if self._heard == heard:
                    raise aiomqtt.MqttError("Operation timed out")
        finally:
            answer.cancel()

    def _on_disconnect(self, *arguments: Any, **named: Any) -> None:
        # aiomqtt leaves its caller waiting for the whole time-out when a broker hangs up instead of answering.
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("the broker closed the connection"))
        super()._on_disconnect(*arguments, **named)
        self.forget()

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        # aiomqtt does not look at the code.
        self.refused += reason_code.value >= _FAILURE
        super()._on_publish(client, userdata, mid, reason_code, properties)

    def _on_socket_close(self, *arguments: Any, **named: Any) -> None:
        super()._on_socket_close(*arguments, **named)
        self._closed.set()

    def check_open(self) -> None:
        """Raise MqttError when the connection ended in the moment it opened: aiomqtt forgets such an end."""
        if self._client.socket() is None:
            raise aiomqtt.MqttError("the broker closed the connection")

    def forget(self) -> None:
        """Mark failures as seen: asyncio would log those that nobody came to ask for."""
        for future in (self._connected, self._disconnected):
            if future.done() and not future.cancelled():
                future.exception()


@contextlib.asynccontextmanager
async def opened(link: Link) -> AsyncIterator[Link]:
    """The link, connected; a normal end says goodbye to the broker (no will), any failure cuts it.

    Raises MqttError. A cancellation while the connecting thread works waits for it (OPEN_SECONDS at most): it
    cannot be stopped, and left alone it would open a connection nobody owns.
    """
    opening = asyncio.ensure_future(link.__aenter__())
    try:
        await asyncio.shield(opening)
        link.check_open()
    except asyncio.CancelledError:
        while not opening.done():
            await link.abort()
            await asyncio.wait([opening], timeout=0.05)
        opening.exception()
        await link.abort()
        link.forget()
        raise
    except aiomqtt.MqttError:
        await link.abort()
        link.forget()
        raise
    try:
        yield link
    except aiomqtt.MqttError:
        await link.abort()
        raise
    finally:
        try:
            await link.__aexit__(None, None, None)
        except aiomqtt.MqttError:
            await link.abort()
        link.forget()


def explain(error: BaseException, address: Address, client_id: str) -> BrokerUnreachable:
    """A connection's failure in a sentence, with the way out."""
    cause = error.__cause__ or error
    code = getattr(cause, "rc", None)
    number = code.value if isinstance(code, ReasonCode) else code
    if isinstance(error, MqttConnectError):
        if number in _REFUSED_LOGIN:
            return AccessRefused(
                f"the broker at {address} refuses {_who(address)}: bad user name or password, or no permission",
                hint="check the broker's user name and password with `winslow info`",
            )
        if number in _WRONG_VERSION:
            return BrokerUnreachable(
                f"the broker at {address} does not speak MQTT 5", hint="enable MQTT 5 in its configuration"
            )
        return BrokerUnreachable(f"the broker at {address} refuses the connection: {error}")
    if number == _TAKEN_OVER:
        return BrokerUnreachable(
            f"another client at {address} uses the id '{client_id}' too",
            hint="give each node a name of its own, and stop the second agent",
        )
    if isinstance(cause, aiomqtt.MqttCodeError):
        return BrokerUnreachable(
            f"the connection to the broker at {address} broke",
            # Older brokers just hang up on a client whose id is taken over.
            hint=f"it comes back by itself; if it breaks again and again, look for a second client '{client_id}'",
        )
    if isinstance(cause, ssl.SSLError) or "SSL" in str(cause) or "certificate" in str(cause):
        return BrokerUnreachable(
            f"no trusted connection to the broker at {address}: {cause}",
            hint="check that it is the right host, and that its certificate authority is configured here",
        )
    return BrokerUnreachable(
        f"no MQTT broker answers at {address}: {(cause.strerror if isinstance(cause, OSError) else '') or cause}",
        hint="start it or check the address with `winslow info`; what runs goes on meanwhile",
    )


def _who(address: Address) -> str:
    return f"user '{address.username}'" if address.username else "a client without a user name"


def _will(topic: str, encoded: Encoded, qos: int) -> aiomqtt.Will:
    return aiomqtt.Will(
        topic, encoded.data, qos, retain=True, properties=_properties(PacketTypes.WILLMESSAGE, encoded)
    )


def _properties(packet: int, encoded: Encoded) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    if encoded.content_type:
        properties.ContentType = encoded.content_type
    if encoded.user_properties:
        properties.UserProperty = list(encoded.user_properties)
    return properties
