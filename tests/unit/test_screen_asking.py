"""Forms, questions and pages over a screen: what was typed is kept, what was shown is looked up again."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

from textual.screen import Screen
from textual.widgets import Button

from tests import screens
from tests.screen_person import at
from winslow.errors import StoreUnreachable
from winslow_tui.program.sitewatch import Server
from winslow_tui.screens.form import Field, Form, Question
from winslow_tui.screens.page import open_page
from winslow_tui.screens.projects import ProjectsScreen


def _is_gone(screen: Screen[None]) -> bool:
    return not screen.is_attached


async def test_questions_have_the_focus_on_no(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        agreed: list[str] = []
        for keys, yes in ((["enter"], 0), (["right", "enter"], 1), (["n"], 0), (["y"], 1)):
            agreed.clear()
            question = Question("Go on?", lambda: "yes", done=agreed.append)
            anna.app.push_screen(question)
            await anna.pilot.pause()
            assert isinstance(anna.app.focused, Button) and anna.app.focused.id == "no"
            await anna.press(*keys)
            await anna.until(partial(_is_gone, question))
            assert agreed == ["yes"] * yes


async def test_a_question_that_could_not_be_done_stays_with_what_was_typed(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        answers = iter((StoreUnreachable("the store is away", hint="later"), None))

        def send() -> None:
            if (error := next(answers)) is not None:
                raise error

        question = Question("Delete it?", send, done=lambda _: anna.app.told("it is gone"), name="ulm")
        anna.app.push_screen(question)
        await anna.pilot.pause()
        await anna.type("ulm")
        await anna.press("enter")
        await anna.reads("the store is away", "later", "ulm")
        assert question.is_current
        await anna.press("enter")
        await anna.reads("it is gone")
        assert not question.is_attached


async def test_what_fails_after_a_form_was_left_is_told_all_the_same(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        left = threading.Event()

        def send(_: object) -> None:
            left.wait(60)
            raise StoreUnreachable("the store is away")

        anna.app.push_screen(Form("Send", [Field("a", "a")], send))
        await anna.pilot.pause()
        await anna.press("enter", "escape")
        assert isinstance(anna.app.screen, ProjectsScreen)
        left.set()
        await anna.reads("the store is away")


async def test_a_page_is_looked_up_again_and_says_how_old_it_is(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        said = iter(("first", "second", StoreUnreachable("the store is away"), "third"))

        def look() -> str:
            told = next(said)
            if isinstance(told, str):
                return told
            raise told

        assert anna.site.watch is not None
        open_page(anna.app, "Something", look)
        await anna.reads("Something", "first")
        assert "old" not in anna.sees()
        anna.site.seconds += 61
        await anna.reads("0h01 old")
        await anna.press("ctrl+r")
        await anna.reads("second")
        await anna.until(lambda: "old" not in anna.sees())
        anna.site.watch.tell(store=Server(up=False, since=anna.site.seconds))
        await anna.reads("0h00 old")
        await anna.press("ctrl+r")
        await anna.reads("second", "0h00 old")
        anna.site.watch.tell(store=Server(up=True, since=anna.site.seconds))
        await anna.reads("third")
        await anna.until(lambda: "old" not in anna.sees())


async def test_a_project_that_is_deleted_under_a_page_is_left(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on("test-e5kd")
        open_page(anna.app, "Something", lambda: "of it")
        await anna.reads("of it")
        anna.site.client(screens.CONFIG).projects.delete("test-e5kd")
        await anna.until(lambda: "test-e5kd" not in anna.app.site.projects)
        await anna.press("escape")
        await anna.until(lambda: isinstance(anna.app.screen, ProjectsScreen))
        await anna.reads("project 'test-e5kd' was deleted")


async def test_a_value_that_is_longer_than_its_field_can_be_read(tmp_path: Path) -> None:
    """A scroll bar would take the only line there is."""
    async with at(tmp_path) as anna:
        value = f"res:{'long/' * 30}end/"
        anna.app.push_screen(
            Form("Upload", [Field("file", "file"), Field("to", "to", value=value)], lambda _: None)
        )
        await anna.reads(value[:40])
        await anna.press("tab")
        await anna.reads(value[-40:])
