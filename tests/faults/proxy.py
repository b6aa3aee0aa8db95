"""An HTTP proxy before a real store that loses, delays and doubles chosen requests."""

from __future__ import annotations

import select
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_WAIT = 30.0  # seconds for a client to give up
_ABORTED = b"<Error><Code>OperationAborted</Code><Message>another write goes on</Message></Error>"


class ProxyFault(StrEnum):
    """What happens to one request. The sender of a delayed one gives up by its own time-out."""

    NONE = "none"
    REQUEST_DROPPED = "request_dropped"  # connection cut, nothing forwarded
    ANSWER_DROPPED = "answer_dropped"  # forwarded and done, then the connection is cut
    ANSWER_DELAYED = "answer_delayed"  # forwarded and done; silence until the sender gives up
    ANSWER_REPLACED = "answer_replaced"  # forwarded and done; 502 is answered
    REFUSED = "refused"  # not forwarded; 409 is answered, as where somebody else writes there
    REQUEST_DELAYED = "request_delayed"  # silence until the sender gives up, and only then forwarded
    TWICE = "twice"  # forwarded twice; the second answer is passed on


Plan = Callable[[str, str], ProxyFault]


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # an agent that races conditional writes opens many connections at once
    daemon_threads = True


class FaultyProxy:
    """Listens at `url` on loopback; `plan(method, path)` is asked for every request, from many threads."""

    def __init__(self, upstream: str, plan: Plan) -> None:
        parts = urlsplit(upstream)
        assert parts.hostname is not None and parts.port is not None
        self.host, self.port = parts.hostname, parts.port
        self.plan = plan
        self.counts: Counter[ProxyFault] = Counter()
        self._under_way = 0
        self._idle = threading.Condition()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True  # the client gave up

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

            def do(self) -> None:
                proxy._handle(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="proxy", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_idle(self) -> None:
        """Return when no request is being held or forwarded any more."""
        with self._idle:
            assert self._idle.wait_for(lambda: self._under_way == 0, timeout=_WAIT)

    def _handle(self, client: BaseHTTPRequestHandler) -> None:
        with self._idle:
            self._under_way += 1
        try:
            body = client.rfile.read(int(client.headers.get("Content-Length", "0")))
            fault = self.plan(client.command, client.path)
            self.counts[fault] += 1
            self._act(client, body, fault)
        finally:
            with self._idle:
                self._under_way -= 1
                self._idle.notify_all()

    def _act(self, client: BaseHTTPRequestHandler, body: bytes, fault: ProxyFault) -> None:
        if fault is ProxyFault.REQUEST_DELAYED:
            _until_given_up(client)
        if fault is ProxyFault.REFUSED:
            _answer(client, 409, [("Content-Type", "application/xml")], _ABORTED)
            return
        if fault is not ProxyFault.REQUEST_DROPPED:
            answer = self._forward(client, body)
        if fault is ProxyFault.TWICE:
            answer = self._forward(client, body)
        if fault is ProxyFault.ANSWER_DELAYED:
            _until_given_up(client)
        if fault in (ProxyFault.NONE, ProxyFault.TWICE):
            _answer(client, *answer)
        elif fault is ProxyFault.ANSWER_REPLACED:
            _answer(client, 502, [], b"bad gateway")
        else:
            client.close_connection = True

    def _forward(
        self, client: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = HTTPConnection(self.host, self.port, timeout=_WAIT)
        try:
            # The Host header stays the proxy's own: it is what the client signed.
            upstream.putrequest(client.command, client.path, skip_host=True, skip_accept_encoding=True)
            for name, value in client.headers.items():
                if name.lower() != "connection":
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            response = upstream.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            upstream.close()


def _answer(client: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    client.send_response_only(status)
    for name, value in headers:
        if name.lower() not in ("connection", "transfer-encoding", "content-length"):
            client.send_header(name, value)
    length = {name.lower(): value for name, value in headers}.get("content-length", "")
    client.send_header("Content-Length", length if client.command == "HEAD" and length else str(len(body)))
    client.end_headers()
    if client.command != "HEAD":
        client.wfile.write(body)


def _until_given_up(client: BaseHTTPRequestHandler) -> None:
    """Wait until the client closes its end; it sends nothing while it waits for an answer."""
    readable, _, _ = select.select([client.connection], [], [], _WAIT)
    assert readable, "the client never gave up"


@contextmanager
def faulty_proxy(upstream: str, plan: Plan) -> Iterator[FaultyProxy]:
    """A started proxy, stopped at the end."""
    proxy = FaultyProxy(upstream, plan)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
