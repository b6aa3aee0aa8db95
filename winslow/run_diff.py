"""What differs between two runs of a project: environment, stage, requirements, results, end and files. Pure.

Files are compared by their manifests alone, so that it works for runs whose objects are gone, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import JsonValue

from winslow.definition_diff import Kind, stage_changes
from winslow.project import Attempt, EnvValue, Run
from winslow.workspace import Entry, EntryType, difference, unquote_path

Area = Literal["workspace", "output"]
AREAS: tuple[Area, ...] = ("workspace", "output")
Files = Mapping[Area, Sequence[Entry] | None]
"""What a run left, by place; None where that is not known."""


@dataclass(frozen=True)
class Pair:
    """One thing and what it was in both runs; None where it was not there."""

    name: str
    before: JsonValue
    after: JsonValue


@dataclass(frozen=True)
class FileChange:
    """One path of a workspace or an output, its bytes decoded; sizes in bytes, None where it is not there or no
    file. `note` says what changed beside the content: the mode, the kind, a link's target."""

    area: Area
    path: str
    kind: Kind
    before: int | None = None
    after: int | None = None
    note: str = ""


@dataclass(frozen=True)
class RunDiff:
    """What the later run `after` has otherwise than `before`. `env` values are tables of `value` and `origin`;
    `unknown` says in sentences what could not be compared."""

    before: int
    after: int
    env: tuple[Pair, ...] = ()
    stage: tuple[Pair, ...] = ()
    requires: tuple[Pair, ...] = ()
    results: tuple[Pair, ...] = ()
    outcome: tuple[Pair, ...] = ()
    files: tuple[FileChange, ...] = ()
    unknown: tuple[str, ...] = ()


def run_diff(before: Run, after: Run, *, left: Mapping[int, Files]) -> RunDiff:
    """Compare two runs; `left` has by run number what each one left."""
    fields = [
        Pair(change.path, change.before, change.after)
        for change in stage_changes(before.stage, after.stage)
        if not change.path.startswith("env.")  # the whole environment is compared, with its origins
    ]
    return RunDiff(
        before=before.n,
        after=after.n,
        env=tuple(_pairs(_env(before.env), _env(after.env))),
        stage=tuple(pair for pair in fields if not pair.name.startswith("requires.")),
        requires=tuple(pair for pair in fields if pair.name.startswith("requires.")),
        results=tuple(_pairs(dict(before.results), dict(after.results))),
        outcome=tuple(_pairs(_outcome(before), _outcome(after))),
        files=tuple(_file_changes(left.get(before.n, {}), left.get(after.n, {}))),
        unknown=tuple(_unknown((before, after), left)),
    )


def seconds(attempt: Attempt) -> float | None:
    """How long its container ran, by its node's clock; None while that is not known. For people only."""
    if not attempt.started_at or not attempt.exited_at:
        return None
    try:
        began, ended = (datetime.fromisoformat(text) for text in (attempt.started_at, attempt.exited_at))
        return round((ended - began).total_seconds(), 3)
    except (ValueError, TypeError):  # another program may have written anything there
        return None


def _pairs(before: Mapping[str, JsonValue], after: Mapping[str, JsonValue]) -> Iterator[Pair]:
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name), after.get(name)
        if old != new:
            yield Pair(name, old, new)


def _env(env: Mapping[str, EnvValue]) -> dict[str, JsonValue]:
    return {name: {"value": each.value, "origin": each.origin.value} for name, each in env.items()}


def _outcome(run: Run) -> dict[str, JsonValue]:
    attempt = run.attempt
    found: dict[str, JsonValue] = {
        "state": run.state.value,
        "reason": run.reason.value if run.reason else None,
        "detail": run.detail or None,
        "workspace_from": run.workspace_from,
        "attempts": len(run.attempts),
    }
    if attempt is not None:
        found |= {
            "exit_code": attempt.exit_code,
            "seconds": seconds(attempt),
            "peak_memory": attempt.peak.memory or None,
            "peak_cpus": attempt.peak.cpus or None,
            "node": attempt.node,
            "gpus": list(attempt.gpus) or None,
            "image_digest": attempt.image_digest or None,
        }
    return found


def _file_changes(before: Files, after: Files) -> Iterator[FileChange]:
    for area in AREAS:
        old, new = before.get(area), after.get(area)
        if old is None or new is None:
            continue
        found = difference(old, new)
        ours, theirs = ({entry.path: entry for entry in entries} for entries in (old, new))
        for path in sorted({*found.added, *found.changed, *found.removed}):
            yield _file_change(area, path, ours.get(path), theirs.get(path))


def _file_change(area: Area, path: str, before: Entry | None, after: Entry | None) -> FileChange:
    kind = Kind.ADDED if before is None else Kind.REMOVED if after is None else Kind.CHANGED
    return FileChange(
        area=area,
        path=unquote_path(path).decode("utf-8", "surrogateescape"),
        kind=kind,
        before=_size(before),
        after=_size(after),
        note=_note(before, after) if before and after else "",
    )


def _size(entry: Entry | None) -> int | None:
    return entry.size if entry is not None and entry.type is EntryType.FILE else None


def _note(before: Entry, after: Entry) -> str:
    if before.type is not after.type:
        return f"{before.type} -> {after.type}"
    words = []
    if before.target != after.target:
        words.append(f"target {before.target} -> {after.target}")
    if before.mode != after.mode:
        words.append(f"mode {before.mode:o} -> {after.mode:o}")
    return ", ".join(words)


def _unknown(runs: Iterable[Run], left: Mapping[int, Files]) -> Iterator[str]:
    for run in runs:
        files = left.get(run.n, {})
        missing = [area for area in AREAS if files.get(area) is None]
        if not missing:
            continue
        if not run.state.ended:
            yield f"run #{run.n} is {run.state.value}: its files are compared when it has ended"
        else:
            yield f"run #{run.n} left no {' and no '.join(missing)}"
