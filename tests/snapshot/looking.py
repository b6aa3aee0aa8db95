"""Looking at the program: keys to what is to be seen, and pictures of it that are compared."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from pytest_textual_snapshot import SVGImageExtension
from rich.style import Style
from syrupy.assertion import SnapshotAssertion
from textual.app import App
from textual.color import Color
from textual.pilot import Pilot
from textual.screen import ModalScreen, Screen
from textual.widgets import Input

from tests.contrast import READABLE, contrast
from tests.snapshot.catalogue import Picture, asked
from winslow_tui.program.app import WinslowApp
from winslow_tui.program.themes import DARK, LIGHT, MONOCHROME
from winslow_tui.screens.page import Page
from winslow_tui.screens.project import ProjectScreen

RECORDED = (3, 11)
SIZES = {"80x24": (80, 24), "140x45": (140, 45)}
THEMES = {"dark": DARK.name, "light": LIGHT.name, "mono": MONOCHROME.name}
Made = dict[Screen[Any], str]


def noting(found: Made, of: type[Screen[Any]]) -> Callable[..., None]:
    """A beginning for forms, questions or pages that keeps who made each."""
    begin = of.__init__

    def begun(screen: Screen[Any], *given: Any, **named: Any) -> None:
        maker = sys._getframe(1)
        module, function = maker.f_globals["__name__"], maker.f_code.co_qualname
        begin(screen, *given, **named)
        if isinstance(screen, Page):  # whoever says what stands on it: it may be opened by another
            module, function = screen._look.__module__, screen._look.__qualname__
        found[screen] = asked(of.__name__, module, function)

    return begun


async def press(pilot: Pilot[None], *keys: str) -> None:
    """To a screen; between two keys that ask for something what it reads in the background comes."""
    for key in keys:
        pressed = ("colon", *key[1:], "enter") if key.startswith(":") else (key,)
        await pilot.press(*pressed)
        if len(key) > 1 or not isinstance(pilot.app.focused, Input):
            await quiet(pilot)


async def look(
    pilot: Pilot[None], picture: Picture, made: Made, snapshot: SnapshotAssertion, *, name: str = ""
) -> None:
    """Wait until what has to be readable is there, and compare what is seen in every theme."""
    app = pilot.app
    assert isinstance(app, WinslowApp)
    for _ in range(100):
        if all(text in readable(app) for text in picture.texts):
            break
        await quiet(pilot)
    missing = [text for text in picture.texts if text not in readable(app)]
    assert not missing, f"{picture.kind}: {missing} cannot be read in\n{readable(app)}"
    assert _kind(app, made) == picture.kind
    assert not [field for field in app.screen.query(Input) if field.cursor_blink], "nothing blinks"
    await pilot.pause(0.15)
    pictures = snapshot.use_extension(SVGImageExtension)
    for theme, named in THEMES.items():
        app.theme = named
        await pilot.pause()
        await pilot.pause()
        assert not _faint(app), f"{picture.kind}, {theme}: hard to read"
        drawn = app.export_screenshot()
        if sys.version_info[:2] == RECORDED:
            assert pictures(name=f"{name}{theme}") == drawn


def _kind(app: WinslowApp, made: Made) -> str:
    if isinstance(app.screen, ProjectScreen):
        return f"ProjectScreen, {app.screen.tab}"
    return made.get(app.screen, type(app.screen).__name__)


async def quiet(pilot: Pilot[None]) -> None:
    """Nothing is being read, and nothing waits to be drawn."""
    await pilot.pause(0.11)
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def readable(app: App[None]) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def _faint(app: App[None]) -> dict[str, float]:
    """Words with too little contrast to be read, of what is on top."""
    screen = app.screen
    top = screen.children[0].region if isinstance(screen, ModalScreen) else screen.region
    found = {}
    for y, strip in enumerate(screen._compositor.render_strips()):
        x = 0
        for segment in strip:
            at, x = x, x + segment.cell_length
            style = segment.style
            seen = top.contains_point((at, y))
            if not seen or style is None or not any(sign.isalnum() for sign in segment.text):
                continue
            if (ratio := _ratio(style)) < READABLE:
                found[segment.text] = round(ratio, 2)
    return found


@cache
def _ratio(style: Style) -> float:
    assert style.color is not None and style.bgcolor is not None
    return contrast(Color.from_rich_color(style.color), Color.from_rich_color(style.bgcolor))
