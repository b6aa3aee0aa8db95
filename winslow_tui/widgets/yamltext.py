"""A definition's text with its keys and comments set off, and what changed in one; all is shown as it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence

from textual.content import Content, Span

from winslow import terminal_text

_KEY = re.compile(r"^(\s*(?:- )?\{?\s*)([A-Za-z_][\w.-]*)(:)(?=\s|$)", re.MULTILINE)
_INNER = re.compile(r"(?<=[{,]) *([A-Za-z_][\w.-]*)(?=: )")
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$", re.MULTILINE)

_DIFF = re.compile(r"^(?:(@@|---|\+\+\+)|(-)|(\+)).*$", re.MULTILINE)
_DIFF_STYLES = ("", "$dim", "$state-failed", "$state-succeeded")


def highlighted(text: str) -> Content:
    """The text with styles; nothing in it is read as markup."""
    shown = terminal_text.block(text)
    spans = [Span(match.start(2), match.end(2), "bold $primary") for match in _KEY.finditer(shown)]
    spans += [Span(match.start(1), match.end(1), "$primary") for match in _INNER.finditer(shown)]
    spans += [Span(match.start(), match.end(), "$dim") for match in _COMMENT.finditer(shown)]
    return Content(shown, spans=spans)


def compared(lines: Sequence[str]) -> Content:
    """A unified diff: what was taken away and what came set off beside their signs."""
    shown = terminal_text.block("\n".join(lines))
    return Content(
        shown,
        spans=[
            Span(match.start(), match.end(), _DIFF_STYLES[match.lastindex or 0])
            for match in _DIFF.finditer(shown)
        ],
    )
