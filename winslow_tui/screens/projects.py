"""The list of projects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from winslow import terminal_text
from winslow_tui.program import filtering, projectrows, sorting, verbs
from winslow_tui.program.projectrows import ARCHIVED, ProjectRow
from winslow_tui.program.sitemodel import Changes
from winslow_tui.program.verbs import Kind
from winslow_tui.screens import particulars as _particulars  # noqa: F401  adds its verbs
from winslow_tui.screens import steering as _steering  # noqa: F401  adds its verbs
from winslow_tui.screens.base import SiteScreen
from winslow_tui.widgets.table import Cell, VirtualTable

NOT_KNOWN = "no project is known yet"
_VALUES: Mapping[str, Callable[[Mapping[str, ProjectRow], str], Any]] = {
    "PROJECT": lambda rows, key: key,
    "STATE": lambda rows, key: rows[key].state,
    "STAGE": lambda rows, key: rows[key].stage,
    "NODE": lambda rows, key: rows[key].node,
    "PROGRESS": lambda rows, key: rows[key].percent,
    "FOR": lambda rows, key: rows[key].urgency[1],
    "TAGS": lambda rows, key: " ".join(rows[key].summary.tags),
}


class ProjectsScreen(SiteScreen):
    """All projects, what needs a person first."""

    view = "projects"
    remembered = "projects"
    AUTO_FOCUS = "#body"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", key_display="/", id="filter"),
        *verbs.bindings("site", "project"),
        *sorting.bindings(
            {
                "N": "PROJECT",
                "S": "STATE",
                "E": "STAGE",
                "O": "NODE",
                "P": "PROGRESS",
                "F": "FOR",
                "L": "TAGS",
            }
        ),
    ]
    DEFAULT_CSS = """
    ProjectsScreen #reason { padding: 0 1; height: 1; color: $dim; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def body(self) -> Iterable[Widget]:
        yield VirtualTable(
            projectrows.COLUMNS,
            self._row,
            empty=self._none_yet,
            id="body",
        )
        yield Static(id="reason", markup=False)

    @property
    def _none_yet(self) -> str:
        return f"no project yet: {self.winslow.keymap.told('new')} makes one"

    @property
    def table(self) -> VirtualTable:
        return self.query_one("#body", VirtualTable)

    def on_mount(self) -> None:
        super().on_mount()
        self.set_interval(30.0, self.table.aged)

    def _row(self, key: str) -> tuple[Cell, ...] | None:
        row = self.site.projects.get(key)  # the list is not told of news while something else is shown
        around = self.winslow.around
        return row.cells(now=around.clock(), wall=around.wall()) if row is not None else None

    def caught_up(self) -> None:
        self._arrange()
        self.table.refresh()

    def changed(self, changes: Changes) -> None:
        if (
            changes.moved
            or changes.servers
            or (changes.projects and (self.filter_text or self.sorting.column))
        ):
            self._arrange()
        self.table.changed(*changes.projects)
        if self.table.current in changes.projects:
            self._tell_why()

    def filtered(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        wanted = filtering.parse(self.filter_text, fields=projectrows.FIELDS)
        order, rows, fields = self.site.order, self.site.projects, self.site.fields
        if not wanted.names("state", ARCHIVED):
            order = [key for key in order if rows[key].state != ARCHIVED]
        if wanted.conditions:
            order = [key for key in order if wanted.holds(fields[key])]
        if self.sorting.column:
            order = self.sorting.order(order, {name: partial(of, rows) for name, of in _VALUES.items()})
        servers = (self.site.broker.up, self.site.store.up)
        none = self._none_yet if True in servers else "" if None in servers else NOT_KNOWN
        back = self.winslow.keymap.told("back")
        self.table.empty = (
            none if not (rows and wanted.conditions) else f"no project passes the filter: {back} shows all"
        )
        self.table.sorting = self.sorting
        self.table.show(order)
        self.table.refresh_line(0)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return ("project", "site")

    def things(self, kind: Kind) -> list[str]:
        return self.table.chosen if kind == "project" else []

    @on(VirtualTable.Moved)
    def _tell_why(self) -> None:
        """The reason in full, which the table may have no room for."""
        key = self.table.current
        row = self.site.projects.get(key) if key else None
        text = (
            " · ".join(filter(None, (row.summary.name, row.summary.reason, row.summary.comment)))
            if row
            else ""
        )
        self.query_one("#reason", Static).update(Content(terminal_text.line(text)))

    @on(VirtualTable.Chosen)
    def _open(self, event: VirtualTable.Chosen) -> None:
        self.winslow.open_project(event.key)
