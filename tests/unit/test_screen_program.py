"""The full-screen program driven by keys on a site in memory: what is shown, and what becomes of the documents."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import Input

from tests import screens
from tests.screen_person import Person, at
from winslow.config import Config, ScreenSettings, Settings
from winslow.store.memory import MemoryStore
from winslow.store.port import ObjectInfo
from winslow_tui.program.sitewatch import Server
from winslow_tui.screens.command import CommandLine
from winslow_tui.screens.first_run import FirstRun
from winslow_tui.screens.form import Field, Form
from winslow_tui.screens.help import Help
from winslow_tui.screens.page import Page
from winslow_tui.screens.project import Banner, ProjectScreen
from winslow_tui.screens.projects import ProjectsScreen
from winslow_tui.widgets.table import VirtualTable


async def test_what_needs_a_person_is_first_and_its_reason_is_told(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.reads(
            "▶ b10-night-d2aa", "? needs you", "set THRESHOLD", "1 needs you", "1 failed", "3 nodes"
        )
        await anna.reads("B10 by night · stage 'clean' needs THRESHOLD")


async def test_down_goes_from_what_is_asked_to_the_runs(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on("b10-night-d2aa")
        await anna.until(lambda: anna.app.screen.query_one(Banner).has_focus)
        await anna.press("j")
        await anna.until(lambda: anna.app.screen.query_one("#runs").has_focus)


async def test_what_is_archived_is_not_listed_until_it_is_asked_for(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        table = anna.app.screen.query_one(VirtualTable)
        await anna.press("colon")
        await anna.type("archive")
        await anna.press("enter")
        await anna.until(lambda: "b10-night-d2aa" not in table.keys)
        await anna.reads("archived", "state:archived shows")
        await anna.press("slash")
        await anna.type("state:archived")
        await anna.press("enter")
        await anna.until(lambda: list(table.keys) == ["b10-night-d2aa"])
        await anna.reads("· archived")
        await anna.press("colon")
        await anna.type("unarchive")
        await anna.press("enter")
        await anna.reads("no project passes the filter")
        await anna.press("escape")
        await anna.until(lambda: "b10-night-d2aa" in table.keys)


async def test_what_cannot_be_sent_or_fetched_is_said_in_the_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("mine")
    monkeypatch.chdir(tmp_path)
    async with at(tmp_path) as anna:
        await anna.press("3")
        await anna.reads("what all projects share")
        await anna.press("u")
        await anna.until(lambda: isinstance(anna.app.screen, Form))
        await anna.type("none")
        await anna.press("enter")
        await anna.reads("there is no file or folder none on this machine")
        await anna.press("escape", "d")
        await anna.until(lambda: isinstance(anna.app.screen, Form))
        await anna.press("ctrl+u")
        await anna.type("taken")
        await anna.press("enter")
        await anna.reads("taken is a file: name a folder")
        assert not anna.app.transfers.all


async def test_ctrl_c_tells_how_the_program_is_left(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("ctrl+c")
        await anna.reads("q goes back and leaves, ctrl+q leaves at once")


async def test_the_tags_that_there_are_are_told_where_they_are_changed(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on(screens.ULM)
        await anna.press("colon")
        await anna.type("tags")
        await anna.press("enter")
        await anna.reads(f"Tags of {screens.ULM}, now ulm 2026")
        await anna.type("'-")
        await anna.press("enter")
        await anna.reads("quotation mark")


async def test_a_filter_narrows_is_shown_and_is_taken_back(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("slash")
        await anna.type("state:failed")
        await anna.reads("test-e5kd", "/state:failed")
        assert "kempten" not in anna.sees()
        await anna.press("enter", "escape")
        await anna.reads("kempten-north-aa2b")


async def test_filter_sorting_and_colours_are_there_at_the_next_start(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("N", "N", "ctrl+t", "slash")
        await anna.type("2026")
        await anna.press("enter")
    async with at(tmp_path) as anna:
        await anna.reads("/2026", "PROJECT▾")
        assert list(anna.app.screen.query_one(VirtualTable).keys) == [screens.ULM, "kempten-north-aa2b"]
        assert anna.app.theme == "winslow-light"


async def test_what_is_configured_of_the_screen_counts_at_every_start(tmp_path: Path) -> None:
    begins = ScreenSettings(theme="light", mouse=True, notices=False)
    config = Config(settings=screens.CONFIG.settings.model_copy(update={"screen": begins}), origins={})
    for _ in range(2):
        app = screens.app(screens.site(), tmp_path, config=config)
        async with app.run_test(notifications=True) as pilot:
            assert (app.theme, app.mouse, app.notices) == ("winslow-light", True, False)
            anna = Person(pilot, screens.site())
            await anna.press("m", "ctrl+t", "colon", *"notices", "enter")
            await anna.reads("notices on")
            assert (app.theme, app.mouse, app.notices) == ("winslow-contrast", False, True)
    after = screens.app(screens.site(), tmp_path)
    assert (after.theme, after.mouse, after.notices) == ("winslow-contrast", False, True)


async def test_a_memory_that_is_damaged_is_none(tmp_path: Path) -> None:
    (tmp_path / "screen.json").write_text('{"theme": 7, "views": [')
    async with at(tmp_path) as anna:
        assert anna.app.theme == "winslow-dark"


async def test_monochrome_where_colours_are_not_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with at(tmp_path) as anna:
        assert anna.app.theme == "winslow-mono"


async def test_every_view_by_its_number(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        for key, text in {
            "2": "ws4",
            "3": "readme.txt",
            "4": "busybox",
            "5": "is to take nothing new",
            "1": "FOR",
        }.items():
            await anna.press(key)
            await anna.reads(text)


async def test_a_project_shows_its_runs_its_plan_and_its_log(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on(screens.ULM)
        await anna.reads(
            "Projects › ulm-crossing-7k2f", "✗ oom", "detect ✓ → track ● → clean", "frame 28800/36000"
        )
        await anna.reads("queue  clean", "VIDEO=res:ulm/north.mp4", "anna", "#ulm #2026")
        await anna.press("j", "5")
        await anna.reads("result vehicles", "1204", "registry.example/detect:3", "env CONF", "0.5 (run)")
        await anna.press("3")
        await anna.reads("# its own copy of traffic, revision 3")
        await anna.press("escape", "escape", "escape")
        await anna.reads("kempten-north-aa2b")


async def test_q_goes_back_and_quits_only_where_there_is_no_way_back(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on(screens.ULM)
        await anna.press("Q")
        await anna.reads("Queue")
        await anna.press("q")
        assert isinstance(anna.app.screen, ProjectScreen)
        await anna.press("q")
        assert isinstance(anna.app.screen, ProjectsScreen) and anna.app.is_running
        await anna.press("q")
        await anna.until(lambda: not anna.app.is_running, "the end")


async def test_the_log_of_a_project_from_the_list(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        anna.app.remembered.tab = "facts"
        anna.app.screen.query_one(VirtualTable).put_cursor(screens.ULM)
        await anna.press("l")
        await anna.until(lambda: isinstance(anna.app.screen, ProjectScreen))
        await anna.reads("frame 28800/36000")
        assert anna.app.screen.focused is not None and anna.app.screen.focused.id == "lines"
        await anna.press("tab", "l")
        assert anna.app.screen.focused.id == "lines"


async def test_it_is_said_how_to_get_a_shell_where_a_run_is(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on(screens.ULM)
        await anna.press("colon", *"shell", "enter")
        await anna.reads("ssh -t ws2.lab.example", f"winslow.project={screens.ULM}", "winslow.run=3")
        await anna.press("escape", "j", "colon", *"shell", "enter")
        await anna.reads("#2 runs nowhere now")


async def test_names_are_copied(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("y")
        assert anna.app.clipboard == "b10-night-d2aa"
        await anna.press("space", "space", "y")
        assert anna.app.clipboard.split() == ["b10-night-d2aa", "test-e5kd"]
        await anna.press("2")
        await anna.reads("ws1")
        await anna.press("y")
        assert anna.app.clipboard == "ws1"
        await anna.press("1")
        await anna.on(screens.ULM)
        await anna.press("y")
        await anna.until(lambda: anna.app.clipboard == f"{screens.ULM}#3")


class Slow(MemoryStore):
    """A store that is asked for files, and answers later."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer, self.answered = threading.Event(), threading.Event(), threading.Event()

    def list_folder(self, prefix: str) -> Iterator[ObjectInfo | str]:
        self.asked.set()
        self.answer.wait(30.0)
        yield from super().list_folder(prefix)
        self.answered.set()


async def test_what_comes_for_a_screen_that_was_left_is_dropped(tmp_path: Path) -> None:
    site, store = screens.site(), Slow()
    vars(store).update(vars(site.store))
    site.store = store
    async with at(tmp_path, site=site) as anna:
        await anna.on(screens.ULM)
        await anna.press("2")
        await anna.reads("what was uploaded for it")
        await anna.press("enter")
        await anna.until(store.asked.is_set, "the question")
        await anna.press("escape")
        await anna.until(lambda: isinstance(anna.app.screen, ProjectsScreen), "the list")
        store.answer.set()
        await anna.until(store.answered.is_set, "the answer")
        await anna.press("2")
        await anna.reads("ws4")


async def test_two_marked_runs_are_compared(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on(screens.ULM)
        await anna.press("c")
        await anna.reads("mark two runs")
        await anna.press("j", "space", "space", "c")
        await anna.until(lambda: isinstance(anna.app.screen, Page))
        await anna.reads("run #1 and run #2", "env CONF", "0.35 (pipeline)", "0.5 (run)", "vehicles")


async def test_a_node_and_its_last_ten_minutes(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("2")
        await anna.reads("ws2")
        await anna.press("j", "enter")
        await anna.reads("Nodes › ws2", "Ryzen 9 7950X", "the last ten minutes", "gpu 1")


async def test_pipelines_text_history_and_last_change(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("4")
        await anna.reads("busybox")
        await anna.press("j")
        await anna.reads("who drives where")
        await anna.press("d")
        await anna.reads('-env: {MODEL: v8, CONF: "0.35"}', '+env: {MODEL: v8, CONF: "0.4"}')
        await anna.press("h")
        await anna.reads("REVISION", "APPLIED")
        await anna.press("c")
        await anna.type("ulm")
        await anna.press("enter")
        await anna.until(lambda: isinstance(anna.app.screen, Page))
        await anna.reads("0.35", "0.4")


async def test_help_names_every_key_and_command(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("question_mark")
        assert isinstance(anna.app.screen, Help)
        text = "\n".join(str(part.render()) for part in anna.app.screen.query("Static"))
        for words in (
            "filter",
            "Sort by",
            "start",
            "update-pipeline",
            "archive",
            "transfers",
            "colours",
        ):
            assert words in text
        assert "Scroll" not in text
        await anna.press("q")
        assert not isinstance(anna.app.screen, Help)


async def test_the_line_behind_the_colon(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("colon")
        assert isinstance(anna.app.screen, CommandLine)
        await anna.type("nodes")
        await anna.press("enter")
        await anna.reads("ws3")
        await anna.press("1", "colon", "escape", "colon")
        await anna.type("rename")
        await anna.press("enter")
        await anna.until(lambda: isinstance(anna.app.screen, Form))
        await anna.press("escape", "colon")
        await anna.type("nothing like that")
        await anna.press("enter")
        await anna.reads("there is no command 'nothing like that' here")
        await anna.press("colon")
        await anna.type("resu")  # as the command line calls it
        await anna.press("tab")
        assert anna.app.screen.query_one(Input).value == "start"
        await anna.press("enter")
        await anna.until(lambda: isinstance(anna.app.screen, Form))
        await anna.press("escape")


async def test_the_line_behind_the_colon_shows_the_keys_that_there_are(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("4")
        await anna.reads("busybox")
        active = {each.binding.action for each in anna.app.screen.active_bindings.values()}
        assert "verb('site', 'new')" not in active  # `n` goes to the next find there
        await anna.press("colon")
        await anna.type("new")
        await anna.reads("new project")
        assert " n " not in next(row for row in anna.sees().splitlines() if "new project" in row)


async def test_a_project_that_somebody_deletes_is_left(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on(screens.ULM)
        assert anna.site.watch is not None
        anna.site.watch.tell(projects={screens.ULM: None})
        await anna.reads("was deleted", "no project passes the filter")


async def test_a_held_key_keeps_nothing_from_coming_over_ssh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
    async with at(tmp_path) as anna:
        assert anna.site.watch is not None
        anna.site.watch.tell(projects={screens.ULM: None})

        def gone() -> bool:
            anna.app.simulate_key("j")
            anna.app.simulate_key("k")
            return screens.ULM not in anna.sees()

        await anna.until(gone)


# -- servers that are away, and no site at all


async def test_what_is_away_says_so_with_the_age_of_what_is_shown(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        assert anna.site.watch is not None
        away = Server(
            up=False, problem="the broker at h:1883 refused: wrong password", since=anna.site.seconds - 300
        )
        anna.site.watch.tell(broker=away)
        await anna.reads("✗ broker away 0h05", "wrong password", "progress are 0h05 old", "b10-night-d2aa")
        for key in ("2", "3", "4", "5", "1"):
            await anna.press(key)
            await anna.reads("✗ broker away", "wrong password")
        anna.site.watch.tell(broker=Server(up=True, since=anna.site.seconds))
        await anna.until(lambda: "wrong password" not in anna.sees())


async def test_without_a_site_one_screen_says_how_to_get_one_and_goes_on_by_itself(tmp_path: Path) -> None:
    site, configs = screens.site(), [Config(settings=Settings(), origins={})]
    app = screens.app(site, tmp_path, load=lambda: configs[-1])
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        anna = Person(pilot, site)
        assert isinstance(app.screen, FirstRun)
        await anna.reads("winslow up", "WINSLOW_BROKER_URL")
        half = Settings(broker=screens.CONFIG.settings.broker)
        configs.append(Config(settings=half, origins={}))
        await anna.reads("where your site's store is")
        configs.append(screens.CONFIG)
        await anna.reads("no project yet: n makes one")


# -- hostile data; tests/property/test_hostile_screens.py looks at every screen


async def test_a_form_shows_a_value_harmless_and_sends_it_as_it_was(tmp_path: Path) -> None:
    site, sent = screens.site(), []
    async with at(tmp_path, site=site) as anna:
        fields = [Field("X", "X", value="a\x1b]0;t\x07\nb"), Field("Y", "Y", value="c\x9b1md")]
        anna.app.push_screen(Form("Values", fields, lambda values: sent.append(dict(values))))
        await anna.reads("a b", "cd")
        await anna.press("tab", "end", "e", "ctrl+s")
        await anna.until(lambda: sent, "the values")
    assert sent == [{"X": "a\x1b]0;t\x07\nb", "Y": "cde"}]
