"""Every screen as a picture: dark, light and monochrome, at 80x24 and 140x45, on the site of `tests.screens`.

How text is measured and drawn differs a little between versions of Python and its libraries, so the pictures are
compared on the version they were made with; on every other one the screens are drawn all the same, and what has to
be readable is looked for. To make them anew: pytest tests/snapshot --snapshot-update, and look at the difference.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pytest_textual_snapshot import SVGImageExtension
from syrupy.assertion import SnapshotAssertion
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input

from broker import topics
from tests import screens
from winslow_tui.program.app import WinslowApp
from winslow_tui.program.sitewatch import Server
from winslow_tui.program.themes import DARK, LIGHT, MONOCHROME

RECORDED = (3, 11)
SIZES = {"80x24": (80, 24), "140x45": (140, 45)}
THEMES = {"dark": DARK.name, "light": LIGHT.name, "mono": MONOCHROME.name}
TYPED = ("slash", *"ulm")
PROJECT = (*TYPED, "enter", "enter")

# keys to the screen, and what must be readable there at any size
SCREENS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "projects": (
        (),
        ("b10-night-d2aa", "? needs you", "✗ failed", "◐ waiting", "● running", "set THRESHOLD"),
    ),
    "project-log": (PROJECT, ("frame 28800/36000", "✗ oom", "queue clean")),
    "project-files": ((*PROJECT, "2"), ("▸ #next", "workspace of detect")),
    "project-tree": (
        (*PROJECT, "2", "enter", "G", "right", "j", "right", "j", "space"),
        ("nothing here", "▾ #2", "▾ model/", "weights.bin", "boxes.csv"),
    ),
    "project-settings": ((*PROJECT, "3"), ("priority", "# its own copy of traffic, revision 3")),
    "project-facts": ((*PROJECT, "j", "5"), ("registry.example/detect:3", "CONF=0.5")),
    "project-compare": ((*PROJECT, "j", "space", "space", "c"), ("env CONF", "0.35 (pipeline)")),
    "project-metrics": ((*PROJECT, "4"), ("1.9 of 2 cores", "of 4 GiB", "most heard")),
    "project-asks": (("enter",), ("? stage 'clean' needs THRESHOLD: enter answers",)),
    "queue": ((*PROJECT, "Q"), ("Queue", "clean")),
    "start": (("s",), ("THRESHOLD (needed)", "workspace from")),
    "redo": ((*PROJECT, "j", "r"), ("Redo", "CONF")),
    "answer": (("a",), ("THRESHOLD",)),
    "new": (("n",), ("New project", "pipeline")),
    "tags": (("t",), ("b10",)),
    "explain": ((*(("j",) * 2), "w"), ("why", "none free")),
    "delete": (("D",), ("Delete b10-night-d2aa", "type B10 by night to go on", "No", "Yes")),
    "nodes": (("2",), ("● online", "◐ draining", "✗ offline", "gone since Tuesday")),
    "node": (("2", "j", "enter"), ("Ryzen 9 7950X", "1 s behind", "180 GiB", "71 °C")),
    "files": (("3", "G", "k", "right"), ("▾ res:", "▸ models/", "▾ ulm/", "north.mp4", "readme.txt")),
    "pipelines": (("4", "j"), ("traffic", "who drives where")),
    "pipeline-change": (("4", "j", "d"), ("0.35", "0.4")),
    "preview": (("3", "G", "enter"), ("readme.txt", "xxxx")),
    "activity": (("5",), ("is to take nothing new", "pipeline traffic")),
    "transfers": (("T",), ("42%", "north.mp4", "no room is left", "stopped")),
    "transfers-none": (("T",), ("nothing is on its way",)),
    "first-run": ((), ("winslow up", "~/.config/winslow/config.toml", "q leaves")),
    "help": (("question_mark",), ("Project", ":queue", "what comes next")),
    "commands": (("colon",), ("answer what it asks",)),
    "away": ((), ("✗ broker away 0h05", "wrong password", "nodes and progress are 0h05 old")),
}


def _site(name: str) -> screens.Site:
    site = screens.site()
    if name == "away":
        site.broker = Server(
            up=False, problem="the broker at ws1:1883 refused: wrong password", since=9_700.0
        )
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


async def _go(pilot: Pilot[None], name: str) -> None:
    """To the screen, and wait until what it reads in the background is there."""
    keys, texts = SCREENS[name]
    app = pilot.app
    await _quiet(pilot)
    for key in keys:
        await pilot.press(key)
        if key not in TYPED:
            await _quiet(pilot)
    assert isinstance(app, WinslowApp)
    _hear(app, name)
    for _ in range(100):
        if all(text in _readable(app) for text in texts):
            break
        await _quiet(pilot)
    missing = [text for text in texts if text not in _readable(app)]
    assert not missing, f"{name}: {missing} cannot be read in\n{_readable(app)}"
    for field in app.screen.query(Input):
        field.cursor_blink = False
    await pilot.pause(0.15)
    await _quiet(pilot)


async def _quiet(pilot: Pilot[None]) -> None:
    """Nothing is being read, and nothing waits to be drawn."""
    await pilot.pause(0.11)
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def _readable(app: App[None]) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SCREENS)
async def test_screen(
    name: str, size: str, snapshot: SnapshotAssertion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pictures are the ones that were looked at."""
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    app = _app(name, tmp_path)
    pictures = snapshot.use_extension(SVGImageExtension)
    async with app.run_test(size=SIZES[size]) as pilot:
        await _go(pilot, name)
        for theme, named in THEMES.items():
            app.theme = named
            await _quiet(pilot)
            picture = app.export_screenshot()
            if sys.version_info[:2] == RECORDED:
                assert pictures(name=theme) == picture
