"""docs/screen.md: what it says of the configuration file is taken, and the names it tells are all there."""

from __future__ import annotations

import re
from pathlib import Path

from winslow.config import load
from winslow_tui.program.keymap import Keymap
from winslow_tui.screens.contexts import contexts

PAGE = (Path(__file__).parents[2] / "docs" / "screen.md").read_text()


def test_what_the_page_configures_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("\n".join(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)))
    config = load(environ={"WINSLOW_CONFIG": str(file)})
    keymap = Keymap.of(config, contexts())
    assert keymap.chosen["down"] == ("j", "down", "ctrl+j")
    assert config.settings.screen.theme == "light"


def test_the_page_tells_every_set_of_colours() -> None:
    from winslow_tui.program.themes import PREFIX, THEMES

    told = PAGE.partition('theme = "light"')[2].partition("\n")[0]
    assert sorted(re.findall(r"[a-z]+(?:-[a-z]+)?", told.replace(" or ", " "))) == sorted(
        theme.name.removeprefix(PREFIX) for theme in THEMES
    )
