"""What a change of a project document means for the broker's topics (design 4): pure.

Whoever wrote the document publishes these. They are hints: losing them costs time, never truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from broker.messages import ActivityRecord, OfferHint, ProjectSummary, WishNotice
from broker.topics import Activity, NodeHistory, NodeState, NodeWish, Offer, Progress, ProjectState
from winslow import activity
from winslow.node import NodeState as Node
from winslow.node_wish import NodeWish as Wish
from winslow.project import Project, RunState, Tombstone

Notice = (
    tuple[ProjectState, ProjectSummary | None]
    | tuple[Activity, ActivityRecord]
    | tuple[Offer, OfferHint | None]
    | tuple[Progress, None]
)


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
    nodes: Sequence[Node] | None = None,
) -> list[Notice]:
    """What to publish after `old` became `new`: offers that no longer stand first (None clears), then new
    offers, then what this one write did, then the summary. A tombstone or a missing document clears everything the
    project had; the progress of an attempt that is over is cleared too, since its node may be gone for good. `nodes`
    are all that are known, for what the summary says of a run that waits; None where they are not."""
    before, after = offers(old), offers(new)
    result: list[Notice] = [(topic, None) for topic in before if topic not in after]
    result += [(topic, None) for topic in held(old) - held(new)]
    result += [(topic, hint) for topic, hint in after.items() if topic not in before]
    record = activity.newest(new) if new is not None else None
    if new is not None and record is not None:
        result.append((Activity(project=project_id), ActivityRecord.of(new, record)))
    if isinstance(new, Project):
        summary = ProjectSummary.of(new, updated=updated, percents=percents, nodes=nodes)
        result.append((ProjectState(project=project_id), summary))
    else:
        result.append((ProjectState(project=project_id), None))
    return result


def wish_notice(wish: Wish) -> tuple[NodeWish, WishNotice | None]:
    """What to publish of a node's wish; None clears it."""
    return NodeWish(node=wish.node), None if wish.forgotten else WishNotice.of(wish)


def topics_of_node(node: str) -> tuple[NodeState | NodeHistory | NodeWish, ...]:
    """Every retained topic of a node: to be cleared when it is forgotten."""
    return NodeState(node=node), NodeHistory(node=node), NodeWish(node=node)
