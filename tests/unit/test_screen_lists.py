"""The lists of the full-screen program: sorted by shift and a letter, narrowed, and the same at the next start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import screens
from tests.screen_person import Person, at
from winslow_tui.program.transfers import Transfer
from winslow_tui.screens.base import SiteScreen
from winslow_tui.widgets.table import VirtualTable


async def test_shift_and_a_letter_sort(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        table = anna.app.screen.query_one(VirtualTable)
        own = list(table.keys)
        await anna.press("N")
        assert list(table.keys) == sorted(own)
        await anna.reads("PROJECT▴")
        await anna.press("N")
        assert list(table.keys) == sorted(own, reverse=True)
        await anna.press("N")
        assert list(table.keys) == own


LISTS = {
    "pipelines": ("4", "N", "PIPELINE", ["hello", "traffic"]),
    "pipelines by revision": ("4", "R", "REV", ["hello", "traffic"]),
    "activity": (
        "5",
        "W",
        "WHEN",
        ["applied revision 2", "is to take nothing new", "run #3 (track) started"],
    ),
    "activity by person": ("5", "O", "WHO", ["applied revision 2", "is to take nothing new", "run #3"]),
    "transfers": ("T", "S", "STATE", ["east.mp4", "results", "north.mp4", "west.mp4", "south.mp4"]),
    "transfers by progress": (
        "T",
        "P",
        "PROGRESS",
        ["south.mp4", "results", "west.mp4", "north.mp4", "east.mp4"],
    ),
}


def _rows(anna: Person) -> list[str]:
    """The lines of the table that is shown, without its header."""
    table = anna.app.screen.query_one(VirtualTable)
    return [table.render_line(y).text for y in range(1, len(table.keys) + 1)]


def _begin_transfers(anna: Person, transfers: Sequence[Transfer]) -> None:
    anna.app.transfers.all.update({each.id: each for each in transfers})


@pytest.mark.parametrize("name", LISTS)
async def test_every_list_is_sorted_turned_around_and_given_its_own_order_back(
    name: str, tmp_path: Path
) -> None:
    view, letter, column, order = LISTS[name]
    async with at(tmp_path) as anna:
        _begin_transfers(anna, screens.transfers())
        await anna.press(view)
        await anna.reads(*order)
        own = _rows(anna)
        await anna.press(letter)
        await anna.reads(f"{column}▴")
        assert [word in row for word, row in zip(order, _rows(anna), strict=True)] == [True] * len(order)
        await anna.press(letter)
        assert [word in row for word, row in zip(order, reversed(_rows(anna)), strict=True)] == [True] * len(
            order
        )
        await anna.press(letter)
        assert _rows(anna) == own


@pytest.mark.parametrize(
    ("view", "letter", "column"), [("4", "B", "BY"), ("5", "B", "ABOUT"), ("T", "N", "FILE")]
)
async def test_a_list_is_sorted_and_narrowed_as_it_was_left(
    view: str, letter: str, column: str, tmp_path: Path
) -> None:
    for start in range(2):
        async with at(tmp_path, size=(140, 30)) as anna:
            _begin_transfers(anna, screens.transfers())
            await anna.press(view)
            if not start:
                await anna.press(letter, "slash")
                await anna.type("none of them")
                await anna.press("enter")
            await anna.reads(f"{column}▴", "passes the filter: esc shows all")
            assert isinstance(anna.app.screen, SiteScreen)
            assert anna.app.screen.filter_text == "none of them"


async def test_transfers_are_one_key_away_from_everywhere(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        for keys in (["1"], ["2"], ["enter"], ["escape", "3"], ["4"], ["5"], ["1", "enter"], ["Q"]):
            await anna.press(*keys)
            before = anna.app.screen
            await anna.press("T", "T")
            await anna.reads("nothing is on its way")
            await anna.press("escape")
            assert anna.app.screen is before


async def test_transfers_are_narrowed_by_state_and_name(tmp_path: Path) -> None:
    async with at(tmp_path) as anna:
        _begin_transfers(anna, screens.transfers())
        await anna.press("T", "slash")
        await anna.type("state:failed")
        await anna.press("enter")
        await anna.until(lambda: len(_rows(anna)) == 1)
        assert "results" in _rows(anna)[0]
        await anna.press("D", "j", "k")  # its line may still be there
        await anna.reads("nothing passes the filter")


async def test_what_is_done_most_is_among_the_hints_and_every_hint_is_whole(tmp_path: Path) -> None:
    """Which are left out for want of room are the last ones."""
    most = "⏎ open  n new  s start  p pause  x abort  l logs  / filter"
    for width, more in ((80, ""), (120, "  Q queue  t tags  w why it waits")):
        async with at(tmp_path, size=(width, 24)) as anna:
            hints, _, right = anna.sees().splitlines()[-1].strip().partition("  ? help")
            assert (hints.strip(), right) == (most + more, "  : commands")
