"""Removing the workspaces of runs: what may go, what others still point to, and going on after a cut."""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from node_agent.prunes import Prunes
from tests.faults.store import Fault, FaultyStore
from tests.unit import cli_projects as make
from winslow import retention
from winslow.address import parse
from winslow.config import Config, Settings
from winslow.errors import NotFound, Refused
from winslow.events import Enqueued, FilesPruned, PinsChanged, RetentionChanged, RunQueued, WorkspaceEdited
from winslow.pipeline import Retention
from winslow.project import Project, encode
from winslow.store import layout
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore
from winslow.store.pruning import leftovers, sweep
from winslow.workspace import Entry, EntryType, Manifest
from winslow.workspace import encode as encode_manifest
from winslow_tui.facade.client import Client
from winslow_tui.facade.filing import check_kept
from winslow_tui.facade.link import Link
from winslow_tui.facade.pruning import PrunePlan

ID = "ulm-abcd"


def key(n: int, name: str) -> str:
    return layout.object_(ID, n, 1, "workspace", name)


def entry(object_: str, data: bytes = b"data") -> Entry:
    return Entry(
        path=object_.rpartition("/")[2] + object_.split("/")[3][0],
        type=EntryType.FILE,
        object=object_,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def leave(store: MemoryStore, n: int, *, own: tuple[str, ...], old: tuple[str, ...] = ()) -> None:
    """Run `n` left objects of its own, and its manifest points to `old` ones of earlier runs, too."""
    for name in own:
        store.put(key(n, name), b"data")
    keys = [*(key(n, name) for name in own), *old]
    manifest = Manifest(project=ID, run=n, attempt=1, entries=tuple(entry(each) for each in keys))
    store.put(layout.manifest(ID, n, 1, "workspace"), encode_manifest(manifest))


def workspaces(store: MemoryStore) -> set[str]:
    """Objects of workspaces, manifests left out."""
    every = {info.key for info in store.walk(layout.project(ID))}
    return {each for each in every if "/workspace/" in each and not each.endswith("manifest.json")}


def site(*stages: str) -> tuple[MemoryStore, Project]:
    """Each run leaves `a` and `b`; its manifest points to `a` of the run before it, too."""
    store, project = MemoryStore(), make.story(*stages)
    for run in project.runs:
        leave(store, run.n, own=("a", "b"), old=(key(run.n - 1, "a"),) if run.n > 1 else ())
    return store, project


def client(store: MemoryStore | FaultyStore, project: Project) -> Client:
    truth = store.inner if isinstance(store, FaultyStore) else store
    truth.put(layout.project_document(ID), encode(project))
    return Client(
        Config(settings=Settings(), origins={}),
        link=Link(Config(settings=Settings(), origins={}), store=store),
    )


def test_what_another_manifest_points_to_stays() -> None:
    store, project = site("detect", "detect", "detect")
    (found,) = leftovers(store, project, [1])
    assert [info.key for info in found.unneeded] == [key(1, "b")]
    assert [info.key for info in found.shared] == [key(1, "a")]
    first, second = leftovers(store, project, [1, 2])
    assert [info.key for info in (*first.unneeded, *second.unneeded)] == [
        key(1, "a"),
        key(1, "b"),
        key(2, "b"),
    ]


def test_a_sweep_removes_nothing_else_and_can_be_repeated() -> None:
    store, project = site("detect", "detect", "detect")
    store.put(layout.log_segment(ID, 1, 1, first_byte=0, first_line=0), b"log")
    before = {info.key for info in store.walk("")}
    project = make.after(project, FilesPruned(id="p", runs=(1,)))
    assert sweep(store, project) == 4
    assert before - {info.key for info in store.walk("")} == {key(1, "b")}
    assert sweep(store, project) == 0
    project = make.after(project, FilesPruned(id="q", runs=(2,)))  # whose manifest kept `a` of run 1
    sweep(store, project)
    assert workspaces(store) == {key(2, "a"), key(3, "a"), key(3, "b")}


def test_files_that_a_person_changed_for_the_next_run_keep_what_they_point_to() -> None:
    store, project = site("detect", "detect")
    changed = layout.edit_manifest(ID, "token")
    manifest = Manifest(project=ID, kind="edited", run=2, attempt=0, entries=(entry(key(1, "b")),))
    store.put(changed, encode_manifest(manifest))
    parent = layout.manifest(ID, 2, 1, "workspace")
    project = make.after(
        project,
        WorkspaceEdited(id="e", manifest=changed, base=2, parent=parent),
        FilesPruned(id="p", runs=(1,)),
    )
    assert sweep(store, project) == 0
    assert workspaces(store) == {key(n, name) for n in (1, 2) for name in "ab"}


def test_nothing_is_removed_while_a_manifest_that_is_kept_cannot_be_read() -> None:
    store, project = site("detect", "detect")
    project = make.after(project, FilesPruned(id="p", runs=(1,)))
    store.put(layout.manifest(ID, 2, 1, "workspace"), b"{}")
    with pytest.raises(Refused, match="nothing is removed"):
        sweep(store, project)
    store.delete(layout.manifest(ID, 2, 1, "workspace"))
    with pytest.raises(Refused, match="nothing is removed"):
        sweep(store, project)
    assert len(workspaces(store)) == 4


def test_the_rule_says_what_goes_and_why_the_rest_stays() -> None:
    _, project = site("detect", "detect", "detect", "detect")
    project = make.after(
        project,
        RetentionChanged(id="r", retention=Retention(keep_last=2)),
        PinsChanged(id="p", add=(1,)),
        Enqueued(id="q", stage="track", workspace=3),
    )
    assert retention.prunable(project) == (2,)
    assert retention.stays(project) == {
        1: "it is pinned",
        3: "a run of 'track' that waits will use them",
        4: "it is the latest of 'detect'",
    }
    project = make.after(project, RetentionChanged(id="s", retention=None))
    assert retention.prunable(project) == ()
    assert retention.stays(project)[2] == "succeeded runs are kept"


def test_a_client_marks_first_and_removes_then() -> None:
    store, project = site("detect", "detect", "track")
    used = client(store, project)
    plan = used.pruning.plan(ID, [1, 2])
    assert (plan.runs, plan.bytes, plan.next_without) == ((1, 2), 12, (2,))
    assert len(workspaces(store)) == 6  # a plan changes nothing
    assert used.pruning.prune(plan) == 12
    assert [each.n for each in used.project(ID).pruned] == [1, 2]
    assert workspaces(store) == {key(2, "a"), key(3, "a"), key(3, "b")}
    assert used.pruning.plan(ID, [1]).runs == ()
    with pytest.raises(NotFound):
        used.pruning.plan(ID, [9])


def test_what_an_active_run_refers_to_is_refused_before_and_at_the_write() -> None:
    store, project = site("detect", "detect")
    used = client(store, project)
    plan = used.pruning.plan(ID, [2])
    used.runs.start(ID, stage="track")
    with pytest.raises(Refused, match="run #3"):
        used.pruning.prune(plan)
    with pytest.raises(Refused, match="run #3"):
        used.pruning.plan(ID, [2])
    assert len(workspaces(store)) == 4


class Cut(BaseException):
    """The client's machine goes off."""


def test_an_agent_finishes_what_a_killed_client_left() -> None:
    store, project = site("detect", "detect", "detect")
    deletions = 0

    def plan(operation: str, key: str) -> Fault:
        nonlocal deletions
        deletions += operation == "delete"
        if deletions == 2:
            raise Cut
        return Fault.NONE

    used = client(FaultyStore(store, plan), project)
    with pytest.raises(Cut):
        used.pruning.prune(used.pruning.plan(ID, [1, 2]))
    assert len(workspaces(store)) > 3
    with ThreadPoolExecutor(1) as pool:
        seen = FaultyStore(store, lambda operation, key: Fault.NONE)
        documents = Documents(seen)
        prunes = Prunes(store=seen, documents=documents, executor=pool)
        every = [documents.read(ID).document]
        asyncio.run(prunes.finish(every))
        assert workspaces(store) == {key(2, "a"), key(3, "a"), key(3, "b")}
        seen.seen.clear()
        asyncio.run(prunes.finish(every))
        assert seen.seen == []  # once is enough


def test_an_agent_that_cannot_know_what_must_stay_says_so_once_and_goes_on() -> None:
    store, project = site("detect", "detect")
    project = make.after(project, FilesPruned(id="p", runs=(1,)))
    store.put(layout.project_document(ID), encode(project))
    store.delete(layout.manifest(ID, 2, 1, "workspace"))
    with ThreadPoolExecutor(1) as pool:
        prunes = Prunes(store=store, documents=Documents(store), executor=pool)
        with pytest.raises(Refused, match="nothing is removed"):
            asyncio.run(prunes.finish([project]))
        asyncio.run(prunes.finish([project]))
    assert len(workspaces(store)) == 4


def test_files_of_a_pruned_run_are_listed_and_not_fetched() -> None:
    project = make.after(
        make.story("detect", "detect"), FilesPruned(id="p", runs=(1,), by="ann", at="2026-03-02T09:15:00Z")
    )
    with pytest.raises(
        Refused, match=r"run #1 of ulm-abcd were removed to free space \(by ann, 2026-03-02\)"
    ):
        check_kept(parse(f"{ID}#1:a"), project)
    check_kept(parse(f"{ID}#2:a"), project)
    check_kept(parse("res:a"), None)


def test_a_run_that_began_before_a_prune_keeps_what_it_was_given() -> None:
    """An active run's own manifest is not there yet: what it began with protects what it will point to."""
    store, project = site("detect", "detect")
    project = make.after(
        project, FilesPruned(id="p", runs=(1,)), RunQueued(id="q", stage="track", confirmed=True)
    )
    sweep(store, project)
    assert key(1, "a") in workspaces(store)


def test_an_empty_plan_has_nothing_to_remove() -> None:
    plan = PrunePlan(project=make.new(), leftovers=(), stays={})
    assert (plan.runs, plan.bytes) == ((), 0)
