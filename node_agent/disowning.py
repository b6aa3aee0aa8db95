"""Claims in this node's name that this node knows nothing of: they are sent back to the queue (design 5.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from node_agent.claiming import Claiming
from node_agent.clock import Clock
from node_agent.holdings import Holdings
from node_agent.mirror import Mirror
from winslow.errors import Conflict, InvalidInput, NotFound, Refused, WinslowError
from winslow.events import Disowned
from winslow.project import Project, Tombstone


class Disowning:
    """`alone` says that no other node is online under this name: what is claimed in it is nobody else's, then."""

    def __init__(
        self,
        *,
        node: str,
        node_uuid: str,
        mirror: Mirror,
        holdings: Holdings,
        claiming: Claiming,
        alone: Callable[[], bool],
        clock: Clock,
        spawn: Callable[[Awaitable[None], str], None],
        say: Callable[[str], None],
    ) -> None:
        self._node = node
        self._node_uuid = node_uuid
        self._mirror = mirror
        self._holdings = holdings
        self._claiming = claiming
        self._alone = alone
        self._clock = clock
        self._spawn = spawn
        self._say = say

    def look(self, project_id: str, document: Project | Tombstone | None) -> None:
        """Go through a document's runs."""
        if not isinstance(document, Project):
            return
        for run in document.active:
            attempt = run.attempt
            if not run.state.held or attempt is None or attempt.node != self._node:
                continue
            if attempt.node_uuid != self._node_uuid and not self._alone():
                continue  # perhaps another node of this name has it
            key = (project_id, run.n, attempt.k)
            mine = self._holdings.of_run(project_id, run.n)
            if key in self._claiming.under_way or any(each.answers_for(attempt.claim) for each in mine):
                continue
            event = Disowned(
                id=self._clock.new_id(),
                at=self._clock.wall(),
                by=self._node,
                n=run.n,
                k=attempt.k,
                claim=attempt.claim,
                detail=f"node {self._node} does not know this claim",
            )
            self._spawn(self._commit(project_id, event), f"disown {key}")

    def look_at_all(self) -> None:
        """Go through every document that is known."""
        for document in self._mirror.all():
            self.look(document.id, document)

    async def _commit(self, project_id: str, event: Disowned) -> None:
        try:
            await self._mirror.commit(project_id, event)
        except (Conflict, Refused, NotFound, InvalidInput):
            return  # somebody else has moved the run on: nothing is left to disown
        except WinslowError as error:
            self._say(str(error))  # tried again after the next listing
