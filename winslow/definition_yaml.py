"""A definition written as YAML that `definition_text.read` reads back equal: what differs from the defaults, sizes
and durations in the units people use. Comments and layout of a text that somebody wrote are not in a definition,
so they are not in what is written here.

Scalars follow the reader: it takes every scalar as the text that stands there, so only what YAML itself would
take for nothing or for syntax is quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from winslow.pipeline import PipelineDefinition
from winslow.quantities import Unit, duration_text, number_text, size_text

Plain: TypeAlias = "str | Sequence[Plain] | Mapping[str, Plain]"

WIDTH = 100
_MAX_FLOW = 3  # keys of a mapping that still stand on one line
_PLAIN = re.compile(r"-{0,2}[\w./][\w./@%+=:'()-]*(?: [\w./(][\w./@%+=:;'()-]*)*")
_NOTHING = {"", "~", "null", "Null", "NULL"}


def write(definition: PipelineDefinition) -> str:
    """The definition's YAML text; `read(write(definition))` is equal to it."""
    return "\n".join(_mapping(fields(definition), 0)) + "\n"


def fields(model: BaseModel) -> dict[str, Plain]:
    """The fields that differ from their defaults, in the model's order, as a file would have them."""
    told: dict[str, Plain] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if field.is_required() or value != field.get_default():
            told[name] = plain(value, field)
    return told


def plain(value: Any, field: FieldInfo) -> Plain:
    """A field's value as a file would have it."""
    if isinstance(value, BaseModel):
        return fields(value)
    if isinstance(value, tuple):
        return [plain(item, field) for item in value]
    if isinstance(value, dict):
        return {name: str(item) for name, item in value.items()}
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if Unit.BYTES in field.metadata:
            return size_text(int(value))
        return duration_text(value) if Unit.SECONDS in field.metadata else number_text(value)
    return str(value)


def flow(value: Plain) -> str:
    """The value on one line."""
    if isinstance(value, str):
        return _scalar(value, closed=False)
    return _closed(value)


def _closed(value: Plain) -> str:
    if isinstance(value, str):
        return _scalar(value, closed=True)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_closed(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(map(_closed, value)) + "]"


def _scalar(text: str, *, closed: bool) -> str:
    """Plain where YAML reads it back as text; `closed`: between brackets or braces."""
    bare = _PLAIN.fullmatch(text) and text not in _NOTHING and ": " not in text and not text.endswith(":")
    if bare and not (closed and ":" in text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable()).replace("\x7f", "\\u007f")


def _mapping(data: Mapping[str, Plain], indent: int) -> Iterator[str]:
    pad = " " * indent
    for key, value in data.items():
        if isinstance(value, str) and _is_block(value):
            yield from _literal(f"{pad}{key}: ", value, indent + 2)
            continue
        line = f"{pad}{key}: {flow(value)}"
        if isinstance(value, str) or (len(line) <= WIDTH and key != "env" and _is_short(value)):
            yield line
            continue
        yield f"{pad}{key}:"
        if isinstance(value, Mapping):
            yield from _mapping(value, indent + 2)
        else:
            yield from _items(value, indent + 2)


def _items(items: Sequence[Plain], indent: int) -> Iterator[str]:
    pad = " " * indent
    for number, item in enumerate(items):
        if isinstance(item, Mapping):
            if number:
                yield ""
            first, *others = _mapping(item, indent + 2)
            yield f"{pad}- {first.lstrip()}"
            yield from others
        elif isinstance(item, str) and _is_block(item):
            yield from _literal(f"{pad}- ", item, indent + 2)
        else:
            yield f"{pad}- {flow(item)}"


def _is_short(value: Plain) -> bool:
    """It may stand on one line if it is short enough: a few keys, or texts of one line."""
    if isinstance(value, str):
        return not _is_block(value)
    if isinstance(value, Mapping):
        return len(value) <= _MAX_FLOW and all(map(_is_short, value.values()))
    return all(isinstance(item, str) and _is_short(item) for item in value)


def _is_block(text: str) -> bool:
    """Several lines that a literal block shows as they are."""
    body = text.removesuffix("\n")
    lines = body.split("\n")
    return (
        len(lines) > 1
        and bool(lines[-1])
        and all(line.isprintable() and not line.endswith(" ") for line in lines)
        and lines[0][:1] not in ("", " ")
    )


def _literal(opening: str, text: str, indent: int) -> Iterator[str]:
    yield opening + ("|" if text.endswith("\n") else "|-")
    for line in text.removesuffix("\n").split("\n"):
        yield f"{' ' * indent}{line}" if line else ""
