"""What is read rather than chosen from: it is scrolled by the keys that move the cursor of a list."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from winslow_tui.program.keymap import rebind


class Sheet(VerticalScroll, inherit_bindings=False):
    """Whatever is composed into it, scrolled by keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "by_lines(1)", "down", show=False, id="down"),
        Binding("k,up", "by_lines(-1)", "up", show=False, id="up"),
        Binding("ctrl+f,pagedown,space", "by_pages(1)", "page down", show=False, id="page-down"),
        Binding("ctrl+b,pageup", "by_pages(-1)", "page up", show=False, id="page-up"),
        Binding("ctrl+d", "by_pages(0.5)", "half a page down", show=False, id="half-page-down"),
        Binding("ctrl+u", "by_pages(-0.5)", "half a page up", show=False, id="half-page-up"),
        Binding("g,home", "to_edge(-1)", "first", show=False, id="first"),
        Binding("G,end", "to_edge(1)", "last", show=False, id="last"),
        Binding("left", "scroll_left", "left", show=False),
        Binding("right", "scroll_right", "right", show=False),
    ]

    def on_mount(self) -> None:
        rebind(self)

    def action_by_lines(self, by: int) -> None:
        self.scroll_relative(y=by, animate=False)

    def action_by_pages(self, by: float) -> None:
        """Up or down by so many screens, of which one line stays."""
        self.scroll_relative(y=int(by * max(1, self.size.height - 1)), animate=False)

    def action_to_edge(self, side: int) -> None:
        if side < 0:
            self.scroll_home(animate=False)
        else:
            self.scroll_end(animate=False)
