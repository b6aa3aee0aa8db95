"""What a person reads in their own pager: a log, a file wherever it lies, a page of this program.

It is written into a file of its own first, as text that can do nothing to a terminal: pagers pass on what they get.
"""

from __future__ import annotations

import codecs
import os
import shlex
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from winslow import terminal_text
from winslow.errors import InvalidInput, Refused, UsageError
from winslow.placement import size_text
from winslow.workspace import EntryType
from winslow_tui.facade import filing, livefiles
from winslow_tui.facade.filing import File
from winslow_tui.foreground import run

if TYPE_CHECKING:
    from winslow_tui.facade.client import Client
    from winslow_tui.program.app import WinslowApp

MOST = 256 << 20  # bytes of a file
_PIECE = 1 << 20
_BINARY = 4096  # bytes among which no text has a zero


def page(app: WinslowApp, write: Callable[[Path], object], *, at: int = 1) -> None:
    """Open in `$PAGER` what `write`, in a thread, puts into a file; at line `at` where it can begin there."""
    folder = tempfile.TemporaryDirectory(prefix="winslow-")
    path = Path(folder.name) / "text"

    def work() -> object:
        try:
            return write(path)
        except OSError as error:
            raise InvalidInput(
                f"{folder.name}: {error.strerror}", hint="TMPDIR names another place"
            ) from error

    def ready(_: object) -> None:
        with folder:
            app.lend(lambda: in_pager(path, at=at))

    app.do(work, ready, failed=lambda _error: folder.cleanup())


def page_text(app: WinslowApp, text: str) -> None:
    """A text of this program."""
    page(app, lambda path: path.write_text(terminal_text.block(text) + "\n"))


def page_file(app: WinslowApp, file: File) -> None:
    """A file in the store or on a node, whole."""
    app.told("one moment: the file is fetched for the pager")
    page(app, lambda path: fetch_text(app.client, file, path))


def fetch_text(client: Client, file: File, path: Path) -> None:
    """Write a file's text to a path. Raises Refused for what is none, or is too long."""
    name = terminal_text.line(file.path)
    if file.kind is not EntryType.FILE:
        raise Refused(f"{name} is no file")
    if file.size > MOST:
        raise Refused(f"{name} is longer than {size_text(MOST)}", hint="fetch it and read it there")
    raw = path.with_name("raw")
    livefiles.fetch(
        client, [filing.Place(replace(file, mode=None), path.parent, raw.name)], lambda _count: None
    )
    with raw.open("rb") as source, path.open("w") as target:
        if b"\0" in source.read(_BINARY):
            raise Refused(f"{name} is not a text", hint="fetch it and open it with what can show it")
        source.seek(0)
        decoder, rest = codecs.getincrementaldecoder("utf-8")("replace"), ""
        while data := source.read(_PIECE):
            whole, end, rest = (rest + decoder.decode(data)).rpartition("\n")
            target.write(terminal_text.block(whole + end))
        target.write(terminal_text.block(rest + decoder.decode(b"", final=True)))


def in_pager(path: Path, *, at: int = 1) -> None:
    """Let the person read it. Raises UsageError where PAGER is no program that is there."""
    wanted = os.environ.get("PAGER", "")
    try:
        pager = shlex.split(wanted) or ["less"]
    except ValueError:
        raise UsageError(f"PAGER is no command: {wanted}", hint="such as PAGER='less -S'") from None
    if Path(pager[0]).name in ("less", "more") and at > 1:
        pager.append(f"+{at}")
    try:
        run([*pager, str(path)])
    except OSError as error:
        raise UsageError(f"{pager[0]}: {error.strerror}", hint="PAGER names the program") from None
