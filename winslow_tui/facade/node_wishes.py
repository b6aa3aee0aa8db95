"""A person's wishes for nodes: draining, labels, removal (design 3, 6), whether the node is there or not.

The store has the wish; the broker tells a live node at once, and another reads it when it comes back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from winslow import events
from winslow.errors import Conflict, InvalidInput, NotFound, Refused
from winslow.node import NodeState, Presence
from winslow.node_wish import (
    DrainEnded,
    DrainWished,
    Event,
    Forgotten,
    Labelled,
    NodeWish,
    check_label,
    effective_labels,
)
from winslow.project import Project
from winslow.store import layout
from winslow.store.wishes import Wishes
from winslow_tui.facade.link import Link
from winslow_tui.facade.names import nearest
from winslow_tui.facade.nodes import Nodes
from winslow_tui.facade.projects import Projects, Unreadable
from winslow_tui.facade.waiting import OutOfReach

LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class HeldRun:
    """A run that a document says a node has."""

    project: str
    run: int
    attempt: int
    claim: str
    stage: str

    def __str__(self) -> str:
        return f"{self.project} #{self.run} {self.stage}"


class NodeWishes:
    """One person's wishes, over a link of theirs."""

    def __init__(self, link: Link, nodes: Nodes, projects: Projects) -> None:
        self._link = link
        self._nodes = nodes
        self._projects = projects

    @cached_property
    def _wishes(self) -> Wishes:
        return Wishes(self._link.store, patience=self._link.patience)

    def read(self, node: str) -> NodeWish | None:
        """What is wanted of a node now; None where nobody ever wanted anything."""
        try:
            return self._wishes.read(node).document
        except NotFound:
            return None

    def drain(self, node: str, *, reason: str = "") -> NodeWish:
        """Let the node take nothing new; what runs there finishes."""
        self._check_known(node, self._nodes.if_known())
        return self._wish(node, DrainWished(reason=reason, **self._link.stamp()))

    def undrain(self, node: str) -> NodeWish:
        """Let it take part again."""
        self._check_known(node, self._nodes.if_known())
        return self._wish(node, DrainEnded(**self._link.stamp()))

    def label(self, node: str, *, add: Sequence[str], remove: Sequence[str]) -> tuple[str, ...]:
        """Give a node labels and take given ones away; all it has now. Raises Refused for one that its own
        configuration gives it."""
        for label in add:
            check_label(label)
        if both := sorted(set(add) & set(remove)):
            raise InvalidInput(f"the label '{both[0]}' is to be added and removed at once")
        states = self._nodes.if_known()
        self._check_known(node, states)
        state = next((each for each in states or () if each.node == node), None)
        configured = state.configured_labels if state is not None else ()
        given = self._labels(node)
        for label in remove:
            if label in configured and label not in given:
                raise Refused(
                    f"the label '{label}' comes from the configuration of node '{node}'",
                    hint=f"take it out of [agent] labels there (on {state.host if state else node}) and restart "
                    "the agent",
                )
        wish = self._wish(node, Labelled(add=tuple(add), remove=tuple(remove), **self._link.stamp()))
        return effective_labels(configured, wish)

    def held(self, node: str) -> list[HeldRun]:
        """The runs that documents say the node has; a project that cannot be read is told of."""
        found = []
        for project in self._projects.all():
            if isinstance(project, Project):
                found += [
                    HeldRun(project.id, run.n, run.attempt.k, run.attempt.claim, run.stage.name)
                    for run in project.active
                    if run.state.held and run.attempt is not None and run.attempt.node == node
                ]
            elif isinstance(project, Unreadable):
                self._link.say(
                    f"{project.id} cannot be read: whether '{node}' has something of it is unknown"
                )
        return found

    def check_forgettable(self, node: str) -> None:
        """Raises Refused while the node is there, NotFound for one that never was, BrokerUnreachable."""
        states = self._nodes.all()
        self._check_known(node, states)
        for state in states:
            if state.node == node and state.presence is not Presence.OFFLINE:
                raise Refused(
                    f"node '{node}' is {state.presence.value} (on {state.host or 'an unknown host'})",
                    hint="stop its agent first: systemctl stop winslow-agent there, or ctrl+c where it runs in a "
                    "terminal",
                )

    def forget(self, node: str) -> list[HeldRun]:
        """Remove a node for good; the runs that it had, now lost: their retry rules decide. Doing it again
        finishes what was cut. Raises as `check_forgettable`."""
        self.check_forgettable(node)
        event = Forgotten(**self._link.stamp())
        self._wish(node, event)
        lost = []
        for each in self.held(node):
            loss = events.Lost(
                n=each.run,
                k=each.attempt,
                claim=each.claim,
                detail=f"node {node} was removed from the site by {event.by}",
                **self._link.stamp(),
            )
            try:
                self._link.change(each.project, loss)
            except (Conflict, Refused, NotFound):
                continue  # it has moved on since it was read
            lost.append(each)
        self._link.store.delete(layout.alive(node))
        self._link.broker(lambda: self._clear(node))
        return lost

    def wait_drained(self, node: str, *, timeout: float | None) -> None:
        """Return when the node takes nothing new and nothing runs there any more.

        Raises OutOfReach after `timeout` seconds with what still runs, Conflict when somebody took the wish back,
        BrokerUnreachable.
        """
        from broker import topics
        from winslow_tui.facade import live

        end = None if timeout is None else time.monotonic() + timeout
        latest: NodeState | None = None
        said = False

        def look(payload: object) -> bool:
            nonlocal latest, said
            if isinstance(payload, NodeState):
                latest = payload
            else:
                self._check_draining(node)
            if latest is not None and latest.presence is not Presence.OFFLINE:
                if latest.presence is not Presence.DRAINING or not latest.idle:
                    return False
            elif not said:
                self._link.say(f"node '{node}' is away; waiting until no project says that it has a run")
                said = True
            # An agent that has just started drains too, and has not yet looked what is left there.
            return not self.held(node)

        if not live.wait_for(
            self._link.config,
            topics.NodeState(node=node).path,
            look,
            every=LOOK_SECONDS,
            seconds=None if end is None else max(0.0, end - time.monotonic()),
        ):
            runs = [str(each) for each in self.held(node)]
            what = f"still has {', '.join(runs)}" if runs else "did not say that it drains"
            raise OutOfReach(f"node '{node}' {what} after {timeout:g} s")

    # -- inside

    def _check_draining(self, node: str) -> None:
        wish = self.read(node)
        if wish is None or wish.drain is None:
            by = f" by {wish.by}" if wish is not None and wish.by else ""
            raise Conflict(f"node '{node}' was told meanwhile{by} to take part")

    def _labels(self, node: str) -> tuple[str, ...]:
        wish = self.read(node)
        return wish.labels if wish is not None else ()

    def _check_known(self, node: str, states: Sequence[NodeState] | None) -> None:
        """Raises NotFound for a name that neither broker nor store has ever heard of."""
        names: Mapping[str, None] = dict.fromkeys(state.node for state in states or ())
        if node in names or self.read(node) is not None:
            return
        try:
            self._link.store.get(layout.alive(node))
        except NotFound:
            raise NotFound(
                f"there is no node '{node}'", hint=nearest(node, names, "winslow node list")
            ) from None

    def _wish(self, node: str, event: Event) -> NodeWish:
        from broker.notices import wish_notice
        from winslow_tui.facade import live

        wish = self._wishes.update(node, event).document
        self._link.broker(lambda: live.publish(self._link.config, [wish_notice(wish)]))
        return wish

    def _clear(self, node: str) -> None:
        from broker.notices import topics_of_node
        from winslow_tui.facade import live

        live.publish(self._link.config, [(topic, None) for topic in topics_of_node(node)])
