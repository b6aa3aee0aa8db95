"""What a person is about to type: paths of this machine, and addresses of files on the site."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from textual.suggester import Suggester

from winslow import terminal_text
from winslow.errors import Unreachable, WinslowError
from winslow.workspace import EntryType
from winslow_tui.facade.filing import File


class Paths(Suggester):
    """Files and folders here."""

    def __init__(self) -> None:
        super().__init__(case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        return await asyncio.to_thread(path, value)


class Addresses(Suggester):
    """Files at addresses; `look` lists a folder, and is called in a thread. What it said of one is remembered, but for
    what a server that was away could not tell."""

    def __init__(self, look: Callable[[str], list[File]]) -> None:
        super().__init__(case_sensitive=True, use_cache=False)
        self._look = look
        self._known: dict[str, list[str]] = {}

    async def get_suggestion(self, value: str) -> str | None:
        folder, begun = _split(value, ("/", ":"))
        if ":" not in folder:
            return None
        if folder not in self._known:
            try:
                self._known[folder] = await asyncio.to_thread(self._names, folder)
            except Unreachable:  # the frame says so
                return None
        return _first(folder, begun, self._known[folder])

    def _names(self, folder: str) -> list[str]:
        try:
            found = self._look(folder)
        except Unreachable:
            raise
        except WinslowError:  # no address yet, or one of nothing: there is nothing to suggest
            return []
        return [_named(each.path.rpartition("/")[2], folder=each.kind is EntryType.DIR) for each in found]


def path(value: str) -> str | None:
    """The first file or folder here that begins like this, in the words it was begun with."""
    folder, begun = _split(value, ("/",))
    if not value:
        return None
    try:
        there = Path(folder).expanduser().iterdir()
        names = [_named(each.name, folder=each.is_dir()) for each in there if each.name.startswith(begun)]
    except (OSError, RuntimeError, ValueError):  # such a folder is not there, or not for us, or can be none
        return None
    return _first(folder, begun, names)


def _named(name: str, *, folder: bool) -> str:
    return name + "/" if folder else name


def _split(value: str, ends: tuple[str, ...]) -> tuple[str, str]:
    cut = max(value.rfind(end) for end in ends) + 1
    return value[:cut], value[cut:]


def _first(folder: str, begun: str, names: Iterable[str]) -> str | None:
    """Hidden names only where a dot was typed, and none that could act on a terminal."""
    found = sorted(
        name
        for name in names
        if name.startswith(begun)
        and (begun or not name.startswith("."))
        and name != begun
        and terminal_text.line(name) == name
    )
    return folder + found[0] if found else None
