"""What a person types behind `/`: words, `field:value`, and `!` in front of either to turn it around. Pure.

ulm                 the word stands in one of the texts shown
state:failed        that field begins with the value
tag:2026 !tag:old   every condition must hold
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Condition:
    """One word of a filter; `field` is empty where any text will do."""

    value: str
    field: str = ""
    inverted: bool = False

    def holds(self, fields: Mapping[str, Iterable[str]]) -> bool:
        """Whether something with these texts by field passes."""
        if self.field:
            found = any(text.casefold().startswith(self.value) for text in fields.get(self.field, ()))
        else:
            found = any(self.value in text.casefold() for texts in fields.values() for text in texts)
        return found is not self.inverted


@dataclass(frozen=True)
class Filter:
    """All conditions must hold; none hold for everything."""

    conditions: tuple[Condition, ...] = ()

    def holds(self, fields: Mapping[str, Iterable[str]]) -> bool:
        """Whether something with these texts by field passes."""
        return all(each.holds(fields) for each in self.conditions)

    def names(self, field: str, value: str) -> bool:
        """Whether it asks for just that value of a field, or the beginning of it."""
        return any(
            each.field == field and not each.inverted and value.startswith(each.value)
            for each in self.conditions
        )


def parse(text: str, *, fields: Iterable[str]) -> Filter:
    """Read a filter; a `field:` that is none of `fields` is a word like any other."""
    known = set(fields)
    conditions = []
    for word in text.casefold().split():
        inverted = word.startswith("!") and len(word) > 1
        bare = word[1:] if inverted else word
        name, colon, value = bare.partition(":")
        if colon and name in known:
            if value:  # `state:` while it is being typed is no condition yet
                conditions.append(Condition(value=value, field=name, inverted=inverted))
        else:
            conditions.append(Condition(value=bare, inverted=inverted))
    return Filter(tuple(conditions))
