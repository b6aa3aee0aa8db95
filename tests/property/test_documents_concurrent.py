"""Any interleaving of clients over any links: each event once, in an order all can read (design 3, I10)."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.faults.counter import Added, VirtualTime, add, added_to, new_project
from tests.faults.store import Fault, FaultyStore
from winslow.errors import Conflict, NotFound, StoreUnreachable
from winslow.project import Project, Tombstone
from winslow.store.documents import Documents
from winslow.store.memory import MemoryStore

PROJECT = "count-abcd"
CLIENTS = 3
fault_lists = st.lists(st.sampled_from(list(Fault)), max_size=12)


class Clients(RuleBasedStateMachine):
    """Three clients, each with a link of its own; late requests stay on their way between the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = MemoryStore()
        self.links = [FaultyStore(self.inner, lambda *_: Fault.NONE) for _ in range(CLIENTS)]
        self.sent: list[str] = []
        self.acknowledged: list[str] = []
        self.held: tuple[str, ...] = ()
        self.deleted = False

    def documents(self, client: int, faults: list[Fault]) -> Documents:
        left = list(faults)
        self.links[client].plan = lambda *_: left.pop(0) if left else Fault.NONE
        patience = VirtualTime().patience(random.Random(len(self.sent)), deadline=0.3)
        return Documents(self.links[client], patience=patience)

    @initialize(faults=fault_lists)
    def create(self, faults: list[Fault]) -> None:
        try:
            self.documents(0, faults).create(new_project())
        except StoreUnreachable:
            self.links[0].flush()
            try:
                Documents(self.inner).create(new_project())
            except Conflict:
                raise AssertionError("the project is ours, whoever's copy landed") from None

    def send(self, client: int, event: Added, faults: list[Fault]) -> None:
        try:
            stored = self.documents(client, faults).update(PROJECT, event, apply=add)
            assert stored.document.holds(event.id)
            self.acknowledged.append(event.id)
        except StoreUnreachable:
            pass
        except NotFound:
            assert self.deleted

    @rule(client=st.integers(0, CLIENTS - 1), faults=fault_lists)
    def change(self, client: int, faults: list[Fault]) -> None:
        event = Added(f"e{len(self.sent)}")
        self.sent.append(event.id)
        self.send(client, event, faults)

    @rule(client=st.integers(0, CLIENTS - 1), faults=fault_lists, which=st.integers(0, 1_000))
    def repeat(self, client: int, faults: list[Fault], which: int) -> None:
        """Somebody gives the same event again, which an operator's script may well do."""
        if self.sent:
            self.send(client, Added(self.sent[which % len(self.sent)]), faults)

    @rule(client=st.integers(0, CLIENTS - 1))
    def arrive(self, client: int) -> None:
        self.links[client].flush()

    @rule(client=st.integers(0, CLIENTS - 1))
    def delete(self, client: int) -> None:
        def bury(project: Project, event: Added) -> Tombstone:
            recent = (*(each.id for each in project.recent_events), event.id)
            return Tombstone(
                id=project.id, revision=project.revision + 1, name=project.name, recent_events=recent
            )

        if len(self.sent) > 20 and not self.deleted:
            self.documents(client, []).update(PROJECT, Added("deleted"), apply=bury)
            self.deleted = True

    @invariant()
    def each_event_stands_once_and_history_only_grows(self) -> None:
        try:
            document = Documents(self.inner).read(PROJECT).document
        except NotFound:
            assert not self.sent  # nothing is made yet
            return
        if isinstance(document, Tombstone):
            assert self.deleted
            return
        assert not self.deleted
        held = added_to(Documents(self.inner), PROJECT)
        assert len(set(held)) == len(held) and set(held) <= set(self.sent)
        assert set(self.acknowledged) <= set(held)
        assert held[: len(self.held)] == self.held
        self.held = held


Clients.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestClients = Clients.TestCase
