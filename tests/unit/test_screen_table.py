"""The virtual table: the cursor stays on its key, marks stay on theirs, and any number of rows costs the same."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult

from winslow import terminal_text
from winslow_tui.widgets.frame import Line, Part
from winslow_tui.widgets.table import Cell, Column, VirtualTable

COLUMNS = (
    Column("NAME", 8, grow=1, rank=9),
    Column("STATE", 6, rank=5),
    Column("SIZE", 5, align="right", rank=2),
)


class Shown(App[None]):
    """A table alone."""

    CSS = "VirtualTable { height: 1fr; }"

    def __init__(self, keys: Sequence[str], *, names: dict[str, str] | None = None) -> None:
        super().__init__()
        self.keys = keys
        self.names = names or {}
        self.asked = 0
        self.chosen: list[str] = []
        self.gone: set[str] = set()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        from winslow_tui.program.themes import DARK

        return DARK.variables

    def compose(self) -> ComposeResult:
        yield VirtualTable(COLUMNS, self._row, empty="nothing here", id="table")

    def _row(self, key: str) -> tuple[Cell, ...] | None:
        self.asked += 1
        if key in self.gone:
            return None
        return Cell(terminal_text.line(self.names.get(key, key))), Cell("new", state="new"), Cell("1")

    def on_mount(self) -> None:
        self.table.show(self.keys)
        self.table.focus()

    def on_virtual_table_chosen(self, event: VirtualTable.Chosen) -> None:
        self.chosen.append(event.key)

    @property
    def table(self) -> VirtualTable:
        return self.query_one(VirtualTable)

    def lines(self) -> list[str]:
        table = self.table
        return [table.render_line(y).text for y in range(table.size.height)]


async def test_keys_move_the_cursor_and_enter_chooses() -> None:
    app = Shown([f"k{n}" for n in range(100)])
    async with app.run_test(size=(40, 11)) as pilot:
        for key, current in {
            "j": "k1",
            "k": "k0",
            "G": "k99",
            "g": "k0",
            "ctrl+f": "k9",
            "ctrl+b": "k0",
        }.items():
            await pilot.press(key)
            assert app.table.current == current, key
        await pilot.press("k", "j", "j", "enter")
        await pilot.pause()
        assert app.chosen == ["k2"]


async def test_the_cursor_stays_on_its_key_when_rows_move() -> None:
    app = Shown([f"k{n}" for n in range(50)])
    async with app.run_test(size=(40, 11)) as pilot:
        await pilot.press("G")
        place = next(y for y, line in enumerate(app.lines()) if "▶" in line)
        app.table.show(["new", *app.keys])
        await pilot.pause()
        assert app.table.current == "k49"
        assert "▶" in app.lines()[place], "its row stays where it was looked at"


async def test_a_cursor_whose_row_is_gone_stays_near() -> None:
    app = Shown(["a", "b", "c"])
    async with app.run_test(size=(40, 11)) as pilot:
        await pilot.press("j")
        app.table.show(["a", "c"])
        assert app.table.current == "c"
        app.table.show([])
        assert app.table.current is None and app.table.chosen == []
        await pilot.press("j", "enter", "space")
        assert app.chosen == []
        app.table.show(["z"])
        assert app.table.current == "z"


async def test_marks_stay_on_their_keys_and_go_with_them() -> None:
    app = Shown(["a", "b", "c"])
    async with app.run_test(size=(40, 11)) as pilot:
        assert app.table.chosen == ["a"]
        await pilot.press("space", "j", "space")
        assert app.table.chosen == ["a", "c"]
        app.table.show(["c", "b", "a", "d"])
        assert app.table.chosen == ["c", "a"]
        app.table.show(["b", "a"])
        assert app.table.chosen == ["a"]
        await pilot.press("g", "j", "space")
        assert app.table.marks == set()


async def test_an_empty_table_says_so() -> None:
    app = Shown([])
    async with app.run_test(size=(40, 11)):
        assert any("nothing here" in line for line in app.lines())


async def test_a_narrow_table_leaves_out_what_counts_least() -> None:
    app = Shown(["a"])
    for width, header in ((40, ["NAME", "STATE", "SIZE"]), (20, ["NAME", "STATE"]), (10, ["NAME"])):
        async with Shown(["a"]).run_test(size=(width, 11)) as pilot:
            app = pilot.app  # type: ignore[assignment]
            assert app.lines()[0].split() == header


async def test_the_sorted_column_says_so() -> None:
    from winslow_tui.program.sorting import Sorting

    app = Shown(["a"])
    async with app.run_test(size=(40, 11)):
        app.table.sorting = Sorting("SIZE", backwards=True)
        assert "SIZE▾" in app.lines()[0]


async def test_the_line_of_a_row_that_is_gone_is_empty_until_the_rows_are_shown_anew() -> None:
    app = Shown(["a", "b", "c"])
    async with app.run_test(size=(40, 6)) as pilot:
        await pilot.pause()
        app.gone.add("b")
        app.table.aged()
        await pilot.pause()
        assert [line.split() for line in app.lines()[1:4]] == [["▶", "a", "new", "1"], [], ["c", "new", "1"]]
        app.table.show(["a", "c"])
        await pilot.pause()
        assert [line.split()[-3:] for line in app.lines()[1:3]] == [["a", "new", "1"], ["c", "new", "1"]]


async def test_ten_thousand_rows_ask_for_what_is_seen_only() -> None:
    keys = [f"project-{n:05}" for n in range(10_000)]
    app = Shown(keys)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.asked = 0
        await pilot.press("G")
        await pilot.pause()
        assert app.table.current == keys[-1]
        assert app.asked <= 3 * 24
        app.table.show(list(reversed(keys)))
        await pilot.pause()
        assert app.table.current == keys[-1] and app.table.cursor == 0
        assert app.asked <= 6 * 24


HOSTILE = [
    "[red]x[/]",
    "[/foo]",
    "a\x1b]52;c;ZXZpbA==\x07b",
    "a\x1b[31mb\x9b1m",
    "שלום עולם",
    "\u202eevil\u202c",
    "車が走る道路車が走る道路",
    "e\u0301e\u0301e\u0301",
    "a\u200bb\u200dc",
    "👩‍👩‍👧‍👦 family",
    "tab\there\nnewline",
    "\ud800half",
]


@given(names=st.lists(st.text(max_size=30) | st.sampled_from(HOSTILE), min_size=3, max_size=3))
@settings(max_examples=30, deadline=None)
def test_nothing_in_a_name_is_interpreted_and_columns_stay_aligned(names: list[str]) -> None:
    """Every line has the table's width in cells, without a control character, and the next column at its place."""
    table = VirtualTable(COLUMNS, lambda key: (Cell(terminal_text.line(key)), Cell("new"), Cell("1")))
    plan = table.plan(40)
    from rich.style import Style

    for name in names:
        cells = (Cell(terminal_text.line(name)), Cell("new"), Cell("1"))
        segments = table._cells(plan, cells, Style())
        widths = [cell_len(segment.text) for segment in segments]
        assert widths[::2] == [width for _, width in plan]
        shown = "".join(segment.text for segment in segments)
        assert terminal_text.line(shown) == shown, "nothing that acts on a terminal is left"


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_is_drawn_as_text(name: str) -> None:
    app = Shown(["a", "b"], names={"a": name})
    async with app.run_test(size=(40, 6)):
        hostile, plain = app.lines()[1:3]
        assert cell_len(hostile) == cell_len(plain) == 40
        assert "\x1b" not in hostile and "\x07" not in hostile and "\u202e" not in hostile
        if name.startswith("["):
            assert name[:8] in hostile


# -- the frame's lines


class Framed(App[None]):
    """A line alone."""

    def get_theme_variable_defaults(self) -> dict[str, str]:
        from winslow_tui.program.themes import DARK

        return DARK.variables

    def compose(self) -> ComposeResult:
        yield Line(id="line")


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (40, "one two  three  four"),
        (24, "one two  three"),
        (19, "one two"),
        (10, ""),
    ],
)
async def test_a_line_leaves_out_whole_groups(width: int, text: str) -> None:
    async with Framed().run_test(size=(width, 3)) as pilot:
        line = pilot.app.query_one(Line)
        line.show([[Part("one "), Part("two")], [Part("three")], [Part("four")]], [Part("right")])
        await pilot.pause()
        shown = line.render_line(0)
        assert shown.cell_length == width
        assert shown.text.endswith("right ") and shown.text[:-6].strip() == text


@given(st.integers(1, 60), st.lists(st.text(max_size=12).map(terminal_text.line), max_size=6))
@settings(max_examples=50, deadline=None)
def test_the_gap_never_makes_a_word_partial(width: int, words: list[str]) -> None:
    """What is left of the words is a beginning of their list, each of them whole."""
    from rich.style import Style
    from textual.geometry import Size

    line = Line()
    line.show([[Part(word)] for word in words])
    room, used, fit = width - 1, 1, 0
    for word in words:
        if used + cell_len(word) > room:
            break
        used += cell_len(word) + 2
        fit += 1
    strip = line.drawn(Size(width, 1).width, Style())
    assert strip.cell_length == width
    assert strip.text.rstrip() == (" " + "  ".join(words[:fit])).rstrip()[:width].rstrip()
