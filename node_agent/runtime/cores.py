"""CPU time that containers have used so far, as the cores they used since they were looked at last. Pure."""

from __future__ import annotations

LEAST_SECONDS = 1.0
"""A container's first look is counted over so long at least: making it run took CPU time, too."""


class Cores:
    """What was seen of each container at the last look; `seconds` of CPU time, `now` of any steady clock."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, float]] = {}  # container -> CPU seconds and clock

    def __contains__(self, container: str) -> bool:
        return container in self._last

    def begin(self, container: str, *, now: float, age: float) -> None:
        """It has run for `age` seconds and was not looked at yet, so the next look tells of all of its life."""
        self._last[container] = (0.0, now - max(age, LEAST_SECONDS))

    def look(self, container: str, *, now: float, seconds: float) -> float:
        """Cores since the last look, or since `begin`; 0 where there was neither."""
        had, last = self._last.get(container, (seconds, now))
        self._last[container] = (seconds, now)
        return max(0.0, seconds - had) / (now - last) if now > last else 0.0

    def forget(self, container: str) -> None:
        """It runs no more."""
        self._last.pop(container, None)
