"""The nodes, and one node's last ten minutes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from broker import topics
from winslow.node import Presence
from winslow_tui.facade.changes import signed, words
from winslow_tui.program import filtering, noderows, sorting, verbs
from winslow_tui.program.noderows import NodeRow
from winslow_tui.program.sitemodel import Changes
from winslow_tui.program.sitewatch import Stream
from winslow_tui.program.verbs import Kind, verb
from winslow_tui.screens.base import SiteScreen
from winslow_tui.screens.form import Field, Form, Question
from winslow_tui.widgets.sheet import Sheet
from winslow_tui.widgets.table import Cell, VirtualTable

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp

_AROUND = 6  # columns of a node's page beside what stands on it: padding, and a scrollbar


@verb("drain", "node", "drain, undrain", key="D", hint="drain, undrain", bulk=True, also=("undrain",))
def drain(app: WinslowApp, keys: Sequence[str]) -> None:
    """Take nothing new; on a node that drains already: take part again."""
    draining = {key for key in keys if app.site.nodes[key].presence is Presence.DRAINING}

    def work() -> str:
        for key in keys:
            if key in draining:
                app.client.node_wishes.undrain(key)
            else:
                app.client.node_wishes.drain(key)
        return "\n".join(f"{key}: {'takes part again' if key in draining else 'drains'}" for key in keys)

    app.do(work, app.told)


@verb(
    "label", "node", "add or remove labels", key="t", hint="labels", spare=True, bulk=True, also=("labels",)
)
def label(app: WinslowApp, keys: Sequence[str]) -> None:
    """Add and remove labels."""

    def send(values: Mapping[str, str]) -> None:
        wanted = signed(words(values["labels"]))
        for key in keys:
            app.client.node_wishes.label(key, add=wanted.add, remove=wanted.remove)

    states = [app.site.nodes[key] for key in keys if key in app.site.nodes]
    held = " ".join(dict.fromkeys(label for state in states for label in state.labels)) or "none"
    field = Field("labels", "labels", required=True, placeholder="new ones, and old- to remove one")
    app.push_screen(Form(f"Labels of {', '.join(keys)}, now {held}", [field], send))


@verb("forget", "node", "forget for good")
def forget(app: WinslowApp, keys: Sequence[str]) -> None:
    """Remove a node that is gone for good."""

    app.push_screen(
        Question(
            f"Forget node {keys[0]} for good?\nWhat it held counts as lost at once.",
            lambda: app.client.node_wishes.forget(keys[0]),
            done=lambda _: app.told(f"{keys[0]} is forgotten"),
            name=keys[0],
        )
    )


class NodesScreen(SiteScreen):
    """One row a node; samples are listened to while the screen is shown."""

    view = "nodes"
    AUTO_FOCUS = "#body"
    remembered = "nodes"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", key_display="/", id="filter"),
        *verbs.bindings("node", "site"),
        *sorting.bindings({"N": "NODE", "S": "STATE", "C": "CPU", "M": "MEMORY", "R": "RUNS"}),
    ]
    _samples: Stream | None = None

    def body(self) -> Iterable[Widget]:
        yield VirtualTable(noderows.COLUMNS, self._row, id="body")

    @property
    def table(self) -> VirtualTable:
        return self.query_one("#body", VirtualTable)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return ("node", "site")

    def things(self, kind: Kind) -> list[str]:
        return self.table.chosen if kind == "node" else []

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        if self._samples is None:
            self._samples = self.winslow.watch_.stream(topics.NODE_METRICS, size=1)

    def on_screen_suspend(self) -> None:
        if self._samples is not None:
            self.winslow.watch_.end(self._samples)
            self._samples = None

    def _row(self, key: str) -> tuple[Cell, ...] | None:
        return node_row(self.winslow, key).cells() if key in self.site.nodes else None

    def caught_up(self) -> None:
        self.filtered()
        self.table.refresh()

    def changed(self, changes: Changes) -> None:
        if changes.nodes or changes.servers:
            self.filtered()
        self.table.changed(*changes.nodes)

    def filtered(self) -> None:
        wanted = filtering.parse(self.filter_text, fields=noderows.FIELDS)
        rows = self.site.nodes
        order = [key for key in sorted(rows) if wanted.holds(NodeRow(rows[key]).fields())]
        samples = self.site.samples
        none = "no node yet: winslow agent" if self.site.broker.up else "no node is known yet"
        self.table.empty = none if not rows else "no node passes the filter: esc shows all"
        self.table.sorting = self.sorting
        self.table.show(
            self.sorting.order(
                order,
                {
                    "NODE": lambda key: key,
                    "STATE": lambda key: rows[key].presence.value,
                    "CPU": lambda key: samples[key].cpu if key in samples else None,
                    "MEMORY": lambda key: samples[key].memory if key in samples else None,
                    "RUNS": lambda key: len(rows[key].runs),
                },
            )
        )
        self.table.refresh_line(0)

    @on(VirtualTable.Chosen)
    def _open(self, event: VirtualTable.Chosen) -> None:
        self.app.push_screen(NodeScreen(event.key))


class NodeScreen(SiteScreen):
    """What one node is, and how it fared."""

    view = "nodes"
    AUTO_FOCUS = "#body"
    DEFAULT_CSS = """
    NodeScreen #body { padding: 1 2; height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*verbs.bindings("node")]

    def __init__(self, node: str) -> None:
        super().__init__()
        self.node = node
        self._samples: Stream | None = None

    def body(self) -> Iterable[Widget]:
        with Sheet(id="body"):
            yield Static(id="told", markup=False)

    def crumbs(self) -> tuple[str, ...]:
        return ("Nodes", self.node)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return ("node", "site")

    def things(self, kind: Kind) -> list[str]:
        return [self.node] if kind == "node" else []

    def on_mount(self) -> None:
        super().on_mount()
        self._samples = self.winslow.watch_.stream(topics.NODE_METRICS, size=1)

    def on_unmount(self) -> None:
        if self._samples is not None:
            self.winslow.watch_.end(self._samples)

    def caught_up(self) -> None:
        self._show()

    def changed(self, changes: Changes) -> None:
        if self.node in changes.nodes:
            self._show()

    def _show(self) -> None:
        state = self.site.nodes.get(self.node)
        if state is None:
            self.query_one("#told", Static).update(Content(f"node {self.node} is gone"))
            return
        told = [*_rows(noderows.facts(state))]
        sample = self.site.samples.get(self.node)
        if sample is not None:
            cores = "".join(noderows.curve([each], 1, top=100.0) for each in sample.cpus)
            told += [_heading("now"), *_rows([("cores", cores)], "$primary"), *_rows(noderows.gpus(sample))]
        history = self.site.histories.get(self.node)
        if history is not None:
            width = max(10, min(120, self.size.width - 34))
            told.append(_heading("the last ten minutes"))
            shown = noderows.curves(history, width)
            room = max(len(words) for _, _, words in shown) if shown else 0
            for name, drawn, words in shown:
                told += [*_rows([(name, drawn)], "$primary", end=""), Content(f"  {words:>{room}}\n")]
            told += _cores(noderows.core_curves(history, self.size.width - _AROUND))
        self.query_one("#told", Static).update(Content("").join(told))


def _heading(text: str) -> Content:
    return Content.assemble("\n", (text, "bold"), "\n")


def _rows(rows: Iterable[tuple[str, str]], style: str = "", *, end: str = "\n") -> Iterable[Content]:
    """Names, dimmed, and what there is to say behind each."""
    return [Content.assemble((f"{name:<12}", "$dim"), (text, style), end) for name, text in rows]


def _cores(lines: Iterable[Iterable[tuple[str, str, str]]]) -> Iterable[Content]:
    """Each core's curve, under a heading of their own."""
    for number, line in enumerate(lines):
        if not number:
            yield _heading("each core")
        cells = [Content.assemble((name, "$dim"), (drawn, "$primary"), words) for name, drawn, words in line]
        yield Content.assemble(Content("  ").join(cells), "\n")


def node_row(app: WinslowApp, key: str) -> NodeRow:
    """A node's row as it is now."""
    site = app.site
    sampled = site.sampled.get(key)
    age = app.around.clock() - sampled if sampled is not None else None
    return NodeRow(site.nodes[key], site.samples.get(key), age)
