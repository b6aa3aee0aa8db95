"""Anti-entropy: what the broker should show but does not, and the other way round (design 4).

Three live agents, chosen by rendezvous hash, compare store and broker every minute; the others when they
connect and every ten minutes; without a broker everybody lists, since nobody tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from hashlib import blake2b

from broker.codec import Payload
from broker.messages import ProjectSummary
from broker.notices import held, offers, topics_of_node, wish_notice
from broker.topics import NodeWish, Offer, Progress, ProjectState, Topic
from node_agent.mirror import Mirror
from node_agent.wishes import WishMirror
from winslow.errors import NotFound, Refused
from winslow.lifecycle import ProjectState as State
from winslow.lifecycle import state_of
from winslow.node import NodeState, Presence
from winslow.project import Project, Tombstone
from winslow.store.port import ObjectStore
from winslow.store.site import ensure_site, read_site

SWEEPERS = 3
OFTEN, SELDOM, ALONE = 60.0, 600.0, 5.0


def sweepers(nodes: Sequence[str]) -> list[str]:
    """The nodes that sweep often: the first three by hash, the same for everybody who sees the same nodes."""
    return sorted(nodes, key=lambda node: blake2b(node.encode(), digest_size=8).digest())[:SWEEPERS]


class Entropy:
    """What this agent has seen retained on the broker, and how to make it true. `nodes` gives every node's state."""

    def __init__(
        self,
        *,
        mirror: Mirror,
        wishes: WishMirror,
        nodes: Callable[[], Mapping[str, NodeState]],
        publish: Callable[[Topic, Payload | None], None],
        wall: Callable[[], str],
        new_id: Callable[[], str],
    ) -> None:
        self._mirror = mirror
        self._wishes = wishes
        self._nodes = nodes
        self._publish = publish
        self._wall = wall
        self._new_id = new_id
        self._site = ""
        self._wished: dict[str, int] = {}
        self._states: dict[str, tuple[int, str]] = {}  # each project's revision and reason
        self._offers: set[Offer] = set()
        self._progress: set[Progress] = set()
        self.due = asyncio.Event()

    def saw_wish(self, node: str, revision: int | None) -> None:
        """The retained notice of a node's wish came in; None: it was cleared."""
        if revision is None:
            self._wished.pop(node, None)
        else:
            self._wished[node] = revision

    def saw_state(self, project: str, shown: ProjectSummary | None) -> None:
        """A project's retained state came in; None: it was cleared."""
        if shown is None:
            self._states.pop(project, None)
        else:
            self._states[project] = (shown.revision, shown.reason)

    def saw_offer(self, offer: Offer, *, present: bool) -> None:
        """A retained offer came in, or was cleared."""
        if present:
            self._offers.add(offer)
        else:
            self._offers.discard(offer)

    def saw_progress(self, progress: Progress) -> None:
        """An attempt's retained progress came in; its node clears it, unless it died."""
        self._progress.add(progress)

    def forget(self) -> None:
        """A new connection: a broker that was killed may have lost what it showed before."""
        self._wished.clear()
        self._states.clear()
        self._offers.clear()
        self._progress.clear()

    def interval(self, *, me: str, online: Sequence[str], connected: bool) -> float:
        """Seconds to the next listing."""
        if not connected:
            return ALONE
        return OFTEN if self.sweeps(me=me, online=online) else SELDOM

    def sweeps(self, *, me: str, online: Sequence[str]) -> bool:
        """Whether this agent is one of those that sweep for all."""
        return me in sweepers([*online, me])

    async def heal(self, store: ObjectStore, executor: Executor) -> None:
        """Publish what the broker lacks, clear what is no longer true. The mirror is fresh.

        A topic is cleared only where a document that was read says so, or its absence was confirmed by a read,
        and only while the store is the one it was at the start. Raises StoreUnreachable, or Refused for another.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(executor, self._check_site, store)
        nodes = self._nodes()
        await self._heal_wishes(nodes)
        for document in self._mirror.all():
            if isinstance(document, Tombstone):
                self._clear_project(document.id)
                continue
            self._heal_state(document, list(nodes.values()))
            for offer, hint in offers(document).items():
                if offer not in self._offers:
                    self._publish(offer, hint)
        for project in {*self._states, *(offer.project for offer in self._offers)}:
            known = self._mirror.get(project) or await self._mirror.refresh(project)
            if not isinstance(known, Project):
                self._clear_project(project)
                continue
            standing = offers(known)
            for offer in [each for each in self._offers if each.project == project and each not in standing]:
                self._publish(offer, None)
        while self._progress:
            progress = self._progress.pop()
            if progress not in held(self._mirror.get(progress.project)):
                known = await self._mirror.refresh(progress.project)
                if progress not in held(known):
                    self._publish(progress, None)

    def _heal_state(self, document: Project, nodes: Sequence[NodeState]) -> None:
        """Where a run waits for what no node has, what that is changes with the nodes, not with the document."""
        revision, reason = self._states.get(document.id, (0, ""))
        waits = state_of(document)[0] is State.WAITING
        if revision < document.revision or (waits and revision == document.revision):
            summary = ProjectSummary.of(document, updated=self._wall(), nodes=nodes)
            if revision < document.revision or reason != summary.reason:
                self._publish(ProjectState(project=document.id), summary)

    async def _heal_wishes(self, nodes: Mapping[str, NodeState]) -> None:
        for wish in self._wishes.all():
            state = nodes.get(wish.node)
            if not wish.forgotten:
                if self._wished.get(wish.node, 0) < wish.revision:
                    self._publish(*wish_notice(wish))
            elif wish.node in self._wished or (state and state.presence is Presence.OFFLINE):
                for topic in topics_of_node(wish.node):
                    self._publish(topic, None)
        for node in tuple(self._wished):
            if self._wishes.get(node) is None and await self._wishes.refresh(node) is None:
                self._publish(NodeWish(node=node), None)

    def _check_site(self, store: ObjectStore) -> None:
        """An emptied or exchanged store says nothing about what once was there."""
        try:
            site = ensure_site(store, new_id=self._new_id()) if not self._site else read_site(store)
        except NotFound as error:
            raise Refused(f"{store}: its site.json is gone: nothing on the broker is cleared") from error
        if self._site and site.id != self._site:
            raise Refused(f"{store}: belongs to another site now: nothing on the broker is cleared")
        self._site = site.id

    def _clear_project(self, project: str) -> None:
        if project in self._states:
            self._publish(ProjectState(project=project), None)
        for offer in [each for each in self._offers if each.project == project]:
            self._publish(offer, None)
