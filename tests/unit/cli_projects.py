"""Projects in every state, made by the lifecycle alone, for tests of what people see."""

from __future__ import annotations

import itertools

from winslow import lifecycle
from winslow.events import (
    AbortRequested,
    Claimed,
    Deleted,
    Ended,
    Event,
    Exited,
    Paused,
    PipelineChanged,
    RunQueued,
    Started,
)
from winslow.pipeline import parse
from winslow.project import BidRecord, Manifests, Project, Reason, Tombstone

PIPELINE = """
name: traffic
stages:
  - {name: detect, image: img, requires: {gpus: {count: 2, memory: 24GiB}}}
  - {name: track, image: img, requires: {cpus: 2}}
"""
_ids = itertools.count()
BIDS = (
    BidRecord(node="ws1", kind="bid", cost=1.5, parts={"fetch": 1.0, "load": 0.5}),
    BidRecord(node="ws2", kind="busy", reason="needs 2 cores, 1 free"),
)


def event_id() -> str:
    """Another one each time."""
    return f"event-{next(_ids)}"


def new(id_: str = "ulm-abcd", name: str = "Ulm") -> Project:
    """Paused before its first stage."""
    return lifecycle.create(
        id=id_, event_id=event_id(), name=name, pipeline=parse(PIPELINE, source="test"), source_revision=1
    )


def after(project: Project, *events: Event) -> Project:
    """The project after some events."""
    for event in events:
        changed = lifecycle.apply(project, event)
        assert isinstance(changed, Project)
        project = changed
    return project


def queued(project: Project | None = None, *, single: bool = False) -> Project:
    """Its next stage waits for a node."""
    return after(project or new(), RunQueued(id=event_id(), advance="single" if single else "auto", by="ann"))


def running(project: Project | None = None, *, single: bool = False) -> Project:
    """A node runs its stage."""
    project = queued(project, single=single)
    run = project.runs[-1]
    return after(
        project,
        Claimed(id=event_id(), n=run.n, k=1, claim="c", node="ws1", node_uuid="uuid-ws1", bids=BIDS),
        Started(id=event_id(), n=run.n, k=1, claim="c", at="2026-01-01T10:00:00.123Z"),
    )


def ended(
    project: Project | None = None,
    *,
    ok: bool = True,
    single: bool = False,
    manifests: Manifests | None = None,
) -> Project:
    """Its stage has ended."""
    return finished(running(project, single=single), ok=ok, manifests=manifests)


def ended_like(project: Project, *, ok: bool = True, manifests: Manifests | None = None) -> Project:
    """The run that waits for a node has found one, and ended."""
    n = project.runs[-1].n
    claimed = Claimed(id=event_id(), n=n, k=1, claim="c", node="ws1", node_uuid="uuid-ws1")
    return finished(
        after(project, claimed, Started(id=event_id(), n=n, k=1, claim="c")), ok=ok, manifests=manifests
    )


def finished(project: Project, *, ok: bool = True, manifests: Manifests | None = None) -> Project:
    """The run that runs has ended."""
    n = project.runs[-1].n
    return after(
        project,
        Exited(id=event_id(), n=n, k=1, claim="c", exit_code=0 if ok else 7),
        Ended(
            id=event_id(),
            n=n,
            k=1,
            claim="c",
            outcome="succeeded" if ok else "failed",
            reason=None if ok else Reason.EXIT_CODE,
            detail="" if ok else "exit code 7",
            manifests=manifests or Manifests(),
            results={"cars": "3"} if ok else {},
        ),
    )


def paused() -> Project:
    """A person asked for it while the first stage ran, which has succeeded since."""
    project = after(running(), Paused(id=event_id(), note="look first"))
    return after(
        project,
        Exited(id=event_id(), n=1, k=1, claim="c", exit_code=0),
        Ended(id=event_id(), n=1, k=1, claim="c", outcome="succeeded"),
    )


def succeeded() -> Project:
    """Both stages went well."""
    project = ended()
    run = project.runs[-1]
    return after(
        project,
        Claimed(id=event_id(), n=run.n, k=1, claim="d", node="ws1", node_uuid="uuid-ws1"),
        Started(id=event_id(), n=run.n, k=1, claim="d"),
        Exited(id=event_id(), n=run.n, k=1, claim="d", exit_code=0),
        Ended(id=event_id(), n=run.n, k=1, claim="d", outcome="succeeded"),
    )


def needing() -> Project:
    """Its second stage needs a value that nobody has set."""
    project = new()
    detect, track = project.pipeline.definition.stages
    track = track.model_copy(update={"require_env": ("LANE",)})
    definition = project.pipeline.definition.model_copy(update={"stages": (detect, track)})
    return ended(after(project, PipelineChanged(id=event_id(), definition=definition, base=1)))


def story(*stages: str, manifests: bool = True) -> Project:
    """Runs of these stages, one after the other, all of them succeeded with a workspace of their own."""
    project = new()
    for n, stage in enumerate(stages, start=1):
        asked = RunQueued(id=event_id(), stage=stage, advance="single", confirmed=True)
        left = Manifests(workspace=f"projects/ulm-abcd/runs/{n}.1/workspace/manifest.json")
        project = ended_like(after(project, asked), manifests=left if manifests else None)
    return project


def aborted() -> Project:
    """Aborted while it waited."""
    return after(queued(), AbortRequested(id=event_id(), by="ann"))


def deleted() -> Tombstone:
    """Nothing but the mark is left."""
    tombstone = lifecycle.apply(new(), Deleted(id=event_id()))
    assert isinstance(tombstone, Tombstone)
    return tombstone
