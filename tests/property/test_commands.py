"""Every command of a person and of a node over a bad link to the store: none twice, none lost (invariant I10)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import get_args

from tests.faults.counter import VirtualTime, event_ids
from tests.faults.store import Fault, FaultyStore
from tests.unit import cli_projects as make
from winslow import lifecycle, node_wish
from winslow.config import Config, Settings
from winslow.errors import Conflict, NotFound, Refused, StoreUnreachable
from winslow.events import (
    Claimed,
    Disowned,
    Ended,
    Event,
    Exited,
    Lost,
    Started,
    WorkspaceEdited,
    WorkspaceRestored,
)
from winslow.pipeline import Retention
from winslow.project import PauseReason, Project, Tombstone
from winslow.steering import next_workspace
from winslow.store import layout
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore
from winslow.store.pipelines import Pipelines
from winslow.store.wishes import Wishes
from winslow_tui.facade.changes import Changes
from winslow_tui.facade.client import Client
from winslow_tui.facade.link import Link

SEEDS = 1000
COMMANDS = 24
TEXT = """
name: two
confirmation: always
stages:
  - {name: one, image: i, retry: {max: 1, on: [node_lost, storage]}}
  - {name: two, image: i, require_env: [LANE]}
"""
ARRIVES = 0.2  # of the late writes, ahead of each later request
KINDS = {each.model_fields["kind"].default for each in get_args(get_args(Event)[0])}
OFTEN = 20  # times that each command must have been acknowledged in all seeds


class Everybody:
    """One seed: a person's commands and a node's events over the same bad link, and what was acknowledged."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.truth = MemoryStore()
        self.link = FaultyStore(self.truth, self.fault, arrives=lambda: self.rng.random() < ARRIVES)
        patience = VirtualTime().patience(self.rng, deadline=30.0)
        self.bad = 0.0
        config = Config(settings=Settings(), origins={})
        link = Link(config, store=self.link, patience=patience, new_id=self.event_id)
        self.client = Client(config, link=link)
        self.documents = link.documents
        self.drawn = 0
        self.applied: list[str] = []
        self.refused: list[str] = []
        self.acknowledged: Counter[str] = Counter()

    def fault(self, operation: str, key: str) -> Fault:
        if operation != "put" or self.rng.random() >= self.bad:
            return Fault.NONE
        return self.rng.choice([Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.TWICE, Fault.LATE])

    def event_id(self) -> str:
        self.drawn += 1
        return f"event-{self.drawn}"

    def command(self, name: str, call: Callable[[], object]) -> None:
        """Its events' ids go to `applied` or `refused`; the last to neither when the outcome stayed unknown.

        A command of several events ends with the first that is not applied."""
        before = self.drawn
        outcome: list[str] = []
        try:
            call()
        except (Refused, Conflict, NotFound):
            outcome = self.refused
        except StoreUnreachable:
            pass
        else:
            outcome = self.applied
            self.acknowledged[name] += 1
        ids = [f"event-{number}" for number in range(before + 1, self.drawn + 1)]
        self.applied += ids[:-1]
        outcome += ids[-1:]

    def report(self, project: Project) -> None:
        """A node says something of the project's active run, which may make no sense."""
        self.documents.update(project.id, self.node_event(project), apply=lifecycle.apply)

    def node_event(self, project: Project) -> Event:
        run = project.active[0]
        who = {"id": self.event_id(), "n": run.n}
        if not run.state.held or run.attempt is None:
            more = {"k": run.next_k, "claim": f"claim-{self.drawn}", "node": "ws1", "node_uuid": "u"}
            lost = [each.k for each in run.attempts if each.outcome == "lost"]
            return Claimed.model_validate(who | more | {"adopts": self.rng.choice([None, *lost])})
        where = who | {"k": run.attempt.k, "claim": run.attempt.claim}
        failed = {"outcome": "failed", "reason": self.rng.choice(["exit_code", "storage"])}
        told: list[Event] = [
            Started.model_validate(where),
            Exited.model_validate(where | {"exit_code": 0}),
            Ended.model_validate(where | {"outcome": "succeeded"}),
            Ended.model_validate(where | failed),
            Lost.model_validate(where),
            Disowned.model_validate(where),
        ]
        return self.rng.choice(told)

    def step(self, project_id: str) -> None:
        document = Documents(self.truth).read(project_id).document
        assert isinstance(document, Project)
        if self.rng.random() < 0.6:
            every = self.person(document)
            name = self.rng.choice([*every, *likely(document) * 8])
            self.command(name, every[name])
        elif document.active:
            self.command("event", lambda: self.report(document))

    def person(self, project: Project) -> dict[str, Callable[[], object]]:
        """Every command of a person on a project, with arguments drawn anew; many make no sense at the moment."""
        runs, projects, pruning, rng = self.client.runs, self.client.projects, self.client.pruning, self.rng
        id_, stage, n = project.id, rng.choice(["one", "two"]), rng.randint(1, len(project.runs) + 1)
        changes = Changes(env={"LANE": str(n)}, requires={"cpus": n}, single=rng.random() < 0.5)
        place = str(rng.randint(1, 2))
        return {
            "start": lambda: runs.start(id_, stage=rng.choice([None, stage])),
            "start with changes": lambda: runs.start(id_, stage=stage, changes=changes),
            "resume": lambda: runs.resume(id_),
            "resume with changes": lambda: runs.resume(id_, changes=changes),
            "redo": lambda: runs.redo(id_, n),
            "pause": lambda: runs.pause(id_),
            "abort": lambda: runs.abort(id_),
            "abort now": lambda: runs.abort(id_, now=True),
            "enqueue": lambda: runs.enqueue(id_, stage=stage, first=rng.random() < 0.5),
            "enqueue like": lambda: runs.enqueue(id_, like=n, changes=changes),
            "move": lambda: runs.move(id_, place, rng.randint(1, 3)),
            "dequeue": lambda: runs.dequeue(id_, [place]),
            "dequeue two": lambda: runs.dequeue(id_, ["1", "2"]),
            "answer": lambda: runs.answer(id_, {"LANE": "1"}),
            "confirm": lambda: runs.confirm(id_),
            "rename": lambda: projects.rename(id_, f"Two {n}"),
            "tag": lambda: projects.tag(id_, add=[f"t{n}"], remove=["t1"]),
            "participate": lambda: projects.participate(id_, add=["ann"], remove=["bob"]),
            "environment": lambda: projects.set_env(id_, {"CONF": str(n)}),
            "environment without": lambda: projects.set_env(id_, {}, unset=["CONF"]),
            "prioritize": lambda: projects.prioritize(id_, n),
            "comment": lambda: projects.comment(id_, f"text {n}"),
            "archive": lambda: projects.archive(id_),
            "take back": lambda: projects.archive(id_, archived=False),
            "retain": lambda: projects.retain(id_, rng.choice([None, Retention(keep_last=n)])),
            "pin": lambda: pruning.pin(id_, [n]),
            "unpin": lambda: pruning.unpin(id_, [n]),
            "prune": lambda: pruning.prune(pruning.plan(id_, [n])),
            "change pipeline": lambda: self.change_pipeline(project, n),
            "edit files": lambda: self.edit(project, n),
            "restore files": lambda: self.restore(project),
        }

    def edit(self, seen: Project, n: int) -> None:
        """The event of `winslow files put PROJECT#next:`, whose objects go another way."""
        _, base, parent = next_workspace(seen)
        event = WorkspaceEdited(id=self.event_id(), manifest=f"edit {n}", base=base, parent=parent)
        self.client.link.change(seen.id, event)

    def restore(self, seen: Project) -> None:
        """The event of `winslow files restore`."""
        last = seen.edited or seen.initial
        manifest = last.manifest if last else "none"
        self.client.link.change(seen.id, WorkspaceRestored(id=self.event_id(), manifest=manifest))

    def change_pipeline(self, seen: Project, n: int) -> None:
        definition = seen.pipeline.definition.model_copy(update={"description": f"number {n}"})
        self.client.projects.change_pipeline(seen, definition)


def likely(project: Project) -> list[str]:
    """Commands that make sense in the project's state and in few others."""
    if project.archived:
        return ["take back"]
    found = {
        PauseReason.INPUT_REQUIRED: ["answer"],
        PauseReason.CONFIRMATION: ["confirm"],
    }.get(project.control.reason or PauseReason.NEW, [])
    found += ["dequeue two", "move"] if len(project.queue) > 1 else []
    return found if project.active else [*found, "start", "redo", *_of_files(project)]


def _of_files(project: Project) -> list[str]:
    return ["restore files"] if project.edited or project.initial else ["edit files"]


def test_no_command_is_lost_or_applied_twice_in_1000_seeds() -> None:
    unknown = faults = deleted = 0
    acknowledged: Counter[str] = Counter()
    took_effect: set[str] = set()
    for seed in range(SEEDS):
        site = Everybody(seed)
        site.client.pipelines.apply(TEXT, source="two.yaml")
        project_id = site.client.projects.create("Two", pipeline="two").id
        site.bad = site.rng.choice([0.2, 0.5, 0.8])
        for _ in range(COMMANDS):
            site.step(project_id)
        if seed % 4 == 0:
            site.command("delete", partial(site.client.projects.delete, project_id))
        site.link.flush()
        document = Documents(site.truth).read(project_id).document
        recent = event_ids(document)
        assert len(recent) == len(set(recent)) == document.revision, f"seed {seed}: an event twice"
        assert set(site.applied) <= set(recent), f"seed {seed}: an acknowledged command is lost"
        assert not set(site.refused) & set(recent), f"seed {seed}: a refused command took effect"
        unknown += site.drawn - 2 - len(site.applied) - len(site.refused)
        faults += sum(fault is not Fault.NONE for _, _, fault in site.link.seen)
        deleted += isinstance(document, Tombstone)
        if isinstance(document, Project):
            took_effect |= {each.kind for each in document.recent_events}
        acknowledged += site.acknowledged
    assert faults > 3 * SEEDS and unknown < SEEDS and deleted > 0.2 * SEEDS
    every = {*Everybody(0).person(make.new()), "event", "delete"}
    assert {name for name in every if acknowledged[name] < OFTEN} == set(), acknowledged
    assert KINDS - took_effect == {"deleted"}, "a kind of event that nothing here sends"


def test_no_wish_for_a_node_is_lost_or_applied_twice_in_1000_seeds() -> None:
    took_effect: set[str] = set()
    for seed in range(SEEDS):
        site = Everybody(seed)
        site.bad = site.rng.choice([0.2, 0.5, 0.8])
        wishes = Wishes(site.link, patience=site.client.link.patience)
        for _ in range(6):
            label = site.rng.choice("ab")
            wanted: list[node_wish.Event] = [
                node_wish.DrainWished(id=site.event_id(), reason="a new disk"),
                node_wish.DrainEnded(id=site.event_id()),
                node_wish.Labelled(id=site.event_id(), add=(label,)),
                node_wish.Labelled(id=site.event_id(), remove=(label,)),
                node_wish.Forgotten(id=site.event_id()),
                node_wish.Returned(id=site.event_id()),
            ]
            event = site.rng.choice(wanted)
            try:
                wishes.update("ws1", event)
            except (Refused, NotFound):
                site.refused.append(event.id)
            except StoreUnreachable:
                continue
            else:
                site.applied.append(event.id)
        site.link.flush()
        held = Wishes(site.truth).read("ws1").document.recent_events if site.applied else ()
        ids = [each.id for each in held]
        assert len(ids) == len(set(ids)), f"seed {seed}: an event twice"
        assert set(site.applied) <= set(ids), f"seed {seed}: an acknowledged wish is lost"
        assert not set(site.refused) & set(ids), f"seed {seed}: a refused wish took effect"
        took_effect |= {each.kind for each in held}
    assert took_effect == {each.model_fields["kind"].default for each in get_args(node_wish.Event)}


def test_creating_and_applying_over_a_bad_link() -> None:
    for seed in range(SEEDS):
        site = Everybody(seed)
        site.bad = 0.5
        revisions, created = [], []
        for number in range(2):
            with suppress(StoreUnreachable):
                text = TEXT + f"description: version {number}\n"
                revisions.append((site.client.pipelines.apply(text, source="two.yaml")[1], text))
        with suppress(StoreUnreachable, NotFound):
            created.append(site.client.projects.create("P", pipeline="two").id)
        for original in tuple(created):
            with suppress(StoreUnreachable):
                created.append(site.client.projects.clone(original, "Q", with_input=True).id)
        gone = False
        if seed % 3 == 0:
            with suppress(StoreUnreachable, NotFound):
                site.client.pipelines.delete("two")
                gone = True
        site.link.flush()
        if gone:
            assert Pipelines(site.truth).heads() == [], f"seed {seed}: an acknowledged deletion is lost"
        for revision, text in revisions if seed % 3 else ():
            assert site.truth.get(layout.pipeline_text("two", revision)).data.decode() == text
        assert len({revision for revision, _ in revisions}) == len(revisions)
        there = [info.key for info in site.truth.walk(layout.DOCUMENTS + "projects/")]
        assert {layout.project_document(each) for each in created} <= set(there)
        assert len(there) <= 2
