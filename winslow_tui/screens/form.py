"""Asking a person: a form of named fields, and a question before something is destroyed.

Both stay open until what they are for was done: an error is shown in them as a sentence, and nothing that was
typed is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.suggester import Suggester
from textual.widget import Widget
from textual.widgets import Button, Select, Static

from winslow import terminal_text
from winslow.errors import WinslowError
from winslow_tui.screens.over import Over
from winslow_tui.widgets.entry import Entry

T = TypeVar("T")


@dataclass(frozen=True)
class Field:
    """One value to ask for. `choices` (value, text) makes it a choice; `note` stands dim behind the label; `complete`
    says what the right key completes it to; `chosen` is called for another choice, which needs a form of its own.

    A value that is left as it is goes back as it came, however much of it could not be shown."""

    name: str
    label: str
    value: str = ""
    note: str = ""
    choices: Sequence[tuple[str, str]] = ()
    required: bool = False
    placeholder: str = ""
    complete: Suggester | None = None
    chosen: Callable[[str], None] | None = None

    @property
    def shown(self) -> str:
        """The value as it can be shown in one line."""
        return terminal_text.line(self.value)


class Asking(Over[None]):
    """What a form and a question have: work that is called in a thread, and a place for what went wrong with it."""

    DEFAULT_CSS = """
    Asking #problem { color: $error; height: auto; display: none; }
    Asking #problem.shown { display: block; }
    """
    _working = False

    def carry_out(self, work: Callable[[], T], done: Callable[[T], object] | None) -> None:
        """Do it once; what it returns goes to `done` in the app. A WinslowError is shown here, or, where the person
        has left meanwhile, over what they look at."""
        if self._working:
            return
        self._working = True
        self.say("…")
        app = self.app

        def run() -> None:
            try:
                result = work()
            except WinslowError as error:
                app.call_later(self._refused, app, f"{error}" + (f"\n{error.hint}" if error.hint else ""))
            else:
                app.call_later(self._carried_out, result, done)

        app.run_worker(run, thread=True, name="form")  # the app's: it goes on where the person leaves

    def _refused(self, app: App[object], text: str) -> None:
        self._working = False
        if self.is_attached:
            self.say(text)
        else:
            app.notify(terminal_text.block(text), severity="error", markup=False, timeout=10)

    def _carried_out(self, result: T, done: Callable[[T], object] | None) -> None:
        if self.is_attached and self.is_current:
            self.dismiss()
        if done is not None:
            done(result)

    def say(self, text: str) -> None:
        """Below what is asked."""
        problem = self.query_one("#problem", Static)
        problem.update(_plain(text))
        problem.add_class("shown")


class Form(Asking):
    """Fields, and `send` that is called in a thread with their values. What it returns goes to `done` in the app;
    a WinslowError it raises is shown in the form."""

    AUTO_FOCUS: ClassVar[str | None] = None
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel"),
        Binding("ctrl+s", "send", "send"),
    ]
    DEFAULT_CSS = """
    Form { align: center middle; }
    Form #form { width: 76; max-width: 95%; height: auto; max-height: 90%; background: $surface; border: round $primary;
                 padding: 0 1; }
    Form #form-title { text-style: bold; color: $primary; height: auto; margin-bottom: 1; }
    Form #fields { height: auto; max-height: 60vh; scrollbar-size-vertical: 1; }
    Form .field { height: auto; }
    Form .label { width: 24; height: auto; color: $foreground; }
    Form .label.changed { color: $accent; }
    Form .field:focus-within .label { text-style: bold; }
    Form Entry { width: 1fr; }
    Form Entry:focus { background: $cursor-ground; }
    Form Select { width: 1fr; height: auto; }
    Form Select.-textual-compact > SelectCurrent { background: $panel; padding: 0 1; }
    Form Select:focus > SelectCurrent { background: $cursor-ground; background-tint: $foreground 0%; }
    Form SelectCurrent .arrow { color: $foreground; }
    Form SelectOverlay.-textual-compact { background: $panel; }
    Form SelectOverlay.-textual-compact > .option-list--option { padding: 0 1; }
    Form #form-keys { color: $dim; height: auto; margin-top: 1; }
    """

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        send: Callable[[Mapping[str, str]], object],
        *,
        done: Callable[[object], None] | None = None,
        first: str = "",
    ) -> None:
        super().__init__()
        self._title = title
        self._fields = tuple(fields)
        self._send = send
        self._done = done
        self._first = first

    def compose(self) -> ComposeResult:
        with Vertical(id="form"):
            yield Static(_plain(self._title), id="form-title")
            with VerticalScroll(id="fields", can_focus=False):
                for place, field in enumerate(self._fields):
                    with Horizontal(classes="field"):
                        yield Static(_label(field), classes="label", id=f"label-{place}")
                        yield _editor(field, place)
            yield Static(id="problem", markup=False)
            completes = " · → completes" if any(field.complete for field in self._fields) else ""
            completes += " · ↓ choose" if any(field.choices for field in self._fields) else ""
            yield Static(_plain(f"tab next{completes} · enter or ctrl+s send · esc cancel"), id="form-keys")

    def on_mount(self) -> None:
        names = [field.name for field in self._fields]
        place = names.index(self._first) if self._first in names else 0
        if self._fields:
            self.query_one(f"#field-{place}").focus()

    @property
    def values(self) -> dict[str, str]:
        """What stands in the fields, by name."""
        found = {}
        for place, field in enumerate(self._fields):
            widget = self.query_one(f"#field-{place}")
            if isinstance(widget, Select):
                found[field.name] = "" if widget.is_blank() else str(widget.value)
            elif isinstance(widget, Entry):
                found[field.name] = field.value if widget.value == field.shown else widget.value
        return found

    @on(Entry.Changed)
    def _mark(self, event: Entry.Changed) -> None:
        """A field that was changed looks so, and says so where there are no colours."""
        place = int((event.input.id or "field-0").removeprefix("field-"))
        field, label = self._fields[place], self.query_one(f"#label-{place}", Static)
        changed = event.value != field.shown
        label.set_class(changed, "changed")
        label.update(_label(field, changed=changed))
        if not self._working:
            self.query_one("#problem").remove_class("shown")

    @on(Select.Changed)
    def _choose(self, event: Select.Changed) -> None:
        field = self._fields[int((event.select.id or "field-0").removeprefix("field-"))]
        if field.chosen is not None and event.value != field.value and self.is_current:
            self.dismiss()
            field.chosen(str(event.value))

    @on(Entry.Submitted)
    def action_send(self) -> None:
        values = self.values
        missing = [field.label for field in self._fields if field.required and not values[field.name].strip()]
        if missing:
            self.say(f"needed: {', '.join(missing)}")
        else:
            self.carry_out(lambda: self._send(values), self._done)

    def action_cancel(self) -> None:
        self.dismiss()


class Question(Asking):
    """Yes or no before something is destroyed; the focus is on No. With `name` it must be typed. `send` is called in a
    thread for a yes, and what it returns goes to `done` in the app."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "answer(False)", "no"),
        Binding("y", "answer(True)", "yes"),
        Binding("left,right,h,l", "other", "other", show=False),
    ]
    DEFAULT_CSS = """
    Question { align: center middle; }
    Question #question { width: 66; max-width: 95%; height: auto; background: $surface; border: round $error;
                         padding: 1 2; }
    Question #answers { height: auto; align-horizontal: right; margin-top: 1; }
    Question #question-keys { width: 1fr; color: $dim; }
    Question Button.-style-default { min-width: 10; margin-left: 2; background: $panel; color: $foreground;
                                     text-style: none; }
    Question Button.-style-default:focus { background: $primary; color: $background; text-style: bold;
                                            background-tint: $primary 0%; }
    Question Entry { margin-top: 1; }
    Question Entry:focus { background: $cursor-ground; }
    """

    def __init__(
        self,
        text: str,
        send: Callable[[], T],
        *,
        done: Callable[[T], object] | None = None,
        name: str = "",
    ) -> None:
        super().__init__()
        self._text = text
        self._agreed: Callable[[], None] = lambda: self.carry_out(send, done)
        self._name_wanted = name

    def compose(self) -> ComposeResult:
        with Vertical(id="question"):
            yield Static(_plain(self._text))
            if self._name_wanted:
                yield Entry(
                    placeholder=f"type {terminal_text.line(self._name_wanted)} to go on", compact=True
                )
            yield Static(id="problem", markup=False)
            with Horizontal(id="answers"):
                keys = "enter, once it is typed · esc no" if self._name_wanted else "y yes · n, esc no"
                yield Static(keys, id="question-keys", markup=False)
                yield Button("No", id="no", compact=True)
                yield Button("Yes", id="yes", compact=True)

    def on_mount(self) -> None:
        self.query_one(Entry if self._name_wanted else "#no").focus()

    @on(Entry.Submitted)
    def _typed(self, event: Entry.Submitted) -> None:
        self.action_answer(self._named(event.value))

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.action_answer(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        if not yes:
            self.dismiss()
        elif self._name_wanted and not self._named(self.query_one(Entry).value):
            self.query_one(Entry).focus()
        else:
            self._agreed()

    def _named(self, typed: str) -> bool:
        """Whether it is the name, as it can be read and typed."""
        return typed.strip() in (self._name_wanted, terminal_text.line(self._name_wanted).strip())

    def action_other(self) -> None:
        yes, no = self.query_one("#yes"), self.query_one("#no")
        (no if yes.has_focus else yes).focus()


def _editor(field: Field, place: int) -> Widget:
    if field.choices:
        return Select(
            [(terminal_text.line(text), value) for value, text in field.choices],
            value=field.value,
            allow_blank=False,
            compact=True,
            id=f"field-{place}",
        )
    return Entry(
        value=field.shown,
        placeholder=field.placeholder,
        suggester=field.complete,
        id=f"field-{place}",
        compact=True,
    )


def _label(field: Field, *, changed: bool = False) -> Content:
    note = terminal_text.line(f" ({field.note})") if field.note else ""
    return Content.assemble(terminal_text.line(field.label), (note, "$dim"), " *" if changed else "")


def _plain(text: str) -> Content:
    return Content(terminal_text.block(text))
