"""What a person changes of a stage for one run, from the words of a command line or a form. Pure.

requires    KEY=VALUE, where KEY is one of `pipeline.Requirements`, GPUs as gpus.count, gpus.memory, …
workspace   the number of a run, `none` for an empty one, 0 for what a person put there at the start
NAME=VALUE  in a form several of them stand in one line; a value with blanks is put in quotation marks
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue, ValidationError

from winslow.errors import UsageError
from winslow.pipeline import GpuRequirement, Requirements
from winslow.quantities import Unit
from winslow.validation import explain

Workspace = int | Literal["auto", "none"]


@dataclass(frozen=True)
class Changes:
    """Changes for one run; as they stand here none. Fields as in `project.RunChanges`; `single`: pause after it."""

    env: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    requires: Mapping[str, JsonValue] = field(default_factory=dict)
    workspace: Workspace = "auto"
    single: bool = False
    comment: str = ""

    @property
    def none(self) -> bool:
        """Nothing is changed."""
        return self == Changes()


def requirement_keys() -> tuple[str, ...]:
    """Every key that `requirements` takes."""
    return (*Requirements.model_fields, *(f"gpus.{name}" for name in GpuRequirement.model_fields))


def requirements(
    texts: Iterable[str],
    *,
    cpus: str | None = None,
    memory: str | None = None,
    gpus: str | None = None,
    where: str = "--requires",
) -> dict[str, JsonValue]:
    """`KEY=VALUE` texts, and the three that have an option of their own, as `RunChanges.requires` holds them.

    `gpus=0` or `gpus=none` asks for none. Raises UsageError naming `where` it was written, the key, the nearest valid
    one, and what is wrong with a value."""
    own = {"cpus": cpus, "memory": memory, "gpus": gpus}
    given = [(text, f"{where} {text}") for text in texts]
    given += [(f"{key}={value}", f"--{key} {value}") for key, value in own.items() if value is not None]
    found: dict[str, JsonValue] = {}
    seen: set[str] = set()
    for text, source in given:
        key, equals, value = text.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not key:
            raise UsageError(f"{source}: write KEY=VALUE", hint=_valid())
        if key not in requirement_keys():
            raise UsageError(f"{source}: there is no requirement '{key}'{_nearest(key)}", hint=_valid())
        if key in seen:
            raise UsageError(f"the requirement '{key}' is given twice")
        seen.add(key)
        _put(found, key, value, source)
    if found.get("gpus", {}) is None and any(key.startswith("gpus.") for key in seen):
        raise UsageError("no GPUs are asked for, and what they must be like")
    return found


def required(requires: Mapping[str, JsonValue]) -> str:
    """As `requirements` takes it, in one line."""
    texts: list[str] = []
    for key, value in requires.items():
        below = value if isinstance(value, dict) else {"": value}
        texts += [f"{key}{'.' if name else ''}{name}={_told(each)}" for name, each in below.items()]
    return shlex.join(texts)


def _told(value: JsonValue) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _put(found: dict[str, JsonValue], key: str, value: str, source: str) -> None:
    top, _, below = key.partition(".")
    if key == "gpus":
        if value in ("0", "none"):
            found["gpus"] = None
            return
        below = "count"
    data: JsonValue = _value(key, top, below, value, source)
    if not below:
        found[top] = data
        return
    held = found.get(top, {})
    if held is None:
        raise UsageError("no GPUs are asked for, and what they must be like")
    assert isinstance(held, dict)
    found[top] = {**held, below: data}


def _value(key: str, top: str, below: str, text: str, source: str) -> JsonValue:
    """The value as a document holds it: sizes as they were written, numbers as numbers."""
    written: JsonValue = [each for each in text.split(",") if each] if key == "tags" else text
    data: JsonValue = {below: written} if below else written
    try:
        checked = Requirements.model_validate({top: data})
    except ValidationError as error:
        said = "; ".join(fault.message for fault in explain(error, Requirements))
        raise UsageError(f"{source}: {said}") from None
    model = checked.gpus if below else checked
    name = below or top
    value = getattr(model, name)
    metadata = type(model).model_fields[name].metadata if model is not None else ()
    return written if isinstance(value, str | tuple) or Unit.BYTES in metadata else value


def workspace(text: str | None) -> Workspace:
    """`--workspace-from`. Raises UsageError."""
    if text is None or text == "auto":
        return "auto"
    if text == "none":
        return "none"
    digits = text.removeprefix("#")
    if digits.isascii() and digits.isdigit() and len(digits) < 10:
        return int(digits)
    raise UsageError(
        f"--workspace-from {text}: the number of a run, none for an empty workspace, "
        "or 0 for what was put there at the start"
    )


@dataclass(frozen=True)
class Signed:
    """Names to add and to remove."""

    add: tuple[str, ...]
    remove: tuple[str, ...]


def signed(texts: Sequence[str]) -> Signed:
    """`NAME` adds, `NAME-` removes. Raises UsageError for a name that is to do both."""
    remove = tuple(dict.fromkeys(text[:-1] for text in texts if text.endswith("-") and text != "-"))
    add = tuple(dict.fromkeys(text for text in texts if not text.endswith("-")))
    if "-" in texts:
        raise UsageError("-: name what to remove, for example old-")
    for name in add:
        if name in remove:
            raise UsageError(f"{name}: to be added and removed")
    return Signed(add=add, remove=remove)


def words(text: str) -> list[str]:
    """What a person wrote in one line, a word in quotation marks without them. Raises UsageError."""
    try:
        return shlex.split(text)
    except ValueError:
        raise UsageError(
            f"{text}: a quotation mark is not closed", hint="a value with blanks: NAME='two words'"
        ) from None


def assignments(texts: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """`NAME=VALUE` sets, `NAME-` takes away. Raises UsageError."""
    values: dict[str, str] = {}
    gone: list[str] = []
    for text in texts:
        name, equals, value = text.partition("=")
        if equals and name:
            values[name] = value
        elif text.endswith("-") and len(text) > 1:
            gone.append(text[:-1])
        else:
            raise UsageError(f"{text}: write NAME=VALUE to set a variable, NAME- to take it away")
    for name in gone:
        if name in values:
            raise UsageError(f"{name}: to be set and taken away")
    return values, tuple(dict.fromkeys(gone))


def _nearest(key: str) -> str:
    close = difflib.get_close_matches(key.lower(), requirement_keys(), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def _valid() -> str:
    return "requirements: " + ", ".join(requirement_keys())
