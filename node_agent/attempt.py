"""One attempt's life on its node, as small idempotent steps (design 6).

    claimed -> image -> placed -> created -> started -> exited -> collected -> committed -> gone

Each step is journalled when it is done, so an agent killed at any point goes on from there. A running
container needs none of this: it goes on by itself, and the next agent takes its exit from the engine.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from typing import Literal

from broker.messages import Phase
from node_agent import preparing, tree, watching
from node_agent.collect import Collected, collect
from node_agent.held import Aborted, Displaced, Held
from node_agent.journal import AttemptJournal, Step
from node_agent.keeping import Keeping
from node_agent.outcome import Outcome, failed, judge
from node_agent.reservations import Key
from node_agent.runtime.port import RuntimeFailure
from node_agent.standing import Holding
from node_agent.tools import Tools
from winslow.errors import Conflict, InvalidInput, NotFound, Unreachable, WinslowError
from winslow.events import Ended
from winslow.placement import size_text
from winslow.project import BidRecord, Project, Reason, RunState, Tombstone
from winslow.store import layout

CLEAN_AFTER = 0.1
"""Seconds from the write that ends a run to the removal of what it left here: the next stage's election goes first."""


class Attempt:
    """See the module. `changed` is called when `phase` or `percent` changes, `spent` when the attempt needs its
    resources no longer: before the write that queues the next stage, so that this node can bid on it; `rests` when
    it was given up for lost and its container can go on, `renumbered` with its old key when it goes on."""

    def __init__(
        self,
        *,
        journal: AttemptJournal,
        tools: Tools,
        changed: Callable[[], None],
        spent: Callable[[], None],
        rests: Callable[[], None],
        renumbered: Callable[[Key], None],
    ) -> None:
        self._tools = tools
        self._changed = changed
        self._spent = spent
        self._rests = rests
        self._renumbered = renumbered
        self._take(journal)

    def _take(self, journal: AttemptJournal) -> None:
        self._held = Held(journal=journal, tools=self._tools, changed=self._changed)
        self._keeping = Keeping(self._held, rests=self._rests)

    @property
    def journal(self) -> AttemptJournal:
        """As it is now."""
        return self._held.journal

    @property
    def key(self) -> Key:
        """Project, run and number."""
        journal = self.journal
        return (journal.project, journal.run, journal.attempt)

    @property
    def holding(self) -> Holding:
        """Whether the node may bid for the run's next number with the container that is here."""
        return self._keeping.holding

    @property
    def phase(self) -> str:
        """What it does, as viewers see it."""
        return "held" if self.holding is Holding.YES else self._held.telling.phase

    @property
    def percent(self) -> float | None:
        """The stage's own progress."""
        return self._held.telling.percent

    @property
    def stage(self) -> str:
        """The stage's name, as far as it is known."""
        run = self._held.known_run
        return run.stage.name if run else self.journal.stage

    def document(self, document: Project | Tombstone | None) -> None:
        """A newer version of the project's document was read."""
        self._held.document(document)

    def answers_for(self, claim: str) -> bool:
        """Whether a document's attempt with this claim is this one, by what it has or has asked for."""
        wanted = self.journal.wanted
        return claim == self.journal.claim or (wanted is not None and claim == wanted.claim)

    async def claim(self, attempt: int, bids: Sequence[BidRecord]) -> bool:
        """Ask for the run's next number, to go on under it; False: it is somebody else's. Raises OSError."""
        return await self._keeping.claim(attempt, bids)

    # -- life

    async def run(self) -> None:
        """Live to the end. Returns when nothing of the attempt is left on this node."""
        while await self._displaced():
            journal = await self._keeping.rest()
            if journal is None:
                await self._give_way()
                break
            old = self.key
            self._take(journal)
            self._renumbered(old)
        else:
            await asyncio.sleep(CLEAN_AFTER)
        await self._clean()

    async def _displaced(self) -> bool:
        """Live under the number it has, to the end; True when the document did not let it."""
        if self._held.displaced.is_set():
            return True
        displaced = False
        try:
            async with self._held.telling.open():
                try:
                    outcome = await self._live()
                    await self._finish(outcome)
                except Displaced:
                    displaced = True
        finally:
            self._held.telling.close()
        return displaced

    async def _live(self) -> Outcome:
        held = self._held
        step = held.journal.step
        if held.journal.origin is not None and held.run.state is RunState.PREPARING:
            held.telling.adopted(held.run)
        if step is Step.EXITED:
            await watching.make_up(held)
        if step.order >= Step.EXITED.order:
            return self._judge()
        try:
            if step.order < Step.PLACED.order:
                await held.or_interrupted(preparing.prepare(held))
            if step.order < Step.STARTED.order:
                held.raise_if_interrupted()
                await preparing.start(held)  # not cut off: the engine would go on with what was asked of it
        except Aborted:
            held.telling.event("aborted", "aborted before it started")
            return failed(Reason.ABORTED, "aborted before it started")
        except RuntimeFailure as failure:
            held.telling.event("failed", str(failure))
            return failed(Reason(failure.kind), str(failure))
        except (NotFound, InvalidInput, Conflict) as error:
            held.telling.event("failed", str(error))
            return failed(Reason.INPUT_MISSING, str(error))
        await watching.watch(held, seen=step.order < Step.STARTED.order)
        return self._judge()

    def _judge(self) -> Outcome:
        held = self._held
        stage = held.known_run.stage if held.known_run else None
        return judge(held.journal, stage, aborted=held.abort.is_set())

    # -- the end

    async def _finish(self, outcome: Outcome) -> None:
        """Store what the stage left, then one write that ends the run and begins what comes next."""
        held = self._held
        shipper, journal = held.telling.shipper, held.journal
        manifests = journal.manifests
        if journal.step.order >= Step.EXITED.order and journal.step.order < Step.COLLECTED.order:
            held.telling.enter(Phase.COLLECT)
            try:
                collected = await held.patiently(self._collect)
            except Unreachable:
                raise
            except WinslowError as error:
                held.raise_if_displaced()  # that is what stopped it
                held.telling.event("collect", str(error))
                outcome = failed(Reason.STORAGE, str(error))
            else:
                manifests = collected.manifests
                self._tools.sources.keep(manifests.workspace, collected.workspace)  # for the next stage
                for note in collected.notes:
                    held.telling.event("collect", note)
                changes = collected.changes
                held.telling.event(
                    "stored",
                    f"workspace: {len(changes.added)} new, {len(changes.changed)} changed,"
                    f" {len(changes.removed)} removed; output: {collected.outputs};"
                    f" {size_text(collected.bytes_uploaded)} sent",
                )
                await held.record(Step.COLLECTED, manifests=manifests, results=shipper.results)
        held.raise_if_displaced()
        held.telling.event("ended", "succeeded" if outcome.succeeded else f"failed: {outcome.detail}")
        await held.patiently(shipper.finish)
        self._spent()
        literal: Literal["succeeded", "failed"] = "succeeded" if outcome.succeeded else "failed"
        await held.tell(
            Ended(
                **held.where(),
                outcome=literal,
                reason=outcome.reason,
                detail=outcome.detail,
                exit_code=journal.exit_code,
                manifests=manifests,
                results=shipper.results or journal.results,
                peak=journal.peak,
            ),
            past={RunState.SUCCEEDED, RunState.FAILED},
            commits=True,
        )

    async def _collect(self) -> Collected:
        held, tools = self._held, self._tools
        placed = await held.placed()
        total = 0

        def progress(more: int) -> None:
            nonlocal total
            total += more
            loop.call_soon_threadsafe(lambda: held.telling.progress(Phase.COLLECT, done=total))

        loop = asyncio.get_running_loop()
        return await held.blocking(
            lambda: collect(
                placed,
                store=tools.store,
                cache=tools.cache,
                progress=progress,
                cancelled=held.displaced.is_set,
            )
        )

    async def _give_way(self) -> None:
        """Superseded or deleted: stop, remove, delete what this attempt wrote to the store (invariant I2)."""
        held, tools, journal = self._held, self._tools, self.journal
        for container in await held.containers():
            await held.engine(lambda container=container: tools.runtime.stop(container, grace=0.0))  # type: ignore[misc]
        prefix = layout.attempt(journal.project, journal.run, journal.attempt)
        run = await held.stored_run()
        same = [each for each in run.attempts if each.k == journal.attempt] if run else []
        # Of this number another node's claim may have won, and what this one did may have ended well.
        kept = any(each.claim != journal.claim or each.outcome in ("succeeded", "failed") for each in same)
        if not kept:
            await held.patiently(lambda: held.blocking(lambda: tools.store.delete_prefix(prefix)))

    async def give_up(self, error: Exception) -> None:
        """End it for a reason that no step foresaw, such as a disk that broke: the run fails and says so.

        Raises StoreUnreachable, and can be called again.
        """
        held, tools, journal = self._held, self._tools, self.journal
        reason = Reason.RUNTIME_ERROR
        if isinstance(error, RuntimeFailure):
            reason = Reason(error.kind)
        elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = Reason.DISK_FULL
        detail = f"node {tools.node}: {error or type(error).__name__}"[:400]
        try:
            for container in await held.containers():
                await tools.runtime.stop(container, grace=0.0)
                await tools.runtime.remove(container)
        except WinslowError as failure:
            detail += f"; its container may still be there: {failure}"[:400]
        event = Ended(**held.where(), outcome="failed", reason=reason, detail=detail)
        held.journal = journal.model_copy(update={"step": Step.COMMITTED})
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
        held, tools, journal = self._held, self._tools, self.journal
        for container in await held.containers():
            await held.engine(lambda container=container: tools.runtime.remove(container))  # type: ignore[misc]
        made_as = journal.made_as.attempt
        await held.blocking(lambda: tools.placer.discard(journal.project, journal.run, made_as))
        await held.blocking(lambda: tools.vault.take_back(tools.journals.home(journal)))
        await held.blocking(lambda: tree.remove(held.telling.spool))
        await held.blocking(lambda: tools.journals.remove(journal))
