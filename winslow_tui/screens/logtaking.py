"""Taking something of a log away from the screen: a line, a file, or all of it into a pager."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from winslow import terminal_text
from winslow.errors import InvalidInput
from winslow_tui.logs.loglines import LogLines
from winslow_tui.logs.logsaving import save
from winslow_tui.logs.logscan import Scan
from winslow_tui.program.completion import Paths
from winslow_tui.program.logfeed import LogFeed
from winslow_tui.screens import paging
from winslow_tui.screens.form import Field, Form

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp

_MOST_COPIED = 1 << 16
_SHAPES = (
    ("raw", "what the stage wrote, byte for byte"),
    ("times", "with time and stream before each line"),
    ("shown", "as text, with Winslow's own lines"),
)


def copy_line(app: WinslowApp, feed: LogFeed, key: int) -> None:
    """Into the clipboard, however many records it came in."""
    line = feed.lines.line_of(key)
    if line is None:
        app.told("this line is still being fetched")
    elif not line.more:
        _copied(app, line.data)
    else:

        def work() -> None:
            app.call_later(_copied, app, feed.lines.whole(key, _MOST_COPIED))

        feed.ask(work)


def _copied(app: WinslowApp, data: bytes | None) -> None:
    if data is None:
        app.told(
            "too long to be copied", hint=f"save it to a file instead: {app.keymap.told('save')}", bad=True
        )
        return
    text = terminal_text.block(data.decode("utf-8", "replace"))
    if app.copy(text):
        app.told(f"copied {len(text):,} letters")


def ask_to_save(app: WinslowApp, lines: LogLines, only: Scan | None, *, name: str) -> None:
    """Ask for a path, then write what is shown there, in the background."""
    what = "lines that are shown" if only else "whole log"

    def send(values: Mapping[str, str]) -> object:
        path = Path(values["path"]).expanduser()
        if path.exists():
            raise InvalidInput(f"{path} is there already", hint="give another path")
        if not path.parent.is_dir():
            raise InvalidInput(f"{path.parent}: there is no such folder", hint="give another path")
        return path, values["shape"]

    def sent(result: object) -> None:
        assert isinstance(result, tuple)
        path, shape = result
        app.told(f"saving the {what} into {path}")
        app.do(
            lambda: save(lines, only, path, shape),
            lambda size: app.told(f"saved {size:,} bytes into {path}"),
        )

    fields = [
        Field("path", "file", str(Path.cwd() / name), required=True, complete=Paths()),
        Field("shape", "as", "raw", choices=_SHAPES),
    ]
    app.push_screen(Form(f"Save the {what}", fields, send, done=sent))


def open_pager(app: WinslowApp, lines: LogLines, only: Scan | None, *, at: int) -> None:
    """What is shown, as harmless text in `$PAGER`, at line `at` where it is one that can begin there."""
    app.told("one moment: the log is written for the pager")
    paging.page(app, lambda path: save(lines, only, path, "shown"), at=at)
