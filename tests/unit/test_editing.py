"""Whatever happens while a text is in an editor, it is stored or it is kept. The editors are shell scripts."""

from __future__ import annotations

import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from winslow.errors import Conflict, InvalidInput, Refused, StoreUnreachable, UsageError
from winslow_tui.facade.editing import NOTE, Editor, edit
from winslow_tui.foreground import Interrupted

BEGAN = "a: 1\nb: 2\n"


class Words:
    """A subject that refuses the word `wrong`; `held` is what is stored, with a number that rises."""

    title = "the words"
    stem = "words-x"

    def __init__(self) -> None:
        self.held, self.revision, self.base = BEGAN, 1, 1
        self.error: Exception | None = None

    def text(self) -> str:
        return BEGAN

    def check(self, text: str, *, source: str) -> None:
        if "wrong" in text:
            line = text[: text.index("wrong")].count("\n") + 1
            raise InvalidInput(f"{source}:{line}: this is wrong")

    def store(self, text: str, *, source: str) -> str:
        if self.error is not None:
            raise self.error
        if self.base != self.revision:
            raise Conflict("ben was faster", hint="look")
        self.held, self.revision = text, self.revision + 1
        return f"revision {self.revision}"

    def meanwhile(self) -> list[str]:
        self.base = self.revision
        return ["-a: 1\n+a: 7"]

    def way_on(self, path: Path) -> str:
        return f"store {path}"


class Desk:
    """An editor made of one script per opening, and what the person is told and answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.subject = Words()
        self.said: list[str] = []
        self.answers: list[bool] | None = []
        self.between: Callable[[], None] = lambda: None

    def edit(self, *scripts: str) -> str | None:
        """Each script finds the file in $1; they run one after the other."""
        for number, script in enumerate(scripts):
            (self.folder / f"{number}.sh").write_text(script)
        program = self.folder / "editor"
        program.write_text(
            f'#!/bin/sh\ncd {self.folder}; n=$(cat n 2>/dev/null || echo 0); echo $((n+1)) > n; . "./$n.sh"\n'
        )
        program.chmod(0o700)
        return edit(
            self.subject,
            editor=Editor((str(program),)),
            folder=self.folder / "state" / "drafts",
            say=self.said.append,
            ask=self._ask if self.answers is not None else None,
        )

    def _ask(self, _question: str) -> bool:
        self.between()
        assert self.answers
        return self.answers.pop(0)

    @property
    def drafts(self) -> list[Path]:
        return list((self.folder / "state" / "drafts").iterdir())

    def kept(self) -> str:
        """The one text that was kept, whose place was told and that nobody else may read."""
        (path,) = self.drafts
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert f"the text is kept in {path}\nwhen it is right: store {path}" in self.said
        return path.read_text()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_which_editor() -> None:
    assert Editor.of({"VISUAL": "code --wait", "EDITOR": "vi"}).command == ("code", "--wait")
    assert Editor.of({"VISUAL": " ", "EDITOR": "'my editor' -x"}).command == ("my editor", "-x")
    for environ in ({}, {"EDITOR": ""}):
        with pytest.raises(UsageError, match="nothing says which editor") as raised:
            Editor.of(environ)
        assert "export EDITOR=" in raised.value.hint
    with pytest.raises(UsageError, match="EDITOR cannot be read"):
        Editor.of({"EDITOR": "'x"})


def test_an_editor_that_is_not_there(desk: Desk) -> None:
    with pytest.raises(UsageError, match="the editor /nowhere/vi cannot be started: No such file"):
        edit(
            desk.subject,
            editor=Editor(("/nowhere/vi",)),
            folder=desk.folder / "d",
            say=desk.said.append,
            ask=None,
        )
    assert list((desk.folder / "d").iterdir()) == []


def test_a_changed_text_is_stored(desk: Desk) -> None:
    script = 'stat -c %a "$1" "$(dirname "$1")" > modes; sed -i "s/2/3/" "$1"'
    assert desk.edit(script) == "revision 2"
    assert desk.subject.held == "a: 1\nb: 3\n"
    assert (desk.folder / "modes").read_text() == "600\n700\n"
    assert desk.drafts == []


def test_an_unchanged_text_is_not(desk: Desk) -> None:
    assert desk.edit("true") is None
    assert (desk.subject.revision, desk.drafts) == (1, [])


def test_a_mistake_is_edited_again(desk: Desk) -> None:
    desk.answers = [True]
    assert desk.edit('echo wrong >> "$1"', 'sed -i s/wrong/right/ "$1"') == "revision 2"
    assert desk.subject.held == BEGAN + "right\n"
    assert any(said.endswith(":3: this is wrong") for said in desk.said)
    assert desk.drafts == []


def test_who_gives_up_finds_the_text_again(desk: Desk) -> None:
    desk.answers = [True, False]
    with pytest.raises(Refused, match="the words was not changed"):
        desk.edit('echo wrong >> "$1"', 'echo still wrong >> "$1"')
    assert desk.kept() == BEGAN + "wrong\nstill wrong\n"
    (path,) = desk.drafts
    desk.said.clear()
    desk.answers = []
    (desk.folder / "n").unlink()
    desk.edit("true")
    assert desk.said[0] == f"a text that was never stored is still in {path}"
    assert desk.drafts == [path]


def test_where_nobody_can_be_asked_a_mistake_ends_it(desk: Desk) -> None:
    desk.answers = None
    with pytest.raises(InvalidInput, match=":3: this is wrong"):
        desk.edit('echo wrong >> "$1"')
    assert desk.kept() == BEGAN + "wrong\n"


def test_a_text_that_is_not_utf_8_is_kept_as_it_is(desk: Desk) -> None:
    desk.answers = None
    with pytest.raises(InvalidInput, match=":3:1: not UTF-8"):
        desk.edit(r'printf "\377" >> "$1"')
    assert desk.drafts[0].read_bytes() == BEGAN.encode() + b"\xff"


def test_after_a_conflict_the_text_goes_on_top_of_what_others_did(desk: Desk) -> None:
    desk.subject.revision = 2
    desk.answers = [True]
    script = 'cp "$1" seen; sed -i "s/a: 1/a: 9/" "$1"'
    assert desk.edit('sed -i "s/b: 2/b: 3/" "$1"', script) == "revision 3"
    assert (desk.folder / "seen").read_text() == (
        f"a: 1\nb: 3\n{NOTE}ben was faster\n{NOTE}-a: 1\n{NOTE}+a: 7\n"
    )
    assert desk.subject.held == "a: 9\nb: 3\n"
    assert "ben was faster" in desk.said
    assert desk.drafts == []


def test_a_conflict_without_another_try_keeps_the_text(desk: Desk) -> None:
    desk.subject.revision = 2
    for desk.answers, says in (([False], "the words was not changed"), (None, "ben was faster")):
        with pytest.raises(Conflict, match=says):
            desk.edit('echo "c: 3" >> "$1"')
        assert desk.kept() == BEGAN + "c: 3\n"
        desk.drafts[0].unlink()
        (desk.folder / "n").unlink()
        desk.subject.base = 1


def test_a_store_that_is_away_keeps_the_text(desk: Desk) -> None:
    desk.subject.error = StoreUnreachable("nobody answers")
    with pytest.raises(StoreUnreachable):
        desk.edit('echo "c: 3" >> "$1"')
    assert desk.kept() == BEGAN + "c: 3\n"


def test_an_editor_that_fails_stores_nothing(desk: Desk) -> None:
    with pytest.raises(Refused, match="ended with exit code 3"):
        desk.edit('echo "c: 3" >> "$1"; exit 3')
    assert desk.kept() == BEGAN + "c: 3\n"
    assert desk.subject.revision == 1


def test_an_editor_that_fails_before_anything_was_changed_leaves_nothing_behind(desk: Desk) -> None:
    with pytest.raises(Refused):
        desk.edit("exit 1")
    assert desk.drafts == []


@pytest.fixture(params=["HUP", "TERM"])
def ending(request: pytest.FixtureRequest) -> Iterator[str]:
    """A signal that ends programs, also where whoever runs the tests ignores it, as nohup does."""
    number = signal.Signals[f"SIG{request.param}"]
    before = signal.signal(number, signal.SIG_DFL)
    yield str(request.param)
    signal.signal(number, before)


def test_a_terminal_that_goes_away_lets_the_editor_save(desk: Desk, ending: str) -> None:
    script = f"""
        trap 'echo saved >> "$1"; exit 0' {ending}
        echo typed >> "$1"
        kill -{ending} $PPID
        while :; do sleep 0.02; done
    """
    with pytest.raises(Interrupted, match=f"interrupted by SIG{ending}"):
        desk.edit(script)
    assert desk.kept() == BEGAN + "typed\nsaved\n"


def test_an_interrupt_is_the_editors_own(desk: Desk) -> None:
    assert desk.edit('kill -INT $PPID; sleep 0.1; echo "c: 3" >> "$1"') == "revision 2"


def test_a_draft_of_somebody_else_is_never_written_over(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _size: "abcdef")
    folder = desk.folder / "state" / "drafts"
    folder.mkdir(parents=True)
    (folder / "words-x-abcdef.yaml").write_text("mine")
    with pytest.raises(FileExistsError):
        desk.edit("true")
    assert (folder / "words-x-abcdef.yaml").read_text() == "mine"
