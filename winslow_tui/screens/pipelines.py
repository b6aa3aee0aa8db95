"""The pipeline definitions: a list, and the text of the one under the cursor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from winslow import terminal_text
from winslow.definition_diff import pipeline_changes
from winslow.definition_text import MAX_BYTES, decode
from winslow.errors import InvalidInput
from winslow.pipeline import parse
from winslow.store.pipelines import PipelineHead, Unreadable
from winslow_tui.facade.definition_editing import PipelineSubject
from winslow_tui.program import filtering, sorting, verbs
from winslow_tui.program.completion import Paths
from winslow_tui.program.sitemodel import Changes
from winslow_tui.program.verbs import Kind, verb
from winslow_tui.screens.base import SiteScreen
from winslow_tui.screens.form import Field, Form, Question
from winslow_tui.screens.page import Page, aligned
from winslow_tui.shown.definition_view import text_diff
from winslow_tui.shown.wording import time_here
from winslow_tui.widgets.sheet import Sheet
from winslow_tui.widgets.table import Cell, Column, VirtualTable
from winslow_tui.widgets.yamltext import compared, highlighted

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp

COLUMNS = (
    Column("PIPELINE", 12, grow=3, rank=9),
    Column("REV", 4, align="right", rank=8),
    Column("BY", 8, grow=1, rank=5),
    Column("APPLIED", 16, rank=4),
)


@verb("edit", "pipeline", "edit in your own editor", key="e", hint="edit")
def edit(app: WinslowApp, keys: Sequence[str]) -> None:
    """In the person's own editor; nothing invalid is stored and no text is lost."""
    app.do(lambda: PipelineSubject(app.client, keys[0]), app.edit)


@verb("apply", "site", "apply a pipeline's file", key="A")
def apply(app: WinslowApp, _keys: Sequence[str]) -> None:
    """Check a YAML file here and make it the current definition of its name. Mistakes are told with their places."""

    def send(values: Mapping[str, str]) -> tuple[str, int]:
        text, source = _read(values["file"])
        definition, revision = app.client.pipelines.apply(text, source=source)
        return definition.name, revision

    def done(found: object) -> None:
        if isinstance(found, tuple):
            app.told(f"{found[0]} revision {found[1]}")

    field = Field(
        "file",
        "file",
        required=True,
        placeholder="a path here; drop a file on the terminal",
        complete=Paths(),
    )
    app.push_screen(Form("Apply a pipeline", [field], send, done=done))


@verb("check", "site", "check a pipeline's file", changes=False)
def check(app: WinslowApp, _keys: Sequence[str]) -> None:
    """Whether a YAML file here is a definition; nothing is stored."""

    def send(values: Mapping[str, str]) -> str:
        text, source = _read(values["file"])
        return parse(text, source=source).name

    field = Field(
        "file",
        "file",
        required=True,
        placeholder="a path here; drop a file on the terminal",
        complete=Paths(),
    )
    app.push_screen(Form("Check a pipeline", [field], send, done=lambda name: app.told(f"{name} is right")))


def _read(typed: str) -> tuple[str, str]:
    """A file's text and its name for messages. Raises InvalidInput."""
    path = Path(typed.strip().strip("'\"")).expanduser()
    try:
        with path.open("rb") as file:
            return decode(file.read(MAX_BYTES + 1), source=str(path)), str(path)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}") from error


@verb(
    "compare", "pipeline", "compare with a project's copy", key="c", hint="compare", spare=True, changes=False
)
def compare(app: WinslowApp, keys: Sequence[str]) -> None:
    """What a project's own copy has otherwise than the newest revision."""

    def look(name: str) -> tuple[str, str]:
        project = app.client.project(name)
        found = app.client.pipelines.get(keys[0]).definition
        changes = [str(each) for each in pipeline_changes(found, project.pipeline.definition)]
        return project.id, "\n".join(changes) or "nothing differs"

    def done(found: object) -> None:
        if isinstance(found, tuple):
            project, text = found
            app.push_screen(Page(f"{project} against {keys[0]}", text, lambda: look(project)[1]))

    field = Field("project", "project", required=True, placeholder="its id, or the beginning of it")
    title = f"Compare {keys[0]} with a project's copy"
    app.push_screen(Form(title, [field], lambda values: look(values["project"]), done=done))


@verb("delete", "pipeline", "delete with its history", key="D")
def delete(app: WinslowApp, keys: Sequence[str]) -> None:
    """Remove a definition; projects go on with their copies."""

    app.push_screen(
        Question(
            f"Delete pipeline {keys[0]} and its history?\nProjects that use it go on with their own copies.",
            lambda: app.client.pipelines.delete(keys[0]),
            done=lambda _: app.told(f"{keys[0]} is deleted"),
        )
    )


class PipelinesScreen(SiteScreen):
    """See the module."""

    view = "pipelines"
    remembered = "pipelines"
    AUTO_FOCUS = "#list"
    BINDINGS: ClassVar[list[BindingType]] = [
        *verbs.bindings("pipeline", "site"),
        Binding("slash", "filter", "filter", key_display="/", id="filter"),
        Binding("v", "show('text')", "text", show=False, id="text"),
        Binding("h", "show('history')", "history", id="history"),
        Binding("d", "show('diff')", "last change", id="last-change"),
        *sorting.bindings({"N": "PIPELINE", "R": "REV", "B": "BY", "W": "APPLIED"}),
    ]
    DEFAULT_CSS = """
    PipelinesScreen #list { width: 50; max-width: 36%; border-right: solid $panel; }
    PipelinesScreen #side { width: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    PipelinesScreen #text { width: auto; height: auto; }
    PipelinesScreen #text.sentence { width: 100%; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._heads: dict[str, PipelineHead | Unreadable] = {}
        self._what = "text"

    def body(self) -> Iterable[Widget]:
        with Horizontal(id="body"):
            yield VirtualTable(COLUMNS, self._row, id="list")
            with Sheet(id="side"):
                yield Static(id="text", markup=False)

    @property
    def table(self) -> VirtualTable:
        return self.query_one("#list", VirtualTable)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return ("pipeline", "site")

    def things(self, kind: Kind) -> list[str]:
        return self.table.chosen if kind == "pipeline" else []

    def focus_body(self) -> None:
        self.table.focus()

    def caught_up(self) -> None:
        self.winslow.do(self.winslow.client.pipelines.all, self._got, looks=True)

    def changed(self, changes: Changes) -> None:
        if changes.pipelines:
            self.caught_up()

    def _got(self, heads: list[PipelineHead | Unreadable]) -> None:
        self._heads = {head.name: head for head in heads}
        if self.there:
            self.filtered()
            self.table.refresh()
            self._read()

    def filtered(self) -> None:
        wanted = filtering.parse(self.filter_text, fields=("by",))
        heads = self._heads
        readable = {name: head for name, head in heads.items() if isinstance(head, PipelineHead)}
        order = [
            name
            for name in heads
            if wanted.holds({"name": (name,), "by": (readable[name].by,) if name in readable else ()})
        ]
        told = self.winslow.keymap.told
        none = f"none yet: {told('apply')} applies a file"
        self.table.empty = none if not heads else f"none passes the filter: {told('back')} shows all"
        self.table.sorting = self.sorting
        self.table.show(
            self.sorting.order(
                order,
                {
                    "PIPELINE": lambda name: name,
                    "REV": lambda name: readable[name].revision if name in readable else None,
                    "BY": lambda name: readable[name].by if name in readable else None,
                    "APPLIED": lambda name: readable[name].updated if name in readable else None,
                },
            )
        )
        self.table.refresh_line(0)

    def _row(self, key: str) -> tuple[Cell, ...]:
        head = self._heads[key]
        if isinstance(head, Unreadable):
            return Cell(head.name), Cell("?"), Cell("", dim=True), Cell("cannot be read", state="failed")
        return (
            Cell(head.name),
            Cell(str(head.revision)),
            Cell(terminal_text.line(head.by), dim=True),
            Cell(terminal_text.line(time_here(head.updated)), dim=True),
        )

    @on(VirtualTable.Moved, "#list")
    def _read(self) -> None:
        name, what, client = self.table.current, self._what, self.winslow.client
        if name is None:
            self.query_one("#text", Static).update(Content(""))
            return

        head = self._heads[name]
        text = self.query_one("#text", Static)
        text.set_class(isinstance(head, Unreadable), "sentence")  # which is wrapped, unlike a definition
        if isinstance(head, Unreadable):
            why = "\n".join(filter(None, (str(head.error), head.error.hint)))
            text.update(Content(terminal_text.block(why)))
            return

        def work() -> Content:
            if what == "history":
                revisions = [
                    (str(head.revision), time_here(head.updated), head.by)
                    for head in client.pipelines.history(name)
                ]
                return Content(aligned([("REVISION", "APPLIED", "BY"), *revisions]))
            newest = client.pipelines.text(name)
            if what == "diff":
                older = [
                    head.revision
                    for head in client.pipelines.history(name)
                    if head.revision < newest.head.revision
                ]
                if not older:
                    return Content("there is only one revision")
                before = client.pipelines.text(name, revision=max(older))
                return compared(text_diff(before, newest) or ["no difference"])
            return highlighted(newest.text)

        def show(content: Content) -> None:
            if self.there and self.table.current == name:
                self.query_one("#text", Static).update(content)

        self.winslow.do(work, show, looks=True)

    def action_show(self, what: str) -> None:
        self._what = "text" if self._what == what else what
        self._read()

    @on(VirtualTable.Chosen)
    def _side(self) -> None:
        self.query_one("#side").focus()
