"""What happened on the site, and what happens: newest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget

from winslow import terminal_text
from winslow_tui.facade.activity import About, Entry
from winslow_tui.program import filtering, sorting, verbs
from winslow_tui.screens.base import SiteScreen
from winslow_tui.widgets.table import Cell, Column, VirtualTable

if TYPE_CHECKING:
    from winslow_tui.program.activityfeed import ActivityFeed

KEPT = 20_000  # entries; older ones: `winslow activity`
COLUMNS = (
    Column("WHEN", 19, rank=9),
    Column("WHO", 8, grow=1, rank=6),
    Column("WHAT ABOUT", 16, grow=2, rank=7),
    Column("WHAT", 24, grow=6, rank=8),
)
FIELDS = ("by", "kind", "about", "project", "node", "pipeline")


class ActivityScreen(SiteScreen):
    """See the module; it listens from the first time it is shown."""

    view = "activity"
    remembered = "activity"
    AUTO_FOCUS = "#body"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", key_display="/", id="filter"),
        *verbs.bindings("site"),
        *sorting.bindings({"W": "WHEN", "O": "WHO", "B": "WHAT ABOUT", "H": "WHAT"}),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._entries: deque[tuple[str, Entry]] = deque(maxlen=KEPT)
        self._by_key: dict[str, Entry] = {}
        self._number = 0
        self._feed: ActivityFeed | None = None

    def body(self) -> Iterable[Widget]:
        yield VirtualTable(COLUMNS, self._row, id="body")

    @property
    def table(self) -> VirtualTable:
        return self.query_one("#body", VirtualTable)

    def on_mount(self) -> None:
        super().on_mount()
        self.filtered()
        self._feed = self.winslow.around.activity(self.winslow.config, self.winslow.client)

    def on_unmount(self) -> None:
        if self._feed is not None:
            self._feed.close()

    def turn(self, number: int) -> None:
        found = self._feed.take() if self._feed else []
        if not found:
            return
        for entry in found:
            key = str(self._number)
            self._number += 1
            if len(self._entries) == KEPT:
                del self._by_key[self._entries[-1][0]]
            self._entries.appendleft((key, entry))
            self._by_key[key] = entry
        at_top = self.table.cursor == 0
        self.filtered()
        if at_top:
            self.table.action_edge(-1)

    def filtered(self) -> None:
        wanted = filtering.parse(self.filter_text, fields=FIELDS)
        entries = self._by_key
        none = "nothing has happened yet"
        back = self.winslow.keymap.told("back")
        self.table.empty = none if not entries else f"nothing passes the filter: {back} shows all"
        self.table.sorting = self.sorting
        self.table.show(
            self.sorting.order(
                (key for key, entry in self._entries if wanted.holds(_fields(entry))),
                {
                    "WHEN": lambda key: entries[key].time,
                    "WHO": lambda key: entries[key].by,
                    "WHAT ABOUT": lambda key: _about(entries[key]),
                    "WHAT": lambda key: entries[key].text,
                },
            )
        )
        self.table.refresh_line(0)

    def _row(self, key: str) -> tuple[Cell, ...]:
        entry = self._by_key[key]
        return (
            Cell(entry.time.astimezone().strftime("%Y-%m-%d %H:%M:%S"), dim=True),
            Cell(terminal_text.line(entry.by)),
            Cell(terminal_text.line(_about(entry))),
            Cell(terminal_text.line(entry.text)),
        )

    @on(VirtualTable.Chosen)
    def _open(self, event: VirtualTable.Chosen) -> None:
        subject = self._by_key[event.key].subject
        if subject.about is About.PROJECT and subject.id in self.site.projects:
            self.winslow.open_project(subject.id)


def _about(entry: Entry) -> str:
    subject = entry.subject
    name = entry.title or subject.id
    return name if subject.about is About.PROJECT else f"{subject.about} {name}"


def _fields(entry: Entry) -> dict[str, tuple[str, ...]]:
    return {
        "by": (entry.by,),
        "kind": (entry.kind,),
        "about": (entry.subject.about.value,),
        entry.subject.about.value: (entry.subject.id, entry.title),
        "text": (entry.text,),
    }
