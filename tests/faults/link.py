"""A TCP link to a server that a test can cut and mend: what runs over it ends, and nobody gets through meanwhile;
or hold: then nothing moves on its way to the server, and nobody is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit

_READ = 1 << 16


class Link:
    """Listens on loopback until it is closed; `url` leads over it to the server of `target`."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        assert parts.hostname is not None and parts.port is not None
        self._server = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = urlunsplit(parts._replace(netloc=address))
        self._whole = True
        self._lock = threading.Lock()
        self._flow = threading.Condition()
        self._left: int | None = None  # bytes that may still go to the server; None: any number
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, name=f"link {address}", daemon=True).start()

    def cut(self) -> None:
        """End every connection; new ones end at once."""
        with self._lock:
            self._whole = False
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let new connections through."""
        with self._lock:
            self._whole = True

    def hold(self, after: int) -> None:
        """Let so many more bytes go to the server, then none."""
        with self._flow:
            self._left = after
            self._flow.notify_all()

    def release(self) -> None:
        """Hold nothing any more."""
        with self._flow:
            self._left = None
            self._flow.notify_all()

    def close(self) -> None:
        """Cut it, and stop listening."""
        self.release()
        self.cut()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                server = socket.create_connection(self._server)
            except OSError:
                client.close()
                continue
            with self._lock:
                if not self._whole:
                    client.close()
                    server.close()
                    continue
                self._open |= {client, server}
            for source, sink, let in ((client, server, self._let), (server, client, _anything)):
                threading.Thread(target=self._copy, args=(source, sink, let), daemon=True).start()

    def _let(self, count: int) -> None:
        """Wait until so many bytes may go on."""
        with self._flow:
            self._flow.wait_for(lambda: self._left is None or self._left > 0)
            if self._left is not None:
                self._left -= count

    def _copy(self, source: socket.socket, sink: socket.socket, let: Callable[[int], None]) -> None:
        with suppress(OSError):
            while data := source.recv(_READ):
                let(len(data))
                sink.sendall(data)
        with self._lock:
            for each in (source, sink):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            self._open.discard(source)
        source.close()


def _anything(_count: int) -> None:
    """Nothing is held on this way."""
