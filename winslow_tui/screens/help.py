"""The page behind `?`: every key of the screen below and every command, made from the bindings and verbs there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from winslow_tui.program import verbs
from winslow_tui.program.keymap import rebind
from winslow_tui.program.verbs import Kind
from winslow_tui.screens.over import Over
from winslow_tui.widgets.sheet import Sheet

ROOMY = 110
"""Columns from which on commands and keys stand side by side."""

_PLACES = (("view(", "Views"), ("tab(", "Tabs"), ("sort(", "Sort by"))
_KINDS: Mapping[Kind, str] = {
    "site": "Anywhere",
    "project": "Project",
    "run": "Run",
    "queue": "Queue",
    "node": "Node",
    "file": "File",
    "pipeline": "Pipeline",
}


class Help(Over[None]):
    """See the module. `kinds` are the things the screen below shows, the most particular first."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "close", "close")]
    DEFAULT_CSS = """
    Help { align: center middle; }
    Help #help { width: auto; max-width: 95%; height: auto; max-height: 90%; background: $surface;
                 border: round $primary; padding: 0 1; }
    Help #help-columns, Help Static { width: auto; height: auto; }
    Help .side { margin-right: 4; }
    """

    def __init__(self, kinds: Sequence[Kind], active: Iterable[ActiveBinding]) -> None:
        super().__init__()
        self._kinds = kinds
        self._active = [each.binding for each in active if each.binding.description]

    def compose(self) -> ComposeResult:
        commands, keys = _drawn(self._commands()), _drawn(self._keys())
        with Sheet(id="help"):
            if self.app.size.width >= ROOMY:
                with Horizontal(id="help-columns"):
                    yield Static(commands, classes="side")
                    yield Static(keys)
            else:
                yield Static(Content("\n\n").join([commands, keys]))

    def on_mount(self) -> None:
        rebind(self)
        self.query_one("#help").focus()

    def _commands(self) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
        """What can be done, by the kind of thing: keys, what is typed, and words where they say more."""
        keys: dict[str, list[str]] = {}
        for binding in self._active:
            keys.setdefault(binding.action, []).append(self.app.get_key_display(binding))
        for kind in self._kinds:
            yield (
                _KINDS[kind],
                [
                    (
                        " ".join(keys.get(each.action, ())),
                        f":{each.name}",
                        each.words,
                    )
                    for each in sorted(verbs.of(kind), key=lambda each: (not each.shown, not each.key))
                ],
            )

    def _keys(self) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
        """The keys that are no command's."""
        found: dict[str, dict[str, list[str]]] = {"Move and look": {}}
        for binding in self._active:
            action = binding.action.removeprefix("screen.").removeprefix("app.")
            if action.startswith("verb("):
                continue
            place = next((name for begin, name in _PLACES if action.startswith(begin)), "Move and look")
            words = binding.description.removeprefix("sort by ")
            shown = found.setdefault(place, {}).setdefault(words, [])
            if (key := self.app.get_key_display(binding)) not in shown:
                shown.append(key)
        for place, rows in found.items():
            yield place, [(" ".join(keys), words) for words, keys in rows.items()]

    def action_close(self) -> None:
        self.dismiss()


def _drawn(sections: Iterable[tuple[str, list[tuple[str, ...]]]]) -> Content:
    """Sections with their rows, aligned over all of them: the first column are keys."""
    told = [(name, rows) for name, rows in sections if rows]
    columns = max(len(row) for _, rows in told for row in rows)
    widths = [max(cell_len(row[place]) for _, rows in told for row in rows) for place in range(columns - 1)]
    drawn: list[Content] = []
    for name, rows in told:
        parts: list[str | tuple[str, str]] = [(name, "bold")]
        for row in rows:
            shown = [cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=False)]
            parts += ["\n", (shown[0], "$primary"), "  ", *(f"{cell}  " for cell in shown[1:]), row[-1]]
        drawn.append(Content.assemble(*parts))
    return Content("\n\n").join(drawn)
