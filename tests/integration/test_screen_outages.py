"""Broker, store, and both go away and come back while each screen is shown, on real servers: nothing hangs, what was
known stays with its age, and everything catches up."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.style import Style
from textual.screen import Screen
from textual.widgets import Input

from broker import topics
from broker.embedded import BrokerKind
from tests import screens
from tests.conftest import BrokerFactory, StoreFactory
from tests.faults.link import Link
from tests.screen_person import Patient
from tests.services.servers import BrokerService, StoreService
from winslow.config import Config, load
from winslow.events import Ended, Exited
from winslow.project import Reason
from winslow_tui.facade import live
from winslow_tui.facade.changes import Changes
from winslow_tui.facade.client import Client
from winslow_tui.program import verbs
from winslow_tui.program.app import WinslowApp
from winslow_tui.program.sitewatch import SiteWatch
from winslow_tui.program.surroundings import Surroundings
from winslow_tui.program.verbs import Kind
from winslow_tui.screens.base import SiteScreen
from winslow_tui.screens.command import CommandLine
from winslow_tui.screens.first_run import FirstRun
from winslow_tui.screens.help import Help
from winslow_tui.screens.page import Page
from winslow_tui.screens.preview import at, open_file
from winslow_tui.screens.project import ProjectScreen
from winslow_tui.widgets.frame import Line

HELLO = "name: hello\nstages:\n  - {name: hi, image: busybox}\n"


@dataclass(frozen=True)
class View:
    """Something to look at: the keys to it, what can be read there, and what of the change that somebody makes
    meanwhile, `{}` standing for its number."""

    keys: tuple[str, ...]
    reads: str
    change: str = ""


TITLE = "Ulm {} · pipeline traffic"
SCREENS: dict[tuple[str, ...], tuple[View, ...]] = {
    ("1",): (View((), screens.ULM, "Ulm {}"),),
    ("project",): (
        View(("1",), "▶ #3 ", TITLE),
        View(("2",), "workspace of detect", TITLE),
        View(("3",), "its own copy of traffic", "comment       number {}"),
        View(("4",), "▶ #3 ", TITLE),
        View(("5",), "▶ #3 ", TITLE),
    ),
    ("project", "2", "g", "enter"): (View((), "first.txt", "{}.txt"),),
    ("project", "Q"): (View((), "clean", "queued {}"),),
    ("2",): (View((), "ws1", "note {}"),),
    ("2", "enter"): (View((), "ws1.lab.example", "note {}"),),
    ("3",): (View((), "first.txt", "{}.txt"),),
    ("4",): (View((), "busybox", "# {}"),),
    ("5",): (View((), "Ulm", "Ulm {}"),),
    ("T",): (View((), "nothing is on its way"),),
    ("n",): (View(("a", "b"), "New project"),),
}
"""By the keys to it: every screen that shows something of the site, or waits for it."""

OVER: dict[str, type[Screen[Any]]] = {"question_mark": Help, "colon": CommandLine}
"""What can be opened over each of them."""

NIGHT = "b10-night-d2aa"
FAILED = "test-e5kd"
PREVIEWED = f"{screens.ULM}:input/first.txt"
ASKED: tuple[tuple[Kind, str, str], ...] = (
    ("project", "delete", FAILED),
    ("project", "comment", screens.ULM),
    ("project", "answer", NIGHT),
    ("run", "redo", f"{screens.ULM}#2"),
    ("project", "start", screens.ULM),
)
"""What a person is asked over a screen: by kind, verb, and what it is about."""


class Somebody:
    """Who works on the site meanwhile, over servers that are there for them all the time."""

    def __init__(self, config: Config) -> None:
        self.client = Client(config)
        self._told = 0

    def begin(self) -> None:
        """Pipelines, files, a node, and a project with runs behind it."""
        self.client.pipelines.apply(HELLO, source="hello")
        self.client.store.put("resources/first.txt", b"x")
        self.client.store.put(f"projects/{screens.ULM}/input/first.txt", b"begun")
        self.make(screens.ULM)
        self._note("begun")

    def make(self, *projects: str) -> None:
        """Projects as they are on the site of `screens`."""
        for name in projects:
            project = screens.site().client(screens.CONFIG).project(name)
            self.client.documents.create(project)
            self.client.link.tell(None, project)

    def finish(self) -> None:
        """The run that was active has failed, and a file is another one."""
        run = {"n": 3, "k": 1, "claim": "c", "at": "2026-06-12T11:50:00Z", "by": "ws2"}
        self.client.link.change(screens.ULM, Exited(id="exited", exit_code=7, **run))
        self.client.link.change(
            screens.ULM,
            Ended(
                id="ended", outcome="failed", reason=Reason.EXIT_CODE, detail="no lane", exit_code=7, **run
            ),
        )
        self.client.store.put(f"projects/{screens.ULM}/input/first.txt", b"changed")

    def change(self, number: int) -> None:
        """Something on every screen."""
        client = self.client
        client.projects.rename(screens.ULM, f"Ulm {number}")
        client.projects.comment(screens.ULM, f"number {number}")
        client.runs.enqueue(screens.ULM, stage="clean", changes=Changes(comment=f"queued {number}"))
        client.pipelines.apply(f"{HELLO}# {number}\n", source="hello")
        for folder in ("resources", f"projects/{screens.ULM}/input"):
            client.store.put(f"{folder}/{number}.txt", b"x")
        self._note(f"note {number}")

    def _note(self, note: str) -> None:
        live.publish(self.client.config, [(topics.NodeState(node="ws1"), screens.node("ws1", note=note))])


@dataclass(frozen=True)
class Lines:
    """What leads from the program to its servers."""

    broker: Link
    store: Link

    def mend(self) -> None:
        """Let everything through again."""
        self.broker.mend()
        self.store.mend()


@pytest.fixture
def lines(mosquitto_broker: BrokerService, seaweedfs_store: StoreService) -> Iterator[Lines]:
    with closing(Link(mosquitto_broker.url)) as broker, closing(Link(seaweedfs_store.endpoint)) as store:
        yield Lines(broker, store)


def config_of(folder: Path, site: str, broker_url: str, store: StoreService, endpoint: str) -> Config:
    path = folder / "config.toml"
    path.touch(mode=0o600)
    path.write_text(
        f'site = "{site}"\n[broker]\nurl = "{broker_url}"\n[store]\n'
        f'url = "{endpoint}/{store.bucket}"\naccess_key = "{store.access_key}"\n'
        f'secret_key = "{store.secret_key}"\n'
    )
    return load(environ={"WINSLOW_CONFIG": str(path)})


def _program(config: Config, folder: Path) -> WinslowApp:
    watch = partial(SiteWatch, every=0.2)
    return WinslowApp(lambda: config, around=Surroundings(state=folder, watch=watch))


def _is_over(app: WinslowApp, kind: type[Screen[Any]]) -> bool:
    return isinstance(app.screen, kind)


def _frame(app: WinslowApp) -> str:
    """The first line of the screen that shows the site, be it below a form."""
    shown = next(each for each in reversed(app.screen_stack) if isinstance(each, SiteScreen))
    return shown.query_one("#site", Line).drawn(app.size.width, Style()).text


def _is_deeper(app: WinslowApp, open_: int) -> bool:
    return len(app.screen_stack) > open_


def _ages(app: WinslowApp) -> list[str]:
    """What the pages say of theirs, as far as they do."""
    return [
        str(each.query_one("#page").border_subtitle) for each in app.screen_stack if isinstance(each, Page)
    ]


def _do(app: WinslowApp, kind: Kind, name: str, about: str) -> None:
    """What a key does to one thing, whatever is shown."""
    verb = verbs.find(name, (kind,))
    assert verb is not None
    verb.do(app, [about])


async def test_every_screen_outlives_cut_lines_and_catches_up(
    tmp_path: Path,
    lines: Lines,
    mosquitto_broker: BrokerService,
    seaweedfs_store: StoreService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lines to the broker, then to the store are cut; meanwhile others, whose lines are whole, change the site."""
    monkeypatch.setattr("broker.session.backoff", lambda failures, jitter: 0.2)  # it has tests of its own
    store, site = seaweedfs_store.with_new_bucket(), f"t{secrets.token_hex(4)}"
    somebody = Somebody(config_of(tmp_path, site, mosquitto_broker.url, store, store.endpoint))
    await asyncio.to_thread(somebody.begin)
    app = _program(config_of(tmp_path, site, lines.broker.url, store, lines.store.url), tmp_path)
    visited: set[type[Screen[Any]]] = set()
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        anna = Patient(pilot, screens.Site())
        await anna.reads(screens.ULM, "● broker", "● store")
        for number, (keys, views) in enumerate(SCREENS.items()):
            for key in keys:
                if key == "project":
                    app.open_project(screens.ULM)
                    await anna.reads("pipeline traffic", "#3")
                else:
                    await anna.press(key)
            await anna.reads(views[0].reads)
            visited.add(type(app.screen))
            lines.broker.cut()
            if keys in (("1",), ("project",)):  # elsewhere both at once: it takes its time
                await anna.until(lambda: "✗ broker away 0h0" in _frame(app), "the broker's absence")
                assert "● store" in _frame(app)
            lines.store.cut()
            await anna.until(lambda: "✗ store away 0h0" in _frame(app), "the store's absence")
            for view in views:
                await anna.press(*view.keys)
                await anna.reads(view.reads)
            if isinstance(app.screen, SiteScreen):
                for key, over in OVER.items():
                    await anna.press(key)
                    await anna.until(partial(_is_over, app, over), "an answer to the key")
                    await anna.press("escape")
            await asyncio.to_thread(somebody.change, number)
            await anna.until(lambda: "✗ broker away 0h0" in _frame(app), "the broker's absence")
            lines.mend()
            await anna.until(lambda: "● broker" in _frame(app) and "● store" in _frame(app), "both servers")
            for view in reversed(views):
                await anna.press(*view.keys[:1] if isinstance(app.screen, SiteScreen) else ())
                await anna.reads(view.reads, view.change.format(number))
            while len(app.screen_stack) > 1:
                app.pop_screen()
                await pilot.pause()
            await anna.press("1")
    assert visited >= {each for each in screens.every() if issubclass(each, SiteScreen)}


async def test_what_lies_over_a_screen_outlives_cut_lines(
    tmp_path: Path,
    lines: Lines,
    mosquitto_broker: BrokerService,
    seaweedfs_store: StoreService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pages and, over them, forms and a question: all were opened before the cut, and the last is sent after it."""
    monkeypatch.setattr("broker.session.backoff", lambda failures, jitter: 0.2)  # it has tests of its own
    store, site = seaweedfs_store.with_new_bucket(), f"t{secrets.token_hex(4)}"
    somebody = Somebody(config_of(tmp_path, site, mosquitto_broker.url, store, store.endpoint))
    await asyncio.to_thread(somebody.begin)
    await asyncio.to_thread(somebody.make, NIGHT, FAILED)
    app = _program(config_of(tmp_path, site, lines.broker.url, store, lines.store.url), tmp_path)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        anna = Patient(pilot, screens.Site())
        await anna.reads(screens.ULM, NIGHT, FAILED, "● broker", "● store")
        app.open_project(screens.ULM)
        await anna.reads("pipeline traffic", "#3")
        await anna.press("space", "space", "c")
        await anna.reads("run #2 and run #3", "state")
        _do(app, "project", "explain", screens.ULM)
        await anna.reads(f"{screens.ULM}: why", "running")
        file = await asyncio.to_thread(at, somebody.client, PREVIEWED)
        open_file(app, PREVIEWED, file)
        await anna.reads(PREVIEWED, "begun")
        for kind, verb, about in ASKED:
            open_ = len(app.screen_stack)
            _do(app, kind, verb, about)
            await anna.until(partial(_is_deeper, app, open_), verb)
        visited = {*OVER.values(), FirstRun, *(type(each) for each in app.screen_stack)}
        assert visited >= {each for each in screens.every() if not issubclass(each, SiteScreen)}
        lines.broker.cut()
        lines.store.cut()
        await anna.until(lambda: "✗ broker away" in _frame(app) and "✗ store away" in _frame(app), "the cut")
        await anna.until(lambda: all(age.endswith(" old") for age in _ages(app)), "ages")
        for _, verb, _ in reversed(ASKED):
            form = app.screen
            field = form.query(Input).first()
            field.focus()
            await anna.type("test")
            await anna.press("enter")
            await anna.reads("test", "connection")
            assert app.screen is form and field.value.endswith("test"), verb
            if verb != "delete":
                await anna.press("escape")
        await asyncio.to_thread(somebody.finish)
        lines.mend()
        await anna.until(lambda: "● broker" in _frame(app) and "● store" in _frame(app), "both servers")
        await anna.press("enter")
        await anna.reads(f"{FAILED} is deleted")
        for texts in (("changed",), ("failed", "no lane"), ("run #2 and run #3", "✗ failed")):
            await anna.reads(*texts)
            await anna.press("escape")
        assert isinstance(app.screen, ProjectScreen)
        await anna.reads("✗ exit code")


async def test_a_form_is_sent_once_the_servers_are_back(
    tmp_path: Path, lines: Lines, mosquitto_broker: BrokerService, seaweedfs_store: StoreService
) -> None:
    store, site = seaweedfs_store.with_new_bucket(), f"t{secrets.token_hex(4)}"
    somebody = Somebody(config_of(tmp_path, site, mosquitto_broker.url, store, store.endpoint))
    await asyncio.to_thread(somebody.begin)
    app = _program(config_of(tmp_path, site, lines.broker.url, store, lines.store.url), tmp_path)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        anna = Patient(pilot, screens.Site())
        await anna.reads(screens.ULM, "● broker", "● store")
        await anna.press("n")
        await anna.reads("New project", "hello")
        lines.broker.cut()
        lines.store.cut()
        await anna.type("Kempten")
        await anna.press("enter")
        await anna.reads("Kempten", "connection")
        lines.mend()
        await anna.press("enter")
        await anna.reads("Kempten · pipeline hello")


async def test_servers_that_die_come_back_under_the_screens(
    tmp_path: Path, broker_factory: BrokerFactory, store_factory: StoreFactory
) -> None:
    """The processes themselves: a broker that is killed forgets what was retained."""
    broker, store = broker_factory(BrokerKind.MOSQUITTO), store_factory("seaweedfs")
    config = config_of(tmp_path, f"t{secrets.token_hex(4)}", broker.url, store, store.endpoint)
    somebody = Somebody(config)
    await asyncio.to_thread(somebody.begin)
    app = _program(config, tmp_path)
    async with app.run_test(size=(120, 30), notifications=True) as pilot:
        anna = Patient(pilot, screens.Site())
        await anna.reads(screens.ULM, "● broker", "● store")
        for server, name in ((broker, "broker"), (store, "store")):
            await asyncio.to_thread(server.kill)
            await anna.reads(f"✗ {name} away", screens.ULM)
        app.open_project(screens.ULM)
        await anna.press("question_mark", "escape")
        await anna.reads("away", "Projects ›")
        await asyncio.to_thread(store.start)
        await anna.reads("● store", "✗ broker away", "pipeline traffic")
        await asyncio.to_thread(somebody.client.projects.rename, screens.ULM, "Ulm alone")
        await anna.reads("Ulm alone · pipeline traffic", "✗ broker away")
        await asyncio.to_thread(broker.start)
        await anna.reads("● broker", "● store")
        await asyncio.to_thread(somebody.change, 7)
        await anna.reads("Ulm 7 · pipeline traffic")
