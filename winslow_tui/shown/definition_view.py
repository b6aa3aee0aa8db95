"""Definitions as people compare them: texts line by line, definitions by what they mean. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from winslow.definition_diff import Change
from winslow.project import Project
from winslow.store.pipelines import PipelineHead, PipelineText
from winslow_tui.shown.wording import time_shown


def text_diff(before: PipelineText, after: PipelineText) -> list[str]:
    """A unified diff of two texts, with who applied them and when; empty when they are equal."""
    old, new = (each.text.split("\n") for each in (before, after))
    return list(difflib.unified_diff(old, new, _titled(before.head), _titled(after.head), lineterm=""))


def change_rows(changes: Iterable[Change]) -> list[dict[str, str]]:
    """The changes as data for programs."""
    return [
        {"path": each.path, "change": each.kind.value, "before": each.before, "after": each.after}
        for each in changes
    ]


def source_news(project: Project, newest: Mapping[str, int | None]) -> str:
    """What became of the pipeline that the project's copy came from; empty while that is still the newest.

    `newest` as `Client.newest_revisions` tells it."""
    if project.source not in newest:
        return ""
    revision = newest[project.source]
    if revision is None:
        return "was deleted"
    return f"revision {revision} is newer" if revision > project.pipeline.source_revision else ""


def _titled(head: PipelineHead) -> str:
    by = f", {head.by}" if head.by else ""
    return f"{head.name} revision {head.revision}{by} {time_shown(head.updated)}".rstrip()
