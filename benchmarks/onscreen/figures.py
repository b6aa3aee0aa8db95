"""What was measured, beside what is promised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured value; it may be at most `most` and at least `least`. None: nothing is promised."""

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def kept(self) -> bool:
        """Whether it is as promised."""
        return (self.most is None or self.value <= self.most) and (
            self.least is None or self.value >= self.least
        )

    def __str__(self) -> str:
        goal = f"at most {self.most:g}" if self.most is not None else ""
        goal = f"at least {self.least:g}" if self.least is not None else goal
        kept = "" if self.kept else "  MISSED"
        return f"{self.name:<42} {self.value:10.1f} {self.unit:<8} {goal}{kept}".rstrip()


def share(values: Sequence[float], part: float) -> float:
    """The value that this part of them stays below; 0 where there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0
