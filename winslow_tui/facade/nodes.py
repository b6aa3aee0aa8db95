"""What the broker keeps of nodes, as a person's commands ask for it (R1510 to R1530)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from winslow import lifecycle
from winslow.errors import Unreachable, UsageError
from winslow.metrics import HistoryPoint, NodeHistory
from winslow.node import NodeState
from winslow.project import Project
from winslow_tui.facade.link import Link

if TYPE_CHECKING:
    from broker.messages import WishNotice


@dataclass(frozen=True)
class NodeUsage:
    """What the broker keeps of nodes, by name."""

    states: dict[str, NodeState]
    wishes: dict[str, WishNotice]
    usage: dict[str, HistoryPoint]


class Nodes:
    """The site's nodes, over one person's link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def all(self) -> list[NodeState]:
        """Every node that was ever seen and not removed, by name. Raises BrokerUnreachable or UsageError."""
        from broker import topics
        from winslow_tui.facade import live

        found = [each.payload for each in live.retained(self._link.config, topics.NODE_STATES)]
        return sorted((each for each in found if isinstance(each, NodeState)), key=lambda node: node.node)

    def usage(self) -> NodeUsage:
        """Every node, what people want of it, and the newest point of its history. Raises as `all`."""
        from broker import messages, topics
        from winslow_tui.facade import live

        found = NodeUsage(states={}, wishes={}, usage={})
        filters = (topics.NODE_STATES, topics.NODE_WISHES, topics.NODE_HISTORIES)
        for each in live.retained(self._link.config, *filters):
            if isinstance(each.payload, NodeState):
                found.states[each.payload.node] = each.payload
            elif isinstance(each.payload, messages.WishNotice):
                found.wishes[each.payload.node] = each.payload
            elif isinstance(each.payload, NodeHistory) and isinstance(each.topic, topics.NodeHistory):
                found.usage.update((each.topic.node, point) for point in each.payload.points[-1:])
        return found

    def if_known(self) -> list[NodeState] | None:
        """As `all`; None, and a sentence, when the broker cannot be asked."""
        try:
            return self.all()
        except (Unreachable, UsageError) as error:
            self._link.say(f"without the nodes' own word: {error}")
            return None

    def waited_for(self, projects: Iterable[object]) -> list[NodeState] | None:
        """As `if_known`, asked only where one of the projects waits for a node."""
        waiting = (
            isinstance(each, Project) and lifecycle.state_of(each)[0] is lifecycle.ProjectState.WAITING
            for each in projects
        )
        return self.if_known() if any(waiting) else None
