"""Who presses the keys of the full-screen program in a test, and looks at what it shows.

`at(folder)` is the program on the site of `tests.screens`, and the person who sits there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

from textual.pilot import Pilot

from tests import screens
from winslow.project import Project
from winslow_tui.program.app import WinslowApp
from winslow_tui.screens.project import ProjectScreen
from winslow_tui.widgets.table import VirtualTable


class Person:
    """Who presses keys and looks."""

    deadline: ClassVar[float] = 60.0  # seconds

    def __init__(self, pilot: Pilot[None], site: screens.Site) -> None:
        self.pilot = pilot
        self.site = site

    @property
    def app(self) -> WinslowApp:
        assert isinstance(self.pilot.app, WinslowApp)
        return self.pilot.app

    def sees(self) -> str:
        """Every line of the terminal."""
        screen = self.app.screen
        return "\n".join(strip.text for strip in screen._compositor.render_strips())

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        await self.pilot.press(*("space" if letter == " " else letter for letter in text))

    async def until(self, condition: Callable[[], object], what: str = "it") -> None:
        """The program works on until that holds."""
        for _ in range(int(self.deadline / 0.05)):
            if condition():
                return
            await self.pilot.pause(0.05)
        raise AssertionError(f"{what} never came; the screen:\n{self.sees()}")

    async def reads(self, *texts: str) -> None:
        await self.until(lambda: all(text in self.sees() for text in texts), f"{texts!r}")

    def document(self, project: str) -> Project:
        found = self.site.client(screens.CONFIG).documents.read(project).document
        assert isinstance(found, Project)
        return found

    async def on(self, project: str) -> None:
        """Open a project from the list."""
        await self.press("slash")
        await self.type(project)
        await self.press("enter")
        await self.until(lambda: list(self.app.screen.query_one(VirtualTable).keys) == [project])
        await self.press("enter")
        await self.until(
            lambda: isinstance(self.app.screen, ProjectScreen) and self.app.screen.document is not None
        )


class Patient(Person):
    """Who looks at real servers, which take their time."""

    deadline: ClassVar[float] = 120.0


@asynccontextmanager
async def at(
    folder: Path,
    *,
    readonly: bool = False,
    site: screens.Site | None = None,
    size: tuple[int, int] = (100, 30),
) -> AsyncIterator[Person]:
    """The program on the site, its list of projects shown."""
    site = site or screens.site()
    app = screens.app(site, folder, readonly=readonly)
    async with app.run_test(size=size, notifications=True) as pilot:
        person = Person(pilot, site)
        await person.until(lambda: len(app.site.projects) == len(site.summaries))
        await pilot.pause()
        yield person
