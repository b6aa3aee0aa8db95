"""One project: its runs and its plan at the left, what there is of the chosen run at the right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import ContentSwitcher, Static

from winslow import lineage, terminal_text
from winslow.errors import NotFound, WinslowError
from winslow.lifecycle import ProjectState, state_of
from winslow.project import Project, Run
from winslow_tui.program import filetree, runrows, verbs
from winslow_tui.program.keymap import rebind
from winslow_tui.program.sitemodel import Changes
from winslow_tui.program.sorting import Sorting
from winslow_tui.program.verbs import Kind, verb
from winslow_tui.screens import keeping as _keeping  # noqa: F401  adds its verbs
from winslow_tui.screens import particulars as _particulars  # noqa: F401  adds its verbs
from winslow_tui.screens import queue as _queue  # noqa: F401  adds its verbs
from winslow_tui.screens import shell as _shell  # noqa: F401  adds its verbs
from winslow_tui.screens import steering as _steering  # noqa: F401  adds its verbs
from winslow_tui.screens.base import SiteScreen
from winslow_tui.screens.files import files_of
from winslow_tui.screens.logpane import LogPane, Shown
from winslow_tui.screens.metricspane import MetricsPane
from winslow_tui.screens.preview import open_file
from winslow_tui.screens.projecttext import settings
from winslow_tui.shown import runfacts
from winslow_tui.widgets.browser import Browser
from winslow_tui.widgets.facts import named
from winslow_tui.widgets.frame import Line, Part
from winslow_tui.widgets.sheet import Sheet
from winslow_tui.widgets.table import Cell, VirtualTable

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp

FILES = "project-files"
"""The list whose order is kept between starts; a filter is for one project."""
TABS = ("log", "files", "settings", "metrics", "facts")
REST_SECONDS = 0.15
"""How long the cursor stays on a run before its log, files and facts are asked for: not for those it passes."""


@verb("logs", "project", "read its newest run's log", key="l", hint="logs", changes=False, also=("log",))
def logs(app: WinslowApp, keys: Sequence[str]) -> None:
    """The log of its newest run."""
    if isinstance(app.screen, ProjectScreen):
        app.screen.read_log()
    else:
        app.push_screen(ProjectScreen(keys[0], reading=True))


class Banner(Static, can_focus=True):
    """What a project asks a person for; enter opens the form, and going down goes to the runs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "screen.verb('project', 'answer')", "answer"),
        Binding("j,down", "screen.to_runs", "down", show=False, id="down"),
    ]

    def on_mount(self) -> None:
        rebind(self)


class ProjectScreen(SiteScreen):
    """See the module. The document is read again whenever the project's summary says that it changed. `reading`: it
    opens with the keys at the log."""

    view = "projects"
    AUTO_FOCUS = "#runs"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(place), f"tab('{name}')", name, show=False, id=f"tab-{name}")
            for place, name in enumerate(TABS, start=1)
        ),
        Binding("left_square_bracket", "run(-1)", "run before", key_display="[", show=False, id="run-before"),
        Binding("right_square_bracket", "run(1)", "run after", key_display="]", show=False, id="run-after"),
        Binding("tab", "other_side", "other side", show=False, id="other-side"),
        Binding("z", "whole_width", "whole width, both sides", show=False, id="whole-width"),
        *verbs.bindings("file", "run", "project", "site"),  # of one key the first that counts here is done
    ]
    DEFAULT_CSS = """
    ProjectScreen #body { height: 1fr; }
    ProjectScreen #left { width: 2fr; max-width: 60; min-width: 33; border-right: solid $panel; }
    ProjectScreen #right { width: 3fr; }
    ProjectScreen #right:focus-within #tabs { background: $panel; }
    ProjectScreen.wide #left { display: none; }
    ProjectScreen #content { height: 1fr; }
    ProjectScreen #title, ProjectScreen #asks, ProjectScreen #plan { height: auto; padding: 0 1; }
    ProjectScreen #asks { background: $warning 20%; color: $warning; text-style: bold; display: none; }
    ProjectScreen #asks.shown { display: block; }
    ProjectScreen #asks:focus { background: $cursor-ground; }
    ProjectScreen #runs { height: 1fr; }
    ProjectScreen #plan { border-top: solid $panel; color: $foreground; max-height: 8; }
    ProjectScreen #facts, ProjectScreen #settings { padding: 0 1; }
    """

    def __init__(self, project: str, *, reading: bool = False) -> None:
        super().__init__()
        self._reads = reading
        self.project_id = project
        self.document: Project | None = None
        self.tab = "log"
        self._revision = 0
        self._reading = False
        self._stale: dict[int, int] = {}
        self._asked = False
        self._resting: Timer | None = None

    def body(self) -> Iterable[Widget]:
        yield Static(id="title", markup=False)
        yield Banner(id="asks", markup=False)
        with Horizontal(id="body"):
            with Vertical(id="left"):
                yield VirtualTable(runrows.COLUMNS, self._row, id="runs")
                yield Static(id="plan", markup=False)
            with Vertical(id="right"):
                yield Line(tight=True, id="tabs")
                with ContentSwitcher(initial="log", id="content"):
                    yield LogPane(id="log")
                    yield from self.tabs()

    def tabs(self) -> Iterable[Widget]:
        """What the tabs beside the log show."""
        yield files_of(self, runs=True, id="files")
        yield MetricsPane(id="metrics")
        for name in ("settings", "facts"):
            yield Sheet(Static(id=f"{name}-text", markup=False), id=name)

    def compose(self) -> ComposeResult:
        yield from super().compose()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return ("file", "run", "project", "site") if self.tab == "files" else ("run", "project", "site")

    def things(self, kind: Kind) -> list[str]:
        if kind == "project":
            return [self.project_id]
        if kind == "file":
            return self.query_one(Browser).chosen if self.tab == "files" else []
        return [f"{self.project_id}#{key}" for key in self.runs.chosen] if kind == "run" else []

    def crumbs(self) -> tuple[str, ...]:
        return ("Projects", terminal_text.line(self.project_id))

    def on_mount(self) -> None:
        super().on_mount()
        kept = self.winslow.remembered.view(FILES)
        self.sorting = Sorting(kept.column, backwards=kept.backwards)
        if self._reads:
            self.query_one("#lines").focus()
        elif self.winslow.remembered.tab in TABS:
            self.tab = self.query_one("#content", ContentSwitcher).current = self.winslow.remembered.tab
        self._read()

    def focus_body(self) -> None:
        self.query_one("#entries" if self.tab == "files" else "#runs").focus()

    # -- the document

    def caught_up(self) -> None:
        self._read()

    def changed(self, changes: Changes) -> None:
        if self.project_id in changes.projects:
            row = self.site.projects.get(self.project_id)
            if row is None:
                self.winslow.told(f"project {self.project_id} was deleted")
                self.dismiss()
            elif row.summary.revision > self._revision:
                self._read()
            else:
                self._redraw()

    def turn(self, number: int) -> None:
        for pane in self.query(LogPane):
            pane.turn()

    def _read(self) -> None:
        if not self._reading:
            self._reading = True
            self.winslow.do(
                lambda: self.winslow.client.project(self.project_id),
                self._got,
                failed=self._not_got,
                looks=True,
            )

    def _not_got(self, error: WinslowError) -> None:
        """What was read before stays, as long as there is such a project; where nothing was, the screen says why."""
        self._reading = False
        if isinstance(error, NotFound) and self.document is not None and self.is_current:
            self.dismiss()
        elif self.document is None and self.there:
            self.query_one("#title", Static).update(_plain("\n".join(filter(None, (str(error), error.hint)))))

    def _got(self, document: Project) -> None:
        self._reading = False
        self.document, self._revision = document, document.revision
        self._stale = lineage.stale(document)
        if self.there:
            self._redraw()

    # -- the left side

    @property
    def runs(self) -> VirtualTable:
        return self.query_one("#runs", VirtualTable)

    @property
    def run(self) -> Run | None:
        """The run that is looked at."""
        key = self.runs.current
        return self.document.run(int(key)) if self.document and key else None

    def _redraw(self) -> None:
        project = self.document
        if project is None:
            return
        newest = not self.runs.keys
        self.runs.empty = f"no run yet: {self.winslow.keymap.told('start')} starts"
        self.runs.show([str(run.n) for run in reversed(project.runs)])
        if newest and project.runs:
            self.runs.put_cursor(str(project.runs[-1].n))
        self.runs.refresh()
        copy = project.pipeline
        people = ", ".join(dict.fromkeys((project.author, *project.participants)))
        parts = (
            project.name,
            f"pipeline {copy.definition.name} (rev {copy.source_revision}{', changed' if copy.edited else ''})",
            people,
            " ".join(f"#{tag}" for tag in project.tags),
        )
        self.query_one("#title", Static).update(_plain(" · ".join(part for part in parts if part)))
        state, why = state_of(project)
        asks = self.query_one("#asks", Banner)
        asks.set_class(state is ProjectState.NEEDS_YOU, "shown")
        asks.update(_plain(f"? {why}: enter answers"))
        if state is ProjectState.NEEDS_YOU and not self._asked:
            asks.focus()
        elif state is not ProjectState.NEEDS_YOU and asks.has_focus:
            self.focus_body()
        self._asked = state is ProjectState.NEEDS_YOU
        self.query_one("#plan", Static).update(self._plan(project))
        self._draw_tab()
        self.draw_frame()

    def _row(self, key: str) -> tuple[Cell, ...]:
        assert self.document is not None
        run = self.document.run(int(key))
        assert run is not None
        return runrows.cells(run, stale=run.n in self._stale, wall=self.winslow.around.wall())

    def _plan(self, project: Project) -> Content:
        """The stages with the states of their latest runs, what waits, and what the project's environment is."""
        told = [
            ("plan", runrows.plan(project)),
            ("queue", ", ".join(request.stage for request in project.queue)),
            ("env", "  ".join(f"{name}={value}" for name, value in project.env.items())),
        ]
        width = max(20, self.query_one("#plan").content_size.width or 30)
        return named([row for row in told if row[1]], width, indent=7)

    # -- the right side

    def action_tab(self, name: str) -> None:
        self.tab = self.winslow.remembered.tab = name
        self.query_one("#content", ContentSwitcher).current = name
        self._draw_tab()
        if name == "files":
            self.query_one(Browser).refresh_files()
            self.query_one("#entries").focus()
        self.draw_frame()

    def action_to_runs(self) -> None:
        self.focus_body()

    def action_run(self, by: int) -> None:
        self.runs.action_move(-by)

    def action_whole_width(self) -> None:
        """All the screen's width for the right side, or not."""
        if not self.has_class("wide") and self.runs.has_focus:
            self.action_other_side()
        self.toggle_class("wide")

    def action_filter(self) -> None:
        if self.tab == "log":
            self.query_one("#log", LogPane).action_ask("search")
        else:
            super().action_filter()

    def action_sort(self, column: str) -> None:
        super().action_sort(column)
        kept = self.winslow.remembered.view(FILES)
        kept.column, kept.backwards = self.sorting.column, self.sorting.backwards

    def filtered(self) -> None:
        view = self.query_one(Browser)
        view.sort(self.sorting)
        view.narrow(self.filter_text)

    def action_back(self) -> None:
        if self.has_class("wide"):
            self.remove_class("wide")
        else:
            super().action_back()

    def action_other_side(self) -> None:
        self.remove_class("wide")
        runs = self.runs
        shown = self.query_one({"files": "#entries", "log": "#lines"}.get(self.tab, f"#{self.tab}"))
        (shown if runs.has_focus and shown.can_focus else runs).focus()

    @on(VirtualTable.Moved, "#runs")
    def _another_run(self) -> None:
        if self._resting is not None:
            self._resting.stop()
        self._resting = self.set_timer(REST_SECONDS, self._draw_tab)

    @on(VirtualTable.Chosen, "#runs")
    def read_log(self) -> None:
        """Give the keys to the log of the run under the cursor."""
        self.action_tab("log")
        self.query_one("#lines").focus()

    def _draw_tab(self) -> None:
        parts = [
            (
                Part(f"{self.winslow.keymap.key(f'tab-{name}')} ", "key"),
                Part(f" {name.capitalize()} ", "on") if name == self.tab else Part(name.capitalize()),
            )
            for name in TABS
        ]
        self.query_one("#tabs", Line).show(parts)
        run = self.run
        self.query_one(MetricsPane).show(self.project_id, run)
        if self.tab == "log":
            self._show_log(run)
        elif self.tab == "files" and self.document is not None:
            self.query_one(Browser).set_places(filetree.places(self.document, self._stale))
            self.filtered()
        elif self.tab == "settings" and self.document is not None:
            self.query_one("#settings-text", Static).update(
                settings(self.document, self.query_one("#content").size.width - 3)
            )
        elif self.tab == "facts" and self.document is not None and run is not None:
            self._read_facts(self.document, run)

    def _read_facts(self, project: Project, run: Run) -> None:
        width = max(30, self.query_one("#content").size.width - 3)

        def work() -> Content:
            told = runfacts.facts(project, run, left=self.winslow.client.runs.left(project, run))
            rows = runfacts.fields(told | {"state": runrows.state_told(told["state"])})
            rows |= {
                f"env {name}": f"{each['value']} ({each['origin']})" for name, each in told["env"].items()
            }
            return named(
                [(name, str(value)) for name, value in rows.items() if value not in ("", None)], width
            )

        def show(text: Content) -> None:
            if self.there and self.run is not None and self.run.n == run.n:
                self.query_one("#facts-text", Static).update(text)

        self.winslow.do(work, show, looks=True)

    @on(Browser.Opened)
    def _open_file(self, event: Browser.Opened) -> None:
        open_file(self.winslow, event.where, event.file)

    def _show_log(self, run: Run | None) -> None:
        attempt = run.attempt if run else None
        pane = self.query_one("#log", LogPane)
        if run is None or attempt is None:
            pane.show(None)
        else:
            pane.show(Shown(self.project_id, run.n, attempt.k, len(run.attempts), run.state.ended))


def _plain(text: str) -> Content:
    return Content(terminal_text.block(text))
