"""By which column a list is sorted.

Shift and a letter sorts by a column, once more turns it around, a third time gives the list its own order back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from textual.binding import Binding


@dataclass(frozen=True)
class Sorting:
    """`column` is a column's label; empty: the list's own order."""

    column: str = ""
    backwards: bool = False

    def pressed(self, column: str) -> Sorting:
        """After the column's key."""
        if column != self.column:
            return Sorting(column)
        return Sorting() if self.backwards else Sorting(column, backwards=True)

    def order(self, keys: Iterable[str], values: Mapping[str, Callable[[str], Any]]) -> list[str]:
        """The keys by what the column's function says of each; equal ones stay in their own order, and those
        that have nothing there come last."""
        if self.column not in values:
            return list(keys)
        value = values[self.column]
        told = [(value(key), key) for key in keys]
        having = [each for each in told if each[0] not in (None, "")]
        having.sort(key=lambda each: each[0], reverse=self.backwards)
        return [key for _, key in having] + [key for found, key in told if found in (None, "")]


def bindings(letters: Mapping[str, str]) -> list[Binding]:
    """Keys for a screen: letter to column."""
    return [
        Binding(
            letter,
            f"sort('{column}')",
            f"sort by {column.lower()}",
            show=False,
            id=f"sort-{column.lower().replace(' ', '-')}",
        )
        for letter, column in letters.items()
    ]
