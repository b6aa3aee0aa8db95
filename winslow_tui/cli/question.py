"""Questions to the person at the terminal."""

from __future__ import annotations

import sys

from winslow.errors import Refused, UsageError
from winslow.terminal_text import line


def can_ask() -> bool:
    """Whether somebody is there who could answer."""
    return sys.stdin.isatty()


def asked(question: str, *, default: bool) -> bool:
    """The answer; asked on stderr, since stdout is for data. Nobody there any more is a no."""
    while True:
        print(f"{line(question)} [{'Y/n' if default else 'y/N'}] ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
        match answer.strip().lower():
            case "y" | "yes":
                return True
            case "n" | "no":
                return False
            case "":
                return default and bool(answer)
            case _:
                continue


def must_agree(question: str, *, undone: str) -> None:
    """Go on only where the person says yes; `undone` is the sentence for a no.

    Raises UsageError where nobody can be asked, Refused for a no."""
    if not can_ask():
        raise UsageError(f"nobody can be asked: {question}", hint="add --yes")
    if not asked(question, default=False):
        raise Refused(undone)


def typed(question: str) -> str:
    """What the person types, without blanks around it; asked on stderr, empty where nobody is there any more."""
    print(f"{line(question)} ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()
