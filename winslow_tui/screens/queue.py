"""What a project runs after what it runs now: shown, put into another order, added to, taken from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from winslow import terminal_text
from winslow.errors import UsageError
from winslow.project import Project
from winslow_tui.facade.changes import Changes as RunChanges
from winslow_tui.facade.changes import assignments, words
from winslow_tui.program import verbs
from winslow_tui.program.sitemodel import Changes
from winslow_tui.program.verbs import Kind, verb
from winslow_tui.screens.base import SiteScreen
from winslow_tui.screens.form import Field, Form
from winslow_tui.screens.starting import ASSIGNED
from winslow_tui.shown import runlist
from winslow_tui.widgets.table import Cell, Column, VirtualTable

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp

COLUMNS = (
    Column("#", 2, align="right", rank=9),
    Column("STAGE", 10, grow=1, rank=9),
    Column("CHANGES", 20, grow=3, rank=7),
    Column("BY", 8, grow=1, rank=4),
    Column("COMMENT", 12, grow=2, rank=2),
)


@verb("queue", "project", "what comes next", key="Q", hint="queue", spare=True, changes=False)
def queue(app: WinslowApp, keys: Sequence[str]) -> None:
    """Show the runs that wait for their turn."""
    app.push_screen(QueueScreen(keys[0]))


@verb("add", "queue", "a run behind all that wait", key="n", hint="add")
def add(app: WinslowApp, keys: Sequence[str]) -> None:
    """A run of a stage, behind all that wait."""

    def ask(project: Project) -> None:
        names = [stage.name for stage in project.pipeline.definition.stages]
        fields = (
            Field("stage", "stage", value=names[0], choices=[(name, name) for name in names]),
            Field("env", "environment", placeholder=ASSIGNED),
            Field("comment", "comment"),
        )

        def send(values: Mapping[str, str]) -> None:
            env, gone = assignments(words(values["env"]))
            if gone:
                raise UsageError(f"{gone[0]}-: write NAME=VALUE")
            changes = RunChanges(env=env, comment=values["comment"])
            app.client.runs.enqueue(project.id, stage=values["stage"], changes=changes)

        app.push_screen(Form(f"Add to the queue of {project.name}", fields, send))

    app.do(lambda: app.client.project(_project(keys)), ask)


@verb("sooner", "queue", "one place forward", key="K", hint="sooner")
def sooner(app: WinslowApp, keys: Sequence[str]) -> None:
    """One place towards the front."""
    _move(app, keys, -1)


@verb("later", "queue", "one place back", key="J", hint="later")
def later(app: WinslowApp, keys: Sequence[str]) -> None:
    """One place towards the end."""
    _move(app, keys, 1)


@verb("take-out", "queue", "take out", key="D", hint="take out", bulk=True)
def take_out(app: WinslowApp, keys: Sequence[str]) -> None:
    """No longer wanted."""
    requests = [key.partition("/")[2] for key in keys]
    app.do(
        lambda: app.client.runs.dequeue(_project(keys), [each for each in requests if each]),
        lambda found: app.told(f"{', '.join(each.stage for each in found[1]) or 'nothing'}: taken out"),
    )


def _project(keys: Sequence[str]) -> str:
    """Keys are `PROJECT/REQUEST`; of an empty queue `PROJECT/`."""
    return keys[0].partition("/")[0]


def _move(app: WinslowApp, keys: Sequence[str], by: int) -> None:
    project, _, request = keys[0].partition("/")
    if not request:
        return

    def work() -> None:
        waiting = [each.id for each in app.client.project(project).queue]
        place = waiting.index(request) + 1 + by if request in waiting else 0
        if 1 <= place <= len(waiting):
            app.client.runs.move(project, request, place)

    app.do(work)


class QueueScreen(SiteScreen):
    """See the module."""

    view = "projects"
    AUTO_FOCUS = "#body"
    BINDINGS: ClassVar[list[BindingType]] = [
        *verbs.bindings("queue"),
        Binding("enter", "back", "back", show=False),
    ]

    def __init__(self, project: str) -> None:
        super().__init__()
        self.project = project
        self._document: Project | None = None

    def body(self) -> Iterable[Widget]:
        yield VirtualTable(COLUMNS, self._row, id="body")

    @property
    def table(self) -> VirtualTable:
        return self.query_one("#body", VirtualTable)

    def crumbs(self) -> tuple[str, ...]:
        return ("Projects", terminal_text.line(self.project), "Queue")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return ("queue", "site")

    def things(self, kind: Kind) -> list[str]:
        return [f"{self.project}/{key}" for key in self.table.chosen or [""]] if kind == "queue" else []

    def caught_up(self) -> None:
        self.winslow.do(lambda: self.winslow.client.project(self.project), self._got, looks=True)

    def changed(self, changes: Changes) -> None:
        if self.project in changes.projects:
            self.caught_up()

    def _got(self, document: Project) -> None:
        self._document = document
        if self.there:
            self.table.empty = f"nothing waits: {self.winslow.keymap.told('add')} adds a run"
            self.table.show([each.id for each in document.queue])
            self.table.refresh()

    def _row(self, key: str) -> tuple[Cell, ...]:
        assert self._document is not None
        waiting = self._document.queue
        place = next(place for place, each in enumerate(waiting) if each.id == key)
        told = runlist.requested(waiting[place])
        return (
            Cell(str(place + 1)),
            Cell(terminal_text.line(told["stage"])),
            Cell(terminal_text.line(told["changes"])),
            Cell(terminal_text.line(told["by"]), dim=True),
            Cell(terminal_text.line(told["comment"]), dim=True),
        )
