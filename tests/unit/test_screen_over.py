"""Several pages over each other."""

from __future__ import annotations

from pathlib import Path

from tests.screen_person import at
from winslow_tui.screens.page import Page


async def test_each_is_drawn_over_the_one_below_whatever_was_drawn_before(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        pages = [Page(f"page {number}", "text", lambda: "text") for number in range(4)]
        for page in pages:
            await anna.app.push_screen(page)
        await anna.reads("page 3")
        for page in pages:
            page.refresh()
        anna.app.export_screenshot()
        pages[1].refresh()  # it asks anew what is behind it; those above are drawn anew from what they know
        for page in pages[2:]:
            page._set_dirty()
        assert "page&#160;3" in anna.app.export_screenshot()
