"""When an agent trusts a store (design 5.4): after a race of its own, or at once after somebody else's."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from node_agent.agent import Identity
from node_agent.main import check_store
from winslow.errors import StoreUnreachable, WinslowError
from winslow.store.memory import MemoryStore
from winslow.store.port import Conflict
from winslow.store.probe import WRITERS

WHO = Identity(
    site="main", node="ws1", node_uuid="u" * 32, instance="i", host="h", boot_id="b", version="1.0"
)


class WatchedStore(MemoryStore):
    """Says when it is written to; `before` runs ahead of every write."""

    def __init__(self, before: Callable[[str], None]) -> None:
        super().__init__()
        self.before = before

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
        content_type: str = "application/octet-stream",
        sha256: str = "",
    ) -> str:
        self.before(key)
        return super().put(
            key,
            data,
            if_match=if_match,
            if_none_match=if_none_match,
            content_type=content_type,
            sha256=sha256,
        )


async def check(store: MemoryStore, trusted: asyncio.Event) -> None:
    with ThreadPoolExecutor(2) as executor:
        async with asyncio.timeout(60):
            await check_store(store, executor, random.Random(1), trusted, who=WHO)


def marks(store: MemoryStore) -> list[str]:
    return [info.key for info in store.walk("probe/")]


async def test_a_race_is_run_before_the_first_trust_and_remembered_in_the_store() -> None:
    trusted = asyncio.Event()
    early: list[bool] = []
    store = WatchedStore(lambda key: early.append(trusted.is_set()))
    await check(store, trusted)
    assert trusted.is_set()
    assert len(early) > WRITERS
    assert not any(early)
    assert len(marks(store)) == 1

    again = asyncio.Event()
    early.clear()
    store.before = lambda key: early.append(again.is_set())
    await check(store, again)
    assert all(early), "an earlier race stands while the next one is run"
    assert len(early) > WRITERS
    assert len(marks(store)) == 1


async def test_a_store_that_lets_two_win_is_refused_and_no_longer_trusted_by_others() -> None:
    store = WatchedStore(lambda key: None)
    await check(store, asyncio.Event())
    looked = threading.Barrier(2 * WRITERS)

    class Forgetful(WatchedStore):
        def put(self, key: str, data: bytes, **conditions: object) -> str:
            there = key in {info.key for info in self.walk("probe/")}
            looked.wait(60)
            if there and conditions.get("if_none_match"):
                raise Conflict("exists")
            return MemoryStore.put(self, key, data)

    store.__class__ = Forgetful
    trusted = asyncio.Event()
    with pytest.raises(WinslowError, match="16 of 16 writers won"):
        await check(store, trusted)
    assert marks(store) == []


async def test_a_store_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node_agent.main.STORE_WAIT", 0.01)
    answers = iter([StoreUnreachable("away")] * 3)

    def away(key: str) -> None:
        if (error := next(answers, None)) is not None:
            raise error

    trusted = asyncio.Event()
    await check(WatchedStore(away), trusted)
    assert trusted.is_set()
