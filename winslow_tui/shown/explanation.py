"""Why a project waits, who bid what, and what its runs do right now: plain data for `winslow explain`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from winslow.hold import hold_id, kept_for_another
from winslow.lifecycle import ProjectState, state_of
from winslow.node import NodeState, Presence
from winslow.offer import Offer, OfferId
from winslow.placement import fits, fits_now, missing_summary
from winslow.project import Attempt, Project, Run, RunState
from winslow.steering import next_stage, way_on

MAX_EARLIER = 3


def explain(project: Project, nodes: Sequence[NodeState] | None) -> dict[str, Any]:
    """What `winslow explain` shows, as plain data; `nodes` None: the broker could not be asked."""
    state, reason = state_with_nodes(project, nodes)
    runs = project.active or project.runs[-1:]
    return {
        "project": project.id,
        "state": state.value,
        "reason": reason,
        "next_stage": next_stage(project),
        "needs": list(project.control.needs),
        "way_on": way_on(project) if state is ProjectState.NEEDS_YOU else "",
        "runs": [_run(project, run, nodes) for run in runs],
    }


def waits_for(project: Project, nodes: Sequence[NodeState]) -> str:
    """What a run of the project waits for; empty where none waits, or a node could take it now."""
    waiting = (run for run in project.active if run.state is RunState.QUEUED)
    return next(filter(None, (_missing(project, run, nodes) for run in waiting)), "")


def state_with_nodes(project: Project, nodes: Sequence[NodeState] | None) -> tuple[ProjectState, str]:
    """As `lifecycle.state_of`; while the project waits and its `nodes` are known, the reason says for what."""
    state, reason = state_of(project)
    if state is ProjectState.WAITING and nodes is not None:
        reason = waits_for(project, nodes) or reason
    return state, reason


def shown_state(run: Run, silent: Iterable[str]) -> str:
    """A run's state for people: UNKNOWN while its node is silent (design 3)."""
    attempt = run.attempt
    if run.state.held and attempt is not None and attempt.node in silent:
        return "UNKNOWN"
    return run.state.value


def silent(project: Project, nodes: Sequence[NodeState] | None) -> frozenset[str]:
    """Nodes that hold a run of the project and do not say that they are there; none where nobody could ask."""
    if nodes is None:
        return frozenset()
    there = {node.node for node in nodes if node.presence is not Presence.OFFLINE}
    return frozenset(
        run.attempt.node for run in project.active if run.attempt and run.attempt.node not in there
    )


def _run(project: Project, run: Run, nodes: Sequence[NodeState] | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "run": run.n,
        "stage": run.stage.name,
        "state": run.state.value,
        "reason": run.reason.value if run.reason else "",
        "detail": run.detail,
        "image": run.stage.image,
        "requires": run.stage.requires.model_dump(mode="json", exclude_defaults=True),
        "attempts": [_attempt(attempt) for attempt in run.attempts[-MAX_EARLIER:]],
    }
    if run.state is RunState.QUEUED:
        told["waits"] = _waits(project, run, nodes)
        told["nodes"] = {
            node.node: _answer(project, node, run) for node in sorted(nodes or (), key=lambda node: node.node)
        }
    return told


def _offer(project: Project, run: Run) -> Offer:
    return Offer(
        id=OfferId(project.id, run.n, run.next_k),
        requires=run.stage.requires,
        secrets=run.secrets,
        priority=project.priority,
    )


def _kept(offer: Offer, node: NodeState) -> str:
    other = kept_for_another(node, offer)
    return f"is kept free for {other.project} #{other.run}" if other is not None else ""


def _missing(project: Project, run: Run, nodes: Sequence[NodeState]) -> str:
    return missing_summary(nodes, run.stage.requires, run.secrets, kept=partial(_kept, _offer(project, run)))


def _waits(project: Project, run: Run, nodes: Sequence[NodeState] | None) -> str:
    if nodes is None:
        return "the broker could not be asked which nodes there are"
    waits = _missing(project, run, nodes) or "a node could take it now: it is being elected"
    offer = _offer(project, run).id
    keepers = sorted(node.node for node in nodes if node.hold is not None and hold_id(node.hold) == offer)
    return f"{waits}; {keepers[0]} is kept free for it" if keepers else waits


def _answer(project: Project, node: NodeState, run: Run) -> Mapping[str, object]:
    offer, requires, secrets = _offer(project, run), run.stage.requires, run.secrets
    never, now = fits(node, requires, secrets), list(fits_now(node, requires, secrets))
    if kept := _kept(offer, node):
        now.append(kept)
    kind = "pass" if never else "busy" if now else "fits"
    if node.hold is not None and hold_id(node.hold) == offer.id:
        now.append("is kept free for it")
    return {"answer": kind, "reasons": list(never or now), "presence": node.presence.value}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt": attempt.k,
        "node": attempt.node,
        "adopted_from": attempt.adopted_from,
        "claimed_at": attempt.claimed_at,
        "outcome": attempt.outcome or "",
        "detail": attempt.detail,
        "bids": [bid.model_dump(mode="json") for bid in attempt.bids],
    }
