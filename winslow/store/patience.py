"""How long a command goes on against a store that does not answer clearly, and at what pace."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from winslow.errors import StoreUnreachable

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """Tries until `deadline` seconds have passed, waiting `first` to `longest` seconds between them.

    The waits double and are jittered over their whole length, so writers that met do not meet again.
    """

    deadline: float = 30.0
    first: float = 0.02
    longest: float = 2.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    rng: random.Random = field(default_factory=random.Random)

    def tries(self) -> Iterator[int]:
        """The number of each try, from 0; ends when the deadline has passed. The first is always given."""
        end = self.clock() + self.deadline
        wait, number = self.first, 0
        while True:
            yield number
            number += 1
            left = end - self.clock()
            if left <= 0:
                return
            self.sleep(min(left, self.rng.uniform(wait / 4, wait)))
            wait = min(self.longest, wait * 2)

    def ask(self, call: Callable[[], T]) -> T:
        """Call until it answers; for calls that may be repeated. Raises the last StoreUnreachable."""
        last: StoreUnreachable | None = None
        for _ in self.tries():
            try:
                return call()
            except StoreUnreachable as error:
                last = error
        assert last is not None
        raise last
