"""The line behind `:`, made from the verbs there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.suggester import SuggestFromList
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from winslow_tui.program import verbs
from winslow_tui.program.keymap import HasKeymap, Keymap
from winslow_tui.program.verbs import Kind
from winslow_tui.screens.over import Over
from winslow_tui.widgets.entry import Entry

AROUND = 9
"""Lines of the screen above and below the choices: what is typed, the frame, and some of what lies below."""
VIEW_NAMES = ("projects", "nodes", "files", "pipelines", "activity")


@dataclass(frozen=True)
class Choice:
    """What can be typed: a name, what else stands for it, and what it does. `action` is what its key is bound to, empty
    where the key is the same everywhere."""

    name: str
    does: str
    also: Sequence[str] = ()
    action: str = ""

    def rank(self, text: str) -> int | None:
        """How well it is what was typed, the best 0; None: not at all."""
        told = " ".join((self.name, *self.also, self.does)).casefold()
        good = (
            text == self.name,
            text in self.also,
            self.name.startswith(text),
            any(name.startswith(text) for name in self.also),
            all(word in told for word in text.split()),
        )
        return good.index(True) if True in good else None


class CommandLine(Over[str | None]):
    """A line with a list below it of what can be typed; what is chosen is the result. `active` are the bindings of the
    screen below, which say what has a key there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel"),
        Binding("down,ctrl+n", "pick(1)", "next", show=False),
        Binding("up,ctrl+p", "pick(-1)", "previous", show=False),
        Binding("tab", "complete", "complete", show=False),
    ]
    DEFAULT_CSS = """
    CommandLine { align: center top; background: $background 0%; }
    CommandLine #command { width: 74; max-width: 95%; height: auto; margin-top: 2; background: $surface;
                           border: round $primary; }
    CommandLine OptionList { height: auto; border: none; background: $surface; padding: 0; }
    CommandLine OptionList > .option-list--option { padding: 0 1; }
    """

    def __init__(self, kinds: Sequence[Kind], active: Iterable[ActiveBinding] = ()) -> None:
        super().__init__()
        self._active = [each.binding for each in active]
        # Of several of one name the one that is done: to the most particular thing that is there.
        found = {each.name: each for kind in reversed(kinds) for each in verbs.of(kind)}
        order = [each for kind in kinds for each in verbs.of(kind) if found[each.name] is each]
        order.sort(key=lambda each: (not each.shown, not each.key))
        self._choices = (
            *(Choice(each.name, each.words, each.also, each.action if each.key else "") for each in order),
            *(Choice(name, "show them") for name in VIEW_NAMES),
            Choice("quit", "leave", ("q", "exit")),
        )

    def compose(self) -> ComposeResult:
        names = [each.name for each in self._choices]
        with Vertical(id="command"):
            yield Entry(placeholder=": command", suggester=SuggestFromList(names), compact=True)
            yield OptionList(id="choices")

    def on_mount(self) -> None:
        self._offer("")
        self.query_one(Entry).focus()

    def on_resize(self) -> None:
        """As many choices as the screen has room for, below which its last lines can still be seen."""
        self.query_one(OptionList).styles.max_height = max(3, self.app.size.height - AROUND)

    @property
    def _keymap(self) -> Keymap:
        assert isinstance(self.app, HasKeymap)
        return self.app.keymap

    def fitting(self, text: str) -> list[Choice]:
        """What the text may mean, the likeliest first."""
        typed = text.casefold().strip()
        if not typed:
            return list(self._choices)
        ranked = [(rank, each) for each in self._choices if (rank := each.rank(typed)) is not None]
        return [each for _, each in sorted(ranked, key=lambda found: found[0])]

    def _offer(self, text: str) -> None:
        choices = self.query_one(OptionList)
        choices.clear_options()
        keys: dict[str, str] = {}
        for binding in self._active:
            keys.setdefault(binding.action, self.app.get_key_display(binding))
        for each in self.fitting(text):
            key = keys.get(each.action, "") if each.action else self._keymap.key(each.name)
            choices.add_option(Option(Content(f"{each.name:<15} {key:<6} {each.does}"), id=each.name))
        if choices.option_count:
            choices.highlighted = 0

    @on(Entry.Changed)
    def _typed(self, event: Entry.Changed) -> None:
        self._offer(event.value)

    @on(Entry.Submitted)
    def _done(self, event: Entry.Submitted) -> None:
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

    def action_complete(self) -> None:
        """Write out what is picked."""
        picked, line = self.query_one(OptionList).highlighted_option, self.query_one(Entry)
        if picked is not None and picked.id:
            line.value = picked.id
            line.cursor_position = len(picked.id)

    def action_cancel(self) -> None:
        self.dismiss(None)
