"""The line behind `:`, made from the verbs there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from winslow_tui.program import verbs
from winslow_tui.program.keymap import HasKeymap, Keymap
from winslow_tui.program.verbs import Kind, Verb

VIEW_NAMES = ("projects", "nodes", "files", "pipelines", "activity")


class CommandLine(ModalScreen[str | None]):
    """A line with a list below it of what can be typed; what is chosen is the result."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel"),
        Binding("down,ctrl+n", "pick(1)", "next", show=False),
        Binding("up,ctrl+p", "pick(-1)", "previous", show=False),
    ]
    DEFAULT_CSS = """
    CommandLine { align: center top; background: $background 0%; }
    CommandLine #command { width: 60; max-width: 95%; height: auto; margin-top: 2; background: $surface;
                           border: round $primary; }
    CommandLine Input { height: 1; border: none; background: $panel; }
    CommandLine OptionList { height: auto; max-height: 14; border: none; background: $surface; padding: 0; }
    """

    def __init__(self, kinds: Sequence[Kind]) -> None:
        super().__init__()
        # Of several of one name the one that is done: to the most particular thing that is there.
        found = {each.name: each for kind in reversed(kinds) for each in verbs.of(kind)}
        order = [each for kind in kinds for each in verbs.of(kind) if found[each.name] is each]
        self._verbs: list[Verb] = sorted(order, key=lambda each: (not each.shown, not each.key))

    def compose(self) -> ComposeResult:
        names = [*(each.name for each in self._verbs), *VIEW_NAMES, "quit"]
        with Vertical(id="command"):
            yield Input(placeholder=": command", suggester=SuggestFromList(names), compact=True)
            yield OptionList(id="choices")

    def on_mount(self) -> None:
        self._offer("")
        self.query_one(Input).focus()

    @property
    def _keymap(self) -> Keymap:
        assert isinstance(self.app, HasKeymap)
        return self.app.keymap

    def _offer(self, text: str) -> None:
        words = text.casefold().split()
        choices = self.query_one(OptionList)
        choices.clear_options()
        keymap = self._keymap
        told = [(each.name, each.words, keymap.key(each.name, each.key)) for each in self._verbs]
        told += [(name, "show them", keymap.key(name)) for name in VIEW_NAMES]
        told.append(("quit", "leave", keymap.key("quit")))
        for name, does, key in told:
            if all(word in f"{name} {does}".casefold() for word in words):
                choices.add_option(Option(Content(f"{name:<15} {key:<6} {does}"), id=name))
        if choices.option_count:
            choices.highlighted = 0

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._offer(event.value)

    @on(Input.Submitted)
    def _done(self, event: Input.Submitted) -> None:
        choices = self.query_one(OptionList)
        exact = event.value.strip()
        picked = choices.highlighted_option
        self.dismiss(picked.id if picked is not None and picked.id else exact)

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)

    def action_pick(self, by: int) -> None:
        choices = self.query_one(OptionList)
        if choices.option_count:
            choices.highlighted = ((choices.highlighted or 0) + by) % choices.option_count

    def action_cancel(self) -> None:
        self.dismiss(None)
