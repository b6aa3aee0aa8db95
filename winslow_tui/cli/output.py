"""What commands print: data to stdout as a table or JSON, narration to stderr; all outside text harmless (I11)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from winslow.terminal_text import block, line
from winslow_tui.shown.wording import time_shown as time_shown


class Format(StrEnum):
    """How data is printed."""

    TABLE = "table"  # for people
    JSON = "json"  # for programs; its keys stay as they are from version to version


_WIDE = 100_000  # columns of a pipe: nothing is cut
_COLOURS: Mapping[str, str] = {
    "SUCCEEDED": "green", "succeeded": "green", "online": "green",
    "FAILED": "red", "failed": "red", "offline": "red", "UNKNOWN": "red", "unreadable": "red",
    "RUNNING": "cyan", "running": "cyan", "PREPARING": "cyan", "COLLECTING": "cyan",
    "QUEUED": "yellow", "waiting": "yellow", "PAUSED": "yellow", "paused": "yellow", "draining": "yellow",
    "needs you": "magenta",
}  # fmt: skip


def say(text: str) -> None:
    """A sentence for people, to stderr."""
    print(block(text), file=sys.stderr, flush=True)


def put(text: str) -> None:
    """Text of any number of lines to stdout, made harmless."""
    print(block(text), flush=True)


def put_json(data: object) -> None:
    """One JSON document to stdout; ASCII alone, so that no terminal acts on it."""
    put(harmless_json(data, indent=2))


def put_json_line(data: object) -> None:
    """One JSON document on one line."""
    put(harmless_json(data, indent=None))


def harmless_json(data: object, *, indent: int | None) -> str:
    """JSON in ASCII, DEL escaped too."""
    return json.dumps(data, indent=indent, ensure_ascii=True, default=str).replace("\x7f", "\\u007f")


def put_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table to stdout, one line a row on a pipe. States are coloured, and never shown by colour alone."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    console = Console(
        file=sys.stdout,
        markup=False,
        highlight=False,
        emoji=False,
        width=None if terminal else _WIDE,
        no_color=_no_color(),
    )
    table = Table(
        box=box.SIMPLE_HEAD if terminal else None, show_edge=False, pad_edge=False, header_style="bold"
    )
    for column in columns:
        table.add_column(Text(line(column)), overflow="fold")
    for row in rows:
        table.add_row(
            *(Text(shown, style=_COLOURS.get(shown, "")) for shown in (line(str(cell)) for cell in row))
        )
    with console.capture() as capture:
        console.print(table)
    for text in capture.get().splitlines():
        print(text.rstrip(), flush=True)


def put_diff(lines: Iterable[str]) -> None:
    """A unified diff to stdout; on a terminal what is new is green, what is gone red."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=sys.stdout, markup=False, highlight=False, emoji=False, no_color=_no_color())
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for each in lines:
        shown = block(each)
        if sys.stdout.isatty():
            console.print(Text(shown, style=styles.get(shown[:1], "")), soft_wrap=True)
        else:
            print(shown, flush=True)


def put_fields(fields: Mapping[str, object]) -> None:
    """Names and values, one a line; empty values are left out."""
    shown = {name: line(str(value)) for name, value in fields.items() if value not in ("", None, (), [], {})}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        print(f"{name:<{width}}  {value}", flush=True)


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """`K=V` options as a mapping. Raises UsageError naming the option."""
    from winslow.errors import UsageError

    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {text}: write NAME=VALUE")
        found[name] = value
    return found


def _no_color() -> bool:
    """https://no-color.org: any value that is not empty."""
    return bool(os.environ.get("NO_COLOR"))


def plain(model: Any) -> Any:
    """A pydantic model as JSON-ready data."""
    return model.model_dump(mode="json", by_alias=True)
