"""A text changed in a person's own editor: checked when the editor ends, stored only when it is right, never lost.

The editor works on a file of its own (a draft, mode 600, in the user's state folder). It is removed when its text
was stored or nothing in it was changed, and in no other case: whatever ends the program, the text is still there.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from winslow.definition_text import MAX_BYTES, decode
from winslow.errors import Conflict, InvalidInput, Refused, UsageError
from winslow_tui.foreground import run

NOTE = "#winslow: "
"""Begins a line that is for the person alone; such lines are taken out before the text is looked at."""
_NOTES = re.compile(rf"^{NOTE}.*\n?", re.MULTILINE)


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
        try:
            code = run([*self.command, str(path)])
        except OSError as error:
            raise UsageError(
                f"the editor {self.command[0]} cannot be started: {error.strerror}",
                hint="set VISUAL or EDITOR, for example: export EDITOR=nano",
            ) from None
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
