"""Files on their way in the background: numbers, stopping at a part's border, going on, and what is remembered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import screens
from tests.services.waiting import wait_until
from winslow.store.memory import MemoryStore
from winslow.store.port import Part
from winslow_tui.program.transfers import State, Transfer, Transfers
from winslow_tui.program.unfinished import Direction, Errand

MIB = 1 << 20


class Slow(MemoryStore):
    """A store whose parts wait for leave while `gate` is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.parts: list[int] = []

    def upload_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        data: bytes,
        *,
        sent: Callable[[int], None] = lambda _: None,
    ) -> Part:
        self.gate.wait(10.0)
        self.parts.append(number)
        return super().upload_part(key, upload_id, number, data, sent=sent)


@pytest.fixture
def store() -> Slow:
    return Slow()


@pytest.fixture
def make(store: Slow, tmp_path: Path) -> Iterator[Callable[[], Transfers]]:
    """Makes transfers as each start of the program does."""
    made: list[Transfers] = []
    site = screens.Site(store=store)

    def one() -> Transfers:
        made.append(Transfers(site.client(screens.CONFIG), remembered=tmp_path / "state"))
        return made[-1]

    yield one
    store.gate.set()
    for each in made:
        each.close()


def over(transfer: Transfer) -> Transfer:
    wait_until(lambda: transfer.state.over, what=f"the end of {transfer.errand.local}")
    return transfer


def test_a_file_goes_there_and_comes_back(make: Callable[[], Transfers], tmp_path: Path) -> None:
    transfers = make()
    file = tmp_path / "a.bin"
    file.write_bytes(b"x" * 1000)
    sent = over(transfers.send(str(file), "res:data/"))
    assert (sent.state, sent.done, sent.total, sent.percent) == (State.DONE, 1000, 1000, 100.0)
    fetched = over(transfers.fetch("res:data/a.bin", str(tmp_path / "here")))
    assert fetched.state is State.DONE, fetched.problem
    assert (tmp_path / "here" / "a.bin").read_bytes() == b"x" * 1000
    assert not transfers.running


def test_what_cannot_be_done_says_why(make: Callable[[], Transfers], tmp_path: Path) -> None:
    failed = over(make().send(str(tmp_path / "missing"), "res:"))
    assert failed.state is State.FAILED and "missing" in failed.problem
    assert over(make().fetch("res:nothing", str(tmp_path))).state is State.FAILED


def test_a_stopped_one_ends_at_a_parts_border_and_goes_on_there(
    make: Callable[[], Transfers], store: Slow, tmp_path: Path
) -> None:
    transfers = make()
    file = tmp_path / "big.bin"
    with file.open("wb") as out:
        out.truncate(200 * MIB)
    store.gate.clear()
    transfer = transfers.send(str(file), "res:")
    wait_until(lambda: transfer.state is State.RUNNING)
    transfers.stop(transfer)
    store.gate.set()
    assert over(transfer).state is State.STOPPED
    first = len(store.parts)
    assert first > 0
    transfers.again(transfer)
    assert over(transfer).state is State.DONE, transfer.problem
    assert transfer.done == transfer.total == 200 * MIB
    assert len(store.parts) == len(set(store.parts)), "no part is sent twice"
    assert store.get("resources/big.bin").data == bytes(200 * MIB)


def test_what_was_left_is_there_at_the_next_start(
    make: Callable[[], Transfers], store: Slow, tmp_path: Path
) -> None:
    file = tmp_path / "big.bin"
    with file.open("wb") as out:
        out.truncate(100 * MIB)
    store.gate.clear()
    first = make()
    cut = first.send(str(file), "res:")
    wait_until(lambda: cut.state is State.RUNNING)
    first.close()
    store.gate.set()
    second = make()
    (left,) = second.all.values()
    assert (left.state, left.errand) == (State.STOPPED, Errand(Direction.SEND, str(file), "res:"))
    second.again(left)
    assert over(left).state is State.DONE, left.problem
    assert not make().all, "what is done is not remembered"


def test_one_that_is_over_can_be_forgotten(make: Callable[[], Transfers], tmp_path: Path) -> None:
    transfers = make()
    failed = over(transfers.send(str(tmp_path / "missing"), "res:"))
    transfers.forget(failed)
    assert not transfers.all and not make().all


def test_what_another_program_does_now_is_not_taken_from_it(
    make: Callable[[], Transfers], store: Slow, tmp_path: Path
) -> None:
    file = tmp_path / "big.bin"
    with file.open("wb") as out:
        out.truncate(100 * MIB)
    store.gate.clear()
    first, second = make(), make()
    sent = first.send(str(file), "res:")
    other = second.send(str(tmp_path / "missing"), "res:")
    assert over(other).state is State.FAILED
    assert not make().all, "both still run"
    second.close()
    (left,) = make().all.values()
    assert left.errand.local == str(tmp_path / "missing")
    store.gate.set()
    assert over(sent).state is State.DONE, sent.problem
    first.close()
    assert not make().all


def test_a_path_means_the_same_at_the_next_start_in_another_folder(
    make: Callable[[], Transfers], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = make()
    over(first.send("missing", "res:"))
    over(first.fetch("res:nothing", "~/here"))
    first.close()
    monkeypatch.chdir("/")
    assert [each.errand.local for each in make().all.values()] == [
        str(tmp_path / "missing"),
        str(Path("~/here").expanduser()),
    ]


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"direction": "sideways", "local": "a", "remote": "b"}', '"x"']
)
def test_a_file_that_is_none_of_ours_is_no_transfer(
    make: Callable[[], Transfers], tmp_path: Path, text: str
) -> None:
    left = tmp_path / "state" / "0a1b2c3d"
    left.mkdir(parents=True)
    (left / "000001.json").write_text(text)
    (left / "000002.json").write_text('{"direction": "fetch", "local": "a", "remote": "b"}')
    (errand,) = (each.errand for each in make().all.values())
    assert errand == Errand(Direction.FETCH, "a", "b")


def test_a_place_that_cannot_be_written_costs_the_memory_alone(
    make: Callable[[], Transfers], tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    (tmp_path / "a.bin").write_bytes(b"x")
    transfers = make()
    assert over(transfers.send(str(tmp_path / "a.bin"), "res:")).state is State.DONE
    assert over(transfers.send(str(tmp_path / "missing"), "res:")).state is State.FAILED
    transfers.close()
    assert not make().all


def test_nothing_stays_on_the_disk_of_what_is_done(make: Callable[[], Transfers], tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"x")
    transfers = make()
    over(transfers.send(str(tmp_path / "a.bin"), "res:"))
    transfers.close()
    assert not list((tmp_path / "state").iterdir())


def test_a_rate_and_the_time_left() -> None:
    transfer = Transfer(
        "1", Errand(Direction.SEND, "a", "b"), "1.json", total=100, done=40, rate=10.0, state=State.RUNNING
    )
    assert transfer.left == 6.0 and transfer.percent == 40.0
    transfer.done = 100
    assert transfer.percent == 99.9, "a hundred only when it is done"
