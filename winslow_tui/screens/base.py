"""What every screen of a site has: the frame above, key hints below, a filter, and news that come by the app."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from winslow import terminal_text
from winslow_tui.program import verbs
from winslow_tui.program.keymap import rebind
from winslow_tui.program.projectrows import duration
from winslow_tui.program.sitemodel import Changes, SiteModel
from winslow_tui.program.sitewatch import Server
from winslow_tui.program.sorting import Sorting
from winslow_tui.program.verbs import Kind
from winslow_tui.screens import copying as _copying  # noqa: F401  adds its verbs
from winslow_tui.screens import program as _program  # noqa: F401  adds its verbs
from winslow_tui.screens.command import CommandLine
from winslow_tui.screens.help import Help
from winslow_tui.widgets.browser import Browser
from winslow_tui.widgets.entry import Entry
from winslow_tui.widgets.frame import Line, Part

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp

ROOMY = 100
"""Columns from which on it is said who sits there."""

VIEWS = (
    ("projects", "Projects"),
    ("nodes", "Nodes"),
    ("files", "Files"),
    ("pipelines", "Pipelines"),
    ("activity", "Activity"),
)


class SiteScreen(Screen[None], inherit_bindings=False):
    """A screen with the site's frame. Subclasses give `body`, and may take `changed` and `filtered`.

    `remembered` names the list whose filter and sorting are kept between starts; empty: none is."""

    view: ClassVar[str] = ""  # which of VIEWS is lit
    sorting = Sorting()
    remembered: ClassVar[str] = ""
    AUTO_FOCUS: ClassVar[str | None] = ""
    DEFAULT_CSS = """
    SiteScreen { background: $background; layout: vertical; }
    SiteScreen #filter { display: none; }
    SiteScreen #filter.shown { display: block; }
    SiteScreen #trouble { height: auto; max-height: 9; padding: 0 1; color: $state-failed; display: none; }
    SiteScreen #trouble.shown { display: block; }
    SiteScreen #body { height: 1fr; }
    """
    _told_off = ""
    _narrows = False  # the filter was changed, and the list is not narrowed yet
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", show=False, id="back"),
        Binding("slash", "filter", "filter", key_display="/", show=False, id="filter"),
        Binding("colon", "command", "commands", key_display=":", show=False, id="commands"),
        Binding("question_mark", "help", "help", key_display="?", show=False, id="help"),
        Binding("tab", "app.focus_next", "next part", show=False, id="next-part"),
        Binding("shift+tab", "app.focus_previous", "part before", show=False, id="previous-part"),
        *verbs.bindings("site"),
    ]

    def compose(self) -> ComposeResult:
        yield Line(id="site")
        yield Line(id="views")
        yield Static(id="trouble", markup=False)
        yield Entry(
            id="filter",
            placeholder="filter: words, state:failed, tag:x, !inverts",
            compact=True,
            disabled=True,
        )
        yield from self.body()
        yield Line(id="hints")

    def body(self) -> Iterable[Widget]:
        """What is between the frame's lines; nothing, where a screen says nothing else."""
        return ()

    # -- the app

    @property
    def there(self) -> bool:
        """Whether it can be drawn: what a thread or a timer brings may come before it is composed, or while it or
        the app is taken down."""
        return (
            self.app.is_running and self.is_attached and any(child.id == "hints" for child in self.children)
        )

    @property
    def winslow(self) -> WinslowApp:
        """The app, as what it is."""
        from winslow_tui.program.app import WinslowApp

        assert isinstance(self.app, WinslowApp)
        return self.app

    @property
    def site(self) -> SiteModel:
        """What is known of the site."""
        return self.winslow.site

    def on_mount(self) -> None:
        rebind(self)
        if self.remembered:
            kept = self.winslow.remembered.view(self.remembered)
            self.query_one("#filter", Entry).value = kept.filter
            self.sorting = Sorting(kept.column, backwards=kept.backwards)
        self.draw_frame()

    def on_screen_resume(self) -> None:
        self.draw_frame()
        self.caught_up()
        self.files_changed()

    def on_descendant_focus(self) -> None:
        """The hints are those of what has the keys."""
        if self.there:
            self.draw_frame()

    def caught_up(self) -> None:
        """The screen is shown (again): draw what the site is now."""

    def changed(self, changes: Changes) -> None:
        """Something is new while the screen is shown."""

    def turn(self, number: int) -> None:
        """Draw what came since the turn before; there are ten a second at most."""

    def files_changed(self) -> None:
        """A transfer of this program has ended: look again at the files that are shown."""
        for view in self.query(Browser):
            view.refresh_files()

    # -- the frame

    def draw_frame(self) -> None:
        """Draw the lines of the frame; called when something in them may have changed, and every second."""
        if not self.there:
            return
        config, site, now = self.winslow.config, self.site, self.winslow.around.clock()
        keymap = self.winslow.keymap
        self.query_one("#site", Line).show(
            [
                (Part("winslow", "title"),),
                (
                    Part(f"{config.settings.site} "),
                    *_server("broker", site.broker, now),
                    Part(" "),
                    *_server("store", site.store, now),
                ),
                *self._counts(),
            ],
            [
                *self._transfers(),
                *([Part("read only", "busy")] if self.winslow.readonly else []),
                *([Part(f"  {self.winslow.around.person}", "dim")] if self.size.width >= ROOMY else []),
            ],
        )
        trouble = self.query_one("#trouble", Static)
        told_off = _trouble(site, now, config.path, self.winslow.unread)
        trouble.set_class(bool(told_off), "shown")
        if told_off != self._told_off:
            self._told_off = told_off
            trouble.update(Content(terminal_text.block(told_off)))
        told = self.query_one("#filter", Entry).value
        crumbs = self.crumbs()
        left: list[tuple[Part, ...]] = [
            (
                Part(f"{keymap.key(view)} ", "key"),
                Part(f" {name} ", "on") if view == self.view else Part(name, ""),
            )
            for view, name in VIEWS
        ]
        if crumbs:
            left = [(Part(" › ".join(crumbs), "title"),)]
        self.query_one("#views", Line).show(left, [Part(f"/{told}", "key")] if told else [])
        self.query_one("#hints", Line).show(
            self._hints(),
            [
                Part(keymap.key("help"), "key"),
                Part(" help  "),
                Part(keymap.key("commands"), "key"),
                Part(" commands"),
            ],
        )

    def crumbs(self) -> tuple[str, ...]:
        """The way here, where it is not one of the views."""
        return ()

    def _counts(self) -> list[tuple[Part, ...]]:
        """How many of what, the most urgent first: a narrow line leaves out what comes last."""
        found = self.site.counts
        nodes = sum(state.presence != "offline" for state in self.site.nodes.values())
        shown: list[tuple[Part, ...]] = []
        for state, style in (("needs you", "busy"), ("failed", "bad"), ("running", ""), ("waiting", "busy")):
            if number := found.get(state, 0):
                words = "need you" if state == "needs you" and number != 1 else state
                shown.append((Part(f"{number} {words}", style),))
        shown.append((Part(f"{nodes} node{'s' if nodes != 1 else ''}"),))
        return shown

    def _transfers(self) -> list[Part]:
        running = self.winslow.transfers.running
        if not running:
            return []
        total, done = sum(each.total for each in running), sum(each.done for each in running)
        return [
            Part(f"⇅ {len(running)} {100 * done / total:.0f}%  " if total else f"⇅ {len(running)}  ", "busy")
        ]

    def _hints(self) -> list[tuple[Part, ...]]:
        """What keys do here: the most used first, what can be left out for want of room last."""
        shown: dict[str, tuple[int, str, tuple[Part, ...]]] = {}
        for active in self.active_bindings.values():
            binding = active.binding
            if binding.show and active.enabled and binding.description:
                verb = verbs.bound(binding.action)
                words = verb.hint if verb else binding.description
                spare = bool(verb and verb.spare)
                rank = 2 if spare else 1 if binding.action == "filter" else 0
                key = Part(self.app.get_key_display(binding), "key")
                shown.setdefault(words, (rank, words if spare else "", (key, Part(f" {words}"))))
        return [parts for *_, parts in sorted(shown.values(), key=lambda each: each[:2])]

    # -- verbs

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A verb's key counts only while something of its kind is what one looks at."""
        return action != "verb" or parameters[0] in self.kinds

    def things(self, kind: Kind) -> list[str]:
        """The keys of what a verb of this kind would be done to: marked, else under the cursor. Empty: none."""
        return []

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What the screen shows, the most particular first."""
        return ("site",)

    def action_verb(self, kind: Kind, name: str) -> None:
        """Do it to what is chosen."""
        verb = verbs.find(name, (kind,))
        if verb is None:
            return
        if verb.changes and not self.may_change():
            return
        keys = self.things(kind)
        if kind != "site" and not keys:
            self.winslow.told(f"nothing is chosen to {verb.name}")
        elif len(keys) > 1 and not verb.bulk:
            self.winslow.told(f"{verb.name}: one at a time, please; {len(keys)} are marked", bad=True)
        else:
            verb.do(self.winslow, keys)

    def may_change(self) -> bool:
        """Whether anything of the site may be changed; where not, that is said."""
        if self.winslow.readonly:
            self.winslow.told("nothing is changed here: the program was started with --readonly", bad=True)
        return not self.winslow.readonly

    def action_command(self) -> None:
        self.app.push_screen(CommandLine(self.kinds, self.active_bindings.values()), self._commanded)

    def _commanded(self, line: str | None) -> None:
        name = (line or "").strip()
        views = {view for view, _ in VIEWS}
        if name in ("q", "quit"):
            self.app.exit()
        elif name in views:
            self.app.call_later(self.winslow.action_view, name)
        elif name:
            verb = verbs.find(name, self.kinds)
            if verb is None:
                self.winslow.told(
                    f"there is no command '{name}' here",
                    hint=f"{self.winslow.keymap.told('help')} shows what there is",
                    bad=True,
                )
            else:
                self.action_verb(verb.on, verb.name)

    def action_help(self) -> None:
        self.app.push_screen(Help(self.kinds, self.active_bindings.values()))

    # -- the filter

    @property
    def filter_text(self) -> str:
        """What was typed."""
        return self.query_one("#filter", Entry).value

    def filtered(self) -> None:
        """The filter has changed."""

    def action_filter(self) -> None:
        field = self.query_one("#filter", Entry)
        field.add_class("shown")
        field.disabled = False
        field.focus()

    @on(Entry.Changed, "#filter")
    def _filter_changed(self) -> None:
        if self.remembered:
            self.winslow.remembered.view(self.remembered).filter = self.filter_text[:1024]
        if not self._narrows:  # what is typed at once is looked for once
            self._narrows = True
            self.call_later(self._narrow)

    def _narrow(self) -> None:
        narrows, self._narrows = self._narrows, False
        if narrows and self.there:
            self.filtered()
            self.draw_frame()

    def action_sort(self, column: str) -> None:
        """Sort the list by a column, or turn it around, or give it its own order back."""
        self.sorting = self.sorting.pressed(column)
        if self.remembered:
            kept = self.winslow.remembered.view(self.remembered)
            kept.column, kept.backwards = self.sorting.column, self.sorting.backwards
        self.filtered()

    @on(Entry.Submitted, "#filter")
    def _filter_kept(self) -> None:
        self._narrow()
        self._close_filter()

    def _close_filter(self) -> None:
        field = self.query_one("#filter", Entry)
        field.remove_class("shown")
        field.disabled = True
        self.focus_body()

    def focus_body(self) -> None:
        """Give the keys to the screen's own part."""
        for widget in self.query("#body"):
            widget.focus()

    def action_back(self) -> None:
        field = self.query_one("#filter", Entry)
        if field.has_class("shown") or field.value:
            field.value = ""
            self._close_filter()
        elif len(self.app.screen_stack) > 1:
            self.dismiss()


def _trouble(site: SiteModel, now: float, config: Path | None, unread: str) -> str:
    """What does not serve us, what it said, the way out, and how old what is shown is; empty where all is well."""
    broker, store = site.broker, site.store
    told = [
        f"{server.problem}" + (f"\n  {server.hint}" if server.hint else "")
        for server in (broker, store)
        if server.up is False and server.problem
    ]
    if not told:
        return ""
    told += [unread] if unread else []
    if broker.up is False and not (site.projects or site.nodes):
        told.append("nothing is known yet")
    elif broker.up is False:
        shown = "nodes and progress are" if store.up else "what is shown is"
        told.append(f"{shown} {duration(now - broker.since)} old")
    told.append("it goes on by itself" + (f", also when {config} is changed" if config else ""))
    return "\n".join(told)


def _server(name: str, server: Server, now: float) -> tuple[Part, ...]:
    if server.up is None:
        return (Part(f"◌ {name}", "dim"),)
    if server.up:
        return (Part("●", "good"), Part(f" {name}"))
    return (Part(f"✗ {name} {server.word} {duration(now - server.since)}", "bad"),)
