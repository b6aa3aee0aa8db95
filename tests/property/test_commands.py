"""Every command of a person and of a node over a bad link to the store: none twice, none lost (invariant I10)."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.faults.counter import VirtualTime, event_ids
from tests.faults.store import Fault, FaultyStore
from winslow import lifecycle
from winslow.config import Config, Settings
from winslow.errors import Conflict, NotFound, Refused, StoreUnreachable
from winslow.events import Claimed, Disowned, Ended, Event, Exited, Lost, Started
from winslow.project import Project, Tombstone
from winslow.store import layout
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore
from winslow.store.pipelines import Pipelines
from winslow_tui import client as facade
from winslow_tui.client import Client

SEEDS = 1000
COMMANDS = 14
TEXT = """
name: two
stages:
  - {name: one, image: i, retry: {max: 1, on: [node_lost, storage]}}
  - {name: two, image: i}
"""


class Everybody:
    """One seed: a person's commands and a node's events over the same bad link, and what was acknowledged."""

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rng = random.Random(seed)
        self.truth = MemoryStore()
        self.link = FaultyStore(self.truth, self.fault)
        patience = VirtualTime().patience(self.rng, deadline=30.0)
        self.bad = 0.0
        self.client = Client(Config(settings=Settings(), origins={}), say=lambda _: None, store=self.link)
        vars(self.client)["documents"] = self.documents = Documents(self.link, patience=patience)
        vars(self.client)["pipelines"] = Pipelines(self.link, patience=patience)
        self.drawn = 0
        self.applied: list[str] = []
        self.refused: list[str] = []
        monkeypatch.setattr(facade, "_event_id", self.event_id)

    def fault(self, operation: str, key: str) -> Fault:
        if operation != "put" or self.rng.random() >= self.bad:
            return Fault.NONE
        return self.rng.choice([Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.TWICE, Fault.LATE])

    def event_id(self) -> str:
        self.drawn += 1
        return f"event-{self.drawn}"

    def command(self, call: Callable[[], object]) -> None:
        """Its event's id goes to `applied` or `refused`; to neither when the outcome stayed unknown."""
        try:
            call()
        except (Refused, Conflict, NotFound):
            self.refused.append(f"event-{self.drawn}")
        except StoreUnreachable:
            pass
        else:
            self.applied.append(f"event-{self.drawn}")

    def node_event(self, project: Project) -> Event | None:
        run = next(iter(project.active), None)
        if run is None:
            return None
        who = {"id": self.event_id(), "n": run.n}
        if not run.state.held or run.attempt is None:
            more = {"k": run.next_k, "claim": f"claim-{self.drawn}", "node": "ws1", "node_uuid": "u"}
            return Claimed.model_validate(who | more)
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
        client, rng = self.client, self.rng
        person: list[Callable[[], object]] = [
            lambda: client.start(
                project_id, stage=rng.choice([None, "one", "two"]), single=rng.random() < 0.5
            ),
            lambda: client.pause(project_id),
            lambda: client.resume(project_id),
            lambda: client.abort(project_id),
        ]
        if rng.random() < 0.4:
            self.command(rng.choice(person))
            return
        document = Documents(self.truth).read(project_id).document
        event = self.node_event(document) if isinstance(document, Project) else None
        if event is not None:
            self.command(lambda: self.documents.update(project_id, event, apply=lifecycle.apply))


def test_no_command_is_lost_or_applied_twice_in_1000_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = faults = deleted = 0
    for seed in range(SEEDS):
        site = Everybody(seed, monkeypatch)
        site.client.apply_pipeline(TEXT, source="two.yaml")
        project_id = site.client.create_project("Two", pipeline="two").id
        site.bad = site.rng.choice([0.2, 0.5, 0.8])
        for _ in range(COMMANDS):
            site.step(project_id)
        if seed % 4 == 0:
            site.command(lambda site=site, project_id=project_id: site.client.delete_project(project_id))  # type: ignore[misc]
        site.link.flush()
        document = Documents(site.truth).read(project_id).document
        recent = event_ids(document)
        assert len(recent) == len(set(recent)) == document.revision, f"seed {seed}: an event twice"
        assert set(site.applied) <= set(recent), f"seed {seed}: an acknowledged command is lost"
        assert not set(site.refused) & set(recent), f"seed {seed}: a refused command took effect"
        unknown += site.drawn - 2 - len(site.applied) - len(site.refused)
        faults += sum(fault is not Fault.NONE for _, _, fault in site.link.seen)
        deleted += isinstance(document, Tombstone)
    assert faults > 3 * SEEDS and unknown < SEEDS and deleted > 0.2 * SEEDS


def test_creating_and_applying_over_a_bad_link(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(SEEDS // 4):
        site = Everybody(seed, monkeypatch)
        site.bad = 0.5
        revisions, created = [], []
        for number in range(3):
            with suppress(StoreUnreachable):
                text = TEXT + f"description: version {number}\n"
                revisions.append((site.client.apply_pipeline(text, source="two.yaml")[1], text))
        for number in range(3):
            with suppress(StoreUnreachable, NotFound):
                created.append(site.client.create_project(f"P {number}", pipeline="two").id)
        site.link.flush()
        for revision, text in revisions:
            assert site.truth.get(layout.pipeline_text("two", revision)).data.decode() == text
        assert len({revision for revision, _ in revisions}) == len(revisions)
        there = [info.key for info in site.truth.walk(layout.DOCUMENTS + "projects/")]
        assert {layout.project_document(each) for each in created} <= set(there)
        assert len(there) <= 3
