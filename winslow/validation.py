"""What pydantic says of data that a person wrote, in words for that person."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

Path = tuple[str | int, ...]

_SENTENCES = {
    "string_type": "text is expected here",
    "tuple_type": "a list is expected here, for example [a, b]",
    "dict_type": "a table is expected here (one value for each key)",
    "model_type": "a table is expected here (one value for each key)",
    "int_parsing": "a whole number is expected here",
    "int_from_float": "a whole number is expected here",
    "float_parsing": "a number is expected here",
    "string_too_short": "this must not be empty",
    "too_short": "at least one item is expected here",
    "finite_number": "a finite number is expected here",
    "bool_parsing": "true or false is expected here",
}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong at `path`; `on_key`: the key itself is, not its value.

    `nearest` is the valid key (or word) that comes nearest to a wrong one, where there is one."""

    path: Path
    message: str
    nearest: str = ""
    on_key: bool = False


class BrokenRules(ValueError):
    """What a model's validator raises for rules between its parts; the paths begin at that model."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{shown(fault.path)}: {fault.message}" for fault in faults))


def shown(path: Path) -> str:
    """`stages[0].env.CONF`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def explain(error: ValidationError, model: type[BaseModel]) -> Iterator[Fault]:
    """Everything that `error` complains of in data for `model`. Values are quoted up to 60 characters."""
    for detail in error.errors(include_url=False):
        path: Path = tuple(detail["loc"])
        kind, on_key = detail["type"], path[-1:] == ("[key]",)
        path = path[:-1] if on_key else path
        if kind == "too_short" and detail["input"]:
            continue  # there are items, but wrong ones: each has its own line
        if kind == "extra_forbidden":
            yield _unknown_key(path, model)
        elif kind == "missing":
            key = str(path[-1])
            yield Fault(path, f"the key '{key}' is missing", key)
        elif kind == "too_short" and path == ("stages",):
            yield Fault(path, "a pipeline needs at least one stage")
        elif kind == "value_error" and isinstance(broken := detail["ctx"]["error"], BrokenRules):
            yield from (replace(fault, path=(*path, *fault.path)) for fault in broken.faults)
        elif kind == "value_error" and on_key:
            yield Fault(path, str(detail["ctx"]["error"]), on_key=True)
        else:
            message, nearest = _sentence(kind, detail)
            yield Fault(path, f"{message} (found: {_excerpt(detail['input'])})", nearest)


def _unknown_key(path: Path, model: type[BaseModel]) -> Fault:
    valid = _valid_keys(model, path[:-1])
    close = difflib.get_close_matches(str(path[-1]).lower(), valid, n=1, cutoff=0.5)
    nearest = close[0] if close else ""
    advice = f"did you mean '{nearest}'?" if nearest else "valid here: " + ", ".join(valid)
    return Fault(path, f"unknown key '{path[-1]}'; {advice}", nearest, on_key=True)


def _sentence(kind: str, detail: Any) -> tuple[str, str]:
    if kind == "value_error":
        return str(detail["ctx"]["error"]), ""
    if kind in ("enum", "literal_error"):
        expected = str(detail["ctx"]["expected"])
        close = difflib.get_close_matches(str(detail["input"]), re.findall(r"'([^']*)'", expected), n=1)
        advice = f"; did you mean '{close[0]}'?" if close else ""
        return f"{expected} is expected here{advice}", close[0] if close else ""
    return _SENTENCES.get(kind, detail["msg"][:1].lower() + detail["msg"][1:]), ""


def _excerpt(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    return (
        "a list" if isinstance(value, list | tuple) else "a table" if isinstance(value, dict) else repr(value)
    )


def _valid_keys(model: type[BaseModel] | None, path: Path) -> list[str]:
    """The keys that data for `model` may have at `path`."""
    for part in path:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation if model and part in model.model_fields else None
        model = next(_models(annotation), None)
    return list(model.model_fields) if model else []


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType, tuple, Annotated):
        for part in get_args(annotation):
            yield from _models(part)
