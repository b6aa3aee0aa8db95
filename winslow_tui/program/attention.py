"""Calling a person who looks elsewhere: when a project of theirs needs them, fails or is done. Pure.

The call is the terminal's bell and the two sequences that terminals show as a notice of the desktop: OSC 9
(iTerm2, Windows Terminal, kitty, WezTerm) and OSC 777 (urxvt, foot, VTE). A terminal that knows neither ignores them.
"""

from __future__ import annotations

from winslow import terminal_text
from winslow_tui.program.projectrows import ProjectRow

MOST = 200  # characters of a notice
_CALLED_FOR = {"needs you": "needs you", "failed": "failed", "succeeded": "is done"}


def sentence(row: ProjectRow) -> str:
    """What to call a person for, now that the project is in this state; empty for what can wait."""
    summary = row.summary
    words = _CALLED_FOR.get(summary.state, "")
    if not words:
        return ""
    why = f": {summary.reason}" if summary.reason and summary.state != "succeeded" else ""
    return terminal_text.line(f"{summary.name or summary.id} {words}{why}")[:MOST]


def sequence(text: str) -> str:
    """What is written to the terminal. A semicolon would end the part of OSC 777 it stands in."""
    plain = terminal_text.line(text).replace(";", ",")
    return f"\x1b]9;{plain}\x07\x1b]777;notify;winslow;{plain}\x07\x07"
