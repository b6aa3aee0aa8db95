"""What lies over a screen, which is seen dimmed behind it: pages, questions, forms, help, the command line."""

from __future__ import annotations

from typing import TypeVar

from rich.console import RenderableType
from textual.renderables.background_screen import BackgroundScreen
from textual.screen import ModalScreen

T = TypeVar("T")


class Over(ModalScreen[T]):
    """Several may lie over each other.

    Textual hands the screens behind them out from one list, in the order of asking, and a screen that is drawn from its
    cache does not ask: with three over each other, two could be drawn as behind each other, without an end."""

    def render(self) -> RenderableType:
        """The screen behind this one, dimmed."""
        stack = self.app.screen_stack
        below = stack[: stack.index(self)] if self in stack else []
        return BackgroundScreen(below[-1], self.styles.background) if below else ""
