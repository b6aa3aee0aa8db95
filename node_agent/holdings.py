"""The attempts that live on this node at the moment."""

from __future__ import annotations

from collections.abc import Iterator

from node_agent.attempt import Attempt
from node_agent.mirror import Mirror
from node_agent.reservations import Key
from node_agent.standing import Holding
from winslow.project import Project
from winslow.quantities import LostAfter


class Holdings:
    """By project, run and attempt. Used from one event loop only."""

    def __init__(self) -> None:
        self._attempts: dict[Key, Attempt] = {}

    def __iter__(self) -> Iterator[Attempt]:
        return iter(tuple(self._attempts.values()))

    def add(self, attempt: Attempt) -> None:
        """It lives here from now on."""
        self._attempts[attempt.key] = attempt

    def remove(self, attempt: Attempt) -> None:
        """Nothing of it is left here, or the agent stops."""
        self._attempts.pop(attempt.key, None)

    def rename(self, old: Key) -> Attempt:
        """The attempt goes on under the number it has now."""
        attempt = self._attempts.pop(old)
        self.add(attempt)
        return attempt

    def get(self, key: Key) -> Attempt | None:
        """One attempt, if it lives here."""
        return self._attempts.get(key)

    def in_order(self) -> list[tuple[Key, Attempt]]:
        """All of them by their keys."""
        return sorted(self._attempts.items(), key=lambda item: item[0])

    def of_project(self, project: str) -> list[Attempt]:
        """Those of one project."""
        return [each for key, each in self._attempts.items() if key[0] == project]

    def of_run(self, project: str, run: int) -> list[Attempt]:
        """Those of one run, the latest first."""
        return [each for key, each in reversed(self.in_order()) if key[:2] == (project, run)]

    def projects(self) -> set[str]:
        """The projects they are of."""
        return {key[0] for key in self._attempts}

    def holding(self, project: str, run: int) -> Holding:
        """What this node could go on with, of a run that waits."""
        found = [each.holding for each in self.of_run(project, run)]
        return next((each for each in (Holding.PERHAPS, Holding.YES) if each in found), Holding.NO)

    def percents(self, project: str) -> dict[tuple[int, int], float]:
        """How far a project's attempts are, by run and attempt, where they say so."""
        return {
            (key[1], key[2]): each.percent
            for key, each in self._attempts.items()
            if key[0] == project and each.percent is not None
        }

    def lost_afters(self, mirror: Mirror) -> list[LostAfter]:
        """What each attempt's stage says of a silent node."""
        runs = [
            document.run(key[1]) if isinstance(document := mirror.get(key[0]), Project) else None
            for key in self._attempts
        ]
        return [run.stage.lost_after if run else None for run in runs]
