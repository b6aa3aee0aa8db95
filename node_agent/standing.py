"""What a document says of an attempt that this node remembers (design 6, Loss). Pure."""

from __future__ import annotations

from enum import StrEnum

from node_agent.journal import AttemptJournal, ClaimedNumber, Step
from winslow.project import Project, RunState, Tombstone


class Standing(StrEnum):
    """What becomes of the attempt."""

    CURRENT = "current"  # this node has the run by this attempt, or has ended it
    LOST = "lost"  # given up for lost, and nobody has the run: who holds its container may ask for the next number
    WON = "won"  # the next number is this node's, and the container's
    DISPLACED = "displaced"  # somebody else's, aborted, failed or deleted: it must leave no trace


class Holding(StrEnum):
    """Whether this node could go on with a lost attempt of a run."""

    NO = "no"
    PERHAPS = "perhaps"  # its attempt has still to come to rest, and its container to be looked at
    YES = "yes"


def standing(journal: AttemptJournal, document: Project | Tombstone | None) -> Standing:
    """The attempt's standing by the newest `document` of its project; None where there is none any more."""
    run = document.run(journal.run) if isinstance(document, Project) else None
    if run is None:
        return Standing.DISPLACED
    if run.state.held and run.attempt is not None:
        current = ClaimedNumber(attempt=run.attempt.k, claim=run.attempt.claim)
        if current == ClaimedNumber(attempt=journal.attempt, claim=journal.claim):
            return Standing.CURRENT
        return Standing.WON if current == journal.wanted else Standing.DISPLACED
    if journal.step.order >= Step.COMMITTED.order:
        return Standing.CURRENT
    lost = any(
        (each.k, each.claim, each.outcome) == (journal.attempt, journal.claim, "lost")
        for each in run.attempts
    )
    started = journal.step.order >= Step.STARTED.order
    return Standing.LOST if lost and started and run.state is RunState.QUEUED else Standing.DISPLACED
