"""Names, dimmed, with what there is to say behind each, as it stands in one column below the other."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import wrap

from textual.content import Content

from winslow import terminal_text

GAP = 2


def named(rows: Iterable[tuple[str, str]], width: int, *, indent: int = 0) -> Content:
    """One row for each name with its text, whose further lines begin below its first. The texts begin in column
    `indent`, or behind the longest name, in the middle at most: a name without room has a line of its own."""
    told = [(terminal_text.line(name), terminal_text.line(text)) for name, text in rows]
    longest = max((len(name) for name, _ in told), default=0)
    indent = indent or min(longest + GAP, max(width // 2, GAP))
    return Content("\n").join(line for name, text in told for line in _lines(name, text, indent, width))


def _lines(name: str, text: str, indent: int, width: int) -> Iterable[Content]:
    room = max(10, width - indent)
    beside = len(name) < indent
    if not beside:
        yield Content.assemble((name, "$dim"))
    for place, line in enumerate(wrap(text, room, break_on_hyphens=False) or [""]):
        yield Content.assemble((f"{name if beside and not place else '':<{indent}}", "$dim"), line)
