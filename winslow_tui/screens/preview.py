"""A file's beginning on a page: what it is, and a text as it stands, or as a table; an image as a picture."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from winslow import address
from winslow.errors import Refused
from winslow.placement import size_text
from winslow.workspace import EntryType
from winslow_tui.facade import livefiles
from winslow_tui.facade.filing import File
from winslow_tui.screens.page import Page, Sight
from winslow_tui.screens.paging import page_file
from winslow_tui.shown import picture
from winslow_tui.shown.wording import time_here

if TYPE_CHECKING:
    from winslow_tui.facade.client import Client
    from winslow_tui.program.app import WinslowApp

PREVIEW = 256 << 10  # bytes of a file that are looked at, but for images
_NAME = 10  # columns


def open_file(app: WinslowApp, where: str, file: File) -> None:
    """Show the beginning of a file, or what is known of it."""

    def look() -> Sight:
        now = at(app.client, where)
        data = begin(app.client, now)
        if picture.format_of(data) and len(data) < now.size <= picture.MOST_BYTES:
            data += app.client.store.get_range(now.key, len(data), now.size - len(data))
        return sight(now, data)

    def done(found: Sight) -> None:
        app.push_screen(Page(where, found, look, whole=lambda: page_file(app, file)))

    app.do(lambda: sight(file, begin(app.client, file)), done)


def at(client: Client, where: str) -> File:
    """The file at an address, as it is now. Raises NotFound; Refused for a folder."""
    place = address.parse(where)
    project = client.project(place.project) if place.project else None
    found = [] if place.folder else livefiles.look(client, place, project, deep=False)
    if not found:
        raise Refused(f"{where} is no file")
    return found[0]


def begin(client: Client, file: File) -> bytes:
    """Its first bytes; none of what is no file, or still lies on a node."""
    if file.kind is not EntryType.FILE or not file.key:
        return b""
    return client.store.get_range(file.key, 0, PREVIEW)


def sight(file: File, data: bytes) -> Sight:
    """A file by its first bytes; of an image there is more where they are not all of it."""
    if not picture.format_of(data):
        return Sight(preview(file, data))
    seen = picture.look(data, size=file.size)
    more = seen.picture is None and not seen.why
    told = [*seen.facts(), *([("picture", "is being read …")] if more else [])]
    lines = (f"{name:<{_NAME}}{value}" for name, value in told)
    return Sight("\n".join([_facts(file), *lines]), seen.picture, more)


def preview(file: File, data: bytes) -> str:
    """A file's beginning as text for a screen: CSV in columns, text as it is, of anything else its facts."""
    head = _facts(file) + "\n\n"
    if not data:
        return head + ("(empty)" if file.kind is EntryType.FILE and not file.size else "")
    if b"\0" in data[:4096]:
        return head + "(not a text)\n\n" + _hex(data[:256])
    text = data.decode("utf-8", "replace")
    if file.path.endswith((".csv", ".tsv")):
        text = _columns(text, "\t" if file.path.endswith(".tsv") else ",")
    return head + text + ("\n…" if len(data) < file.size else "")


def _facts(file: File) -> str:
    facts = {
        "size": size_text(file.size) + (f" ({file.size:,} bytes)" if file.size >= 1024 else ""),
        "modified": time_here(file.modified),
        "sha256": file.sha256,
        "link to": file.target,
    }
    return "\n".join(f"{name:<{_NAME}}{value}" for name, value in facts.items() if value)


def _columns(text: str, delimiter: str) -> str:
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))[:500]
    except csv.Error:
        return text
    widths: dict[int, int] = {}
    for row in rows:
        for place, cell in enumerate(row):
            widths[place] = min(30, max(widths.get(place, 0), len(cell)))
    return "\n".join(
        "  ".join(cell[:30].ljust(widths[place]) for place, cell in enumerate(row)) for row in rows
    )


def _hex(data: bytes) -> str:
    return "\n".join(data[at : at + 16].hex(" ") for at in range(0, len(data), 16))
