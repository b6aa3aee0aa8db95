"""Nothing that a container prints or a file is called can act on a terminal (I11), case by case."""

from __future__ import annotations

import time

import pytest

from winslow.terminal_text import block, line, log_line


@pytest.mark.parametrize(
    ("hostile", "left"),
    [
        ("plain", "plain"),
        (
            "Ünïcode \N{AUTOMOBILE} \N{ZERO WIDTH NON-JOINER}",
            "Ünïcode \N{AUTOMOBILE} \N{ZERO WIDTH NON-JOINER}",
        ),
        ("a\N{ZERO WIDTH JOINER}b", "ab"),  # measured as one sign, drawn as two
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[38:2::1:2:3mx", "x"),
        ("\x9b31mred", "red"),
        ("\x1b]52;c;ZXZpbA==\x07after", "after"),  # sets the clipboard
        ("\x1b]0;title\x1b\\after", "after"),
        ("\x9d0;title\x9cafter", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP+q544e\x1b\\after", "after"),
        ("\x1b_application\x1b\\after", "after"),
        ("\x1b]0;never ended", "0;never ended"),
        ("\x1bc\x1b(0reset", "reset"),
        ("a\x1b\x1b[31mb", "ab"),
        ("a\x00b\x07c\x08d\x7fe\x85f", "abcdef"),
        ("\u202egpj.exe", "gpj.exe"),
        ("a\u2066b\u2069c\u200fd", "abcd"),
        ("half \ud83d", "half \ufffd"),
    ],
)
def test_sequences_go_and_text_stays(hostile: str, left: str) -> None:
    assert block(hostile) == left


def test_a_line_is_one_line() -> None:
    assert line("a\nb\tc\r\nd\u2028e") == "a b c de"
    assert block("a\n\tb") == "a\n\tb"


def test_an_unended_sequence_hides_no_later_line() -> None:
    assert block("\x1b]0;title\nsecond line\x07") == "0;title\nsecond line"


def test_a_log_line_shows_its_last_version() -> None:
    assert log_line(b" 10 %\r 20 %\r 30 %") == " 30 %"
    assert log_line(b" 10 %\r 20 %\r") == " 20 %"
    assert log_line(b"\r\r") == ""
    assert log_line(b"caf\xe9 \x1b[1mok") == "caf\ufffd ok"


def test_many_open_sequences_take_no_quadratic_time() -> None:
    hostile = "\x1b]" * 200_000 + "\x1b[" + "1;" * 200_000
    began = time.perf_counter()
    block(hostile)
    assert time.perf_counter() - began < 60.0
