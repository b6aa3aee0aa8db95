"""Does a store keep the promise that everything rests on: of many conditional writes one wins (facts: not all do)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from winslow.errors import Conflict, StoreUnreachable, WinslowError
from winslow.store import layout
from winslow.store.port import ObjectStore

WRITERS = 16
ROUNDS = 3


def check_conditional_writes(stores: Sequence[ObjectStore], *, token: str, rounds: int = ROUNDS) -> None:
    """Race 16 writers for one key to create it, then to replace it, on `rounds` keys at the same time.

    `stores` are the endpoints of one store; the writers are spread over them. `token` is random. Raises
    WinslowError naming the store when a race has more than one winner or what is read is not what the
    winner wrote, StoreUnreachable when it does not answer or nobody wins. Leaves nothing behind. Takes 0.2 s on
    MinIO; up to some seconds on SeaweedFS, where writers that meet wait for each other in steps of 1 s.
    """
    prefix = layout.probe(token)
    keys = [f"{prefix}{number}" for number in range(rounds)]
    try:
        etags = _race(stores, "create", dict.fromkeys(keys))
        _race(stores, "replace", etags)
    finally:
        stores[0].delete_prefix(prefix)


def _race(stores: Sequence[ObjectStore], kind: str, etags: Mapping[str, str | None]) -> dict[str, str]:
    """One race for each key; the winners' ETags."""
    barrier = threading.Barrier(WRITERS * len(etags))

    def write(key: str, number: int) -> tuple[bytes, str] | None:
        # Unlike in every race, or a second winner with the first one's bytes would be in the right.
        data = f"{kind} {number}\n".encode()
        if_match = etags[key]
        barrier.wait(timeout=30)
        try:
            return data, stores[number % len(stores)].put(
                key, data, if_match=if_match, if_none_match=if_match is None
            )
        except Conflict:
            return None

    with ThreadPoolExecutor(max_workers=barrier.parties, thread_name_prefix="store-probe") as pool:
        racers = {key: [pool.submit(write, key, number) for number in range(WRITERS)] for key in etags}
    won: dict[str, str] = {}
    for key, racing in racers.items():
        winners = [winner for racer in racing if (winner := racer.result()) is not None]
        _judge(stores, kind, key, winners)
        won[key] = winners[0][1]
    return won


def _judge(stores: Sequence[ObjectStore], kind: str, key: str, winners: list[tuple[bytes, str]]) -> None:
    if not winners:
        # What a link that loses or doubles requests makes of a race; it says nothing about the store.
        raise StoreUnreachable(f"{stores[0]}: no writer was told that it won a race to {kind} an object")
    if len(winners) > 1:
        names = ", ".join(dict.fromkeys(str(store) for store in stores))
        raise WinslowError(
            f"{names}: {len(winners)} of {WRITERS} writers won one race to {kind} an object; "
            "conditional writes do not hold there",
            hint="use a store, or a version of it, that keeps If-Match and If-None-Match on PUT; "
            "start the S3 gateway of SeaweedFS last (docs/architecture.md, The store)",
        )
    for store in stores:
        held = store.get(key)
        if (held.data, held.etag) != winners[0]:
            raise WinslowError(
                f"{store}: after a race to {kind} an object, what is read is not what the winner wrote",
                hint="let all agents and clients use one endpoint, or a store that is consistent over all",
            )
