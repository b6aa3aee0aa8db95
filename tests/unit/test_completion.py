"""What is suggested while one types (`winslow_tui.program.completion`)."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.widgets import Input

from tests import screens
from tests.screen_person import Person
from winslow.errors import NotFound, StoreUnreachable
from winslow.workspace import EntryType
from winslow_tui.facade.filing import File
from winslow_tui.program.completion import Addresses, path
from winslow_tui.screens.form import Form


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        ("{}/vi", "{}/videos/"), ("{}/videos/", "{}/videos/north.mp4"),
        ("{}/videos/s", "{}/videos/south.mp4"), ("{}/.h", "{}/.hidden"),
        ("{}/nothing", None), ("{}/videos/north.mp4", None), ("{}/none/x", None),
        ("", None), ("~nobody-at-all/x", None), ("{}/e", None),
    ],
)  # fmt: skip
def test_paths_of_this_machine(typed: str, suggested: str | None, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name in ("videos/north.mp4", "videos/south.mp4", ".hidden", "evil\x1b[2J"):
        (tmp_path / name).touch()
    assert path(typed.format(tmp_path)) == (suggested.format(tmp_path) if suggested else None)


def test_the_first_of_a_folder_is_none_of_the_hidden(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    assert path(f"{tmp_path}/") is None
    (tmp_path / "z").touch()
    assert path(f"{tmp_path}/") == f"{tmp_path}/z"


async def test_addresses_are_asked_for_once_a_folder() -> None:
    asked: list[str] = []

    def look(folder: str) -> list[File]:
        asked.append(folder)
        if folder == "gone:":
            raise NotFound("there is no project 'gone'")
        return [File(path="ulm", kind=EntryType.DIR), File(path="readme.txt", kind=EntryType.FILE)]

    suggester = Addresses(look)
    assert await suggester.get_suggestion("res:u") == "res:ulm/"
    assert await suggester.get_suggestion("res:r") == "res:readme.txt"
    assert await suggester.get_suggestion("gone:x") is None
    assert await suggester.get_suggestion("0.35") is None
    assert asked == ["res:", "gone:"]


async def test_what_a_store_that_was_away_could_not_tell_is_asked_for_again() -> None:
    away = [True]

    def look(_folder: str) -> list[File]:
        if away.pop():
            raise StoreUnreachable("the store is away")
        return [File(path="ulm", kind=EntryType.DIR)]

    suggester = Addresses(look)
    assert await suggester.get_suggestion("res:u") is None
    away.append(False)
    assert await suggester.get_suggestion("res:u") == "res:ulm/"


async def test_a_variable_is_completed_to_a_file_of_the_resources(tmp_path: Path) -> None:
    site = screens.site()
    app = screens.app(site, tmp_path)
    async with app.run_test(size=(100, 30)) as pilot:
        anna = Person(pilot, site)
        await anna.on(screens.ULM)
        await anna.press("r")
        await anna.until(lambda: isinstance(app.screen, Form))
        video = next(field for field in app.screen.query(Input) if field.value == "res:ulm/north.mp4")
        video.focus()
        video.value = ""
        await anna.type("res:ulm/")
        await anna.until(lambda: video._suggestion.startswith("res:ulm/"), "a suggestion")
        await anna.press("right")
        assert video.value.startswith("res:ulm/") and len(video.value) > len("res:ulm/")
        await anna.reads("→ completes")
