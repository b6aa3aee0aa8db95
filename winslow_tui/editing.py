"""A text changed in a person's own editor: checked when the editor ends, stored only when it is right, never lost.

The editor works on a file of its own (a draft, mode 600, in the user's state folder). It is removed when its text
was stored or nothing in it was changed, and in no other case: whatever ends the program, the text is still there.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol

from winslow.definition_text import MAX_BYTES, decode
from winslow.errors import Conflict, InvalidInput, Refused, UsageError, WinslowError

NOTE = "#winslow: "
"""Begins a line that is for the person alone; such lines are taken out before the text is looked at."""
EDITOR_SECONDS = 5.0
"""How long an editor may take to end after the terminal has gone."""

_NOTES = re.compile(rf"^{NOTE}.*\n?", re.MULTILINE)
_ENDING = (signal.SIGHUP, signal.SIGTERM)


class Interrupted(WinslowError):
    """The terminal went away, or somebody ended the program, while the editor was open."""


class Subject(Protocol):
    """What is edited. `title` is what people call it, `stem` begins the name of its drafts."""

    @property
    def title(self) -> str: ...

    @property
    def stem(self) -> str: ...

    def text(self) -> str:
        """The text to begin with."""

    def check(self, text: str, *, source: str) -> None:
        """Raises InvalidInput with every mistake and its place; `source` stands in the messages."""

    def store(self, text: str, *, source: str) -> str:
        """Store a checked text and say what was done. Raises Conflict when somebody else was faster."""

    def meanwhile(self) -> list[str]:
        """After a Conflict: what others have changed since, line by line. From now on the text is stored on top
        of that."""

    def way_on(self, path: Path) -> str:
        """The command that stores a text which was kept in a file."""


@dataclass(frozen=True)
class Editor:
    """The person's editor: a program and its first arguments."""

    command: tuple[str, ...]

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Editor:
        """From VISUAL, else EDITOR. Raises UsageError where neither says one."""
        for name in ("VISUAL", "EDITOR"):
            try:
                command = tuple(shlex.split(environ.get(name, "")))
            except ValueError as error:
                raise UsageError(
                    f"{name} cannot be read: {error}", hint=f"for example: export {name}=nano"
                ) from None
            if command:
                return cls(command)
        raise UsageError(
            "nothing says which editor to use", hint="set VISUAL or EDITOR, for example: export EDITOR=nano"
        )

    def open(self, path: Path) -> None:
        """Returns when the editor has ended. Raises UsageError where it is not there, Refused where it ended with
        an error (`:cq` in vi), Interrupted for SIGHUP and SIGTERM, which it is sent on."""
        with _signals() as ending:
            try:
                process = subprocess.Popen([*self.command, str(path)])
            except OSError as error:
                raise UsageError(
                    f"the editor {self.command[0]} cannot be started: {error.strerror}",
                    hint="set VISUAL or EDITOR, for example: export EDITOR=nano",
                ) from None
            code = ending.wait(process)
        if ending.by is not None:
            raise Interrupted(f"interrupted by {ending.by.name} while {self.command[0]} was open")
        if code:
            raise Refused(f"{self.command[0]} ended with exit code {code}: nothing was stored")


@dataclass(frozen=True)
class Draft:
    """The file that an editor works on."""

    path: Path

    @classmethod
    def create(cls, folder: Path, stem: str, text: str) -> Draft:
        """A new file that only this user may read."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{stem}-{secrets.token_hex(3)}.yaml"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
            opened.write(text.encode())
        return cls(path)

    @classmethod
    def kept(cls, folder: Path, stem: str) -> list[Path]:
        """Drafts of earlier times that were never stored."""
        return sorted(folder.glob(f"{stem}-??????.yaml"))

    def read(self) -> str:
        """The text without notes. Raises InvalidInput for what is not UTF-8 or too long."""
        with self.path.open("rb") as opened:
            text = decode(opened.read(MAX_BYTES + 1), source=str(self.path))
        return _NOTES.sub("", text)

    def annotate(self, text: str, notes: Sequence[str]) -> None:
        """Put lines for the person below the text, where they move no line of it."""
        below = "".join(f"{NOTE}{note}\n" for note in notes)
        data = (text if text.endswith("\n") else text + "\n") + below
        beside = self.path.with_suffix(".new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
            opened.write(data.encode())
        beside.replace(self.path)


def edit(
    subject: Subject,
    *,
    editor: Editor,
    folder: Path,
    say: Callable[[str], None],
    ask: Callable[[str], bool] | None,
) -> str | None:
    """Let a person change the subject's text, as often as it takes; what was done, None when nothing was changed.

    `ask` is None where nobody can be asked. Raises the check's InvalidInput, the store's Conflict or any other
    error when the person gives up or cannot be asked; then the text is kept, and `say` tells where.
    """
    began = subject.text()
    for path in Draft.kept(folder, subject.stem):
        say(f"a text that was never stored is still in {path}")
    draft = Draft.create(folder, subject.stem, began)
    say(f"the text is in {draft.path} until it is stored")
    try:
        done = _edited(subject, began, draft, editor=editor, say=say, ask=ask)
    except BaseException:
        if _unchanged(draft, began):
            draft.path.unlink()
        else:
            say(f"the text is kept in {draft.path}\nwhen it is right: {subject.way_on(draft.path)}")
        raise
    draft.path.unlink()
    return done


def _edited(
    subject: Subject,
    began: str,
    draft: Draft,
    *,
    editor: Editor,
    say: Callable[[str], None],
    ask: Callable[[str], bool] | None,
) -> str | None:
    while True:
        editor.open(draft.path)
        try:
            text = draft.read()
            if text == began:
                return None
            subject.check(text, source=str(draft.path))
        except InvalidInput as error:
            if ask is None:
                raise
            say(str(error))
            if not ask("Edit it again?"):
                raise Refused(f"{subject.title} was not changed") from None
            continue
        try:
            return subject.store(text, source=str(draft.path))
        except Conflict as error:
            notes = subject.meanwhile()
            for note in notes if ask is None else [str(error), *notes]:
                say(note)
            if ask is None:
                raise
            if not ask("Edit it again, on top of that?"):
                raise Conflict(f"{subject.title} was not changed") from None
            draft.annotate(text, [line for note in (str(error), *notes) for line in note.split("\n")])


def _unchanged(draft: Draft, began: str) -> bool:
    try:
        return draft.read() == began
    except (InvalidInput, OSError):
        return False


class _Now(BaseException):
    """Ends a wait from within a signal's handler."""


class _Ending:
    """What ends the program while its editor is open: `by` is the first signal that asked for it."""

    def __init__(self) -> None:
        self.by: signal.Signals | None = None
        self._waits = False

    def wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """The process's exit code; None where it has not ended some seconds after it was sent the signal."""
        try:
            self._waits = True
            if self.by is None:
                return process.wait()
        except _Now:
            pass
        finally:
            self._waits = False
        if self.by is not None:
            process.send_signal(self.by)
        with suppress(subprocess.TimeoutExpired):  # it saves what it can, with or without a terminal
            return process.wait(timeout=EDITOR_SECONDS)
        return None

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """The first signal ends the wait; more of them say nothing new."""
        first, self.by = self.by is None, self.by or signal.Signals(number)
        if first and self._waits:
            raise _Now


@contextmanager
def _signals() -> Iterator[_Ending]:
    """While an editor has the terminal, ctrl+c is the editor's, and what ends the program is told to the editor.

    Handlers do not outlive an exec, so the editor starts with its own. Only the main thread can set them."""
    ending = _Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    heard = [
        number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN
    ]  # as nohup sets it
    before = {number: signal.signal(number, ending.handle) for number in heard}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
