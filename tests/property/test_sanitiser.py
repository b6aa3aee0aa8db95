"""Whatever goes in, no character that a terminal acts upon comes out."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tests.hostile import acts
from winslow.terminal_text import block, line, log_line

PIECES = st.sampled_from(
    [
        "\x1b",
        "\x1b[",
        "\x1b]",
        "\x1bP",
        "\x1b\\",
        "\x07",
        "\x9b",
        "\x9d",
        "\x9c",
        "31m",
        "52;c;",
        "\n",
        "\t",
        "\r",
    ]
)
TEXTS = st.lists(PIECES | st.text(st.characters(), max_size=8), max_size=20).map("".join)


@given(TEXTS)
@example("\x1b\x1b[[31m")
@example("\x1b]\x1b]0;\x07\x07")
def test_no_control_remains(text: str) -> None:
    assert not [c for c in block(text) if acts(c) and c not in "\n\t"]
    assert not [c for c in line(text) if acts(c)]
    block(text).encode()


@given(TEXTS)
def test_it_is_idempotent(text: str) -> None:
    assert block(block(text)) == block(text)


@given(st.binary(max_size=60))
def test_any_bytes_make_one_harmless_line(data: bytes) -> None:
    shown = log_line(data)
    assert not [c for c in shown if acts(c) and c != "\t"]


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_printable_text_is_untouched(text: str) -> None:
    assert block(text) == text
