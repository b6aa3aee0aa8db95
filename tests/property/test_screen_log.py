"""Whatever a container prints, the log view sends nothing to the terminal that could act on it (I11), every row is
as wide as the screen, and what is read stays where it is."""

from __future__ import annotations

import asyncio
import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult

from tests.stored_logs import ATTEMPT, PROJECT, RUN, archive, event, line
from winslow.logs import encode_event
from winslow.store import layout
from winslow.store.memory import MemoryStore
from winslow_tui.logs.loglines import LogLines
from winslow_tui.widgets.logview import LogView

WIDTH, HEIGHT = 61, 17
_ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_HOSTILE = st.sampled_from(
    [
        b"\x1b]52;c;ZXZpbA==\x07", b"\x1b[2J", b"\x9b31m", b"\xc2\x9b31m", b"\x1bP1$r\x1b\\", b"\r", b"\t", b"\x00",
        b"[red]x[/]", b"[/nothing]", "\u202egnp.exe".encode(), "e\u0301\u0301\u0301".encode(), "漢字".encode(),
        "\U0001f469\u200d\U0001f467".encode(),
        b"\xff\xfe\xf0\x9f", "\u2028".encode(), b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", b"\x08\x08\x7f",
    ]
)  # fmt: skip
_PIECES = st.one_of(
    _HOSTILE, st.binary(max_size=12), st.text(max_size=12).map(lambda text: text.encode("utf-8", "replace"))
)
TEXTS = st.lists(_PIECES, max_size=9).map(lambda pieces: b"".join(pieces).replace(b"\n", b""))
STREAMS = st.sampled_from(["stdout", "stderr"])


class Bare(App[None]):
    """Nothing but the view."""

    def compose(self) -> ComposeResult:
        yield LogView(id="log")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {"dim": "#808080", "cursor-ground": "#404040"}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    texts=st.lists(st.tuples(TEXTS, STREAMS), min_size=20, max_size=60),
    later=st.lists(st.tuples(TEXTS, STREAMS), max_size=20),
    told=TEXTS,
    keys=st.lists(st.sampled_from(["w", "t", "l", "j", "k", "ctrl+d", "ctrl+u", "g", "J", "h"]), max_size=8),
)
def test_nothing_acts_on_the_terminal_and_nothing_moves(
    texts: list[tuple[bytes, str]], later: list[tuple[bytes, str]], told: bytes, keys: list[str]
) -> None:
    store = MemoryStore()
    records = [record for text, stream in texts for record in line(text, 5, stream)]  # type: ignore[arg-type]
    data = archive(records)
    store.put(layout.log_segment(PROJECT, RUN, ATTEMPT, first_byte=0, first_line=0), data)
    lines = LogLines(store, PROJECT, RUN, ATTEMPT)
    lines.look()

    async def read() -> None:
        app = Bare()
        async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
            view = app.query_one(LogView)
            view.show(lines)
            view.focus()
            await pilot.press("g", *keys)
            rows = [view.render_line(y) for y in range(HEIGHT)]
            for row in rows:
                assert not _ACTING.search(row.text), row.text
                assert row.cell_length == cell_len(row.text) == WIDTH
            stays = len(view._shown()) >= HEIGHT and not view.following
            lines.feed(len(data), archive(r for text, stream in later for r in line(text, 9, stream)))  # type: ignore[arg-type]
            key = layout.event_segment(PROJECT, RUN, ATTEMPT, first_byte=0, first_line=0)
            store.put(key, encode_event(event(told.decode("utf-8", "replace"), 1)))
            lines.look()
            view.poll()
            again = [view.render_line(y) for y in range(HEIGHT)]
            assert not stays or again == rows
            await pilot.press("g")
            assert all(not _ACTING.search(view.render_line(y).text) for y in range(HEIGHT))

    asyncio.run(read())
