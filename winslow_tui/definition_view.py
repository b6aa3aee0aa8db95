"""Definitions as people compare them."""

from __future__ import annotations

import difflib

from winslow.store.pipelines import PipelineHead, PipelineText


def text_diff(before: PipelineText, after: PipelineText) -> list[str]:
    """A unified diff of two texts, with who applied them and when; empty when they are equal."""
    old, new = (each.text.split("\n") for each in (before, after))
    return list(difflib.unified_diff(old, new, _titled(before.head), _titled(after.head), lineterm=""))


def _titled(head: PipelineHead) -> str:
    by = f", {head.by}" if head.by else ""
    return f"{head.name} revision {head.revision}{by} {head.updated}".rstrip()
