"""How a person's commands reach a site: an event goes into a document in the store, then the broker is told.

The store is what counts. A broker that is away costs time, never the command: `say` gets a sentence.
"""

from __future__ import annotations

import getpass
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from winslow import lifecycle
from winslow.config import Config
from winslow.errors import Unreachable, UsageError
from winslow.node import NodeState
from winslow.project import Project, RunState, Tombstone
from winslow.store.documents import Documents
from winslow.store.patience import Patience
from winslow.store.port import ObjectStore

if TYPE_CHECKING:
    from broker.notices import Notice
    from broker.session import Received
    from winslow.events import Event

STORE_SECONDS = 12.0  # how long a write goes on against a store that does not answer


def _silent(_text: str) -> None:
    """Nobody listens."""


def _random_id() -> str:
    return secrets.token_hex(8)


class Link:
    """One person's way to one site. `say` takes sentences for people (stderr); `new_id` makes ids of events."""

    def __init__(
        self,
        config: Config,
        *,
        say: Callable[[str], None] = _silent,
        store: ObjectStore | None = None,
        patience: Patience | None = None,
        new_id: Callable[[], str] = _random_id,
    ) -> None:
        self.config = config
        self.say = say
        self.new_id = new_id
        self._given = store
        self._patience = patience

    @cached_property
    def store(self) -> ObjectStore:
        """The store, opened when first needed. Raises UsageError where nothing says where it is."""
        if self._given is not None:
            return self._given
        from winslow.store.s3 import S3Store

        return S3Store(self.config.store, read_timeout=30.0)

    @property
    def patience(self) -> Patience:
        """How long a write goes on."""
        return self._patience or Patience(deadline=STORE_SECONDS)

    @cached_property
    def documents(self) -> Documents:
        """Project documents."""
        return Documents(self.store, patience=self.patience)

    @property
    def author(self) -> str:
        """Who gives the commands."""
        try:
            return getpass.getuser()
        except (OSError, KeyError):  # a container's user may have no name
            return "unknown"

    def now(self) -> str:
        """The time for people, RFC 3339 UTC."""
        return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def stamp(self) -> dict[str, str]:
        """What every event carries: a random id, the time (for people) and who."""
        return {"id": self.new_id(), "at": self.now(), "by": self.author}

    @property
    def site_env(self) -> Mapping[str, str]:
        """The environment that the site's configuration gives every run."""
        return self.config.settings.site_env

    def change(self, project_id: str, event: Event) -> Project:
        """Apply an event, then tell the broker. A deletion returns the project as it was.

        Raises what `lifecycle.apply` raises, NotFound, and StoreUnreachable where the outcome is unknown."""
        before: list[Project] = []

        def apply(project: Project, event: Event) -> Project | Tombstone:
            before[:] = [project]
            return lifecycle.apply(project, event)

        stored = self.documents.update(project_id, event, apply=apply).document
        old = before[0] if before else None
        self.tell(old, stored)
        if isinstance(stored, Project):
            return stored
        assert old is not None
        return old

    def tell(self, old: Project | None, new: Project | Tombstone) -> None:
        """Tell the broker what became of a document."""
        from broker import topics
        from broker.notices import notices
        from winslow_tui.facade import live

        if isinstance(new, Tombstone):
            told = notices(old=old, new=new, project_id=new.id)
            self.broker(lambda: live.clear(self.config, f"projects/{new.id}/#", told))
        else:
            waits = any(run.state is RunState.QUEUED for run in new.active)

            def messages(seen: list[Received]) -> list[Notice]:
                nodes = [each.payload for each in seen if isinstance(each.payload, NodeState)]
                return notices(
                    old=old,
                    new=new,
                    project_id=new.id,
                    updated=self.now(),
                    nodes=nodes if waits else None,
                )

            filters = (topics.NODE_STATES,) if waits else ()
            self.broker(lambda: live.answer(self.config, filters, messages))

    def broker(self, tell: Callable[[], None]) -> None:
        """Do something with the broker, or say that it could not be done."""
        try:
            tell()
        except (Unreachable, UsageError) as error:
            self.say(
                f"done, but the broker was not told ({error}); agents see it at their next look at the store"
            )
