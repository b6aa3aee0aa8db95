"""200 processes claim one attempt on a real store, 50 times: the store's answers name one winner each (I1)."""

from __future__ import annotations

import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable, Sequence

import pytest

from tests.services.servers import StoreService
from tests.stores import config_of, connected
from winslow.errors import Conflict, WinslowError
from winslow.store.memory import MemoryStore
from winslow.store.port import ObjectStore
from winslow.store.probe import WRITERS, check_conditional_writes
from winslow.store.s3 import S3Store

PROCESSES = 200
LANES = 10  # elections side by side, each with a barrier of its own: on SeaweedFS losers wait whole seconds
ROUNDS = 5  # elections in a lane
WON, LOST, FAILED = 1, 2, 3
_LIMIT = 120.0  # seconds for one election

_fork = multiprocessing.get_context("fork")  # 200 fresh interpreters would take minutes


class Lane:
    """One document at a time, for which all processes are released at once."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.released = _fork.Barrier(PROCESSES + 1)
        self.finished = _fork.Barrier(PROCESSES + 1)
        self.etag = _fork.RawArray("c", 64)
        self.answers = _fork.RawArray("i", PROCESSES)

    def key(self, turn: int) -> str:
        return f"documents/projects/race-{self.number}-{turn}.json"

    def take_part(self, store: ObjectStore, process: int) -> None:
        for turn in range(ROUNDS):
            self.released.wait(_LIMIT)
            etag = self.etag.value.decode()
            try:
                store.put(self.key(turn), f"claimed by {process}".encode(), if_match=etag)
                self.answers[process] = WON
            except Conflict as error:
                # Only the store's own 412 makes a real loser.
                self.answers[process] = LOST if "HTTP 412" in str(error) else FAILED
            except WinslowError:
                self.answers[process] = FAILED
            self.finished.wait(_LIMIT)

    def hold(self, store: ObjectStore) -> list[tuple[list[int], bytes]]:
        """Offer each document; the answers and what the document says afterwards."""
        held = []
        for turn in range(ROUNDS):
            self.etag.value = store.put(self.key(turn), b"queued", if_none_match=True).encode()
            self.released.wait(_LIMIT)
            self.finished.wait(_LIMIT)
            held.append((list(self.answers), store.get(self.key(turn)).data))
        return held


def claimant(service: StoreService, lanes: Sequence[Lane], process: int) -> None:
    """What each of the processes runs; it never returns into the test's own process image."""
    try:
        store = S3Store(config_of(service))
        in_threads([lambda lane=lane: lane.take_part(store, process) for lane in lanes])  # type: ignore[misc]
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def in_threads(calls: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_200_processes_claim_one_attempt_50_times_and_one_wins_each(s3_server: StoreService) -> None:
    service = s3_server.with_new_bucket()
    lanes = [Lane(number) for number in range(LANES)]
    processes = [
        _fork.Process(target=claimant, args=(service, lanes, number), daemon=True)
        for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    held: list[tuple[list[int], bytes]] = []
    try:
        with connected(service) as store:
            in_threads([lambda lane=lane: held.extend(lane.hold(store)) for lane in lanes])  # type: ignore[misc]
        for process in processes:
            process.join(_LIMIT)
    finally:
        for process in processes:
            process.kill()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert len(held) == LANES * ROUNDS == 50
    for answers, document in held:
        assert answers.count(WON) == 1
        assert answers.count(LOST) >= PROCESSES // 4, "the others gave up on a busy store"
        assert document == f"claimed by {answers.index(WON)}".encode()


class ForgetfulStore(MemoryStore):
    """A store that looks at the condition first and writes afterwards, as some real ones did."""

    def __init__(self) -> None:
        super().__init__()
        self.looked = threading.Barrier(WRITERS)

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
        holds = key not in {info.key for info in self.walk("")}
        self.looked.wait(60)
        if not holds:
            raise Conflict("exists")
        return super().put(key, data)


def test_the_probe_refuses_a_store_that_lets_several_win_and_cleans_up() -> None:
    store = ForgetfulStore()
    with pytest.raises(
        WinslowError, match="store in memory: 16 of 16 writers won one race to create"
    ) as raised:
        check_conditional_writes([store], token="forgetful", rounds=1)
    assert "If-None-Match" in raised.value.hint
    assert list(store.walk("")) == []


def test_the_probe_refuses_two_stores_that_do_not_know_of_each_other() -> None:
    with pytest.raises(WinslowError, match="2 of 16 writers won"):
        check_conditional_writes([MemoryStore(), MemoryStore()], token="apart", rounds=1)
