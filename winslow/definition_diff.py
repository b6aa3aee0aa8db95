"""What differs between two definitions, in words: `stages.track.env.CONF: 0.3 -> 0.35`. Pure.

Stages are matched by their names; a stage that was renamed is one removed and one added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from winslow.definition_yaml import flow, plain
from winslow.pipeline import PipelineDefinition, StageDefinition

NONE = "none"
_WIDTH = 80
_CONTEXT = 20


class Kind(StrEnum):
    """What happened to what stands at a path."""

    CHANGED = "changed"
    ADDED = "added"  # `after` is the value, or where the stage stands
    REMOVED = "removed"
    MOVED = "moved"  # `after` is where the stage stands now


@dataclass(frozen=True)
class Change:
    """One difference; `path` as in `stages.track.env.CONF`, `before` and `after` as a file would have them."""

    path: str
    kind: Kind
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        match self.kind:
            case Kind.CHANGED:
                before, after = _excerpts(self.before, self.after)
                return f"{self.path}: {before} -> {after}"
            case Kind.REMOVED:
                return f"{self.path}: removed" + (f", was {_cut(self.before, 0)}" if self.before else "")
            case _:
                return f"{self.path}: {self.kind} {_cut(self.after, 0)}"


def pipeline_changes(before: PipelineDefinition, after: PipelineDefinition) -> list[Change]:
    """What `after` has otherwise than `before`: the pipeline's own fields, then stage by stage."""
    changes = list(_fields(before, after, "", leave=("stages",)))
    old, new = ({stage.name: stage for stage in each.stages} for each in (before, after))
    changes.extend(Change(f"stages.{name}", Kind.REMOVED) for name in old if name not in new)
    moved = _moved([name for name in old if name in new], [name for name in new if name in old])
    previous = ""
    for name, stage in new.items():
        place = f"after {previous}" if previous else "as the first stage"
        previous = name
        if name not in old:
            changes.append(Change(f"stages.{name}", Kind.ADDED, after=place))
            continue
        if name in moved:
            changes.append(Change(f"stages.{name}", Kind.MOVED, after=place))
        changes.extend(stage_changes(old[name], stage, path=f"stages.{name}"))
    return changes


def stage_changes(before: StageDefinition, after: StageDefinition, *, path: str = "") -> list[Change]:
    """What `after` has otherwise than `before`, each path beginning with `path`."""
    return list(_fields(before, after, path))


def env_changes(before: Mapping[str, str], after: Mapping[str, str], *, path: str = "env") -> list[Change]:
    """Variables set, changed and taken away."""
    changes = []
    for name in [*before, *(name for name in after if name not in before)]:
        place = f"{path}.{name}"
        if name not in after:
            changes.append(Change(place, Kind.REMOVED, before=flow(before[name])))
        elif name not in before:
            changes.append(Change(place, Kind.ADDED, after=flow(after[name])))
        elif before[name] != after[name]:
            changes.append(Change(place, Kind.CHANGED, flow(before[name]), flow(after[name])))
    return changes


def sentence(changes: Iterable[Change], *, most: int = 5) -> str:
    """The changes on one line, for a message: the first `most` of them, and how many more."""
    told = [str(change) for change in changes]
    more = f"; and {len(told) - most} more" if len(told) > most else ""
    return "; ".join(told[:most]) + more if told else "nothing"


def _fields(before: BaseModel, after: BaseModel, path: str, *, leave: Sequence[str] = ()) -> Iterator[Change]:
    for name, field in type(before).model_fields.items():
        old, new = getattr(before, name), getattr(after, name)
        if name in leave or old == new:
            continue
        place = f"{path}.{name}" if path else name
        if isinstance(old, dict):
            yield from env_changes(old, new, path=place)
        elif isinstance(old, BaseModel) and isinstance(new, BaseModel):
            yield from _fields(old, new, place)
        else:
            yield Change(place, Kind.CHANGED, _shown(old, field), _shown(new, field))


def _shown(value: Any, field: FieldInfo) -> str:
    return NONE if value is None else flow(plain(value, field))


def _moved(before: list[str], after: list[str]) -> set[str]:
    """Few of the names (the same in both) that, taken out, leave both in one order."""
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    stayed = {name for block in blocks for name in after[block.b : block.b + block.size]}
    return set(after) - stayed


def _excerpts(before: str, after: str) -> tuple[str, str]:
    """Both texts, long ones from just before where they begin to differ."""
    if max(len(before), len(after)) <= _WIDTH:
        return before, after
    pairs = zip(before, after, strict=False)
    same = next(
        (number for number, (old, new) in enumerate(pairs) if old != new), min(len(before), len(after))
    )
    start = max(0, same - _CONTEXT)
    return _cut(before, start), _cut(after, start)


def _cut(text: str, start: int) -> str:
    shown = text[start : start + _WIDTH]
    return ("…" if start else "") + shown + ("…" if start + _WIDTH < len(text) else "")
