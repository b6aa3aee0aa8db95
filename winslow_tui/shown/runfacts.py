"""Every fact of one run, as plain data for a table and for JSON (design 3). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from winslow.lineage import stale
from winslow.placement import size_text
from winslow.project import Attempt, Project, Reason, Run
from winslow.run_diff import Files, RunDiff, seconds
from winslow.workspace import Entry, EntryType
from winslow_tui.shown.explanation import shown_state
from winslow_tui.shown.runlist import changes_text, marks
from winslow_tui.shown.wording import counted, lasting, time_shown

_SENTENCES = {
    Reason.EXIT_CODE: "its command ended with another code than 0",
    Reason.OOM: "it was killed for using more memory than it asked for",
    Reason.LOG_PATTERN: "it wrote a line that its stage calls a failure",
    Reason.TIMEOUT: "it ran longer than its stage allows",
    Reason.STALLED: "it wrote nothing for longer than its stage allows",
    Reason.ABORTED: "a person stopped it",
    Reason.NODE_LOST: "its node was lost",
    Reason.IMAGE_UNAVAILABLE: "its image could not be fetched",
    Reason.INPUT_MISSING: "a file it reads is not there",
    Reason.DISK_FULL: "its node's disk was full",
    Reason.RUNTIME_ERROR: "its node's container engine refused",
    Reason.REFUSED_BY_NODE: "its node's configuration does not allow it",
    Reason.STORAGE: "its results could not be stored",
    Reason.DISOWNED: "its node does not know of it",
}

_NAMES = {
    "exit_code": "exit code",
    "seconds": "lasted",
    "peak_memory": "peak memory",
    "peak_cpus": "peak cores",
    "workspace_from": "workspace from run",
    "image_digest": "digest",
}
"""What people read instead of a field's own name."""


def facts(project: Project, run: Run, *, silent: Iterable[str] = (), left: Files) -> dict[str, Any]:
    """Everything that is known of a run; `left` is what its manifests list, None where there is none.

    Values of `secret:` variables are references; nothing here ever holds a secret."""
    blamed = stale(project)
    gone = next((each for each in project.pruned if each.n == run.n), None)
    return {
        "project": project.id,
        "run": run.n,
        "stage": run.stage.name,
        "state": shown_state(run, silent),
        "reason": run.reason.value if run.reason else "",
        "sentence": sentence(run),
        "marks": marks(project, run.n),
        "stale": blamed.get(run.n),
        "pinned": run.n in project.pinned,
        "pruned": gone.model_dump(mode="json") if gone else None,
        "by": run.by,
        "comment": run.comment,
        "queued_at": run.queued_at,
        "then": "pause" if run.advance == "single" else "go on",
        "like": run.blueprint,
        "asked": run.asked.model_dump(mode="json"),
        "asked_text": changes_text(run.asked, blueprint=run.blueprint),
        "definition": run.stage.model_dump(mode="json"),
        "env": {name: value.model_dump(mode="json") for name, value in run.env.items()},
        "workspace_from": run.workspace_from,
        "workspace_edited": bool(run.workspace_edited),
        "inputs": [{"input": text, "run": _input_run(run, text)} for text in run.stage.inputs],
        "refs": list(run.refs),
        "attempts": [_attempt(attempt) for attempt in run.attempts],
        "retries_used": run.retries_used,
        "results": run.results,
        "manifests": {
            area: {"key": getattr(run.manifests, area), **_totals(entries)} if entries is not None else None
            for area, entries in left.items()
        },
    }


def sentence(run: Run) -> str:
    """Why it ended as it did, or waits again, for people."""
    if run.detail or run.reason is None:
        return run.detail
    return _SENTENCES[run.reason]


def _input_run(run: Run, text: str) -> int | None:
    return run.input_runs.get(text[1:].partition(":")[0]) if text.startswith("#") else None


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt": attempt.k,
        **attempt.model_dump(
            mode="json",
            include={
                "node", "node_uuid", "adopted_from", "claimed_at", "started_at", "exited_at", "ended_at",
                "image_digest", "gpus", "exit_code", "outcome", "reason", "detail", "peak", "bids",
            },
        ),
        "seconds": seconds(attempt),
    }  # fmt: skip


def _totals(entries: Sequence[Entry]) -> dict[str, int]:
    files = [entry for entry in entries if entry.type is EntryType.FILE]
    return {
        "files": len(files),
        "folders": sum(entry.type is EntryType.DIR for entry in entries),
        "links": sum(entry.type is EntryType.LINK for entry in entries),
        "bytes": sum(entry.size for entry in files),
    }


def diff_rows(found: RunDiff) -> list[tuple[str, str, str]]:
    """What differs but for the files, as rows of name, before and after."""
    groups = (
        ("env ", found.env),
        ("", (*found.stage, *found.requires)),
        ("result ", found.results),
        ("", found.outcome),
    )
    return [
        (
            f"{what}{_NAMES.get(pair.name, pair.name)}",
            _value(pair.name, pair.before),
            _value(pair.name, pair.after),
        )
        for what, pairs in groups
        for pair in pairs
    ]


def _value(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):  # of the environment
        return f"{value['value']} ({value['origin']})"
    if name == "peak_memory":
        return size_text(value)
    if name == "seconds":
        return lasting(value)
    if isinstance(value, float):
        return f"{value:.3g}" if value < 100 else f"{value:.0f}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def file_rows(found: RunDiff) -> list[tuple[str, str, str, str]]:
    """Changed files as rows of path, change, and both sizes."""
    return [
        (
            f"{each.area}/{each.path}",
            f"{each.kind}{f' ({each.note})' if each.note else ''}",
            "" if each.before is None else size_text(each.before),
            "" if each.after is None else size_text(each.after),
        )
        for each in found.files
    ]


def fields(told: Mapping[str, Any]) -> dict[str, object]:
    """The facts as names and values of a table; empty ones stay out there."""
    attempt = told["attempts"][-1] if told["attempts"] else {}
    peak = attempt.get("peak") or {}
    lasted = attempt.get("seconds")
    definition = told["definition"]
    return {
        "run": f"{told['project']} #{told['run']} {told['stage']}",
        "state": told["state"],
        "reason": f"{told['reason']}: {told['sentence']}" if told["reason"] else told["sentence"],
        "marks": "; ".join(told["marks"]),
        "asked by": told["by"],
        "queued": time_shown(told["queued_at"]),
        "comment": told["comment"],
        "changed": told["asked_text"],
        "then": "the project pauses" if told["then"] == "pause" else "",
        "image": definition["image"],
        "digest": attempt.get("image_digest", ""),
        "command": " ".join(definition["command"]),
        "node": attempt.get("node", ""),
        "gpus": ", ".join(attempt.get("gpus", ())),
        "claimed": time_shown(attempt.get("claimed_at", "")),
        "started": time_shown(attempt.get("started_at", "")),
        "ended": time_shown(attempt.get("exited_at", "") or attempt.get("ended_at", "")),
        "lasted": "" if lasted is None else lasting(lasted),
        "exit code": attempt.get("exit_code"),
        "peak": _peak(peak),
        "requires": _requires(definition["requires"]),
        "workspace": _workspace(told),
        **{f"input {each['input']}": _of(each["run"]) for each in told["inputs"]},
        **{
            f"left {area}": f"{counted(each['files'], 'file')}, {size_text(each['bytes'])}"
            for area, each in told["manifests"].items()
            if each is not None
        },
        **{f"result {name}": value for name, value in told["results"].items()},
    }


def _of(n: int | None) -> str:
    return f"from run #{n}" if n else "from the resources"


def _peak(peak: Mapping[str, Any]) -> str:
    words = [size_text(peak["memory"]) + " of memory"] if peak.get("memory") else []
    words += [counted(peak["cpus"], "core")] if peak.get("cpus") else []
    return ", ".join(words)


def _requires(requires: Mapping[str, Any]) -> str:
    gpus = requires["gpus"]
    words = [counted(requires["cpus"], "core"), f"{size_text(requires['memory'])} of memory"]
    if gpus:
        kind = f"{gpus['name']} " if gpus["name"] else ""
        memory = f" with {size_text(gpus['memory'])}" if gpus["memory"] else ""
        words.append(f"{counted(gpus['count'], f'{kind}GPU')}{memory}")
    words += [f"{size_text(requires['disk'])} of disk"] if requires["disk"] else []
    words += [f"tag {tag}" for tag in requires["tags"]]
    return ", ".join(words)


def _workspace(told: Mapping[str, Any]) -> str:
    source = told["workspace_from"]
    if source is None:
        return "empty at the start"
    what = f"from run #{source}" if source else "what was put there at the start"
    return f"{what}, with changed files" if told["workspace_edited"] and source else what
