"""Colours that can be read."""

from __future__ import annotations

import pytest
from textual.color import Color
from textual.theme import Theme

from tests.contrast import READABLE, contrast
from winslow_tui.program.themes import STATES, THEMES


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_every_text_can_be_read_on_every_ground_it_may_stand_on(theme: Theme) -> None:
    texts = {
        "foreground": theme.foreground,
        "primary": theme.primary,
        "accent": theme.accent,
        "success": theme.success,
        "warning": theme.warning,
        "error": theme.error,
        "dim": theme.variables["dim"],
        **{state: theme.variables[f"state-{state}"] for state in STATES},
    }
    grounds = {
        "background": theme.background,
        "surface": theme.surface,
        "panel": theme.panel,
        "cursor": theme.variables["cursor-ground"],
        "idle cursor": theme.variables["cursor-idle"],
    }
    unreadable = {
        f"{text} on {ground}": round(found, 2)
        for text, ink in texts.items()
        for ground, paper in grounds.items()
        if ink and paper and (found := contrast(Color.parse(ink), Color.parse(paper))) < READABLE
    }
    assert not unreadable


def test_black_on_white_is_the_most_there_is() -> None:
    assert contrast(Color.parse("#000000"), Color.parse("#ffffff")) == pytest.approx(21.0)
    assert contrast(Color.parse("#777777"), Color.parse("#ffffff")) < READABLE
