"""What all transfers share: progress told by one thread at a time, and bounded pools."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Progress = Callable[[int], None]
T = TypeVar("T")


class Counter:
    """Calls a progress function from one thread at a time; what it raises ends the transfer."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Tell of `count` more bytes."""
        if self._progress is not None and count:
            with self._lock:
                self._progress(count)


def in_parallel(limit: int, name: str, call: Callable[[int], T], numbers: Sequence[int]) -> list[T]:
    """Call for each number; results in order.

    After the first error nothing new begins; what has begun is awaited, then the error is raised.
    """
    with ThreadPoolExecutor(max_workers=limit, thread_name_prefix=f"store-{name}") as pool:
        futures: list[Future[T]] = [pool.submit(call, number) for number in numbers]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        for future in done:
            if (error := future.exception()) is not None:
                raise error
        return [future.result() for future in futures]
