"""Speaking to a Docker engine from asyncio: bounded executors, streams that can be let go, and what its
errors mean. docker-py blocks; a thread that waits on the engine is freed by shutting its socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import docker
import docker.errors
import docker.utils
import requests
import requests.exceptions
import urllib3.exceptions
from docker.types import CancellableStream

from node_agent.runtime.port import RuntimeFailure

T = TypeVar("T")

AWAY = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)
_CALLS = 8
_STREAMS = 256  # threads, made only when needed: one per awaited exit, followed log and running pull
_QUEUED_BYTES = 4 << 20


def unreachable(error: BaseException) -> RuntimeFailure:
    """The engine gave no answer; the same call may succeed later."""
    return RuntimeFailure(
        f"the Docker engine does not answer: {type(error).__name__}",
        hint="start it (systemctl start docker), and let this user use it (usermod -aG docker USER)",
        retryable=True,
    )


def said(error: docker.errors.APIError) -> str:
    """The engine's own words, in one line."""
    return " ".join(str(error.explanation or error).split())


def _knock(base_url: str | None) -> None:
    """Fail fast where no engine listens: docker-py leaves a socket open for each connection it fails to make."""
    kind, _, path = str(docker.utils.parse_host(base_url)).partition("://")
    if kind == "http+unix":
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(path)


class Answer(Generic[T]):
    """One long answer, read in a thread; `close` from any thread ends the reading."""

    def __init__(self, response: requests.Response, items: Iterator[T]) -> None:
        self._response = response
        self._cancel = CancellableStream(items, response)
        self._items = items
        self.closed = False

    def __iter__(self) -> Iterator[T]:
        return self._items

    def close(self) -> None:
        """Let go of the connection; a thread that reads gets an error or the end."""
        self.closed = True
        # docker-py reaches into the connection for its socket: all of these say that it is gone already
        with contextlib.suppress(AttributeError, OSError, ValueError, docker.errors.DockerException):
            self._cancel.close()

    def release(self) -> None:
        """The reading thread's last act."""
        self._response.close()


class Engine:
    """A connection to one engine. Made lazily: an engine that is away is an error of the call, not of the start."""

    def __init__(self, base_url: str | None) -> None:
        self._base_url = base_url
        self._client: docker.APIClient | None = None
        self._lock = threading.Lock()
        self._calls = ThreadPoolExecutor(_CALLS, thread_name_prefix="docker-call")
        self._waits = ThreadPoolExecutor(_STREAMS, thread_name_prefix="docker-stream")
        self._open: set[Answer[Any]] = set()

    def client(self) -> docker.APIClient:
        """docker-py's client; only from a thread that may block. Raises OSError when nobody listens."""
        settings: dict[str, Any] = dict(docker.utils.kwargs_from_env())
        if self._base_url is not None:
            settings = {"base_url": self._base_url}
        _knock(settings.get("base_url"))
        with self._lock:
            if self._client is None:
                self._client = docker.APIClient(version="auto", max_pool_size=64, **settings)
            return self._client

    async def call(self, function: Callable[[docker.APIClient], T]) -> T:
        """Run one short call. Raises docker's APIError (the engine said no) and RuntimeFailure (it said nothing)."""

        def run() -> T:
            try:
                return function(self.client())
            except docker.errors.APIError:
                raise
            except (*AWAY, docker.errors.DockerException) as error:
                raise unreachable(error) from error

        return await asyncio.get_running_loop().run_in_executor(self._calls, run)

    def get(self, path: str, params: Mapping[str, Any], *, timeout: float | None = None) -> requests.Response:
        """A GET whose answer is a stream. From a thread. Raises APIError."""
        return self._answer("GET", path, params, {}, timeout)

    def post(
        self,
        path: str,
        params: Mapping[str, Any],
        headers: Mapping[str, str],
        *,
        timeout: float | None = None,
    ) -> requests.Response:
        """A POST whose answer is a stream. From a thread. Raises APIError."""
        return self._answer("POST", path, params, headers, timeout)

    def _answer(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any],
        headers: Mapping[str, str],
        timeout: float | None,
    ) -> requests.Response:
        client = self.client()
        response = client.request(
            method,
            f"{client.base_url}/v{client.api_version}{path}",
            params=dict(params),
            headers=dict(headers),
            stream=True,
            timeout=timeout,
        )
        try:
            response.raise_for_status()
        except requests.exceptions.HTTPError as error:
            try:
                docker.errors.create_api_error_from_http_exception(error)
            finally:
                response.close()
        return response

    async def read(
        self, open_answer: Callable[[], Answer[T]], size: Callable[[T], int]
    ) -> AsyncGenerator[T, None]:
        """What a thread reads from an answer, with at most 4 MiB (by `size`) waiting here.

        Ends with the answer; raises what the thread raised. Leaving the loop lets the connection go."""
        loop = asyncio.get_running_loop()
        waiting: list[T] = []
        ready = asyncio.Event()
        room = threading.Condition()
        held, left = 0, False
        opened: Answer[T] | None = None

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
                loop.call_soon_threadsafe(ready.set)

        def pump() -> None:
            nonlocal held, opened
            answer = open_answer()
            try:
                with room:
                    if left:
                        return
                    opened = answer
                    self._open.add(answer)
                for item in answer:
                    with room:
                        while held >= _QUEUED_BYTES and not (left or answer.closed):
                            room.wait(1.0)
                        if left or answer.closed:
                            return
                        waiting.append(item)
                        held += size(item)
                    wake()
            except (*AWAY, AttributeError, ValueError):
                if not (left or answer.closed):  # a connection that was let go fails in any of these ways
                    raise
            finally:
                self._open.discard(answer)
                answer.release()

        work = loop.run_in_executor(self._waits, pump)
        work.add_done_callback(lambda _: ready.set())
        try:
            while True:
                await ready.wait()
                ready.clear()
                ended = work.done()
                with room:
                    items, waiting[:] = waiting[:], []
                    held = 0
                    room.notify_all()
                for item in items:
                    yield item
                if ended:
                    await work
                    return
        finally:
            with room:
                left = True
                room.notify_all()
            if opened is not None:
                opened.close()
            work.add_done_callback(lambda future: future.cancelled() or future.exception())

    def close(self) -> None:
        """Free every thread and connection."""
        for answer in list(self._open):
            answer.close()
        self._calls.shutdown(wait=True, cancel_futures=True)
        self._waits.shutdown(wait=True, cancel_futures=True)
        if self._client is not None:
            self._client.close()
            self._client = None
