"""Files and pages in a person's own pager (`winslow_tui.screens.paging`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import screens
from tests.pagers import Pager
from tests.screen_person import Person
from winslow.errors import Refused
from winslow.workspace import EntryType
from winslow_tui.facade.filing import File
from winslow_tui.screens import paging
from winslow_tui.screens.page import Page
from winslow_tui.widgets.browser import Browser


@pytest.fixture
def site() -> screens.Site:
    """With two files among the resources: one is hostile and long, the other is no text."""
    made = screens.site()
    lines = b"".join(b"line %d\x1b]0;title\x07\r\n" % number for number in range(200_000))
    made.store.put("resources/long.txt", lines + "ende \u202e ä".encode())
    made.store.put("resources/clip.bin", b"RIFF\0\0\0\0")
    return made


def stored(site: screens.Site, path: str) -> File:
    key = f"resources/{path}"
    size = len(site.store.get(key).data)
    return File(path=path, kind=EntryType.FILE, size=size, key=key, etag=site.store.stat(key).etag)


def test_a_file_of_any_length_becomes_harmless_text(site: screens.Site, tmp_path: Path) -> None:
    paging.fetch_text(site.client(screens.CONFIG), stored(site, "long.txt"), tmp_path / "text")
    lines = (tmp_path / "text").read_text().splitlines()
    assert lines[:2] == ["line 0", "line 1"] and lines[199_999:] == ["line 199999", "ende  ä"]


def test_what_is_no_text_or_too_long_is_refused(
    site: screens.Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = site.client(screens.CONFIG)
    with pytest.raises(Refused, match=r"clip\.bin is not a text"):
        paging.fetch_text(client, stored(site, "clip.bin"), tmp_path / "text")
    with pytest.raises(Refused, match="is no file"):
        paging.fetch_text(client, File(path="models", kind=EntryType.DIR), tmp_path / "text")
    monkeypatch.setattr(paging, "MOST", 1000)
    with pytest.raises(Refused, match="longer than 1000 B"):
        paging.fetch_text(client, stored(site, "long.txt"), tmp_path / "text")


async def test_a_file_and_what_is_shown_of_it_open_in_the_pager(
    site: screens.Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, of_page = Pager(tmp_path / "first"), Pager(tmp_path / "second")
    app = screens.app(site, tmp_path)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        anna = Person(pilot, site)
        await anna.press("3")
        await anna.reads("clip.bin", "readme.txt")
        table = app.screen.query_one(Browser).table
        table.put_cursor("res:clip.bin")
        whole.use(monkeypatch)
        await anna.press("v")
        await anna.reads("clip.bin is not a text")
        table.put_cursor("res:readme.txt")
        await anna.press("v")
        await anna.until(lambda: whole.opened)
        assert whole.text == site.store.get("resources/readme.txt").data.decode()
        of_page.use(monkeypatch)
        await anna.press("enter")
        await anna.until(lambda: isinstance(app.screen, Page))
        await anna.press("v")
        await anna.until(lambda: of_page.opened)
        assert of_page.text == whole.text


async def test_a_pager_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Pager(tmp_path / "less").use(monkeypatch)
    monkeypatch.setenv("PAGER", str(tmp_path / "none"))
    site = screens.site()
    app = screens.app(site, tmp_path)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        anna = Person(pilot, site)
        await anna.press("3")
        await anna.reads("readme.txt")
        app.screen.query_one(Browser).table.put_cursor("res:readme.txt")
        await anna.press("v")
        await anna.reads("No such file", "PAGER names the program")
