"""What an earlier agent of this node left behind, and what becomes of it (design 6, Recovery).

    journal and document agree       adopt: go on from the journalled step
    given up for lost, still QUEUED  adopt too: the attempt is kept, and this node bids to go on with it
    its wanted number is its own     adopt too: the attempt goes on under that number
    journal is of an older attempt   adopt too: the attempt sees that it was displaced and leaves no trace
    intent without a claim           forget: the conditional write did not happen
    rebooted, no exit journalled     the attempt is lost; only the node itself can know that
    container without a journal      stop and remove: what it worked on cannot be told any more
    directory without a journal      remove, and what was lent of the node's secrets
    the document cannot be read      leave all as it is until it can

Containers of other sites and other nodes are never touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from node_agent import tree
from node_agent.journal import AttemptJournal, BadJournal, Step
from node_agent.mirror import Mirror
from node_agent.tools import Tools
from winslow.project import Project


@dataclass(frozen=True)
class Found:
    """Attempts to go on with; those to adopt when their documents can be read again; and journals that could
    not be read (already put aside)."""

    adopted: tuple[AttemptJournal, ...]
    left_alone: tuple[AttemptJournal, ...]
    bad: tuple[BadJournal, ...]


async def find(tools: Tools, mirror: Mirror) -> Found:
    """Look at disk, engine and documents. Raises StoreUnreachable, or RuntimeFailure where the engine is away."""
    loop = asyncio.get_running_loop()
    loaded = await loop.run_in_executor(tools.executor, tools.journals.load)
    await mirror.sweep()
    adopted = []
    left_alone = [each for each in loaded.journals if mirror.unreadable(each.project)]
    for journal in loaded.journals:
        if journal in left_alone:
            continue
        if journal.step is Step.INTENT and not _stands(mirror, journal):
            await loop.run_in_executor(tools.executor, tools.journals.remove, journal)
            continue
        adopted.append(journal)
    for leftover in loaded.leftovers:
        await loop.run_in_executor(tools.executor, tree.remove, leftover)
        with suppress(OSError):  # another attempt's lies there
            leftover.parent.rmdir()
    await _remove_strangers(tools, [*adopted, *left_alone])
    homes = [tools.journals.home(journal) for journal in (*adopted, *left_alone)]
    await loop.run_in_executor(tools.executor, tools.vault.take_back_others, homes)
    return Found(adopted=tuple(adopted), left_alone=tuple(left_alone), bad=loaded.bad)


def _stands(mirror: Mirror, journal: AttemptJournal) -> bool:
    document = mirror.get(journal.project)
    run = document.run(journal.run) if isinstance(document, Project) else None
    return run is not None and any(each.claim == journal.claim for each in run.attempts)


async def _remove_strangers(tools: Tools, adopted: Sequence[AttemptJournal]) -> None:
    known = {(each.project, each.run, each.made_as.attempt, each.made_as.claim) for each in adopted}
    for status in await tools.runtime.find(tools.site, tools.node_uuid):
        labels = status.labels
        if (labels.project, labels.run, labels.attempt, labels.claim) not in known:
            await tools.runtime.stop(status.id, grace=0.0)
            await tools.runtime.remove(status.id)
