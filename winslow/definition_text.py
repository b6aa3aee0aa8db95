"""A pipeline definition's YAML text: reading it, and saying where it is wrong (R1110).

YAML is composed to nodes, never constructed: no tag of a file makes an object, each value keeps its
line and column, and scalars stay the text that was written (`CONF: 0.350` reaches the stage as
`0.350`). Anchors and aliases are fine, but what they expand to counts against `MAX_NODES`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from winslow.errors import InvalidInput
from winslow.pipeline import PipelineDefinition
from winslow.validation import Path, explain, shown

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

MAX_BYTES = 256 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 32
MAX_PROBLEMS = 50

_TAGS = {"str", "int", "float", "bool", "null", "map", "seq", "timestamp"}


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


def decode(data: bytes, *, source: str) -> str:
    """The text of a file of which at most `MAX_BYTES` + 1 bytes were read. Raises InvalidDefinition for what is
    not UTF-8, with its place."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if len(data) > MAX_BYTES and error.end >= MAX_BYTES:  # the cut went through a character
            return data[: error.start].decode() + " " * 4  # still too long: `read` says so
        position = Position(
            data.count(b"\n", 0, error.start) + 1, error.start - data.rfind(b"\n", 0, error.start)
        )
        raise InvalidDefinition([_problem(source, "not UTF-8; save it as UTF-8", position)]) from None


def read(text: str, *, source: str) -> PipelineDefinition:
    """The definition in `text`. Raises InvalidDefinition naming `source`, line, column and key."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise InvalidDefinition([_problem(source, f"longer than {MAX_BYTES // 1024} KiB")])
    reading = _Reading(source)
    data = reading.plain(_compose(text, source), ())
    if not isinstance(data, dict):
        shape = _problem(source, "a definition is a mapping that begins with `name:`, then `stages:`")
        raise InvalidDefinition(reading.problems or [shape])
    if reading.broken:
        raise InvalidDefinition(reading.problems)
    reading.check_stage_names(data)
    try:
        definition = PipelineDefinition.model_validate(data)
    except ValidationError as error:
        known = {problem.key for problem in reading.problems}
        for fault in explain(error, PipelineDefinition):
            # Of two stages with one name `check_stage_names` has said more: where the first one stands.
            if shown(fault.path) not in known:
                position = _nearest_position(reading, fault.path, on_key=fault.on_key)
                reading.fault(fault.path, position, fault.message, fault.nearest)
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
        self.problems.append(Problem(self.source, position, shown(path), message, nearest))

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


def _nearest_position(reading: _Reading, path: Path, *, on_key: bool) -> Position:
    """Of the value (or key) at `path`; for what is missing, of the mapping it is missing from."""
    if on_key and path in reading.keys:
        return reading.keys[path]
    while path not in reading.values and path:
        path = path[:-1]
    return reading.values[path]
