"""Files on their way while the person does something else: a few at a time, each with its bytes, rate and time left.

A transfer that is stopped, or cut off by the end of the program, ends at a part's border: the same transfer
asked for again goes on there. What was not done is remembered in the user's state folder (`unfinished`) and can
be gone on with at the next start.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from winslow import address
from winslow.address import Address
from winslow.errors import WinslowError
from winslow.project import Project
from winslow_tui.facade import filing, livefiles, workspace_editing
from winslow_tui.facade.client import Client
from winslow_tui.program.unfinished import Direction, Errand, Unfinished

AT_ONCE = 2
RATE_SECONDS = 5.0  # over which a rate is measured


class Stopped(WinslowError):
    """The person stopped it, or the program ends."""


class State(StrEnum):
    """How far a transfer is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def over(self) -> bool:
        """Nothing more happens to it by itself."""
        return self in (State.DONE, State.FAILED, State.STOPPED)


@dataclass
class Transfer:
    """One command's files. Numbers are bytes; `rate` bytes per second, 0 while none is known."""

    id: str
    errand: Errand
    key: str  # by which it is remembered
    total: int = 0
    done: int = 0
    rate: float = 0.0
    state: State = State.WAITING
    problem: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    marks: list[tuple[float, int]] = field(default_factory=list)

    @property
    def percent(self) -> float:
        """How much of it is there."""
        if self.state is State.DONE:
            return 100.0
        return min(99.9, 100.0 * self.done / self.total) if self.total else 0.0

    @property
    def left(self) -> float | None:
        """Seconds until it is done; None while nobody knows."""
        return (self.total - self.done) / self.rate if self.rate > 0 and self.total else None


class Transfers:
    """All transfers of this program. Any thread may ask; the work is done in a few threads of its own.

    `remembered` is the folder of what is not done (`unfinished`)."""

    def __init__(
        self, client: Client, *, remembered: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._unfinished = Unfinished(remembered)
        self._clock = clock
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="transfer")
        self._number = 0
        self.all: dict[str, Transfer] = {}
        self.version = 0
        for key, errand in self._unfinished.take():
            self._add(errand, key).state = State.STOPPED

    def send(self, local: str, remote: str) -> Transfer:
        """Send a file or a folder to an address."""
        return self._new(Errand(Direction.SEND, _absolute(local), remote))

    def fetch(self, remote: str, local: str) -> Transfer:
        """Fetch what is at an address into a folder."""
        return self._new(Errand(Direction.FETCH, _absolute(local), remote))

    def again(self, transfer: Transfer) -> None:
        """Go on with one that is over; what has arrived counts at once."""
        if transfer.state.over and transfer.state is not State.DONE:
            transfer.done, transfer.rate, transfer.problem = 0, 0.0, ""
            transfer.marks.clear()
            transfer.stop.clear()
            transfer.state = State.WAITING
            self._begin(transfer)

    def stop(self, transfer: Transfer) -> None:
        """End it at the next part's border."""
        transfer.stop.set()
        if transfer.state is State.WAITING:
            transfer.state = State.STOPPED
        self._changed()

    def forget(self, transfer: Transfer) -> None:
        """Show one that is over no longer."""
        if transfer.state.over:
            with self._lock:
                self.all.pop(transfer.id, None)
            self._unfinished.remove(transfer.key)
            self._changed()

    def close(self) -> None:
        """End all at a part's border; what is not done is remembered. Does not wait for a part that is under way."""
        with self._lock:
            for transfer in self.all.values():
                transfer.stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._unfinished.close()

    @property
    def running(self) -> list[Transfer]:
        """Those that are not over."""
        with self._lock:
            return [each for each in self.all.values() if not each.state.over]

    # -- inside

    def _new(self, errand: Errand) -> Transfer:
        return self._begin(self._add(errand, self._unfinished.add(errand)))

    def _add(self, errand: Errand, key: str) -> Transfer:
        with self._lock:
            self._number += 1
            transfer = Transfer(str(self._number), errand, key)
            self.all[transfer.id] = transfer
        return transfer

    def _begin(self, transfer: Transfer) -> Transfer:
        self._pool.submit(self._work, transfer)
        self._changed()
        return transfer

    def _work(self, transfer: Transfer) -> None:
        if transfer.stop.is_set():
            return
        transfer.state = State.RUNNING
        self._changed()
        try:
            where, project = self._place(transfer.errand.remote)
            if transfer.errand.direction is Direction.SEND:
                self._send(transfer, where, project)
            else:
                self._fetch(transfer, where, project)
        except Stopped:
            transfer.state = State.STOPPED
        except (WinslowError, OSError) as error:
            transfer.state, transfer.problem = State.FAILED, str(error)
        else:
            # Before it shows: whoever sees it may begin anew with what is remembered.
            self._unfinished.remove(transfer.key)
            transfer.state = State.DONE
        self._changed()

    def _place(self, remote: str) -> tuple[Address, Project | None]:
        where = address.parse(remote)
        return where, (self._client.project(where.project) if where.project else None)

    def _send(self, transfer: Transfer, where: Address, project: Project | None) -> None:
        source = Path(transfer.errand.local)
        if project is not None and where.place == "next":
            planned, _ = workspace_editing.plan([source], where)
            transfer.total = sum(each.size for each in planned)
            workspace_editing.put(self._client.link, project, planned, self._counter(transfer))
            return
        uploads, _ = filing.plan_upload([source], where, project)
        transfer.total = sum(upload.path.stat().st_size for upload in uploads)
        filing.upload(self._client.store, uploads, self._counter(transfer), project=project)

    def _fetch(self, transfer: Transfer, where: Address, project: Project | None) -> None:
        into = Path(transfer.errand.local)
        into.mkdir(parents=True, exist_ok=True)
        found = livefiles.look(self._client, where, project, deep=True)
        places = filing.plan_download(found, where, into)
        transfer.total = sum(each.file.size for each in places)
        livefiles.fetch(self._client, places, self._counter(transfer))

    def _counter(self, transfer: Transfer) -> Callable[[int], None]:
        def count(size: int) -> None:
            if transfer.stop.is_set():
                raise Stopped("stopped")
            with self._lock:
                transfer.done += size
                now = self._clock()
                transfer.marks.append((now, transfer.done))
                while len(transfer.marks) > 2 and now - transfer.marks[0][0] > RATE_SECONDS:
                    transfer.marks.pop(0)
                begin, had = transfer.marks[0]
                transfer.rate = max(0.0, (transfer.done - had) / (now - begin)) if now > begin else 0.0
                self.version += 1

        return count

    def _changed(self) -> None:
        with self._lock:
            self.version += 1


def _absolute(path: str) -> str:
    """The next start may be in another folder."""
    return str(Path(path).expanduser().absolute())
