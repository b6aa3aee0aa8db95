"""`winslow` without arguments: the full-screen program. It never waits for network or disk: a thread listens
(`sitewatch`), workers call the facade, and a timer brings what is new to the screen that is shown."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen

from winslow import terminal_text
from winslow.config import Config, state_folder
from winslow.errors import WinslowError
from winslow_tui.client import Client
from winslow_tui.screens.activity import ActivityScreen
from winslow_tui.screens.base import VIEWS, SiteScreen
from winslow_tui.screens.files import FilesScreen
from winslow_tui.screens.first_run import FirstRun
from winslow_tui.screens.nodes import NodesScreen
from winslow_tui.screens.pipelines import PipelinesScreen
from winslow_tui.screens.project import ProjectScreen
from winslow_tui.screens.projects import ProjectsScreen
from winslow_tui.sitemodel import SiteModel
from winslow_tui.sitewatch import SiteWatch
from winslow_tui.themes import DARK, MONOCHROME, THEMES
from winslow_tui.transfers import Transfers

PAINT_SECONDS = 0.1
MOST_COPIED = 56_000
"""Bytes for the clipboard: about 75,000 once encoded, which is what terminals take."""

T = TypeVar("T")


class WinslowApp(App[None]):
    """See the module. `readonly`: everything can be looked at, nothing changed."""

    TITLE = "winslow"
    ENABLE_COMMAND_PALETTE = False
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "projects": ProjectsScreen,
        "nodes": NodesScreen,
        "files": FilesScreen,
        "pipelines": PipelinesScreen,
        "activity": ActivityScreen,
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(place), f"view('{view}')", name, show=False)
            for place, (view, name) in enumerate(VIEWS, start=1)
        ),
        Binding("q", "leave", "back, quit", show=False),
        Binding("ctrl+t", "next_theme", "colours", show=False),
        Binding("ctrl+r", "refresh_all", "refresh", show=False),
    ]

    def __init__(self, load: Callable[[], Config], *, readonly: bool = False) -> None:
        super().__init__()
        self._load = load
        self.readonly = readonly
        self.set_up(load())
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = MONOCHROME.name if os.environ.get("NO_COLOR") else DARK.name

    def set_up(self, config: Config) -> None:
        """Begin with a configuration; nothing is connected before `begin`."""
        self.config = config
        self.client = Client(config)
        self.site = SiteModel(clock=time.monotonic)
        self.watch_ = SiteWatch(config, self.client)
        self.transfers = Transfers(self.client, remembered=state_folder() / "transfers.json")

    @property
    def configured(self) -> bool:
        """Whether anything says where broker and store are."""
        settings = self.config.settings
        return bool(settings.broker.url and settings.store.url)

    def try_again(self) -> None:
        """Read the configuration again, and begin once it says enough."""
        config = self._load()
        if config.settings.broker.url and config.settings.store.url:
            self.transfers.close()
            self.set_up(config)
            self.begin()

    def begin(self) -> None:
        """Listen to the site and show it."""
        self.watch_.start()
        self.switch_mode("projects")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """So that the styles hold with a theme that knows nothing of states."""
        return DARK.variables

    def on_mount(self) -> None:
        if self.configured:
            self.begin()
        else:
            self.push_screen(FirstRun())
        self.set_interval(PAINT_SECONDS, self._drain)
        self.set_interval(1.0, self._frame)

    def on_unmount(self) -> None:
        self.transfers.close()
        self.watch_.close()

    def _drain(self) -> None:
        news = self.watch_.take()
        if not news.any:
            return
        changes = self.site.apply(news)
        screen = self.screen
        if isinstance(screen, SiteScreen) and screen.is_mounted:
            screen.changed(changes)
            if changes.servers or changes.projects or changes.nodes:
                screen.draw_frame()

    def _frame(self) -> None:
        if isinstance(self.screen, SiteScreen) and self.screen.is_mounted:
            self.screen.draw_frame()

    # -- work that blocks

    def do(
        self,
        work: Callable[[], T],
        done: Callable[[T], None] | None = None,
        *,
        failed: Callable[[], None] | None = None,
        doing: str = "",
    ) -> None:
        """Call the facade in a thread; `done` gets its result in the app. An error is shown as a sentence, and
        `failed` is called."""

        def run() -> None:
            try:
                result = work()
            except WinslowError as error:
                self.call_later(self.told, str(error), hint=error.hint, bad=True)
                if failed is not None:
                    self.call_later(failed)
            else:
                if done is not None:
                    self.call_later(done, result)

        self.run_worker(run, thread=True, name=doing or "facade", exit_on_error=True)

    def told(self, text: str, *, hint: str = "", bad: bool = False) -> None:
        """Show a sentence for a while."""
        shown = terminal_text.block(text + (f"\n{hint}" if hint else ""))
        self.notify(shown, severity="error" if bad else "information", markup=False, timeout=10 if bad else 5)

    def copy(self, text: str) -> None:
        """Into the clipboard of the person's terminal (OSC 52), where it is not too long for that."""
        if len(text.encode()) > MOST_COPIED:
            self.told("too long to be copied", hint="save it to a file instead: ctrl+s", bad=True)
        else:
            self.copy_to_clipboard(text)

    # -- going somewhere

    def open_project(self, project: str) -> None:
        """Show one project."""
        self.push_screen(ProjectScreen(project))

    async def action_view(self, view: str) -> None:
        if view in self.MODES:
            await self.switch_mode(view)

    def action_leave(self) -> None:
        if len(self.screen_stack) > 2:
            self.pop_screen()
        else:
            self.exit()

    def action_next_theme(self) -> None:
        names = [theme.name for theme in THEMES]
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + 1) % len(names)]

    def action_refresh_all(self) -> None:
        self.refresh(repaint=True, layout=True)
