"""`winslow` without arguments: the full-screen program. It never waits for network or disk: a thread listens
(`sitewatch`), workers call the facade, and a timer brings what is new to the screen that is shown."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

from textual.app import App, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.events import Event, Key
from textual.screen import Screen

from winslow import terminal_text
from winslow.config import Config, ScreenSettings
from winslow.errors import InvalidInput, StoreRefused, StoreUnreachable, WinslowError
from winslow_tui.facade.editing import Subject
from winslow_tui.program.attention import sentence, sequence
from winslow_tui.program.keymap import Keymap, displayed, rebind
from winslow_tui.program.pace import TURN_SECONDS, TURN_SECONDS_OVER_SSH, over_ssh
from winslow_tui.program.remembering import keep, recall
from winslow_tui.program.sitemodel import Changes, SiteModel
from winslow_tui.program.surroundings import Surroundings
from winslow_tui.program.terminal import TerminalDriver
from winslow_tui.program.themes import DARK, MONOCHROME, PREFIX, THEMES
from winslow_tui.program.transfers import State, Transfers
from winslow_tui.program.unfinished import Direction
from winslow_tui.screens.activity import ActivityScreen
from winslow_tui.screens.base import VIEWS, SiteScreen
from winslow_tui.screens.contexts import contexts
from winslow_tui.screens.files import FilesScreen
from winslow_tui.screens.first_run import FirstRun
from winslow_tui.screens.nodes import NodesScreen
from winslow_tui.screens.page import Page
from winslow_tui.screens.pipelines import PipelinesScreen
from winslow_tui.screens.project import ProjectScreen
from winslow_tui.screens.projects import ProjectsScreen

MOST_LEFT_OUT = 3  # turns in a row, for keys
LOOK_SECONDS = 2.0  # between two looks at the configuration, while it may be what is wrong
MANY = 200  # projects that are new at once, as at the start and after a cut
MOST_CALLS = 3  # of a person at a time
MOST_COPIED = 56_000
"""Bytes for the clipboard: about 75,000 once encoded, which is what terminals take."""

T = TypeVar("T")


class WinslowApp(App[None], inherit_bindings=False):
    """See the module. `readonly`: everything can be looked at, nothing changed."""

    TITLE = "winslow"
    ENABLE_COMMAND_PALETTE = False
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "projects": ProjectsScreen,
        "nodes": NodesScreen,
        "files": FilesScreen,
        "pipelines": PipelinesScreen,
        "activity": ActivityScreen,
        "first": FirstRun,
    }
    CSS = """
    * { scrollbar-size-vertical: 1; scrollbar-size-horizontal: 1; scrollbar-background: $background;
        scrollbar-background-hover: $background; scrollbar-background-active: $background;
        scrollbar-color: $cursor-idle; scrollbar-color-hover: $primary; scrollbar-color-active: $primary;
        scrollbar-corner-color: $background; }
    Input { scrollbar-size-horizontal: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(place), f"view('{view}')", name, show=False, id=view)
            for place, (view, name) in enumerate(VIEWS, start=1)
        ),
        Binding("q", "leave", "back, quit", show=False, id="leave"),
        Binding("ctrl+q", "quit", "quit", show=False, id="quit"),
        Binding("ctrl+c", "tell_the_way_out", show=False),
        Binding("m", "mouse", "mouse on, off", show=False, id="mouse"),
        Binding("ctrl+t", "next_theme", "colours", show=False, id="theme"),
        Binding("ctrl+r", "refresh_all", "refresh", show=False, id="refresh"),
    ]

    def __init__(
        self,
        load: Callable[[], Config],
        *,
        readonly: bool = False,
        around: Surroundings | None = None,
    ) -> None:
        super().__init__(driver_class=TerminalDriver)
        self.abandoned = False  # the terminal went, and the person with it
        self.around = around or Surroundings()
        self._load = load
        self._loading = False
        self.unread = ""  # why the configuration cannot be read any more, with the way out
        self._missed = False  # a screen could not read what it shows
        self.readonly = readonly
        self._sparing = over_ssh()  # with paints
        self._turns = self._left_out = 0
        self._second = 0.0  # when what changes every second was drawn, by the loop's clock
        self._keys = 0  # that were pressed since a turn
        for theme in THEMES:
            self.register_theme(theme)
        self._kept = self.around.state / "screen.json"
        self.remembered = recall(self._kept)
        self.set_up(load())

    def set_up(self, config: Config) -> None:
        """Begin with a configuration; nothing is connected before `begin`. Raises InvalidInput for keys that cannot
        be."""
        self.keymap = Keymap.of(config, contexts())
        rebind(self)
        self.config = config
        self._take_on(config.settings.screen)
        self.client = self.around.client(config)
        self.site = SiteModel(clock=self.around.clock)
        self.watch_ = self.around.watch(config, self.client)
        self.transfers = Transfers(self.client, remembered=self.around.state / "transfers")
        self._transfers_seen = self.transfers.version
        self._transfers_over = set(self.transfers.all)

    def _take_on(self, wanted: ScreenSettings) -> None:
        """Colours, mouse and notices: as configured, else as they were left."""
        left = self.remembered
        self.mouse = left.mouse if wanted.mouse is None else wanted.mouse
        self.notices = left.notices if wanted.notices is None else wanted.notices
        name = f"{PREFIX}{wanted.theme}" if wanted.theme else left.theme
        if name not in {theme.name for theme in THEMES}:
            name = DARK.name
        self.theme = MONOCHROME.name if os.environ.get("NO_COLOR") else name

    @property
    def configured(self) -> bool:
        """Whether anything says where broker and store are."""
        settings = self.config.settings
        return bool(settings.broker.url and settings.store.url)

    @property
    def served(self) -> bool:
        """Whether there is a site, and nothing says that broker or store do not serve us."""
        return self.configured and False not in (self.site.broker.up, self.site.store.up)

    def _look_again(self) -> None:
        """Read the configuration again: while we are not served it may be what is wrong, and a person corrects it."""
        if self.served or self._loading:
            return
        self._loading = True

        def work() -> None:
            try:
                config = self._load()
            except WinslowError as error:
                self.call_later(self._unreadable, f"{error}" + (f"\n{error.hint}" if error.hint else ""))
            else:
                self.call_later(self._loaded, config)

        self.run_worker(work, thread=True, name="configuration")

    def _unreadable(self, why: str) -> None:
        self._loading = False
        self.unread = why
        self._frame()

    def _loaded(self, config: Config) -> None:
        self.unread = ""
        half = self.configured and not (
            config.settings.broker.url and config.settings.store.url
        )  # being written
        if half or config.settings == self.config.settings:
            self._loading = False
            self._frame()
        else:
            self.run_worker(self._begin_again(config), name="begin again", exit_on_error=True)

    async def _begin_again(self, config: Config) -> None:
        """Go over to another configuration: what is shown of the old one goes, with the screens that show it."""
        try:
            Keymap.of(config, contexts())
        except InvalidInput as error:
            self._unreadable(f"{error}" + (f"\n{error.hint}" if error.hint else ""))
            return
        self.transfers.close()
        threading.Thread(target=self.watch_.close, name="goodbye", daemon=True).start()
        self.set_up(config)
        await self.switch_mode("first")
        for name, screen in self.MODES.items():
            if name != "first":
                await self.remove_mode(name)
                self.add_mode(name, screen)
        if self.configured:
            self.begin()
        self._loading = False
        self._frame()

    def begin(self) -> None:
        """Show the site, and listen to it once something is painted: what listening takes is imported by its thread,
        which would keep the screen from being drawn."""
        self.switch_mode("projects")
        self.call_after_refresh(self.watch_.start)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """So that the styles hold with a theme that knows nothing of states."""
        return DARK.variables

    def on_mount(self) -> None:
        for lost in (signal.SIGHUP, signal.SIGTERM):  # a lost terminal, or a machine that goes down
            with suppress(NotImplementedError, RuntimeError, ValueError):  # not in a program's main thread
                asyncio.get_running_loop().add_signal_handler(lost, self.lost)
        with suppress(NotImplementedError, RuntimeError, ValueError):
            # A ctrl+c in an editor or a pager is meant for that alone.
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
        self._set_mouse(self.mouse)
        if self.configured:
            self.begin()
        else:
            self.switch_mode("first")
        self.set_interval(TURN_SECONDS_OVER_SSH if self._sparing else TURN_SECONDS, self._turn)
        self.set_interval(LOOK_SECONDS, self._look_again)

    def lost(self) -> None:
        """Nobody sits there any more: transfers end at a part's border and are remembered, then the program ends."""
        if not self.abandoned:
            self.abandoned = True
            self.transfers.close()
            self.exit()

    def on_unmount(self) -> None:
        self._set_mouse(False)
        keep(self._kept, self.remembered)
        self.transfers.close()
        self.watch_.close()

    @property
    def _shown(self) -> SiteScreen | None:
        """The site's screen that is shown and can be drawn; None for any other, and at the end, when there is none."""
        screen = self.screen if self.is_running else None
        return screen if isinstance(screen, SiteScreen) and screen.there else None

    def _follow_transfers(self) -> None:
        """Say what has ended, and show what it changed."""
        found = self.transfers
        if found.version == self._transfers_seen:
            return
        self._transfers_seen = found.version
        over = {each.id for each in list(found.all.values()) if each.state.over}
        for each in (found.all[key] for key in sorted(over - self._transfers_over) if key in found.all):
            if each.state is State.FAILED:
                local = each.errand.local
                self.told(
                    each.problem if local in each.problem else f"{local}: {each.problem}",
                    hint=f"{self.keymap.told('transfers')} shows it, {self.keymap.told('go-on')} there goes on with it",
                    bad=True,
                )
            elif each.state is State.DONE:
                errand = each.errand
                self.told(f"{errand.remote if errand.direction is Direction.FETCH else errand.local}: done")
        if over != self._transfers_over and (screen := self._shown) is not None:
            screen.files_changed()
        self._transfers_over = over

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Key) and not event.is_forwarded:  # it bubbles up again
            self._keys += self._sparing
        await super().on_event(event)

    def _turn(self) -> None:
        """Bring to the screen what came meanwhile: nothing else draws by itself, so that no more is painted. Over SSH a
        key, which is answered by a paint of its own, takes the place of a turn; never of many in a row."""
        if self._keys and self._left_out < MOST_LEFT_OUT:
            self._keys, self._left_out = self._keys - 1, self._left_out + 1
            return
        self._keys = self._left_out = 0
        self._turns += 1
        self._drain()
        if (now := asyncio.get_running_loop().time()) >= self._second + 1.0:
            self._second = now
            self._every_second()
        for screen in self.screen_stack if self.is_running else ():
            if isinstance(screen, SiteScreen) and screen.there:
                screen.turn(self._turns)

    def _drain(self) -> None:
        self._follow_transfers()
        news = self.watch_.take()
        if not news.any:
            return
        before = (self.site.broker.up, self.site.store.up)
        changes = self.site.apply(news)
        back = any(
            was is False and server.up
            for was, server in zip(before, (self.site.broker, self.site.store), strict=True)
        )
        self._call(changes)
        if len(news.projects) >= MANY:
            gc.freeze()  # they stay: a collector that goes through thousands of rows stops the screen for 0.1 s
        if (screen := self._shown) is not None:
            screen.changed(changes)
        if back:
            self._catch_up()
        if changes.servers or changes.projects or changes.nodes:
            self._frame()

    def _catch_up(self) -> None:
        """Look again at what the screen shows of the store, and at the pages over it. What is below them does so by
        itself when it is shown again."""
        self._missed = False
        if (screen := self._shown) is not None:
            screen.caught_up()
            screen.files_changed()
        for page in self.screen_stack if self.is_running else ():
            if isinstance(page, Page):
                page.action_look_again()

    def _call(self, changes: Changes) -> None:
        """Call the person for what became of their own projects."""
        if not self.notices:
            return
        rows = (self.site.projects.get(key) for key in sorted(changes.turned))
        told = [sentence(row) for row in rows if row and row.summary.author == self.client.link.author]
        for text in list(filter(None, told))[:MOST_CALLS]:
            self.to_terminal(sequence(text))

    def to_terminal(self, text: str) -> None:
        """Send a sequence of our own, past what is drawn."""
        if self._driver is not None and not self.is_headless:
            self._driver.write(text)

    def _every_second(self) -> None:
        if isinstance(self._driver, TerminalDriver) and not self._driver.there:
            self.lost()  # of which no signal told: it was ignored, or the terminal was another session's
        self._frame()
        if self._missed and self.site.store.up:
            self._catch_up()

    def _frame(self) -> None:
        """Draw the frame of the screen that is shown, be it below a form, and the age of pages over it."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, Page):
                screen.draw_age()
            if isinstance(screen, SiteScreen | FirstRun):
                if screen.there:
                    screen.draw_frame()
                break

    # -- work that blocks

    def do(
        self,
        work: Callable[[], T],
        done: Callable[[T], object] | None = None,
        *,
        failed: Callable[[WinslowError], None] | None = None,
        looks: bool = False,
        doing: str = "",
    ) -> None:
        """Call the facade in a thread; `done` gets its result in the app. An error is shown as a sentence, and
        `failed` is called with it. What a screen `looks` at by itself is looked at again when the store is back,
        and the frame says meanwhile what there is to say."""

        def run() -> None:
            try:
                result = work()
            except WinslowError as error:
                self.call_later(self._failed, error, failed, looks=looks)
            else:
                if done is not None:
                    self.call_later(done, result)

        self.run_worker(run, thread=True, name=doing or "facade", exit_on_error=True)

    def _failed(
        self, error: WinslowError, failed: Callable[[WinslowError], None] | None, *, looks: bool
    ) -> None:
        away = self.site.store.up is False or not isinstance(error, StoreRefused)
        if looks and isinstance(error, StoreUnreachable | StoreRefused) and away:
            self._missed = True
        else:
            self.told(str(error), hint=error.hint, bad=True)
        if failed is not None:
            failed(error)

    def told(self, text: str, *, hint: str = "", bad: bool = False) -> None:
        """Show a sentence for a while; one that is shown already is not repeated."""
        shown = terminal_text.block(text + (f"\n{hint}" if hint else ""))
        if any(each.message == shown for each in self._notifications):
            return
        self.notify(shown, severity="error" if bad else "information", markup=False, timeout=10 if bad else 5)

    def copy(self, text: str) -> bool:
        """Into the clipboard of the person's terminal (OSC 52), where it is not too long for that; whether it was."""
        if len(text.encode()) > MOST_COPIED:
            self.told(
                "too long to be copied",
                hint=f"save it to a file instead: {self.keymap.told('save')}",
                bad=True,
            )
            return False
        self.copy_to_clipboard(text)
        return True

    def lend(self, use: Callable[[], object]) -> None:
        """Give the terminal to another program while `use` runs it; a WinslowError of that is shown as a sentence."""
        self._set_mouse(False)
        failed: WinslowError | None = None
        try:
            with self.suspend():
                try:  # within: an error that leaves it would leave the screen without its terminal
                    use()
                except WinslowError as error:
                    failed = error
        except SuspendNotSupported:
            self.told("this terminal cannot be lent to another program", bad=True)
        if failed is not None:
            self.told(str(failed), hint=failed.hint, bad=True)
        self._set_mouse(self.mouse)
        self.refresh(repaint=True, layout=True)

    def edit(self, subject: Subject) -> None:
        """Give the terminal to the person's editor until what it is for is stored or given up."""
        from winslow_tui.cli.editor import in_editor
        from winslow_tui.program.aside import Aside

        self.lend(lambda: self.told(in_editor(Aside(subject)) or f"{subject.title}: nothing was changed"))

    def get_key_display(self, binding: Binding) -> str:
        """A key as people read it on every screen, also in help and hints."""
        return binding.key_display or displayed(binding.key)

    # -- going somewhere

    def open_project(self, project: str) -> None:
        """Show one project."""
        self.push_screen(ProjectScreen(project))

    async def action_view(self, view: str) -> None:
        if view in self.MODES:
            await self.switch_mode(view)

    def action_leave(self) -> None:
        if len(self.screen_stack) > 1 and not isinstance(self.screen, FirstRun):
            self.pop_screen()
        else:
            self.exit()

    def action_tell_the_way_out(self) -> None:
        """Programs that are left by ctrl+c are many; here it may have been meant for what runs somewhere."""
        self.told(
            f"{self.keymap.told('leave')} goes back and leaves, {self.keymap.told('quit')} leaves at once"
        )

    def action_next_theme(self) -> None:
        names = [theme.name for theme in THEMES]
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + 1) % len(names)]
        self.remembered.theme = self.theme
        self.told(f"colours: {self.theme.removeprefix(PREFIX)}")

    def _set_mouse(self, on: bool) -> None:
        """Presses and the wheel only: a terminal that reports every motion sends 387 KiB/s over a table."""
        self.to_terminal("\x1b[?1000h\x1b[?1006h" if on else "\x1b[?1000l\x1b[?1006l")

    def action_mouse(self) -> None:
        self.mouse = self.remembered.mouse = not self.mouse
        self._set_mouse(self.mouse)
        self.told(f"mouse {'on' if self.mouse else 'off: the terminal selects text again'}")

    def action_refresh_all(self) -> None:
        """Paint everything anew, and look again at what is read once."""
        self.refresh(repaint=True, layout=True)
        self._catch_up()
