"""Colours. State is never told by colour alone, so each theme only has to be readable: every colour of text has at
least 4.5 times the light of every ground it may stand on, or the reverse (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

from textual.theme import Theme

PREFIX = "winslow-"
"""Before the names that people use: dark, light, contrast, colour-blind, mono."""
STATES = ("new", "waiting", "running", "paused", "needs-you", "failed", "succeeded", "unknown")
"""The names behind `$state-…` in styles; `glyph` has a sign for each."""

_GLYPHS = {
    "new": "○",
    "waiting": "◐",
    "running": "●",
    "paused": "‖",
    "needs you": "?",
    "failed": "✗",
    "succeeded": "✓",
    "deleting": "-",
}


def glyph(state: str) -> str:
    """One column that stands for a state in words."""
    return _GLYPHS.get(state.lower(), "·")


def style_of(state: str) -> str:
    """The state's name in styles."""
    name = state.lower().replace(" ", "-")
    return name if name in STATES else "unknown"


def _own(
    states: tuple[str, str, str, str, str, str, str], *, dim: str, cursor: str, cursor_idle: str
) -> dict[str, str]:
    """Variables of ours: a colour for each state but the last, which looks like the first; `dim` text, and the
    ground below the row under the cursor, with and without the keys."""
    shown = {f"state-{name}": colour for name, colour in zip(STATES, (*states, states[0]), strict=True)}
    return shown | {"dim": dim, "cursor-ground": cursor, "cursor-idle": cursor_idle}


DARK = Theme(
    name="winslow-dark", dark=True, primary="#6cb6ff", secondary="#8ddb8c", accent="#f0b35a", foreground="#d6dbe1",
    background="#14181d", surface="#1a1f26", panel="#232a33", success="#7bd88f", warning="#f0b35a", error="#ff8d85",
    variables=_own(
        ("#a1abb6", "#f0b35a", "#6cb6ff", "#c8a6ff", "#ffd866", "#ff8d85", "#7bd88f"),
        dim="#a1abb6", cursor="#264159", cursor_idle="#232a33",
    ),
)  # fmt: skip
LIGHT = Theme(
    name="winslow-light", dark=False, primary="#0550ae", secondary="#116329", accent="#953800", foreground="#1f2328",
    background="#ffffff", surface="#f6f8fa", panel="#e7ecf1", success="#116329", warning="#7d4e00", error="#b3261e",
    variables=_own(
        ("#57606a", "#7d4e00", "#0550ae", "#6639ba", "#953800", "#b3261e", "#116329"),
        dim="#57606a", cursor="#cfe3f8", cursor_idle="#e7ecf1",
    ),
)  # fmt: skip
CONTRAST = Theme(
    name="winslow-contrast", dark=True, primary="#ffffff", secondary="#ffff00", accent="#00ffff",
    foreground="#ffffff", background="#000000", surface="#000000", panel="#1c1c1c", success="#00ff00",
    warning="#ffff00", error="#ff6e6e",
    variables=_own(
        ("#ffffff", "#ffff00", "#00ffff", "#ff9dff", "#ffff00", "#ff6e6e", "#00ff00"),
        dim="#d0d0d0", cursor="#0000aa", cursor_idle="#303030",
    ),
)  # fmt: skip
COLOUR_BLIND = Theme(  # after Okabe and Ito, for every kind of colour vision, lit up to be read
    name="winslow-colour-blind", dark=True, primary="#56b4e9", secondary="#2fc39a", accent="#e69f00",
    foreground="#e6e6e6", background="#101418", surface="#171c21", panel="#20262d", success="#2fc39a",
    warning="#e69f00", error="#f98a52",
    variables=_own(
        ("#b4b4b4", "#e69f00", "#56b4e9", "#dd93bb", "#f0e442", "#f98a52", "#2fc39a"),
        dim="#b4b4b4", cursor="#16405c", cursor_idle="#20262d",
    ),
)  # fmt: skip
MONOCHROME = Theme(
    name="winslow-mono", dark=True, primary="#ffffff", secondary="#ffffff", accent="#ffffff", foreground="#e0e0e0",
    background="#000000", surface="#000000", panel="#303030", success="#ffffff", warning="#ffffff", error="#ffffff",
    variables=_own(("#e0e0e0",) * 7, dim="#c4c4c4", cursor="#505050", cursor_idle="#303030"),
)  # fmt: skip
THEMES = (DARK, LIGHT, CONTRAST, COLOUR_BLIND, MONOCHROME)
