"""Every command of a person and of a node over a bad link to the store: none twice, none lost (invariant I10)."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

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
from winslow_tui.changes import Changes
from winslow_tui.client import Client
from winslow_tui.link import Link

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

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.truth = MemoryStore()
        self.link = FaultyStore(self.truth, self.fault)
        patience = VirtualTime().patience(self.rng, deadline=30.0)
        self.bad = 0.0
        config = Config(settings=Settings(), origins={})
        link = Link(config, store=self.link, patience=patience, new_id=self.event_id)
        self.client = Client(config, link=link)
        self.documents = link.documents
        self.drawn = 0
        self.applied: list[str] = []
        self.refused: list[str] = []

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
            lambda: client.runs.start(
                project_id, stage=rng.choice([None, "one", "two"]), changes=Changes(single=rng.random() < 0.5)
            ),
            lambda: client.runs.pause(project_id),
            lambda: client.runs.resume(project_id),
            lambda: client.runs.abort(project_id),
        ]
        if rng.random() < 0.4:
            self.command(rng.choice(person))
            return
        document = Documents(self.truth).read(project_id).document
        event = self.node_event(document) if isinstance(document, Project) else None
        if event is not None:
            self.command(lambda: self.documents.update(project_id, event, apply=lifecycle.apply))


def test_no_command_is_lost_or_applied_twice_in_1000_seeds() -> None:
    unknown = faults = deleted = 0
    for seed in range(SEEDS):
        site = Everybody(seed)
        site.client.pipelines.apply(TEXT, source="two.yaml")
        project_id = site.client.projects.create("Two", pipeline="two").id
        site.bad = site.rng.choice([0.2, 0.5, 0.8])
        for _ in range(COMMANDS):
            site.step(project_id)
        if seed % 4 == 0:
            site.command(lambda site=site, project_id=project_id: site.client.projects.delete(project_id))  # type: ignore[misc]
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


def test_creating_and_applying_over_a_bad_link() -> None:
    for seed in range(SEEDS // 4):
        site = Everybody(seed)
        site.bad = 0.5
        revisions, created = [], []
        for number in range(3):
            with suppress(StoreUnreachable):
                text = TEXT + f"description: version {number}\n"
                revisions.append((site.client.pipelines.apply(text, source="two.yaml")[1], text))
        for number in range(3):
            with suppress(StoreUnreachable, NotFound):
                created.append(site.client.projects.create(f"P {number}", pipeline="two").id)
        site.link.flush()
        for revision, text in revisions:
            assert site.truth.get(layout.pipeline_text("two", revision)).data.decode() == text
        assert len({revision for revision, _ in revisions}) == len(revisions)
        there = [info.key for info in site.truth.walk(layout.DOCUMENTS + "projects/")]
        assert {layout.project_document(each) for each in created} <= set(there)
        assert len(there) <= 3
