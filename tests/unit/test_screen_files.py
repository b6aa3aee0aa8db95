"""The full-screen program's files, driven by keys."""

from __future__ import annotations

from pathlib import Path

from textual.widgets import Input

from tests import screens
from tests.screen_person import at
from winslow_tui.screens.form import Form, Question


async def test_files_of_a_project_unfold_in_place(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on(screens.ULM)
        await anna.press("2")
        await anna.reads("▸ #next ", "#2       workspace of detect", "workspace of track ● live on ws2")
        await anna.press("G", "enter")
        await anna.reads("▾ #2 ", "▸ model/", "boxes.csv", "BY", "#2", "what was uploaded for it")
        await anna.press("j", "j", "enter")
        await anna.reads("frame  x   y", "1      20  30")
        await anna.press("escape", "k", "right")
        await anna.reads("▾ model/", "weights.bin", "4 KiB", f"{screens.ULM}#2:model/  1 here, 4 KiB")
        await anna.press("right")
        await anna.reads(f"{screens.ULM}#2:model/weights.bin", "made by run #2")
        await anna.press("left", "left", "left", "left")
        await anna.until(lambda: "model" not in anna.sees(), "the fold")
        await anna.reads("▶ ▸ #2", "what was uploaded for it")


async def test_files_of_a_project_are_filtered_and_sorted(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on(screens.ULM)
        await anna.press("2", "G", "enter")
        await anna.reads("boxes.csv", "model/")
        await anna.press("slash", *"boxes", "enter")
        await anna.until(lambda: "model/" not in anna.sees(), "the filter")
        await anna.reads("boxes.csv", "/boxes", "what was uploaded for it")
        await anna.press("S")
        await anna.reads("SIZE▴")
        await anna.press("escape")
        await anna.reads("model/")


async def test_files_go_into_the_folder_where_the_cursor_is(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("3")
        await anna.reads("▾ res:", "▸ ulm/")
        await anna.press("G", "k", "right")
        await anna.reads("north.mp4")
        for keys, folder in (((), "res:ulm/"), (("right",), "res:ulm/"), (("space", "g"), "res:")):
            await anna.press(*keys, "u")
            await anna.reads("to (at the cursor)")
            fields = [field.value for field in anna.app.screen.query(Input)]
            assert folder in fields, f"{keys} led elsewhere: {fields}"
            await anna.press("escape")


async def test_what_runs_alone_write_takes_no_upload(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on(screens.ULM)
        await anna.press("2", "G", "u", *"/x", "enter")
        await anna.reads(f"{screens.ULM}#2: is written by runs alone", "PROJECT#next:")


async def test_ctrl_r_looks_again_at_files(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("3")
        await anna.reads("readme.txt")
        anna.site.store.put("resources/new.txt", b"")
        await anna.press("ctrl+r")
        await anna.reads("new.txt")


async def test_the_resources_are_not_removed_as_a_whole(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("3")
        await anna.reads("▶ ▾ res:", "readme.txt")
        await anna.press("D")
        await anna.reads("the resources are everybody's")
        assert not isinstance(anna.app.screen, Question)


async def test_one_key_means_the_file_where_files_are_looked_at(tmp_path: Path) -> None:
    """D is for a project and for a file: among files it must not ask to delete the project."""
    async with at(tmp_path) as anna:
        await anna.on(screens.ULM)
        await anna.press("2", "D")
        await anna.reads("Remove")
        assert "Delete" not in anna.sees()
        await anna.press("escape", "tab", "1", "D")
        await anna.reads(f"Delete {screens.ULM}")


async def test_a_file_gets_another_name(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("3", "G")
        await anna.reads("▶     readme.txt")
        await anna.press("R")
        await anna.reads("Rename res:readme.txt", "or a folder/")
        await anna.press("end", *("backspace",) * len("readme.txt"), *"notes/about.txt", "ctrl+s")
        await anna.reads("it is res:notes/about.txt now", "▸ notes/")
        assert anna.site.store.stat("resources/notes/about.txt").size == 40
        assert "readme.txt" not in anna.sees()


async def test_a_name_that_is_taken_is_told_in_the_form(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.press("3", "G", "R")
        await anna.reads("Rename res:readme.txt")
        await anna.press("end", *("backspace",) * len("readme.txt"), *"ulm", "ctrl+s")
        await anna.reads("there is something at res:ulm already", "Rename res:readme.txt")
        await anna.press("escape")


async def test_what_runs_left_keeps_its_name(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        await anna.on(screens.ULM)
        await anna.press("2", "G", "R")
        await anna.reads("is written by runs alone")
        assert not isinstance(anna.app.screen, Form)


async def test_the_order_of_a_projects_files_is_there_at_the_next_start(tmp_path: Path) -> None:
    for keys in (("S", "S"), ()):
        async with at(tmp_path) as anna:
            await anna.on(screens.ULM)
            await anna.press("2", *keys)
            await anna.reads("SIZE▾", "what was uploaded for it")
