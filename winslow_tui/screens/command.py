"""The line behind `:` and the page behind `?`: both made from the verbs and the bindings there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from winslow_tui import verbs
from winslow_tui.keymap import HasKeymap, Keymap, rebind
from winslow_tui.screens.page import aligned
from winslow_tui.verbs import Kind, Verb

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
        found = [each for kind in kinds for each in verbs.of(kind)]
        self._verbs: list[Verb] = sorted(found, key=lambda each: (not each.shown, not each.key))

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


class Help(ModalScreen[None]):
    """Every key of the screen below, and every command."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "close", "close"),
        Binding("j", "scroll(1)", "down", show=False, id="down"),
        Binding("k", "scroll(-1)", "up", show=False, id="up"),
    ]
    DEFAULT_CSS = """
    Help { align: center middle; }
    Help #help { width: 74; max-width: 95%; height: auto; max-height: 90%; background: $surface; border: round $primary;
                 padding: 0 1; }
    """

    def __init__(self, kinds: Sequence[Kind], active: Iterable[ActiveBinding]) -> None:
        super().__init__()
        self._kinds = kinds
        self._active = list(active)

    def compose(self) -> ComposeResult:
        seen: dict[str, list[str]] = {}
        for each in self._active:
            if each.binding.description:
                seen.setdefault(each.binding.description, []).append(self.app.get_key_display(each.binding))
        keys = [(" ".join(dict.fromkeys(found)), words) for words, found in seen.items()]
        told = [(each.name, each.words) for kind in self._kinds for each in verbs.of(kind)]
        text = f"KEYS\n{aligned(keys)}\n\nCOMMANDS, BEHIND :\n{aligned(told)}"
        with VerticalScroll(id="help"):
            yield Static(Content(text), markup=False)

    def on_mount(self) -> None:
        rebind(self)
        self.query_one("#help").focus()

    def action_scroll(self, by: int) -> None:
        self.query_one("#help").scroll_relative(y=by, animate=False)

    def action_close(self) -> None:
        self.dismiss()
