"""One attempt's life on its node, as small idempotent steps (design 6).

    claimed -> image -> placed -> created -> started -> exited -> collected -> committed -> gone

Each step is journalled when it is done, so an agent killed at any point goes on from there. A running
container needs none of this: it goes on by itself, and the next agent takes its exit from the engine.
Whatever needs store or broker while they are away waits, and says so; nothing is given up for that.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from broker import messages, topics
from broker.codec import Payload
from broker.messages import Phase
from broker.topics import Topic
from node_agent import environment, needs, tree
from node_agent.cache import Cache
from node_agent.clock import Clock
from node_agent.collect import Collected, collect
from node_agent.journal import AttemptJournal, Journals, Step, sync_filesystem
from node_agent.logship import LogShipper
from node_agent.mirror import Mirror
from node_agent.places import Placed, PlacePlan, Placer
from node_agent.runtime.port import ContainerRuntime, ContainerSpec, ContainerStatus, Labels, RuntimeFailure
from winslow import metrics
from winslow.errors import Conflict, InvalidInput, NotFound, Unreachable, WinslowError
from winslow.lifecycle import Ended, Event, Exited, IllegalTransition, Lost, Started, Superseded
from winslow.placement import size_text
from winslow.project import Peak, Project, Reason, Run, RunState, Tombstone
from winslow.store import layout
from winslow.store.port import ObjectStore

STOP_GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL for an aborted stage, as `docker stop` gives."""

USAGE_SECONDS = 2.0
PROGRESS_SECONDS = 0.5  # between two messages about bytes
_RETRY_FIRST, _RETRY_LONGEST = 0.5, 30.0
T = TypeVar("T")


class _Aborted(Exception):
    """A person wants it stopped."""


class _Displaced(Exception):
    """The document names another attempt, or none: this one must leave no trace."""


@dataclass(frozen=True)
class Tools:
    """What every attempt of an agent works with."""

    site: str
    node: str
    node_uuid: str
    boot_id: str
    clock: Clock
    executor: Executor
    store: ObjectStore
    mirror: Mirror
    journals: Journals
    spools: Path  # where logs lie until the attempt is gone
    runtime: ContainerRuntime
    placer: Placer
    cache: Cache
    publish: Callable[[Topic, Payload | None], None]
    log_limit: int
    images: tuple[str, ...]
    allow_user: bool
    jitter: Callable[[], float]

    def bytes_to_fetch(self, plan: PlacePlan) -> int:
        """How much of a plan is not in the node's cache."""
        sources = plan.sources()
        return sum(source.size for source in sources) - self.cache.cached_bytes(sources)


@dataclass(frozen=True)
class _Outcome:
    succeeded: bool
    reason: Reason | None = None
    detail: str = ""


class Attempt:
    """See the module. `changed` is called when `phase` or `percent` changes, `spent` when the attempt needs its
    resources no longer: before the write that queues the next stage, so that this node can bid on it."""

    def __init__(
        self,
        *,
        journal: AttemptJournal,
        tools: Tools,
        changed: Callable[[], None],
        spent: Callable[[], None],
    ) -> None:
        self.journal = journal
        self.claim = journal.claim
        self.phase: str = ""
        self.percent: float | None = None
        self._tools = tools
        self._changed = changed
        self._spent = spent
        self._abort = asyncio.Event()
        self._displaced = asyncio.Event()
        self._run: Run | None = None
        self._project: Project | None = None
        self._peak = journal.peak
        self._shipper: LogShipper | None = None
        self._progressed = 0.0
        self._leaving = False

    @property
    def stage(self) -> str:
        """The stage's name, as far as it is known."""
        return self._run.stage.name if self._run else self.journal.stage

    # -- what the document says

    def document(self, document: Project | Tombstone | None) -> None:
        """A newer version of the project's document was read."""
        if document is None or isinstance(document, Tombstone):
            self._displaced.set()
            return
        run = document.run(self.journal.run)
        current = run.attempt if run is not None else None
        if run is None or current is None or not run.state.held:
            if self.journal.step.order < Step.COMMITTED.order:
                self._displaced.set()
            return
        if (current.k, current.claim) != (self.journal.attempt, self.journal.claim):
            self._displaced.set()
            return
        self._project, self._run = document, run
        if run.abort_requested:
            self._abort.set()

    # -- life

    async def run(self) -> None:
        """Live to the end. Returns when nothing of the attempt is left on this node."""
        self._shipper = self._make_shipper()
        displaced = False
        try:
            async with self._shipper:
                try:
                    outcome = await self._live()
                    await self._finish(outcome)
                except _Displaced:
                    displaced = True
        finally:
            self._shipper = None  # nothing of it may be written behind what follows
            self._tools.publish(self._topic(topics.Progress), None)
        if displaced:
            await self._give_way()
        await self._clean()

    async def _live(self) -> _Outcome:
        step = self.journal.step
        if step is Step.EXITED:
            await self._make_up()
        if step.order >= Step.EXITED.order:
            return self._judge(None)
        try:
            if step.order < Step.PLACED.order:
                await self._or_interrupted(self._prepare())
            if step.order < Step.STARTED.order:
                self._raise_if_interrupted()
                await self._start()  # not cut off: the engine would go on with what was asked of it
        except _Aborted:
            self._event("aborted", "aborted before it started")
            return _Outcome(succeeded=False, reason=Reason.ABORTED, detail="aborted before it started")
        except RuntimeFailure as failure:
            self._event("failed", str(failure))
            return _Outcome(succeeded=False, reason=Reason(failure.kind), detail=str(failure))
        except (NotFound, InvalidInput, Conflict) as error:
            self._event("failed", str(error))
            return _Outcome(succeeded=False, reason=Reason.INPUT_MISSING, detail=str(error))
        return await self._watch()

    async def _prepare(self) -> None:
        """Image and files, both at once."""
        tools, run = self._tools, self._must_run()
        self._event(
            "claimed",
            self._claim_sentence(run),
            {"bids": [b.model_dump(mode="json") for b in self._bids(run)]},
        )
        image = asyncio.create_task(self._image(run), name=f"image {self.journal.name}")
        place = asyncio.create_task(self._place(run), name=f"place {self.journal.name}")
        try:
            digest, _ = await asyncio.gather(image, place)
        finally:
            for task in (image, place):
                task.cancel()
            await asyncio.gather(image, place, return_exceptions=True)
        await self._record(Step.PLACED, image_digest=digest, stage=run.stage.name, runtime=tools.runtime.name)

    async def _image(self, run: Run) -> str:
        image = run.stage.image
        if run.stage.user and not self._tools.allow_user:
            raise RuntimeFailure(
                f"node {self._tools.node} does not let a stage choose its user ('{run.stage.user}')",
                kind="refused_by_node",
                hint="leave `user` out, or allow it in the node's configuration: [agent] allow_user",
            )
        if not any(fnmatch(image, pattern) for pattern in self._tools.images):
            raise RuntimeFailure(
                f"node {self._tools.node} does not allow the image {image}",
                kind="refused_by_node",
                hint="its configuration says which: [agent] images",
            )
        runtime = self._tools.runtime
        if await self._engine(lambda: runtime.has_image(image)):
            return await self._engine(lambda: runtime.ensure_image(image, lambda _done, _all: None))
        self._event("pull", f"pulling image {image}")

        def progress(done: int, total: int) -> None:
            self._progress(Phase.PULL, done=done, total=total)

        digest = await self._engine(lambda: runtime.ensure_image(image, progress))
        self._event("pulled", f"image {image} is here")
        return digest

    async def _place(self, run: Run) -> None:
        tools = self._tools
        project = self._must_project()
        k = self.journal.attempt
        found = await self._patiently(
            lambda: self._blocking(lambda: needs.find(tools.store, project, run, attempt=k))
        )
        if found.missing:
            raise NotFound("; ".join(found.missing))
        sources = found.plan.sources()
        total = sum(source.size for source in sources)
        cold = tools.bytes_to_fetch(found.plan)
        done = 0
        loop = asyncio.get_running_loop()

        def progress(more: int) -> None:
            nonlocal done
            done += more
            loop.call_soon_threadsafe(lambda: self._progress(Phase.FETCH, done=done, total=total))

        started = tools.clock.monotonic()
        await self._patiently(
            lambda: self._blocking(
                lambda: tools.placer.place(
                    found.plan, progress=progress, cancelled=lambda: self._leaving or self._interrupted()
                )
            )
        )
        files = len(sources)
        if files:
            self._event(
                "fetched",
                f"{files} file{'s' if files != 1 else ''} in place, {size_text(cold)} of {size_text(total)} fetched"
                f" in {tools.clock.monotonic() - started:.1f} s (the rest was cached)",
                {"files": files, "bytes": total, "fetched": cold},
            )

    async def _start(self) -> None:
        tools, run, project = self._tools, self._must_run(), self._must_project()
        journal = self.journal
        placed = await self._placed()
        gpus = journal.gpus
        places = tools.runtime.places(placed.mounts)
        spec = ContainerSpec(
            name=f"winslow-{tools.site}-{journal.project}-{journal.run}.{journal.attempt}-{journal.claim[:8]}",
            labels=Labels(
                site=tools.site,
                node_uuid=tools.node_uuid,
                project=journal.project,
                run=journal.run,
                attempt=journal.attempt,
                claim=journal.claim,
            ),
            image=run.stage.image,
            directory=tools.journals.directory(journal.project, journal.run, journal.attempt),
            command=run.stage.command,
            entrypoint=run.stage.entrypoint,
            environment=environment.resolve(
                project_id=project.id, project_name=project.name, run=run, places=places, gpus=len(gpus)
            ),
            mounts=placed.mounts,
            workdir=run.stage.workdir or environment.WORKSPACE,
            user=run.stage.user,
            cpus=run.stage.requires.cpus,
            memory=run.stage.requires.memory,
            shm=run.stage.requires.shm,
            gpus=gpus,
            log_limit=tools.log_limit,
        )
        container = await self._engine(lambda: tools.runtime.create(spec), interruptible=True)
        await self._record(Step.CREATED, container=container)
        self._event(
            "starting",  # told before, so that it stands before the stage's first line
            f"starting {' '.join(run.stage.command) or run.stage.image}"[:400],
            {"container": container, "gpus": list(gpus)},
        )
        await self._engine(lambda: tools.runtime.start(container), interruptible=True)
        await self._record(Step.STARTED)

    async def _watch(self) -> _Outcome:
        """From the start to the end of all its processes; also where an earlier agent started it."""
        tools, journal = self._tools, self.journal
        container = journal.container
        if await self._gone(container):
            await self._lose(f"its container is gone from node {tools.node}")
        if journal.boot_id != tools.boot_id:
            await self._lose(f"node {tools.node} was rebooted")
        self._phase(Phase.RUN)
        assert self._shipper is not None
        shipping = asyncio.create_task(self._ship(container), name=f"log {journal.name}")
        measuring = asyncio.create_task(self._measure(container), name=f"usage {journal.name}")
        telling = asyncio.create_task(self._tell_started(), name=f"started {journal.name}")
        try:
            status = await self._ended(container, telling)
            self._event(
                "exited", f"exit code {status.exit_code}" + (" (out of memory)" if status.oom else "")
            )
            # What the stage wrote must outlive a power cut before the exit does (design 6).
            await self._blocking(lambda: sync_filesystem(tools.spools.parent))
            await self._record(
                Step.EXITED, exit_code=status.exit_code, oom=status.oom, peak=self._peak, detail=status.error
            )
            await telling
            await self._tell(Exited(**self._where(), exit_code=status.exit_code), past={RunState.COLLECTING})
            await shipping
        except RuntimeFailure:
            if not await self._gone(container):
                raise
            await self._lose(f"its container was removed from node {tools.node}")
        except _Displaced:
            await self._engine(lambda: tools.runtime.stop(container, grace=0.0))
            raise
        finally:
            for task in (measuring, telling, shipping):
                task.cancel()
            await asyncio.gather(measuring, telling, shipping, return_exceptions=True)
        return self._judge(status)

    async def _ended(self, container: str, telling: asyncio.Task[None]) -> ContainerStatus:
        runtime = self._tools.runtime
        waiting = asyncio.create_task(self._engine(lambda: runtime.wait(container)), name="wait")
        stopped = False
        try:
            while True:
                watched: set[asyncio.Task[Any]] = {waiting, asyncio.create_task(self._displaced.wait())}
                if not stopped:
                    watched.add(asyncio.create_task(self._abort.wait()))
                if not telling.done():
                    watched.add(telling)
                done, pending = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                for task in pending - {waiting, telling}:
                    task.cancel()
                if waiting in done:
                    return waiting.result()
                if telling in done:
                    telling.result()
                if self._displaced.is_set():
                    raise _Displaced
                if self._abort.is_set() and not stopped:
                    stopped = True
                    self._event("aborting", "stopping: SIGTERM, after 10 s SIGKILL")
                    await self._engine(lambda: runtime.stop(container, grace=STOP_GRACE))
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def _gone(self, container: str) -> bool:
        return await self._engine(lambda: self._tools.runtime.status(container)) is None

    async def _lose(self, detail: str) -> NoReturn:
        await self._tell(Lost(**self._where(), detail=detail), past=set())
        raise _Displaced

    async def _make_up(self) -> None:
        """An earlier agent wrote the exit down; the document and the log may not have all of it yet."""
        await self._tell_started()
        await self._tell(
            Exited(**self._where(), exit_code=self.journal.exit_code), past={RunState.COLLECTING}
        )
        if await self._gone(self.journal.container):
            self._event("log", "the container is gone: the end of its log may be missing")
            return
        await self._ship(self.journal.container)

    def _judge(self, status: ContainerStatus | None) -> _Outcome:
        journal, run = self.journal, self._run
        code = journal.exit_code
        if self._abort.is_set():
            return _Outcome(succeeded=False, reason=Reason.ABORTED, detail="aborted")
        if journal.oom:
            limit = size_text(run.stage.requires.memory) if run else "its limit"
            return _Outcome(
                succeeded=False,
                reason=Reason.OOM,
                detail=f"killed: out of memory (used {size_text(journal.peak.memory)} of {limit})",
            )
        if code == 0:
            return _Outcome(succeeded=True)
        if code is None or journal.detail:
            return _Outcome(
                succeeded=False,
                reason=Reason.RUNTIME_ERROR,
                detail=journal.detail or "ended without an exit code",
            )
        return _Outcome(succeeded=False, reason=Reason.EXIT_CODE, detail=_exit_sentence(code))

    # -- the end

    async def _finish(self, outcome: _Outcome) -> None:
        """Store what the stage left, then one write that ends the run and begins what comes next."""
        journal = self.journal
        assert self._shipper is not None
        manifests = journal.manifests
        if journal.step.order >= Step.EXITED.order and journal.step.order < Step.COLLECTED.order:
            self._phase(Phase.COLLECT)
            try:
                collected = await self._patiently(self._collect)
            except _Aborted:
                raise
            except Unreachable:
                raise
            except WinslowError as error:
                self._event("collect", str(error))
                outcome = _Outcome(succeeded=False, reason=Reason.STORAGE, detail=str(error))
            else:
                manifests = collected.manifests
                for note in collected.notes:
                    self._event("collect", note)
                changes = collected.changes
                self._event(
                    "stored",
                    f"workspace: {len(changes.added)} files new, {len(changes.changed)} changed,"
                    f" {len(changes.removed)} removed; output: {collected.outputs};"
                    f" {size_text(collected.bytes_uploaded)} sent",
                )
                await self._record(Step.COLLECTED, manifests=manifests, results=self._shipper.results)
        self._event("ended", "succeeded" if outcome.succeeded else f"failed: {outcome.detail}")
        await self._patiently(self._shipper.finish)
        self._spent()
        literal: Literal["succeeded", "failed"] = "succeeded" if outcome.succeeded else "failed"
        await self._tell(
            Ended(
                **self._where(),
                outcome=literal,
                reason=outcome.reason,
                detail=outcome.detail,
                exit_code=journal.exit_code,
                manifests=manifests,
                results=self._shipper.results or journal.results,
                peak=self._peak,
            ),
            past={RunState.SUCCEEDED, RunState.FAILED},
            commits=True,
        )

    async def _collect(self) -> Collected:
        tools = self._tools
        placed = await self._placed()
        total = 0

        def progress(more: int) -> None:
            nonlocal total
            total += more
            loop.call_soon_threadsafe(lambda: self._progress(Phase.COLLECT, done=total))

        loop = asyncio.get_running_loop()
        return await self._blocking(
            lambda: collect(
                placed,
                store=tools.store,
                cache=tools.cache,
                progress=progress,
                cancelled=self._displaced.is_set,
            )
        )

    async def _placed(self) -> Placed:
        journal = self.journal
        placed = await self._blocking(
            lambda: self._tools.placer.find(journal.project, journal.run, journal.attempt)
        )
        if placed is None:
            raise InvalidInput(
                f"attempt {journal.name}: its directories are gone from node {self._tools.node}"
            )
        return placed

    async def _give_way(self) -> None:
        """Superseded or deleted: stop, remove, delete what this attempt wrote to the store (invariant I2)."""
        tools, journal = self._tools, self.journal
        for container in await self._containers():
            await self._engine(lambda container=container: tools.runtime.stop(container, grace=0.0))  # type: ignore[misc]
        prefix = layout.attempt(journal.project, journal.run, journal.attempt)
        run = await self._stored_run()
        same = [each for each in run.attempts if each.k == journal.attempt] if run else []
        # Of this number another node's claim may have won, and what this one did may have ended well.
        kept = any(each.claim != journal.claim or each.outcome in ("succeeded", "failed") for each in same)
        if not kept:
            await self._patiently(lambda: self._blocking(lambda: tools.store.delete_prefix(prefix)))

    async def _containers(self) -> list[str]:
        """The attempt's container; one that was made and not written down is found by its labels."""
        tools, journal = self._tools, self.journal
        if journal.container or journal.step.order < Step.PLACED.order:
            return [journal.container] if journal.container else []
        found = await self._engine(lambda: tools.runtime.find(tools.site, tools.node_uuid))
        return [status.id for status in found if status.labels.claim == journal.claim]

    async def give_up(self, error: Exception) -> None:
        """End it for a reason that no step foresaw, such as a disk that broke: the run fails and says so.

        Raises StoreUnreachable, and can be called again.
        """
        tools, journal = self._tools, self.journal
        reason = Reason.RUNTIME_ERROR
        if isinstance(error, RuntimeFailure):
            reason = Reason(error.kind)
        elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = Reason.DISK_FULL
        detail = f"node {tools.node}: {error or type(error).__name__}"[:400]
        try:
            for container in await self._containers():
                await tools.runtime.stop(container, grace=0.0)
                await tools.runtime.remove(container)
        except WinslowError as failure:
            detail += f"; its container may still be there: {failure}"[:400]
        event = Ended(**self._where(), outcome="failed", reason=reason, detail=detail)
        self.journal = journal.model_copy(update={"step": Step.COMMITTED})
        try:
            await tools.mirror.commit(journal.project, event)
        except Unreachable:
            raise
        except WinslowError as failure:
            detail = str(failure)  # superseded, deleted or ended: not this attempt's to end any more
        try:
            await self._clean()
        except (WinslowError, OSError):
            self._changed()  # what cannot be removed now, the next start of the agent removes

    async def _clean(self) -> None:
        tools, journal = self._tools, self.journal
        for container in await self._containers():
            await self._engine(lambda container=container: tools.runtime.remove(container))  # type: ignore[misc]
        await self._blocking(lambda: tools.placer.discard(journal.project, journal.run, journal.attempt))
        spool = self._spool()
        await self._blocking(lambda: tree.remove(spool))
        await self._blocking(lambda: tools.journals.remove(journal.project, journal.run, journal.attempt))

    # -- telling the document

    def _where(self) -> dict[str, Any]:
        clock, journal = self._tools.clock, self.journal
        return {
            "id": clock.new_id(),
            "at": clock.wall(),
            "by": self._tools.node,
            "n": journal.run,
            "k": journal.attempt,
            "claim": journal.claim,
        }

    async def _tell_started(self) -> None:
        event = Started(**self._where(), image_digest=self.journal.image_digest, gpus=self.journal.gpus)
        await self._tell(event, past={RunState.RUNNING, RunState.COLLECTING})

    async def _tell(self, event: Event, *, past: set[RunState], commits: bool = False) -> None:
        """Write an event until it stands in the document; `past` are states that it, told by an earlier agent,
        has already led to. Raises _Displaced when the attempt is no longer the current one."""
        tools, journal = self._tools, self.journal
        try:
            if commits:
                # The document that comes back shows the run as ended: that is no displacement.
                self.journal = journal.advance(Step.COMMITTED)
            await self._patiently(lambda: self._readable(lambda project: tools.mirror.commit(project, event)))
        except IllegalTransition:
            run = await self._stored_run()
            if run is None or run.state not in past:
                raise
        except (Superseded, NotFound) as error:
            raise _Displaced from error

    async def _stored_run(self) -> Run | None:
        """The run as the store has it now."""
        document = await self._patiently(lambda: self._readable(self._tools.mirror.refresh))
        return document.run(self.journal.run) if isinstance(document, Project) else None

    async def _readable(self, work: Callable[[str], Awaitable[T]]) -> T:
        """A document that a newer program wrote is waited for: a newer agent will go on with it."""
        try:
            return await work(self.journal.project)
        except InvalidInput as error:
            raise WinslowError(str(error), hint=error.hint) from error

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
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
                    self._event("waiting", f"{error}; trying again")
                await asyncio.sleep(wait * (0.5 + self._tools.jitter() / 2))
                wait = min(wait * 2, _RETRY_LONGEST)

    async def _engine(self, work: Callable[[], Awaitable[T]], *, interruptible: bool = False) -> T:
        """Do it until the container engine answers. A registry that does not is another matter: that is raised.
        `interruptible` raises _Aborted and _Displaced between two tries."""
        wait, said = _RETRY_FIRST, ""
        while True:
            try:
                return await work()
            except RuntimeFailure as failure:
                if not failure.retryable or failure.kind != "runtime_error":
                    raise
                if str(failure) != said:
                    said = str(failure)
                    self._event("waiting", f"{failure}; trying again")
                if interruptible:
                    self._raise_if_interrupted()
                await asyncio.sleep(wait)
                wait = min(wait * 2, _RETRY_LONGEST)

    def _make_shipper(self) -> LogShipper:
        tools, journal = self._tools, self.journal
        topic = self._topic(topics.Log)
        return LogShipper(
            project=journal.project,
            run=journal.run,
            attempt=journal.attempt,
            directory=self._spool(),
            store=tools.store,
            executor=tools.executor,
            publish=lambda offset, data: tools.publish(topic, messages.LogChunk(offset=offset, data=data)),
            now=tools.clock.wall,
            monotonic=tools.clock.monotonic,
            limit=tools.log_limit,
            told=self._told,
        )

    def _spool(self) -> Path:
        journal = self.journal
        inside = self._tools.journals.directory(journal.project, journal.run, journal.attempt)
        return self._tools.spools / f"{inside.parent.name}.{inside.name}"

    def _told(self) -> None:
        assert self._shipper is not None
        self.percent = self._shipper.percent
        self._progress(Phase.RUN, percent=self.percent)
        self._changed()

    async def _ship(self, container: str) -> None:
        """Take the container's output to its end, also across an engine that goes away and comes back."""
        assert self._shipper is not None
        shipper, runtime = self._shipper, self._tools.runtime
        await self._engine(lambda: shipper.ship(runtime.output(container)))

    async def _or_interrupted(self, work: Coroutine[Any, Any, T]) -> T:
        """`work`, unless an abort or a displacement comes first."""
        task = asyncio.create_task(work)
        abort = asyncio.create_task(self._abort.wait())
        displaced = asyncio.create_task(self._displaced.wait())
        try:
            await asyncio.wait({task, abort, displaced}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self._raise_if_interrupted()
            return task.result()
        finally:
            for each in (task, abort, displaced):
                each.cancel()
            await asyncio.gather(task, abort, displaced, return_exceptions=True)

    def _interrupted(self) -> bool:
        return self._abort.is_set() or self._displaced.is_set()

    def _raise_if_interrupted(self) -> None:
        if self._displaced.is_set():
            raise _Displaced
        if self._abort.is_set():
            raise _Aborted

    # -- what viewers see

    def _event(self, kind: str, text: str, data: dict[str, Any] | None = None) -> None:
        if self._shipper is not None:
            self._shipper.event(kind, text, data or {})

    def _claim_sentence(self, run: Run) -> str:
        attempt = run.attempt
        if attempt is None:
            return f"claimed by {self._tools.node}"
        shown = []
        for bid in attempt.bids:
            if bid.kind == "bid":
                parts = ", ".join(f"{name} {seconds:g}" for name, seconds in bid.parts.items())
                shown.append(f"{bid.node} {bid.cost or 0:g} s ({parts})")
            else:
                shown.append(f"{bid.node} {bid.kind}: {bid.reason}")
        return f"claimed by {attempt.node}; bids: {'; '.join(shown) or 'none heard'}"

    def _bids(self, run: Run) -> tuple[Any, ...]:
        return run.attempt.bids if run.attempt else ()

    def _phase(self, phase: Phase) -> None:
        if phase.value != self.phase:
            self._progress(phase)
            self._changed()

    def _progress(
        self, phase: Phase, *, done: int = 0, total: int = 0, percent: float | None = None, text: str = ""
    ) -> None:
        now = self._tools.clock.monotonic()
        if phase.value == self.phase and now - self._progressed < PROGRESS_SECONDS and percent is None:
            return
        self._progressed = now
        self.phase = phase.value
        if percent is None and total:
            percent = min(100.0, 100.0 * done / total)
        self._tools.publish(
            self._topic(topics.Progress),
            messages.Progress(
                phase=phase, percent=percent, bytes=min(done, 2**62), total=total, text=text[:400]
            ),
        )

    def _topic(self, kind: type[Any]) -> Any:
        return kind(project=self.journal.project, run=self.journal.run, attempt=self.journal.attempt)

    async def _measure(self, container: str) -> None:
        tools = self._tools
        requires = self._must_run().stage.requires
        last: tuple[float, int, int, int, int] | None = None
        while True:
            with suppress(RuntimeFailure):
                usage = await tools.runtime.usage(container)
                if usage is not None:
                    now = tools.clock.monotonic()
                    counters = (now, usage.read_bytes, usage.written_bytes, usage.net_in, usage.net_out)
                    rates = [0.0] * 4
                    if last is not None and now > last[0]:
                        rates = [
                            max(0.0, (b - a) / (now - last[0]))
                            for a, b in zip(last[1:], counters[1:], strict=True)
                        ]
                    last = counters
                    self._peak = Peak(
                        memory=max(self._peak.memory, usage.memory), cpus=max(self._peak.cpus, usage.cpus)
                    )
                    tools.publish(
                        self._topic(topics.Stats),
                        metrics.ContainerSample(
                            at=now,
                            cpus=usage.cpus,
                            memory=usage.memory,
                            memory_limit=requires.memory,
                            read_rate=rates[0],
                            write_rate=rates[1],
                            net_in=rates[2],
                            net_out=rates[3],
                            processes=usage.processes,
                        ),
                    )
            await asyncio.sleep(USAGE_SECONDS)

    # -- small things

    async def _record(self, step: Step, **changes: Any) -> None:
        """The journal at a later step; when this returns, a power cut cannot take it back."""
        times = {**self.journal.times, step.value: self._tools.clock.wall()}
        self.journal = self.journal.advance(step, times=times, **changes)
        journal = self.journal
        await self._blocking(lambda: self._tools.journals.write(journal))

    async def _blocking(self, work: Callable[[], T]) -> T:
        """In a thread. After an abort the thread is told and waited for, since nothing may be written late; an
        agent that stops does not wait: its threads end with it, and the next one does it all again."""
        future = asyncio.get_running_loop().run_in_executor(self._tools.executor, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._leaving = True
            if self._interrupted():
                await asyncio.wait({future})
            raise

    def _must_run(self) -> Run:
        if self._run is None:
            raise _Displaced
        return self._run

    def _must_project(self) -> Project:
        if self._project is None:
            raise _Displaced
        return self._project


def _exit_sentence(code: int) -> str:
    """What an exit code says to a person (bash(1), Exit status)."""
    if code == 126:
        return "exit code 126: the command cannot be executed"
    if code == 127:
        return "exit code 127: command not found"
    if code > 128:
        return f"exit code {code}: killed by signal {code - 128}"
    return f"exit code {code}"
