"""The resources, and what every file view has: verbs for files, and the transfers under way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from winslow import address, terminal_text
from winslow.errors import NotFound, Refused, WinslowError
from winslow.placement import size_text
from winslow_tui.facade import filing, livefiles, moving, workspace_editing
from winslow_tui.facade.filing import File
from winslow_tui.facade.moving import Move
from winslow_tui.program import filtering, sorting, verbs
from winslow_tui.program.completion import Addresses, Paths
from winslow_tui.program.noderows import rate
from winslow_tui.program.projectrows import bar
from winslow_tui.program.transfers import State, Transfer
from winslow_tui.program.unfinished import Direction
from winslow_tui.program.verbs import Kind, verb
from winslow_tui.screens.base import SiteScreen
from winslow_tui.screens.form import Field, Form, Question
from winslow_tui.screens.paging import page_file
from winslow_tui.screens.preview import at, open_file
from winslow_tui.shown.wording import time_left
from winslow_tui.widgets.browser import Browser
from winslow_tui.widgets.table import Cell, Column, VirtualTable

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp

LINK_SECONDS = 3600
RESOURCES = "res:"
_STATES = {
    State.WAITING: ("◐", "waiting"),
    State.RUNNING: ("●", "running"),
    State.DONE: ("✓", "succeeded"),
    State.FAILED: ("✗", "failed"),
    State.STOPPED: ("‖", "paused"),
}


def look(app: WinslowApp, where: str) -> list[File]:
    """One level of what is at an address; of a run that a node has, as it is there now. Blocks."""
    place = address.parse(where)
    project = app.client.project(place.project) if place.project else None
    return livefiles.look(app.client, place, project, deep=False)


def addresses(app: WinslowApp) -> Addresses:
    """For a field that takes an address."""
    return Addresses(lambda where: look(app, where))


def files_of(screen: SiteScreen, *, id: str, runs: bool = False) -> Browser:
    """A file view for a screen; `runs` of a project made some of the files."""
    app = screen.winslow
    return Browser(
        lambda where: look(app, where),
        lambda work, done, failed: app.do(work, done, failed=failed, looks=True),
        runs=runs,
        id=id,
    )


def browser(app: WinslowApp) -> Browser | None:
    """The file view that is shown."""
    found = app.screen.query(Browser)
    return found.first() if found else None


@verb("upload", "file", "send a file or folder here", key="u", hint="upload", bulk=True, also=("put",))
def upload(app: WinslowApp, keys: Sequence[str]) -> None:
    """Send a file or a folder into the folder where the cursor is, whatever is marked."""
    view = browser(app)
    into = (view.folder if view is not None else "") or keys[0]

    def send(values: Mapping[str, str]) -> Transfer:
        where = address.parse(values["to"])
        if where.place != "next":
            filing.check_sendable(where)
        local = Path(values["file"].strip().strip("'\"")).expanduser()
        if not local.exists():
            raise NotFound(f"there is no file or folder {local} on this machine")
        return app.transfers.send(str(local), values["to"])

    fields = (
        Field(
            "file",
            "file or folder here",
            required=True,
            placeholder="a path; drop a file on the terminal",
            complete=Paths(),
        ),
        Field("to", "to", value=into, note="at the cursor", required=True, complete=addresses(app)),
    )
    app.push_screen(
        Form(
            "Upload",
            fields,
            send,
            done=lambda _: app.told(f"on its way: {app.keymap.told('transfers')} shows it"),
        )
    )


@verb(
    "download",
    "file",
    "fetch what is marked",
    key="d",
    hint="download",
    bulk=True,
    changes=False,
    also=("get",),
)
def download(app: WinslowApp, keys: Sequence[str]) -> None:
    """Fetch what is marked into a folder here."""

    def send(values: Mapping[str, str]) -> None:
        into = Path(values["to"]).expanduser()
        if into.exists() and not into.is_dir():
            raise Refused(f"{into} is a file: name a folder")
        for key in keys:
            app.transfers.fetch(key, values["to"])

    field = Field("to", "into the folder", value=".", required=True, complete=Paths())
    title = f"Download {keys[0] if len(keys) == 1 else f'{len(keys)} files'}"
    app.push_screen(
        Form(
            title,
            [field],
            send,
            done=lambda _: app.told(f"on its way: {app.keymap.told('transfers')} shows it"),
        )
    )


@verb(
    "remove", "file", "remove files and folders", key="D", hint="remove", spare=True, bulk=True, also=("rm",)
)
def remove(app: WinslowApp, keys: Sequence[str]) -> None:
    """Remove from the resources, a project's input, or what the next run takes over."""
    if RESOURCES in keys:
        app.told("the resources are everybody's: mark what of them is to be removed", bad=True)
        return

    def work() -> int:
        count = 0
        for key in keys:
            where = address.parse(key)
            project = app.client.project(where.project) if where.project else None
            if project is not None and where.place == "next":
                count += workspace_editing.remove(app.client.link, project, [where], deep=where.folder)[1]
            else:
                count += filing.remove(app.client.store, where, project, deep=where.folder)
        return count

    def done(count: int) -> None:
        app.told(f"{count} file{'s' if count != 1 else ''} removed")
        if (view := browser(app)) is not None:
            view.refresh_files()

    what = keys[0] if len(keys) == 1 else f"{len(keys)} things"
    app.push_screen(Question(f"Remove {what}?", work, done=done))


@verb("rename", "file", "rename, move", key="R", hint="rename", spare=True, also=("mv", "move"))
def rename(app: WinslowApp, keys: Sequence[str]) -> None:
    """Give a file or a folder of the resources, a project's input, or what the next run takes over another name."""
    source = address.parse(keys[0])
    if source.place != "next":
        try:
            filing.check_sendable(source)
        except WinslowError as error:
            app.told(str(error), hint=error.hint, bad=True)
            return
    plain = address.text(replace(source, folder=False))

    def work(values: Mapping[str, str]) -> Move:
        wanted = moving.plan(app.client.store, source, address.parse(values["to"]), app.client.project)
        moving.move(app.client.link, wanted, lambda _: None)
        return wanted

    def done(wanted: object) -> None:
        assert isinstance(wanted, Move)
        app.told(f"it is {address.text(wanted.target)} now")
        if (view := browser(app)) is not None:
            view.refresh_files()

    to = Field("to", "to", value=plain, note="or a folder/", required=True, complete=addresses(app))
    app.push_screen(Form(f"Rename {plain}", [to], work, done=done))


@verb("link", "file", "copy a link", key="y", hint="copy a link", spare=True, changes=False)
def link(app: WinslowApp, keys: Sequence[str]) -> None:
    """Copy a link that anybody can read the file by, for an hour."""

    def work() -> str:
        where = address.parse(keys[0])
        project = app.client.project(where.project) if where.project else None
        found = [file for file in filing.find(app.client.store, where, project, deep=False) if file.key]
        if not found:
            raise WinslowError(f"there is no link to {keys[0]}, only to a file that is in the store")
        return app.client.store.presigned_get(found[0].key, seconds=LINK_SECONDS)

    def done(url: str) -> None:
        app.copy(url)
        app.told("a link that works for an hour is copied")

    app.do(work, done)


@verb("pager", "file", "open in $PAGER", key="v", changes=False)
def pager(app: WinslowApp, keys: Sequence[str]) -> None:
    """Read a file in the person's own pager, whole."""

    app.do(lambda: at(app.client, keys[0]), lambda file: page_file(app, file))


class FilesScreen(SiteScreen):
    """The resources that all projects share."""

    view = "files"
    AUTO_FOCUS = "#entries"
    remembered = "files"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", key_display="/", id="filter"),
        *verbs.bindings("file", "site"),
    ]

    def body(self) -> Iterable[Widget]:
        view = files_of(self, id="body")
        view.set_places([(RESOURCES, "what all projects share")], unfolded=[RESOURCES])
        yield view

    @property
    def browser(self) -> Browser:
        return self.query_one(Browser)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return ("file", "site")

    def things(self, kind: Kind) -> list[str]:
        return self.browser.chosen if kind == "file" else []

    def focus_body(self) -> None:
        self.browser.table.focus()

    def caught_up(self) -> None:
        self.filtered()

    def filtered(self) -> None:
        self.browser.sort(self.sorting)
        self.browser.narrow(self.filter_text)

    @on(Browser.Opened)
    def _open(self, event: Browser.Opened) -> None:
        open_file(self.winslow, event.where, event.file)


class TransfersScreen(SiteScreen):
    """What is on its way, and what was left."""

    AUTO_FOCUS = "#body"
    remembered = "transfers"
    COLUMNS = (
        Column("STATE", 9, rank=8),
        Column("PROGRESS", 10, rank=7),
        Column("RATE", 6, align="right", rank=5),
        Column("LEFT", 7, align="right", rank=4),
        Column("FILE", 27, grow=4, rank=9),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "stop", "stop", id="stop"),
        Binding("r", "again", "go on", id="go-on"),
        Binding("D", "forget", "forget", id="forget"),
        Binding("slash", "filter", "filter", key_display="/", id="filter"),
        *sorting.bindings({"S": "STATE", "P": "PROGRESS", "R": "RATE", "L": "LEFT", "N": "FILE"}),
    ]
    DEFAULT_CSS = """
    TransfersScreen #detail { padding: 0 1; height: 2; color: $dim; }
    """
    _version = -1  # of the transfers that is drawn

    def body(self) -> Iterable[Widget]:
        yield VirtualTable(self.COLUMNS, self._row, id="body")
        yield Static(id="detail", markup=False)

    @property
    def table(self) -> VirtualTable:
        return self.query_one("#body", VirtualTable)

    def crumbs(self) -> tuple[str, ...]:
        return ("Transfers",)

    def turn(self, number: int) -> None:
        found = self.winslow.transfers
        if number % 3 == 0 and found.version != self._version:
            self._version = found.version
            self.filtered()
            self.table.refresh()
            self._tell()

    @on(VirtualTable.Moved)
    def _tell(self) -> None:
        """The one under the cursor in full, which the table may have no room for."""
        transfer = self.winslow.transfers.all.get(self.table.current or "")
        told = ""
        if transfer is not None:
            errand = transfer.errand
            sign = "→" if errand.direction is Direction.SEND else "←"
            size = f"{size_text(transfer.done)} of {size_text(transfer.total)}" if transfer.total else ""
            lines = (f"{errand.local} {sign} {errand.remote}", transfer.problem or size)
            told = "\n".join(map(terminal_text.line, lines))
        self.query_one("#detail", Static).update(Content(told))

    def caught_up(self) -> None:
        self.filtered()

    def filtered(self) -> None:
        found = dict(self.winslow.transfers.all)
        wanted = filtering.parse(self.filter_text, fields=("state",))
        order = [
            key
            for key, each in reversed(found.items())
            if wanted.holds({"state": (each.state.value,), "what": (_what(each), each.problem)})
        ]
        back = self.winslow.keymap.told("back")
        none = "nothing is on its way"
        self.table.empty = none if not found else f"nothing passes the filter: {back} shows all"
        self.table.sorting = self.sorting
        self.table.show(
            self.sorting.order(
                order,
                {
                    "STATE": lambda key: found[key].state.value,
                    "PROGRESS": lambda key: found[key].percent,
                    "RATE": lambda key: found[key].rate if not found[key].state.over else None,
                    "LEFT": lambda key: found[key].left if not found[key].state.over else None,
                    "FILE": lambda key: _what(found[key]),
                },
            )
        )
        self.table.refresh_line(0)

    def _row(self, key: str) -> tuple[Cell, ...] | None:
        transfer = self.winslow.transfers.all.get(key)
        if transfer is None:
            return None
        sign, style = _STATES[transfer.state]
        left = transfer.left if not transfer.state.over else None
        return (
            Cell(f"{sign} {transfer.state.value}", state=style),
            Cell(bar(transfer.percent, 5), state=style),
            Cell(f"{rate(transfer.rate)}/s" if transfer.rate and not transfer.state.over else ""),
            Cell(time_left(left) if left is not None else ""),
            Cell(terminal_text.line(_what(transfer))),
        )

    def _chosen(self) -> list[Transfer]:
        found = self.winslow.transfers.all
        return [found[key] for key in self.table.chosen if key in found]

    def action_stop(self) -> None:
        for transfer in self._chosen():
            self.winslow.transfers.stop(transfer)

    def action_again(self) -> None:
        chosen = self._chosen()
        sends = any(transfer.errand.direction is Direction.SEND for transfer in chosen)
        if not sends or self.may_change():
            for transfer in chosen:
                self.winslow.transfers.again(transfer)

    def action_forget(self) -> None:
        for transfer in self._chosen():
            self.winslow.transfers.forget(transfer)


def _what(transfer: Transfer) -> str:
    """From where, and whither."""
    errand, sends = transfer.errand, transfer.errand.direction is Direction.SEND
    return f"{Path(errand.local).name or errand.local} {'→' if sends else '←'} {errand.remote}"
