"""An attempt that this node holds: its journal, what its document says of it, and the ways to go on with it.

Whatever needs store or engine while they are away waits, and says so; nothing is given up for that.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn, TypeVar

from node_agent.journal import AttemptJournal, Step
from node_agent.places import Placed
from node_agent.runtime.port import RuntimeFailure
from node_agent.standing import Standing, standing
from node_agent.telling import Telling
from node_agent.tools import Tools
from winslow.errors import InvalidInput, NotFound, Unreachable, WinslowError
from winslow.events import Event, Exited, Lost, Started
from winslow.lifecycle import IllegalTransition, Superseded
from winslow.project import Project, Run, RunState, Tombstone

_RETRY_FIRST, _RETRY_LONGEST = 0.5, 30.0
T = TypeVar("T")


class Aborted(Exception):
    """A person wants it stopped."""


class Displaced(Exception):
    """The document names another attempt, or none: this one does not go on as it is (`node_agent.standing`)."""


class Held:
    """See the module. `journal` is replaced at each step; `standing` and the events are set by `document`."""

    def __init__(self, *, journal: AttemptJournal, tools: Tools, changed: Callable[[], None]) -> None:
        self.journal = journal
        self.tools = tools
        self.telling = Telling(
            project=journal.project,
            run=journal.run,
            attempt=journal.attempt,
            home=tools.journals.home(journal),
            tools=tools,
            changed=changed,
        )
        self.standing = Standing.CURRENT
        self.abort = asyncio.Event()
        self.displaced = asyncio.Event()
        self.moved = asyncio.Event()  # whenever a document was read
        self.leaving = False  # the agent stops: threads give up what they do
        self.known_run: Run | None = None  # as the document had it last
        self._project: Project | None = None
        self._writing = threading.Lock()
        self._made = self._written = 0  # journals, counted

    # -- what the document says

    def document(self, document: Project | Tombstone | None) -> None:
        """A newer version of the project's document was read."""
        self.standing = standing(self.journal, document)
        self.moved.set()
        if self.standing is not Standing.CURRENT:
            self.displaced.set()
        elif isinstance(document, Project) and (run := document.run(self.journal.run)) and run.state.held:
            self._project, self.known_run = document, run
            if run.abort_requested:
                self.abort.set()

    @property
    def run(self) -> Run:
        """As the document had it last. Raises Displaced where it never had it."""
        if self.known_run is None:
            raise Displaced
        return self.known_run

    @property
    def project(self) -> Project:
        """As `run`."""
        if self._project is None:
            raise Displaced
        return self._project

    def interrupted(self) -> bool:
        """Whether it is to end now."""
        return self.abort.is_set() or self.displaced.is_set()

    def raise_if_displaced(self) -> None:
        """Raises Displaced."""
        if self.displaced.is_set():
            raise Displaced

    def raise_if_interrupted(self) -> None:
        """Raises Displaced or Aborted."""
        self.raise_if_displaced()
        if self.abort.is_set():
            raise Aborted

    async def or_interrupted(self, work: Coroutine[Any, Any, T]) -> T:
        """`work`, unless an abort or a displacement comes first: raises Aborted or Displaced."""
        task = asyncio.create_task(work)
        abort = asyncio.create_task(self.abort.wait())
        displaced = asyncio.create_task(self.displaced.wait())
        try:
            await asyncio.wait({task, abort, displaced}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self.raise_if_interrupted()
            return task.result()
        finally:
            for each in (task, abort, displaced):
                each.cancel()
            await asyncio.gather(task, abort, displaced, return_exceptions=True)

    # -- telling the document

    def where(self) -> dict[str, Any]:
        """The fields that each event of this attempt has."""
        clock, journal = self.tools.clock, self.journal
        return {
            "id": clock.new_id(),
            "at": clock.wall(),
            "by": self.tools.node,
            "n": journal.run,
            "k": journal.attempt,
            "claim": journal.claim,
        }

    async def tell_started(self) -> None:
        """That it runs, and since when: perhaps longer than this number has been its own."""
        journal = self.journal
        event = Started(**self.where(), image_digest=journal.image_digest, gpus=journal.gpus)
        event = event.model_copy(update={"at": journal.times.get(Step.STARTED.value, event.at)})
        await self.tell(event, past={RunState.RUNNING, RunState.COLLECTING})

    async def tell_exited(self, exit_code: int | None) -> None:
        """That its processes ended."""
        event = Exited(**self.where(), exit_code=exit_code)
        await self.tell(event, past={RunState.COLLECTING})

    async def lose(self, detail: str) -> NoReturn:
        """Say that the attempt is lost. Raises Displaced."""
        await self.tell(Lost(**self.where(), detail=detail), past=set())
        raise Displaced

    async def tell(self, event: Event, *, past: set[RunState], commits: bool = False) -> None:
        """Write an event until it stands in the document; `past` are states that it, told by an earlier agent,
        has already led to. Raises Displaced when the attempt is no longer the current one."""
        tools, journal = self.tools, self.journal
        try:
            if commits:
                # The document that comes back shows the run as ended: that is no displacement.
                self.journal = journal.advance(Step.COMMITTED)
            await self.patiently(lambda: self._readable(lambda project: tools.mirror.commit(project, event)))
        except IllegalTransition:
            run = await self.stored_run()
            if run is None or run.state not in past:
                raise
        except (Superseded, NotFound) as error:
            if commits:
                self.journal = journal
            raise Displaced from error

    async def stored_run(self) -> Run | None:
        """The run as the store has it now."""
        document = await self.patiently(lambda: self._readable(self.tools.mirror.refresh))
        return document.run(self.journal.run) if isinstance(document, Project) else None

    async def _readable(self, work: Callable[[str], Awaitable[T]]) -> T:
        """A document that a newer program wrote is waited for: a newer agent will go on with it."""
        try:
            return await work(self.journal.project)
        except InvalidInput as error:
            raise WinslowError(str(error), hint=error.hint) from error

    # -- patience

    async def patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it until the store answers, and lets this node in: a clock that is off may be set right."""
        wait, said = _RETRY_FIRST, ""
        while True:
            try:
                return await work()
            except WinslowError as error:
                if not (isinstance(error, Unreachable) or type(error) is WinslowError):
                    raise
                if str(error) != said:
                    said = str(error)
                    self.telling.event("waiting", f"{error}; trying again")
                self.moved.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait * (0.5 + self.tools.jitter() / 2)):
                        await self.moved.wait()  # a document was read: the store answers again
                wait = min(wait * 2, _RETRY_LONGEST)

    async def engine(self, work: Callable[[], Awaitable[T]], *, interruptible: bool = False) -> T:
        """Do it until the container engine answers. A registry that does not is another matter: that is raised.
        `interruptible` raises Aborted and Displaced between two tries."""
        wait, said = _RETRY_FIRST, ""
        while True:
            try:
                return await work()
            except RuntimeFailure as failure:
                if not failure.retryable or failure.kind != "runtime_error":
                    raise
                if str(failure) != said:
                    said = str(failure)
                    self.telling.event("waiting", f"{failure}; trying again")
                if interruptible:
                    self.raise_if_interrupted()
                await asyncio.sleep(wait)
                wait = min(wait * 2, _RETRY_LONGEST)

    async def blocking(self, work: Callable[[], T]) -> T:
        """In a thread. After an abort the thread is told and waited for, since nothing may be written late; an
        agent that stops does not wait: its threads end with it, and the next one does it all again."""
        future = asyncio.get_running_loop().run_in_executor(self.tools.executor, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self.leaving = True
            if self.interrupted():
                await asyncio.wait({future})
            raise

    # -- what is on the node

    async def record(self, step: Step, **changes: Any) -> None:
        """The journal at a later step; when this returns, a power cut cannot take it back."""
        times = {**self.journal.times, step.value: self.tools.clock.wall()}
        self.journal = self.journal.advance(step, times=times, **changes)
        await self.write(self.journal)

    async def note(self, **changes: Any) -> None:
        """As `record`, at the same step."""
        self.journal = self.journal.advance(self.journal.step, **changes)
        await self.write(self.journal)

    async def write(self, journal: AttemptJournal) -> None:
        """Put a journal on the disk. Two tasks may do so at once, and a thread goes on when its task is cancelled:
        what was asked for last stays."""
        self._made += 1
        number = self._made

        def write() -> None:
            with self._writing:
                if number > self._written:
                    self.tools.journals.write(journal)
                    self._written = number

        await self.blocking(write)

    async def placed(self) -> Placed:
        """Its directories, for what is to be stored under its number. Raises InvalidInput where they are gone."""
        journal = self.journal
        made_as = journal.made_as.attempt
        placed = await self.blocking(lambda: self.tools.placer.find(journal.project, journal.run, made_as))
        if placed is None:
            raise InvalidInput(
                f"attempt {journal.name}: its directories are gone from node {self.tools.node}"
            )
        return replace(placed, attempt=journal.attempt)

    async def gone(self, container: str) -> bool:
        """Whether the engine does not know the container."""
        return await self.engine(lambda: self.tools.runtime.status(container)) is None

    async def containers(self) -> list[str]:
        """The attempt's container; one that was made and not written down is found by its labels."""
        tools, journal = self.tools, self.journal
        if journal.container or journal.step.order < Step.PLACED.order:
            return [journal.container] if journal.container else []
        found = await self.engine(lambda: tools.runtime.find(tools.site, tools.node_uuid))
        return [status.id for status in found if status.labels.claim == journal.made_as.claim]

    async def ship(self, container: str) -> None:
        """Take the container's output to its end, also across an engine that goes away and comes back."""
        shipper, runtime = self.telling.shipper, self.tools.runtime
        await self.engine(lambda: shipper.ship(runtime.output(container)))
