"""The three things an agent takes from outside its rules: monotonic time, wall time for people, random ids."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Clock:
    """Passed in everywhere, so that tests can drive time. No decision reads `wall` (invariant I5)."""

    def monotonic(self) -> float:
        """Seconds since the machine's boot, without those it was suspended: the next agent counts on with it."""
        return time.monotonic()

    def wall(self) -> str:
        """RFC 3339 UTC with milliseconds, for people."""
        return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def new_id(self) -> str:
        """16 random hex digits."""
        return secrets.token_hex(8)
