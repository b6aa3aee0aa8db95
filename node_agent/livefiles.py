"""What this node answers when a person asks for the files of a stage that runs here (docs/protocol.md, Requests).

Listings go back over the broker in pages; bytes go into the store, under a prefix of the person's own that is
swept when the attempt ends. Reading happens in a few threads of its own, so neither a slow disk nor a huge
tree keeps the agent from its work; how much is asked at once is bounded, and whoever is too many is told.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from broker import topics
from broker.messages import FilesReply, FilesRequest, LiveFile
from broker.topics import Topic
from node_agent import places
from node_agent.reservations import Key
from node_agent.tree import Stopped
from node_agent.view import Seen, View
from winslow.errors import NotFound, Refused, WinslowError
from winslow.store import disk, layout
from winslow.store.port import ObjectStore
from winslow.store.uploads import upload_as_read
from winslow.workspace import EntryType

THREADS = 3
MOST_WAITING = 16
"""Requests that are worked on or wait, of all people together."""
MOST_OF_ONE = 4
"""Of these, those of one client."""
PAGE_BYTES = 256 << 10
PAGE_FILES = 4096
PAGE_SECONDS = 2.0
PAGE_LOOKS = 50_000
WORKING_SECONDS = 2.0
_REMEMBERED = 256  # requests that may arrive twice (QoS 1)
T = TypeVar("T")


@dataclass
class _Job:
    """One request under way; `bytes` have been copied."""

    key: Key
    home: Path
    client: str
    request: FilesRequest
    stop: threading.Event = field(default_factory=threading.Event)
    bytes: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)


class LiveFiles:
    """Lives in the agent's loop. `home` is the directory of an attempt that is this node's now, else None;
    `patiently` repeats what the store does not answer; `spawn` runs a named task to the agent's end."""

    def __init__(
        self,
        *,
        node: str,
        store: ObjectStore,
        home: Callable[[Key], Path | None],
        publish: Callable[[Topic, FilesReply], None],
        patiently: Callable[[Callable[[], Awaitable[object]]], Awaitable[object]],
        spawn: Callable[[Awaitable[None], str], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._node = node
        self._store = store
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="live files")
        self._home = home
        self._publish = publish
        self._patiently = patiently
        self._spawn = spawn
        self._monotonic = monotonic
        self._jobs: dict[tuple[str, str], _Job] = {}
        self._seen: deque[tuple[str, str, str]] = deque(maxlen=_REMEMBERED)
        self._copied: set[Key] = set()  # attempts that may have copies in the store
        self._swept: dict[Key, asyncio.Event] = {}  # of an earlier agent's copies

    # -- what the agent tells

    def request(self, client: str, request: FilesRequest) -> None:
        """A person's message. Returns at once."""
        mark = (client, request.id, request.op)
        if mark in self._seen:
            return  # QoS 1: it came twice
        self._seen.append(mark)
        if request.op == "stop":
            job = self._jobs.get((client, request.id))
            if job is not None:
                job.stop.set()
            return
        key = (request.project, request.run, request.attempt)
        home = self._home(key)
        if home is None:
            self._say(client, request, "over", f"node {self._node} does not hold this run any more")
            return
        of_one = sum(job.client == client for job in self._jobs.values())
        if len(self._jobs) >= MOST_WAITING or of_one >= MOST_OF_ONE:
            self._say(client, request, "refused", f"node {self._node} is asked too much at once: try again")
            return
        job = _Job(key=key, home=home, client=client, request=request)
        self._jobs[(client, request.id)] = job
        self._spawn(self._answer(job), f"files for {client}")

    def adopted(self, key: Key) -> None:
        """An attempt of an earlier agent, which may have left copies behind."""
        self._swept[key] = asyncio.Event()
        self._spawn(self._sweep(key), f"sweep copies {key}")

    def over(self, key: Key) -> None:
        """An attempt has ended: nothing is copied any more, and what was goes."""
        jobs = [job for job in self._jobs.values() if job.key == key]
        for job in jobs:
            job.stop.set()
        if key in self._copied:
            self._spawn(self._clear(key, jobs), f"clear copies {key}")

    def close(self) -> None:
        """Begin nothing new; what is under way ends with the process, or is stopped by `over`."""
        for job in self._jobs.values():
            job.stop.set()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _sweep(self, key: Key) -> None:
        await self._remove(key)
        self._swept.pop(key).set()

    async def _clear(self, key: Key, jobs: list[_Job]) -> None:
        for job in jobs:
            await job.done.wait()  # its thread stops at the next part of a file
        await self._remove(key)
        self._copied.discard(key)

    async def _remove(self, key: Key) -> None:
        prefix = layout.live(*key)
        await self._patiently(lambda: self._blocking(lambda: self._store.delete_prefix(prefix)))

    # -- answering

    async def _answer(self, job: _Job) -> None:
        """Do it in a thread, and say every two seconds that it is being done."""
        request = job.request
        try:
            if job.key in self._swept:
                await self._swept[job.key].wait()
            if request.op == "copy":
                self._copied.add(job.key)
            work = self._copy if request.op == "copy" else self._list
            future = asyncio.get_running_loop().run_in_executor(self._threads, work, job)
            while not (await asyncio.wait({future}, timeout=WORKING_SECONDS))[0]:
                self._send(job, FilesReply(id=request.id, node=self._node, status="working", bytes=job.bytes))
            self._send(job, future.result())
        except Stopped:
            self._say(job.client, request, "over", f"node {self._node}: the run has ended meanwhile")
        except NotFound as error:
            self._say(job.client, request, "missing", str(error))
        except (WinslowError, OSError) as error:
            self._say(job.client, request, "refused", f"node {self._node}: {error}")
        finally:
            del self._jobs[(job.client, request.id)]
            job.stop.set()
            job.done.set()

    def _list(self, job: _Job) -> FilesReply:
        request = job.request
        until = self._monotonic() + PAGE_SECONDS
        size = looked = files = 0

        def enough(one: Seen | None) -> bool:
            nonlocal size, looked, files
            looked += 1
            if one is not None:
                files += 1
                size += len(_live(one).model_dump_json()) + 1
            return (
                size >= PAGE_BYTES
                or files >= PAGE_FILES
                or looked >= PAGE_LOOKS
                or self._monotonic() >= until
                or job.stop.is_set()
            )

        page = self._view(job).page(request.path, deep=request.deep, after=request.after, enough=enough)
        return FilesReply(
            id=request.id,
            node=self._node,
            status="done",
            files=tuple(_live(one) for one in page.seen),
            next=page.next,
            left_out=page.left_out,
        )

    def _copy(self, job: _Job) -> FilesReply:
        view = self._view(job)
        copies = tuple(
            self._copied_file(job, view, number, path) for number, path in enumerate(job.request.paths)
        )
        return FilesReply(id=job.request.id, node=self._node, status="done", files=copies, bytes=job.bytes)

    def _copied_file(self, job: _Job, view: View, number: int, path: str) -> LiveFile:
        project, run, attempt = job.key
        key = layout.live_copy(project, run, attempt, job.request.token, f"{job.request.id}-{number}")

        def advance(count: int) -> None:
            if job.stop.is_set():
                raise Stopped("copying was stopped")
            job.bytes += count

        advance(0)
        try:
            with view.open(path) as fd:
                mode = stat.S_IMODE(os.fstat(fd).st_mode) & 0o777
                source = disk.opened(fd, Path(path))
                sent = upload_as_read(self._store, source, key, progress=advance)
        except (NotFound, Refused) as error:
            return LiveFile(path=path, type=EntryType.FILE, problem=str(error))
        return LiveFile(
            path=path,
            type=EntryType.FILE,
            mode=mode,
            mtime_ns=_bounded(source.mark.mtime),
            size=sent.size,
            key=key,
            sha256=sent.sha256,
            changed=sent.changed,
        )

    def _view(self, job: _Job) -> View:
        return places.view(job.home, job.request.area)

    def _say(self, client: str, request: FilesRequest, status: str, reason: str) -> None:
        reply = FilesReply.model_validate(
            {"id": request.id, "node": self._node, "status": status, "reason": reason[:400]}
        )
        self._publish(topics.Reply(client=client), reply)

    def _send(self, job: _Job, reply: FilesReply) -> None:
        self._publish(topics.Reply(client=job.client), reply)

    async def _blocking(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _live(one: Seen) -> LiveFile:
    return LiveFile(
        path=one.path,
        type=one.type,
        mode=one.mode,
        mtime_ns=_bounded(one.mtime_ns),
        size=one.size,
        target=one.target,
    )


def _bounded(mtime_ns: int) -> int:
    """A time that a message can hold, whatever a stage set."""
    return max(-(2**62), min(mtime_ns, 2**62))
