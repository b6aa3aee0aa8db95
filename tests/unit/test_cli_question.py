"""Questions at a terminal: the answer, whatever is typed, and a no when nobody is there any more."""

from __future__ import annotations

import io

import pytest

from winslow_tui.cli.question import asked


@pytest.mark.parametrize(
    ("typed", "default", "answer"),
    [
        ("y\n", False, True),
        ("YES\n", False, True),
        ("n\n", True, False),
        ("\n", True, True),
        ("\n", False, False),
        ("what\nno\n", True, False),
        ("", True, False),
        ("what", True, False),
    ],
)
def test_answers(
    typed: str,
    default: bool,
    answer: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert asked("Delete \x1b[31mit?", default=default) is answer
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"Delete it? {'[Y/n]' if default else '[y/N]'} ")
