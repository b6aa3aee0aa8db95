"""What a change of a project document means for the broker's retained topics (design 4): pure.

Whoever wrote the document publishes these. They are hints: losing them costs time, never truth.
"""

from __future__ import annotations

from collections.abc import Mapping

from broker.messages import OfferHint, ProjectSummary
from broker.topics import Offer, Progress, ProjectState
from winslow.project import Project, RunState, Tombstone

Notice = tuple[ProjectState, ProjectSummary | None] | tuple[Offer, OfferHint | None] | tuple[Progress, None]


def offers(document: Project | Tombstone | None) -> dict[Offer, OfferHint]:
    """The offers that stand in a document."""
    if not isinstance(document, Project):
        return {}
    return {
        Offer(project=document.id, run=run.n, attempt=run.next_k): OfferHint.of(document, run)
        for run in document.runs
        if run.state is RunState.QUEUED
    }


def held(document: Project | Tombstone | None) -> frozenset[Progress]:
    """The topics of progress that may stand: those of attempts that a node has now."""
    if not isinstance(document, Project):
        return frozenset()
    return frozenset(
        Progress(project=document.id, run=run.n, attempt=run.attempt.k)
        for run in document.runs
        if run.state.held and run.attempt is not None
    )


def notices(
    *,
    old: Project | Tombstone | None,
    new: Project | Tombstone | None,
    project_id: str,
    updated: str = "",
    percents: Mapping[tuple[int, int], float] | None = None,
) -> list[Notice]:
    """What to publish after `old` became `new`: offers that no longer stand first (None clears), then new
    offers, then the summary. A tombstone or a missing document clears everything the project had; the progress
    of an attempt that is over is cleared too, since its node may be gone for good."""
    before, after = offers(old), offers(new)
    result: list[Notice] = [(topic, None) for topic in before if topic not in after]
    result += [(topic, None) for topic in held(old) - held(new)]
    result += [(topic, hint) for topic, hint in after.items() if topic not in before]
    if isinstance(new, Project):
        summary = ProjectSummary.of(new, updated=updated, percents=percents)
        result.append((ProjectState(project=project_id), summary))
    else:
        result.append((ProjectState(project=project_id), None))
    return result
