"""A text in an editor while the app has lent its terminal: what is asked of the site for it is asked in a thread.

The app's loop stands still then, but it is there, and the facade, which talks to the broker in a loop of its own, may
not be called where one is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from winslow_tui.facade.editing import Subject

T = TypeVar("T")


@dataclass(frozen=True)
class Aside:
    """A subject of `editing`, of which every question to the site goes to a thread."""

    subject: Subject

    @property
    def title(self) -> str:
        """See editing."""
        return self.subject.title

    @property
    def stem(self) -> str:
        """See editing."""
        return self.subject.stem

    def text(self) -> str:
        """See editing."""
        return self.subject.text()

    def check(self, text: str, *, source: str) -> None:
        """See editing."""
        self.subject.check(text, source=source)

    def store(self, text: str, *, source: str) -> str:
        """See editing."""
        return _in_thread(lambda: self.subject.store(text, source=source))

    def meanwhile(self) -> list[str]:
        """See editing."""
        return _in_thread(self.subject.meanwhile)

    def way_on(self, path: Path) -> str:
        """See editing."""
        return self.subject.way_on(path)


def _in_thread(ask: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1, thread_name_prefix="facade") as aside:
        return aside.submit(ask).result()
