"""A definition's text with its keys, comments and strings set off; whatever it holds is shown as it stands."""

from __future__ import annotations

import re

from textual.content import Content, Span

from winslow import terminal_text

_KEY = re.compile(r"^(\s*(?:- )?\{?\s*)([A-Za-z_][\w.-]*)(:)(?=\s|$)", re.MULTILINE)
_INNER = re.compile(r"(?<=[{,]) *([A-Za-z_][\w.-]*)(?=: )")
_COMMENT = re.compile(r"(?:^|(?<=\s))#.*$", re.MULTILINE)


def highlighted(text: str) -> Content:
    """The text with styles; nothing in it is read as markup."""
    shown = terminal_text.block(text)
    spans = [Span(match.start(2), match.end(2), "bold $primary") for match in _KEY.finditer(shown)]
    spans += [Span(match.start(1), match.end(1), "$primary") for match in _INNER.finditer(shown)]
    spans += [Span(match.start(), match.end(), "$dim") for match in _COMMENT.finditer(shown)]
    return Content(shown, spans=spans)
