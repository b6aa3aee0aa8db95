"""Questions at a terminal: the answer, whatever is typed, and a no when nobody is there any more."""

from __future__ import annotations

import io

import pytest

from winslow.errors import Refused, UsageError
from winslow_tui.cli.question import asked, must_agree


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


def test_who_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(UsageError, match=r"nobody can be asked: Sure\?") as raised:
        must_agree("Sure?", undone="nothing was done")
    assert raised.value.hint == "add --yes"
    monkeypatch.setattr("winslow_tui.cli.question.can_ask", lambda: True)
    must_agree("Sure?", undone="nothing was done")
    with pytest.raises(Refused, match="nothing was done"):
        must_agree("Sure?", undone="nothing was done")
