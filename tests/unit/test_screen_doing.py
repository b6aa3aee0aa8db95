"""What is done from the full-screen program, by keys: forms, questions, verbs."""

from __future__ import annotations

from pathlib import Path

from textual.widgets import Input

from tests import screens
from tests.screen_person import at
from winslow import lifecycle
from winslow.events import Claimed, Confirmed, Ended, Exited, RunQueued, Started
from winslow.pipeline import parse
from winslow_tui.screens.form import Form, Question
from winslow_tui.screens.project import Banner, ProjectScreen


async def test_a_new_project_is_made_and_opened(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("n")
        await anna.until(lambda: isinstance(anna.app.screen, Form))
        await anna.press("enter")
        await anna.reads("needed: name")
        await anna.type("Bad Tölz")
        await anna.press("enter")
        await anna.until(lambda: isinstance(anna.app.screen, ProjectScreen))
        await anna.reads("Bad Tölz", "pipeline hello")


async def test_a_refusal_is_shown_in_the_form_and_nothing_typed_is_lost(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("n")
        await anna.until(lambda: isinstance(anna.app.screen, Form))
        await anna.type("x")
        await anna.press("tab", "tab")
        await anna.type("old-")
        await anna.press("enter")
        await anna.reads("a '-' at the end means to remove it")
        assert isinstance(anna.app.screen, Form) and anna.app.screen.values["name"] == "x"


async def test_a_project_that_asks_is_answered_by_enter(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("enter")
        await anna.until(lambda: isinstance(anna.app.focused, Banner))
        await anna.press("enter")
        await anna.until(lambda: isinstance(anna.app.screen, Form))
        await anna.type("0.7")
        await anna.press("enter")
        await anna.until(lambda: anna.document("b10-night-d2aa").active)
        (run,) = anna.document("b10-night-d2aa").active
        assert run.env["THRESHOLD"].value == "0.7"
        await anna.until(lambda: not anna.app.screen.query_one(Banner).has_focus)


ASKS = """\
name: asks
stages:
  - {name: detect, image: i, confirmation: always}
  - {name: track, image: i, confirmation: always}
"""


async def test_a_yes_counts_for_no_other_stage_than_the_one_that_was_shown(tmp_path: Path) -> None:
    site, of = screens.site(), {"at": "2026-06-12T11:58:00Z", "by": "ben"}
    made = lifecycle.create(
        id="asks-a2b3", event_id="e0", name="Asks", pipeline=parse(ASKS, source="test"), source_revision=1,
        source="asks", author="anna", tags=(), env={}, at=of["at"],
    )  # fmt: skip
    site.put(screens.after(made, RunQueued(id="e1", **of)))
    async with at(tmp_path, site=site) as anna:
        await anna.on("asks-a2b3")
        await anna.press("a")
        await anna.reads("stage 'detect' waits for a confirmation", "Go on?")
        ben, run = site.client(screens.CONFIG), {"n": 1, "k": 1, "claim": "c"} | of
        ben.link.change("asks-a2b3", Confirmed(id="e6", stage="detect", **of))
        ben.link.change("asks-a2b3", Claimed(id="e2", node="ws1", node_uuid="u", **run))
        ben.link.change("asks-a2b3", Started(id="e3", **run))
        ben.link.change("asks-a2b3", Exited(id="e4", exit_code=0, **run))
        ben.link.change("asks-a2b3", Ended(id="e5", outcome="succeeded", exit_code=0, **run))
        await anna.press("y")
        await anna.reads("stage 'track' asks by now", "'detect'")
        assert not anna.document("asks-a2b3").active


async def test_start_pause_and_abort(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on("kempten-north-aa2b")
        await anna.press("s")
        await anna.until(lambda: isinstance(anna.app.screen, Form))
        await anna.press("ctrl+s")
        await anna.until(lambda: anna.document("kempten-north-aa2b").active)
        await anna.press("p")
        await anna.until(lambda: anna.document("kempten-north-aa2b").control.paused)
        await anna.press("p")
        await anna.until(lambda: not anna.document("kempten-north-aa2b").control.paused)
        await anna.press("x")
        await anna.until(lambda: isinstance(anna.app.screen, Question))
        await anna.press("enter")  # the focus is on No
        await anna.press("x")
        await anna.until(lambda: isinstance(anna.app.screen, Question))
        assert anna.document("kempten-north-aa2b").active
        await anna.press("y")
        await anna.until(lambda: not anna.document("kempten-north-aa2b").active)


async def test_a_form_is_that_of_the_stage_that_is_chosen(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on("kempten-north-aa2b")
        await anna.press("s")
        await anna.until(lambda: isinstance(anna.app.screen, Form))
        before = anna.app.screen
        assert isinstance(before, Form)
        assert (before.values["stage"], before.values["image"]) == ("detect", "registry.example/detect:3")
        await anna.press("down", "down", "down", "enter")  # opens the choice, goes down in it, takes it
        await anna.until(lambda: isinstance(anna.app.screen, Form) and anna.app.screen is not before)
        after = anna.app.screen
        assert isinstance(after, Form)
        assert (after.values["stage"], after.values["image"]) == ("clean", "registry.example/clean:1")
        assert "env THRESHOLD" in after.values
        await anna.press("tab")
        await anna.type("4")
        await anna.press("ctrl+s")
        await anna.until(lambda: anna.document("kempten-north-aa2b").active)
        assert anna.document("kempten-north-aa2b").active[0].env["THRESHOLD"].value == "4"


async def test_what_a_form_says_goes_when_something_is_typed(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("n")
        await anna.until(lambda: isinstance(anna.app.screen, Form))
        await anna.press("enter")
        await anna.reads("needed: name", "↓ choose")
        await anna.type("x")
        await anna.until(lambda: "needed" not in anna.sees())


async def test_an_old_run_is_redone_with_another_value(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on("test-e5kd")
        await anna.press("r")
        await anna.until(lambda: isinstance(anna.app.screen, Form))
        form = anna.app.screen
        assert isinstance(form, Form) and form.values["env CONF"] == "0.35"
        await anna.type("0.9")
        await anna.press("ctrl+s")
        await anna.until(lambda: len(anna.document("test-e5kd").runs) == 2)
        assert anna.document("test-e5kd").runs[1].env["CONF"].value == "0.9"


async def test_the_queue_is_put_in_order(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on(screens.ULM)
        await anna.press("Q")
        await anna.reads("Queue", "clean")
        await anna.press("n")
        await anna.until(lambda: isinstance(anna.app.screen, Form))
        await anna.press("ctrl+s")
        await anna.until(
            lambda: [each.stage for each in anna.document(screens.ULM).queue] == ["clean", "detect"]
        )
        await anna.reads("detect")
        await anna.press("j", "K")
        await anna.until(
            lambda: [each.stage for each in anna.document(screens.ULM).queue] == ["detect", "clean"]
        )
        await anna.press("D")
        await anna.until(lambda: [each.stage for each in anna.document(screens.ULM).queue] == ["clean"])


async def test_marked_projects_are_tagged_together(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("space", "space", "t")
        await anna.until(lambda: isinstance(anna.app.screen, Form))
        await anna.reads("Tags of 2 projects")
        await anna.type("night")
        await anna.press("enter")
        await anna.until(
            lambda: all("night" in anna.document(key).tags for key in ("b10-night-d2aa", "test-e5kd"))
        )


async def test_one_thing_at_a_time_where_it_must_be(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("space", "space", "D")
        await anna.reads("one at a time, please; 2 are marked")


async def test_deleting_wants_the_name(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on("test-e5kd")
        await anna.press("D")
        await anna.until(lambda: isinstance(anna.app.screen, Question))
        await anna.type("tes")
        await anna.press("enter")
        await anna.until(lambda: isinstance(anna.app.screen, ProjectScreen))
        assert anna.document("test-e5kd")
        await anna.press("D")
        await anna.until(lambda: isinstance(anna.app.screen, Question))
        await anna.type("test")
        await anna.press("enter")
        await anna.reads("was deleted", "no project passes the filter")
        await anna.press("escape")
        await anna.reads("kempten-north-aa2b")


async def test_a_pipeline_is_taken_over_after_its_changes_were_shown(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on(screens.ULM)
        await anna.press("colon")
        await anna.type("update-pipeline")
        await anna.press("enter")
        await anna.until(lambda: isinstance(anna.app.screen, Question))
        await anna.reads("Give ulm-crossing-7k2f traffic revision 2?", "0.4")
        await anna.press("y")
        await anna.until(lambda: anna.document(screens.ULM).pipeline.source_revision == 2)


async def test_pins_go_on_and_off(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on(screens.ULM)
        await anna.press("j", "P")
        await anna.until(lambda: anna.document(screens.ULM).pinned == (2,))
        await anna.press("P")
        await anna.until(lambda: anna.document(screens.ULM).pinned == ())


async def test_a_wrong_file_is_told_with_its_place(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("name: x\nstages:\n  - {name: a, imago: b}\n")
    async with at(tmp_path) as anna:
        await anna.press("4", "A")
        await anna.until(lambda: isinstance(anna.app.screen, Form))
        anna.app.screen.query_one(Input).value = str(wrong)
        await anna.press("enter")
        await anna.reads("imago")
        wrong.write_text(wrong.read_text().replace("imago", "image"))
        await anna.press("enter")
        await anna.reads("x revision 1")


async def test_readonly_shows_everything_and_changes_nothing(tmp_path: Path) -> None:
    async with at(tmp_path, readonly=True) as anna:
        await anna.reads("read only")
        before = {info.key: info.etag for info in anna.site.store.walk("documents/")}
        for key in ("n", "s", "p", "x", "t", "D", "e"):
            await anna.press(key)
            assert not isinstance(anna.app.screen, (Form, Question)), key
        await anna.reads("nothing is changed here")
        await anna.on(screens.ULM)
        await anna.press("j", "r", "P", "2", "u", "D")
        assert not isinstance(anna.app.screen, (Form, Question))
        await anna.press("d")
        await anna.until(lambda: isinstance(anna.app.screen, Form))  # a download changes nothing of the site
        await anna.press("escape", "T")
        await anna.reads("Transfers")
        assert {info.key: info.etag for info in anna.site.store.walk("documents/")} == before
