"""The full-screen program as it is started, on a site in memory, for tests that need a terminal and nothing else.

`python -m tests.screen_program FOLDER`; with `silent` behind it the store answers no question about files.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from tests import screens
from winslow.config import Config
from winslow.store.memory import MemoryStore
from winslow.store.port import ObjectInfo
from winslow_tui.cli.screen import screen
from winslow_tui.facade.client import Client


class Silent(MemoryStore):
    """Whoever looks for files waits for ever."""

    def list_folder(self, prefix: str) -> Iterator[ObjectInfo | str]:
        threading.Event().wait()
        raise AssertionError(prefix)


class Looped(screens.OwnLink):
    """Whoever tells the broker something does that in a loop of its own, as everywhere but in a site in memory."""

    def broker(self, tell: Callable[[], None]) -> None:
        """There is none."""
        asyncio.run(asyncio.sleep(0))


def main(folder: Path, *, silent: bool) -> NoReturn:
    """Open it until it is left."""
    site = screens.site()
    if silent:
        store = Silent()
        vars(store).update(vars(site.store))
        site.store = store

    def listen(config: Config, client: Client) -> screens.Told:
        watch = site.listen(config, client)
        site.tell_all()
        return watch

    def client(config: Config) -> Client:
        return Client(config, link=Looped(config, site.store, site.hear))

    around = replace(screens.around(site, folder), watch=listen, client=client)
    screen(lambda: screens.CONFIG, readonly=False, around=around)


if __name__ == "__main__":
    main(Path(sys.argv[1]), silent="silent" in sys.argv[2:])
