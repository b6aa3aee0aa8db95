"""Does a store keep the promise that everything rests on: of many conditional writes one wins (facts: not all do)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from winslow.errors import Conflict, WinslowError
from winslow.store import layout
from winslow.store.port import ObjectStore

WRITERS = 16
ROUNDS = 5


def check_conditional_writes(stores: Sequence[ObjectStore], *, token: str, rounds: int = ROUNDS) -> None:
    """Race 16 writers for one key, `rounds` times each to create and to replace it.

    `stores` are the endpoints of one store; the writers are spread over them. `token` is random. Raises
    WinslowError naming the store when a round has not exactly one winner or the winner's bytes are not
    what is read, StoreUnreachable when the store does not answer. Leaves nothing behind.
    """
    prefix = layout.probe(token)
    names = ", ".join(dict.fromkeys(str(store) for store in stores))
    with ThreadPoolExecutor(max_workers=WRITERS, thread_name_prefix="store-probe") as pool:
        try:
            for number in range(rounds):
                key = f"{prefix}{number}"
                etag = _race(stores, pool, names, key, "create", None)
                _race(stores, pool, names, key, "replace", etag)
        finally:
            stores[0].delete_prefix(prefix)


def _race(
    stores: Sequence[ObjectStore],
    pool: ThreadPoolExecutor,
    names: str,
    key: str,
    kind: str,
    if_match: str | None,
) -> str:
    """One round; the winner's ETag."""
    barrier = threading.Barrier(WRITERS)

    def writer(number: int) -> Callable[[], tuple[bytes, str] | None]:
        def write() -> tuple[bytes, str] | None:
            data = f"{kind} {number}\n".encode()
            store = stores[number % len(stores)]
            barrier.wait(timeout=30)
            try:
                return data, store.put(key, data, if_match=if_match, if_none_match=if_match is None)
            except Conflict:
                return None

        return write

    racers = [pool.submit(writer(number)) for number in range(WRITERS)]
    winners = [won for racer in racers if (won := racer.result()) is not None]
    if len(winners) != 1:
        raise WinslowError(
            f"{names}: {len(winners)} of {WRITERS} writers won one race to {kind} an object; "
            "conditional writes do not hold there",
            hint="use a store (or a version of it) that keeps If-Match and If-None-Match on PUT: docs/architecture.md",
        )
    data, etag = winners[0]
    for store in stores:
        held = store.get(key)
        if held.data != data or held.etag != etag:
            raise WinslowError(
                f"{store}: after a race to {kind} an object, what is read is not what the winner wrote",
                hint="let all agents and clients use one endpoint, or a store that is consistent over all",
            )
    return etag
