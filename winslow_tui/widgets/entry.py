"""One line to type in."""

from __future__ import annotations

from textual.reactive import reactive
from textual.widgets import Input


class Entry(Input):
    """An input whose cursor stands still: one that blinks draws the eye, and sends bytes all day over SSH."""

    DEFAULT_CSS = """
    Entry { height: 1; border: none; background: $panel; }
    Entry.-textual-compact { padding: 0 1; }
    Entry:focus { background-tint: $foreground 0%; }
    Entry > .input--placeholder, Entry > .input--suggestion { color: $dim; }
    Entry > .input--selection { background: $primary; color: $background; }
    """
    cursor_blink: reactive[bool] = reactive(False, init=False)
