"""Feeds one session's outbox into whatever connection there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiomqtt

from broker.connection import WINDOW, Link
from broker.outbox import Outbox, Outgoing


class Sender:
    """Lives as long as its session; `serve` runs once per connection. `clock` is monotonic seconds."""

    def __init__(self, outbox: Outbox, *, clock: Callable[[], float]) -> None:
        self.outbox = outbox
        self.sent = 0
        self._clock = clock
        self._queued = asyncio.Event()
        self._settled = asyncio.Event()

    def put(self, message: Outgoing) -> None:
        """Queue a message; never waits."""
        self.outbox.put(message)
        self._queued.set()

    async def wait_settled(self) -> None:
        """Return when something was sent, given up, or `wake` was called."""
        self._settled.clear()
        await self._settled.wait()

    def wake(self) -> None:
        """Let whoever waits look again."""
        self._settled.set()

    async def serve(self, link: Link) -> None:
        """Send what is queued, at most WINDOW messages under way, until the connection ends. Raises the MqttError
        that ended it, at the latest when an answer is overdue."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(link.lost(), name="broker connection")
                group.create_task(self._feed(link, group), name="broker sender")
        except* aiomqtt.MqttError as errors:
            failure = errors.exceptions[0]
        raise failure

    async def _feed(self, link: Link, group: asyncio.TaskGroup) -> None:
        self.outbox.reconnected()
        window = asyncio.Semaphore(WINDOW)
        while True:
            await window.acquire()
            message = self.outbox.take(self._clock())
            while message is None:
                self._settled.set()
                self._queued.clear()
                await self._queued.wait()
                message = self.outbox.take(self._clock())

            def settle(task: asyncio.Task[None], message: Outgoing = message) -> None:
                # A callback, since a task that is cancelled before its first step runs none of its own code.
                delivered = not task.cancelled() and task.exception() is None
                self.sent += delivered
                self.outbox.settle(message, delivered=delivered)
                self._settled.set()
                window.release()

            task = group.create_task(link.send(message), name=f"publish {message.topic}")
            task.add_done_callback(settle)
