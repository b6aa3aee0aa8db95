"""The one facade under both faces: every command of a person as a method of one of its parts.

    client.pipelines    definitions            client.runs       starting, queue, answers, pause, abort
    client.projects     find, make, change     client.pruning    which runs keep their files
    client.nodes        who is there           client.node_wishes  draining, labels, removal
    client.activity     what happened on the site

A command changes a document in the store (that is what counts) and then tells the broker, so that
others see it at once (`link`). All methods block. Errors are `winslow.errors`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from winslow.config import Config
from winslow.project import Project
from winslow.store.documents import Documents
from winslow.store.port import ObjectStore
from winslow_tui.facade.activity import SiteActivity
from winslow_tui.facade.definitions import Definitions
from winslow_tui.facade.link import Link
from winslow_tui.facade.node_wishes import NodeWishes
from winslow_tui.facade.nodes import Nodes
from winslow_tui.facade.projects import Projects
from winslow_tui.facade.pruning import Pruning
from winslow_tui.facade.runs import Runs


class Client:
    """One person's commands to one site, over a link of its own or the one given.

    `say` takes sentences for people (stderr)."""

    def __init__(
        self,
        config: Config,
        *,
        say: Callable[[str], None] | None = None,
        store: ObjectStore | None = None,
        link: Link | None = None,
    ) -> None:
        self.link = link or Link(config, say=say or _silent, store=store)
        self.config = config

    @cached_property
    def pipelines(self) -> Definitions:
        """Pipeline definitions."""
        return Definitions(self.link)

    @cached_property
    def projects(self) -> Projects:
        """Projects themselves."""
        return Projects(self.link, self.pipelines)

    @cached_property
    def runs(self) -> Runs:
        """Their runs."""
        return Runs(self.link, self.projects)

    @cached_property
    def pruning(self) -> Pruning:
        """Which of them keep their files."""
        return Pruning(self.link, self.projects)

    @cached_property
    def nodes(self) -> Nodes:
        """What the broker knows of nodes."""
        return Nodes(self.link)

    @cached_property
    def node_wishes(self) -> NodeWishes:
        """What this person wants of nodes."""
        return NodeWishes(self.link, self.nodes, self.projects)

    @cached_property
    def activity(self) -> SiteActivity:
        """What happened on the site."""
        return SiteActivity(self.store, say=self.say)

    @property
    def store(self) -> ObjectStore:
        """The store. Raises UsageError where nothing says where it is."""
        return self.link.store

    @property
    def documents(self) -> Documents:
        """Project documents."""
        return self.link.documents

    def say(self, text: str) -> None:
        """A sentence for the person."""
        self.link.say(text)

    def project(self, query: str) -> Project:
        """The project a person means: by id, unique beginning of one, or unique name."""
        return self.projects.get(query)


def _silent(_text: str) -> None:
    """Nobody listens."""
