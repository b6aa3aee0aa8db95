"""Every screen as a picture: dark, light and monochrome, at 80x24 and 140x45, on the site of `tests.screens`.

How text is measured and drawn differs a little between versions of Python and its libraries, so the pictures are
compared on the version they were made with; on every other one the screens are drawn all the same, and what has to
be readable is looked for. To make them anew: pytest tests/snapshot --snapshot-update, and look at the difference.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from pytest_textual_snapshot import SVGImageExtension
from syrupy.assertion import SnapshotAssertion
from textual.app import App
from textual.color import Color
from textual.pilot import Pilot
from textual.screen import ModalScreen, Screen
from textual.widgets import Input

from broker import topics
from tests import screens
from tests.contrast import READABLE, contrast
from tests.snapshot.catalogue import ASKED, PLACES, SCREENS, Picture, asked, kinds
from winslow.store import layout
from winslow_tui.program.app import WinslowApp
from winslow_tui.program.sitewatch import Server
from winslow_tui.program.themes import DARK, LIGHT, MONOCHROME
from winslow_tui.screens.page import Page
from winslow_tui.screens.project import ProjectScreen

RECORDED = (3, 11)
SIZES = {"80x24": (80, 24), "140x45": (140, 45)}
THEMES = {"dark": DARK.name, "light": LIGHT.name, "mono": MONOCHROME.name}
Made = dict[Screen[Any], str]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """The kinds of the forms, questions and pages that were made."""
    found: Made = {}
    for each in ASKED:
        monkeypatch.setattr(each, "__init__", _noting(found, each))
    return found


def _noting(found: Made, of: type[Screen[Any]]) -> Callable[..., None]:
    begin = of.__init__

    def noting(screen: Screen[Any], *given: Any, **named: Any) -> None:
        maker = sys._getframe(1)
        module, function = maker.f_globals["__name__"], maker.f_code.co_qualname
        begin(screen, *given, **named)
        if isinstance(screen, Page):  # whoever says what stands on it: it may be opened by another
            module, function = screen._look.__module__, screen._look.__qualname__
        found[screen] = asked(of.__name__, module, function)

    return noting


def test_there_is_a_picture_of_everything_that_can_be_seen() -> None:
    pictures = chain(SCREENS.values(), *(found.values() for _, found in PLACES.values()))
    missing = kinds() - {picture.kind for picture in pictures}
    assert not missing


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SCREENS)
async def test_screen(
    name: str,
    size: str,
    snapshot: SnapshotAssertion,
    made: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pictures are the ones that were looked at."""
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    app = _app(name, tmp_path)
    async with app.run_test(size=SIZES[size]) as pilot:
        await _quiet(pilot)
        await _press(pilot, *SCREENS[name].keys)
        _hear(app, name)
        await _look(pilot, SCREENS[name], made, snapshot)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("place", PLACES)
async def test_over(
    place: str,
    size: str,
    snapshot: SnapshotAssertion,
    made: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same for what lies over a screen."""
    monkeypatch.setattr(Path, "cwd", lambda: Path("/home/anna"))
    monkeypatch.chdir(tmp_path)  # a field that takes a path suggests what is there
    keys, pictures = PLACES[place]
    app = screens.app(screens.site(), tmp_path)
    async with app.run_test(size=SIZES[size]) as pilot:
        await _quiet(pilot)
        await _press(pilot, *keys)
        for name, picture in pictures.items():
            await _press(pilot, *picture.keys)
            await _look(pilot, picture, made, snapshot, name=f"{name}-")
            await _press(pilot, *picture.leave)


def _site(name: str) -> screens.Site:
    site = screens.site()
    if name == "away":
        site.broker = Server(
            up=False, problem="the broker at ws1:1883 refused: wrong password", since=9_700.0
        )
    if name == "preview-image":
        site.store.put(layout.resource("tracks.png"), screens.image())
    if name == "confirm":
        site.put(screens.Story("a1-toll-b2c3", "A1 toll", definition=screens.CAREFUL).start().project)
    return site


def _app(name: str, folder: Path) -> WinslowApp:
    site = _site(name)
    if name == "first-run":
        return screens.app(site, folder, config=screens.NOWHERE)
    app = screens.app(site, folder)
    if name == "transfers":
        app.transfers.all |= {each.id: each for each in screens.transfers()}
    return app


def _hear(app: WinslowApp, name: str) -> None:
    """What a screen listens to once it is open."""
    if name == "project-metrics":
        assert isinstance(app.watch_, screens.Told)
        app.watch_.hear(topics.Stats(project=screens.ULM, run=3, attempt=1), screens.usage())


async def _press(pilot: Pilot[None], *keys: str) -> None:
    """To a screen; between two keys that ask for something what it reads in the background comes."""
    for key in keys:
        pressed = ("colon", *key[1:], "enter") if key.startswith(":") else (key,)
        await pilot.press(*pressed)
        if len(key) > 1 or not isinstance(pilot.app.focused, Input):
            await _quiet(pilot)


async def _look(
    pilot: Pilot[None], picture: Picture, made: Made, snapshot: SnapshotAssertion, *, name: str = ""
) -> None:
    """Wait until what has to be readable is there, and compare what is seen in every theme."""
    app = pilot.app
    assert isinstance(app, WinslowApp)
    for _ in range(100):
        if all(text in _readable(app) for text in picture.texts):
            break
        await _quiet(pilot)
    missing = [text for text in picture.texts if text not in _readable(app)]
    assert not missing, f"{picture.kind}: {missing} cannot be read in\n{_readable(app)}"
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


async def _quiet(pilot: Pilot[None]) -> None:
    """Nothing is being read, and nothing waits to be drawn."""
    await pilot.pause(0.11)
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def _readable(app: App[None]) -> str:
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
            assert style.color is not None and style.bgcolor is not None
            ink, paper = Color.from_rich_color(style.color), Color.from_rich_color(style.bgcolor)
            if style.reverse:
                ink, paper = paper, ink
            if (ratio := contrast(ink, paper)) < READABLE:
                found[segment.text] = round(ratio, 2)
    return found
