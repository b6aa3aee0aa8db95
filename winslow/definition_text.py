"""A pipeline definition's YAML text: reading it, and saying where it is wrong (R1110).

YAML is composed to nodes, never constructed: no tag of a file makes an object, each value keeps its
line and column, and scalars stay the text that was written (`CONF: 0.350` reaches the stage as
`0.350`). Anchors and aliases are fine, but what they expand to counts against `MAX_NODES`.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from winslow.errors import InvalidInput
from winslow.pipeline import PipelineDefinition

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

MAX_BYTES = 256 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 32
MAX_PROBLEMS = 50

_TAGS = {"str", "int", "float", "bool", "null", "map", "seq", "timestamp"}

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Position:
    """A place in the text; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong; `key` is the path (`stages[0].requires.memory`), empty for the whole file."""

    source: str
    position: Position
    key: str
    message: str
    nearest: str = ""  # the valid key (or word) that comes nearest to a wrong one

    def __str__(self) -> str:
        place = f"{self.source}:{self.position.line}:{self.position.column}"
        return f"{place}: {self.key + ': ' if self.key else ''}{self.message}"


class InvalidDefinition(InvalidInput):
    """A definition that is not valid; `problems` has every one that was found, in the order of the text."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.position.line, p.position.column)))
        super().__init__(
            "\n".join(str(problem) for problem in self.problems),
            hint="nothing was stored; `winslow pipeline schema` prints what a definition may contain",
        )


def read(text: str, *, source: str) -> PipelineDefinition:
    """The definition in `text`. Raises InvalidDefinition naming `source`, line, column and key."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise InvalidDefinition([_problem(source, f"longer than {MAX_BYTES // 1024} KiB")])
    reading = _Reading(source)
    data = reading.plain(_compose(text, source), ())
    if not isinstance(data, dict) and not reading.problems:
        raise InvalidDefinition(
            [_problem(source, "a definition is a mapping that begins with `name:`, then `stages:`")]
        )
    if reading.broken:
        raise InvalidDefinition(reading.problems)
    reading.check_stage_names(data)
    try:
        definition = PipelineDefinition.model_validate(data)
    except ValidationError as error:
        known = {problem.key for problem in reading.problems}
        reading.problems.extend(p for p in _explain(error, reading, data) if p.key not in known)
        raise InvalidDefinition(reading.problems[:MAX_PROBLEMS]) from None
    if reading.problems:
        raise InvalidDefinition(reading.problems[:MAX_PROBLEMS])
    return definition


def _problem(source: str, message: str, position: Position = Position(1, 1)) -> Problem:
    return Problem(source, position, "", message)


def _compose(text: str, source: str) -> Node:
    """The one document's root node. Raises InvalidDefinition for syntax, no document or several."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.reader import ReaderError

    try:
        roots: list[Node] = list(YAML(typ="safe", pure=True).compose_all(text))
    except ReaderError as error:
        before = text[: error.position]
        position = Position(before.count("\n") + 1, len(before) - before.rfind("\n"))
        code = ord(error.character) if isinstance(error.character, str) else int(error.character)
        raise InvalidDefinition(
            [_problem(source, f"character U+{code:04X} is not allowed", position)]
        ) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(mark.line + 1, mark.column + 1) if mark is not None else Position(1, 1)
        what = " ".join(part for part in (error.problem, error.context and f"({error.context})") if part)
        if "\\t" in what or "\t" in what:
            what = "a tab cannot indent; use spaces"
        raise InvalidDefinition([_problem(source, f"not YAML: {what}", position)]) from None
    except (YAMLError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidDefinition([_problem(source, f"not YAML: {what}")]) from None
    if not roots or roots[0] is None:
        raise InvalidDefinition([_problem(source, "empty: a definition needs `name` and at least one stage")])
    if len(roots) > 1:
        raise InvalidDefinition(
            [_problem(source, "a second document (`---`): one file holds one definition", _at(roots[1]))]
        )
    return roots[0]


def _at(node: Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _shown(path: Path) -> str:
    """`stages[0].env.CONF`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass
class _Reading:
    """Turns nodes into dicts, lists and texts, keeping where each came from."""

    source: str
    problems: list[Problem] = field(default_factory=list)
    keys: dict[Path, Position] = field(default_factory=dict)  # of a key, or of a list's item
    values: dict[Path, Position] = field(default_factory=dict)
    broken: bool = False  # the rest of the data cannot be trusted to be what was meant
    _count: int = 0

    def fault(self, path: Path, position: Position, message: str, nearest: str = "") -> None:
        self.problems.append(Problem(self.source, position, _shown(path), message, nearest))

    def plain(self, node: Node, path: Path) -> Any:
        """The node as plain data; problems are collected, not raised."""
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        position = _at(node)
        self.values[path] = position
        self._count += 1
        if self._count > MAX_NODES or len(path) > MAX_DEPTH:
            if not self.broken:
                self.broken = True
                self.fault(
                    (),
                    position,
                    f"more than {MAX_NODES} values or {MAX_DEPTH} levels (aliases count each time)",
                )
            return None
        tag = str(node.tag)
        if tag.removeprefix("tag:yaml.org,2002:") not in _TAGS:
            self.fault(path, position, f"the tag {tag} is not allowed; write plain text, lists and mappings")
            return None
        if isinstance(node, MappingNode):
            return dict(self._pairs(node, path))
        if isinstance(node, SequenceNode):
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        return None if tag.endswith(":null") else self._text(str(node.value), path, position)

    def _text(self, value: str, path: Path, position: Position) -> str:
        """Escapes can spell what no environment and no file's name can hold: NUL, and half a surrogate pair."""
        try:
            value = value.encode("utf-16", "surrogatepass").decode(
                "utf-16"
            )  # JSON's pairs become one character
        except UnicodeDecodeError:
            value = "\0"
        if "\0" in value:
            self.fault(path, position, "a NUL character or half a surrogate pair is not allowed")
            return ""
        return value

    def _item(self, node: Node, path: Path) -> Any:
        self.keys[path] = _at(node)
        return self.plain(node, path)

    def _pairs(self, node: Node, path: Path) -> Iterator[tuple[str, Any]]:
        seen: dict[str, Position] = {}
        for key_node, value_node in node.value:
            if self.broken:
                return
            position = _at(key_node)
            if not isinstance(key_node.value, str):
                self.fault(path, position, "a key is plain text, not a list or a mapping")
                continue
            key = key_node.value
            if key in seen:
                self.fault(
                    (*path, key),
                    position,
                    f"the key '{key}' stands here twice (first in line {seen[key].line})",
                )
                continue
            seen[key] = position
            self.keys[(*path, key)] = position
            yield key, self.plain(value_node, (*path, key))

    def check_stage_names(self, data: Mapping[str, Any]) -> None:
        stages = data.get("stages")
        first: dict[str, int] = {}
        for index, stage in enumerate(stages if isinstance(stages, list) else ()):
            name = stage.get("name") if isinstance(stage, dict) else None
            if not isinstance(name, str):
                continue
            path = ("stages", index, "name")
            if name in first:
                line = self.values[("stages", first[name], "name")].line
                self.fault(
                    path, self.values[path], f"two stages are called '{name}' (the first in line {line})"
                )
            first.setdefault(name, index)


_SENTENCES = {
    "string_type": "text is expected here",
    "tuple_type": "a list is expected here, for example [a, b]",
    "dict_type": "a mapping is expected here (KEY: VALUE)",
    "model_type": "a mapping is expected here (KEY: VALUE)",
    "int_parsing": "a whole number is expected here",
    "int_from_float": "a whole number is expected here",
    "float_parsing": "a number is expected here",
    "string_too_short": "this must not be empty",
    "finite_number": "a finite number is expected here",
}


def _explain(error: ValidationError, reading: _Reading, data: Mapping[str, Any]) -> Iterator[Problem]:
    for detail in error.errors(include_url=False):
        path: Path = tuple(detail["loc"])
        kind, on_key = detail["type"], path[-1:] == ("[key]",)
        path = path[:-1] if on_key else path
        if not path:
            continue  # the models' own rule about stage names; `check_stage_names` knows the place
        if kind == "too_short" and detail["input"]:
            continue  # there are stages, but wrong ones: each has its own line
        position = _nearest_position(reading, path, on_key=on_key or kind == "extra_forbidden")
        nearest = ""
        if kind == "extra_forbidden":
            valid = [key for key in _valid_keys(path[:-1]) if key not in _value_at(data, path[:-1])]
            close = difflib.get_close_matches(str(path[-1]).lower(), valid, n=1, cutoff=0.5)
            nearest = close[0] if close else ""
            advice = f"did you mean '{nearest}'?" if nearest else "valid here: " + ", ".join(valid)
            message = f"unknown key '{path[-1]}'; {advice}"
        elif kind == "missing":
            nearest = str(path[-1])
            message = f"the key '{path[-1]}' is missing"
        elif kind == "value_error":
            message = str(detail["ctx"]["error"])
        elif kind == "too_short" and path == ("stages",):
            message = "a pipeline needs at least one stage"
        elif kind in ("enum", "literal_error"):
            expected = str(detail["ctx"]["expected"])
            close = difflib.get_close_matches(str(detail["input"]), re.findall(r"'([^']*)'", expected), n=1)
            nearest = close[0] if close else ""
            message = f"{expected} is expected here" + (f"; did you mean '{nearest}'?" if nearest else "")
        else:
            message = _SENTENCES.get(kind, detail["msg"][:1].lower() + detail["msg"][1:])
        if kind not in ("missing", "extra_forbidden", "too_short") and not on_key:
            message = f"{message} (found: {_excerpt(detail['input'])})"
        yield Problem(reading.source, position, _shown(path), message, nearest)


def _excerpt(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    return (
        "a list"
        if isinstance(value, list | tuple)
        else "a mapping"
        if isinstance(value, dict)
        else repr(value)
    )


def _nearest_position(reading: _Reading, path: Path, *, on_key: bool) -> Position:
    """Of the value (or key) at `path`; for what is missing, of the mapping it is missing from."""
    if on_key and path in reading.keys:
        return reading.keys[path]
    while path not in reading.values and path:
        path = path[:-1]
    return reading.values[path]


def _value_at(data: Any, path: Path) -> Mapping[str, Any]:
    for part in path:
        data = data[part]
    return data if isinstance(data, dict) else {}


def _valid_keys(path: Path) -> list[str]:
    """The keys that a definition may have at `path`."""
    model: type[BaseModel] | None = PipelineDefinition
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
