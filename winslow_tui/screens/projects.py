"""The list of projects."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from winslow_tui import filtering, projectrows, verbs
from winslow_tui.screens import steering as _steering  # noqa: F401  adds its verbs
from winslow_tui.screens.base import SiteScreen
from winslow_tui.sitemodel import Changes
from winslow_tui.verbs import Kind
from winslow_tui.widgets.table import Cell, VirtualTable


class ProjectsScreen(SiteScreen):
    """All projects, what needs a person first."""

    view = "projects"
    filters = True
    AUTO_FOCUS = "#body"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", key_display="/"),
        *verbs.bindings("site", "project"),
    ]

    def body(self) -> Iterable[Widget]:
        yield VirtualTable(
            projectrows.COLUMNS,
            self._row,
            empty="no project yet: n makes one",
            id="body",
        )

    @property
    def table(self) -> VirtualTable:
        return self.query_one("#body", VirtualTable)

    def on_mount(self) -> None:
        super().on_mount()
        self.set_interval(30.0, self.table.refresh)  # ages

    def _row(self, key: str) -> tuple[Cell, ...]:
        row = self.site.projects[key]
        return row.cells(now=time.monotonic(), wall=datetime.now(UTC))

    def caught_up(self) -> None:
        self._arrange()
        self.table.refresh()

    def changed(self, changes: Changes) -> None:
        if changes.moved or (changes.projects and self.filter_text):
            self._arrange()
        for key in changes.projects:
            self.table.changed(key)

    def filtered(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        wanted = filtering.parse(self.filter_text, fields=projectrows.FIELDS)
        order, rows = self.site.order, self.site.projects
        if wanted.conditions:
            order = [key for key in order if wanted.holds(rows[key].fields())]
        self.table.show(order)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return ("project", "site")

    def things(self, kind: Kind) -> list[str]:
        return self.table.chosen if kind == "project" else []

    @on(VirtualTable.Chosen)
    def _open(self, event: VirtualTable.Chosen) -> None:
        self.winslow.open_project(event.key)
