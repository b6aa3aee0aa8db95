"""The preview of an image in the full-screen program: drawn in cells where there are colours, else told."""

from __future__ import annotations

import io
import threading
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from tests import screens
from tests.screen_person import Person, at
from winslow.store import layout
from winslow_tui.program.themes import MONOCHROME
from winslow_tui.screens.preview import PREVIEW
from winslow_tui.shown import picture
from winslow_tui.widgets.picture import PictureView

TOLD = "PNG, 120 × 72 pixels"


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """One with 256 colours."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def _site(name: str, data: bytes) -> screens.Site:
    site = screens.site()
    site.store.put(layout.resource(name), data)
    return site


async def _open(anna: Person) -> PictureView:
    """The last of the resources, on a page."""
    await anna.press("3", "G")
    await anna.reads("zoom.png")
    await anna.press("enter")
    await anna.reads("res:zoom.png", "size ")
    return anna.app.screen.query_one(PictureView)


def _is_of(view: PictureView, size: tuple[int, int]) -> bool:
    return view.size == size


def _cells(view: PictureView) -> list[list[tuple[str, str]]]:
    """The colours of each cell, above and below."""
    lines = [view.render_line(y) for y in range(view.size.height)]
    found = [[each.style for each in line for _ in each.text] for line in lines]
    return [[(str(one and one.color), str(one and one.bgcolor)) for one in line] for line in found]


async def test_it_is_drawn_in_cells_of_two_points_and_again_at_another_size(tmp_path: Path) -> None:
    async with at(tmp_path, site=_site("zoom.png", screens.image()), size=(160, 60)) as anna:
        view = await _open(anna)
        await anna.reads(TOLD, "8 bits each of red, green, blue", "▀" * 120)
        assert view.size == (120, 36)
        colours = _cells(view)
        assert colours[0][0] != colours[0][60]  # grass, and a road
        assert colours[17][88][0] != colours[17][88][1]  # road, and paint on it
        for size, fitted in (((80, 24), (40, 12)), ((50, 60), (43, 13)), ((160, 60), (120, 36))):
            await anna.pilot.resize_terminal(*size)
            await anna.until(partial(_is_of, view, fitted), f"{fitted}")
            assert all(cell[0].startswith("Color(") for line in _cells(view) for cell in line)
        assert _cells(view) == colours


@pytest.mark.parametrize("how", ["NO_COLOR", "theme", "terminal"])
async def test_without_colours_its_facts_are_told(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "NO_COLOR":
        monkeypatch.setenv("NO_COLOR", "1")
    if how == "terminal":
        monkeypatch.setenv("TERM", "linux")
        monkeypatch.delenv("COLORTERM", raising=False)
    async with at(tmp_path, site=_site("zoom.png", screens.image())) as anna:
        view = await _open(anna)
        if how == "theme":
            anna.app.theme = MONOCHROME.name
        await anna.reads(TOLD, "the picture is drawn in colours only")
        await anna.until(lambda: view.size.height == 1)


async def test_of_a_longer_file_the_beginning_is_told_and_the_picture_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = io.BytesIO()
    Image.effect_noise((900, 600), 120).save(into, "PNG")
    assert len(into.getvalue()) > PREVIEW
    looked, may_go_on, look = [], threading.Event(), picture.look

    def looking(data: bytes, *, size: int) -> picture.Seen:
        looked.append((len(data), threading.current_thread() is threading.main_thread()))
        if len(data) == size:
            may_go_on.wait(60)
        return look(data, size=size)

    monkeypatch.setattr(picture, "look", looking)
    async with at(tmp_path, site=_site("zoom.png", into.getvalue())) as anna:
        await _open(anna)
        await anna.reads("900 × 600 pixels", "256 greys", "is being read …")
        may_go_on.set()
        await anna.reads("▀▀▀▀▀▀▀▀")
        assert "is being read" not in anna.sees()
    assert looked == [(PREVIEW, False), (len(into.getvalue()), False)]


async def test_one_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    async with at(tmp_path, site=_site("zoom.png", screens.image()[:200])) as anna:
        view = await _open(anna)
        await anna.reads(TOLD, "not drawn", "cannot be read")
        assert not view.display
        await anna.press("escape")
        await anna.reads("readme.txt")
