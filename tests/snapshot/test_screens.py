"""Every screen as a picture: dark, light and monochrome, at 80x24 and 140x45, on the site of `tests.screens`.

How text is measured and drawn differs a little between versions of Python and its libraries, so the pictures are
compared on the version they were made with; on every other one the screens are drawn all the same, and what has to
be readable is looked for. To make them anew: pytest tests/snapshot --snapshot-update, and look at the difference.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from broker import topics
from tests import screens
from tests.snapshot.catalogue import PLACES, SCREENS, kinds
from tests.snapshot.looking import SIZES, Made, look, press, quiet
from winslow.store import layout
from winslow_tui.program.app import WinslowApp
from winslow_tui.program.sitewatch import Server


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
        await quiet(pilot)
        await press(pilot, *SCREENS[name].keys)
        _hear(app, name)
        await look(pilot, SCREENS[name], made, snapshot)


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
