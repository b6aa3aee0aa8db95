"""What the store knows of projects that the broker has not told: asked while the broker is away, and once when it is
back. It loses what nobody was there to repeat, and tells nothing of what was deleted meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from broker.messages import ProjectSummary
from winslow.errors import InvalidInput, NotFound
from winslow.project import Tombstone
from winslow.store.pool import in_parallel
from winslow.store.port import ObjectInfo
from winslow_tui.facade.client import Client

READERS = 8
MARGIN = timedelta(minutes=2)
"""A silent connection is given up after half a minute: from then on it counts as away."""


class StoredProjects:
    """One outage of the broker, as seen from the store. `known` are the projects that were told before."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._etags: dict[str, str] = {}

    def changes(
        self, known: Collection[str], *, silent: float, ours: bool
    ) -> dict[str, ProjectSummary | None]:
        """Summaries of what may have changed in the last `silent` seconds, or is not known, or differs from what an
        earlier call saw; None for what is gone. Raises Unreachable.

        `ours`: the store says which site it belongs to; of an emptied one nothing is believed to be gone. Times are
        compared with the newest document's, not with this machine's clock."""
        documents = self._client.documents
        listing = documents.listing().projects
        since = _since(listing, timedelta(seconds=silent) + MARGIN)
        ids = [
            id_
            for id_, info in listing.items()
            if (
                self._etags[id_] != info.etag
                if id_ in self._etags
                else id_ not in known or info.modified >= since
            )
        ]

        def read(number: int) -> ProjectSummary | None:
            id_ = ids[number]
            try:
                document = documents.read(id_).document
            except NotFound:
                return None
            except InvalidInput as error:  # of a newer program, or damaged
                return ProjectSummary(
                    id=id_, revision=0, name=id_, state="unreadable", reason=str(error)[:200]
                )
            if isinstance(document, Tombstone):
                return None
            return ProjectSummary.of(document, updated=listing[id_].modified)

        found = dict(zip(ids, in_parallel(READERS, "projects", read, range(len(ids))), strict=True))
        self._etags |= {id_: listing[id_].etag for id_ in ids}
        return found | {id_: None for id_ in known if ours and id_ not in listing}


def _since(listing: Mapping[str, ObjectInfo], span: timedelta) -> str:
    """The store's time that lies `span` before the newest document; empty where no time can be read."""
    newest = max((info.modified for info in listing.values()), default="")
    try:
        then = datetime.fromisoformat(newest) - span
    except (ValueError, OverflowError):
        return ""
    return then.isoformat().replace("+00:00", "Z")
