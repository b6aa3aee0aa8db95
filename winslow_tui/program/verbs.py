"""Everything a person can do from a screen, in one list: keys, the line behind `:`, the palette and the help are made
from it. A verb is for some kind of thing; what a screen shows of that kind it is done to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from textual.binding import Binding

from winslow_tui.program.keymap import UNBOUND

if TYPE_CHECKING:
    from winslow_tui.program.app import WinslowApp

Kind = Literal["site", "project", "run", "queue", "node", "file", "pipeline"]


@dataclass(frozen=True)
class Verb:
    """`name` is typed behind `:`, `words` is what help says. `do` gets the things by key: what is marked
    where it is `bulk`, else the one under the cursor; of kind `site` there is none. `also`: what else people type for
    it, as the command line calls it."""

    name: str
    on: Kind
    words: str
    do: Callable[[WinslowApp, Sequence[str]], None]
    key: str = ""
    hint: str = ""  # its word among the hints at the bottom, where it is one of the most used
    spare: bool = False  # a hint only where all others have room
    bulk: bool = False
    changes: bool = True  # not where everything is only looked at
    also: Sequence[str] = ()

    @property
    def shown(self) -> bool:
        """Whether it is among the most used."""
        return bool(self.hint) and not self.spare

    @property
    def action(self) -> str:
        """What its key is bound to."""
        return f"verb('{self.on}', '{self.name}')"


_VERBS: list[Verb] = []


def verb(
    name: str,
    on: Kind,
    words: str,
    *,
    key: str = "",
    hint: str = "",
    spare: bool = False,
    bulk: bool = False,
    changes: bool = True,
    also: Sequence[str] = (),
) -> Callable[[Callable[[WinslowApp, Sequence[str]], None]], Callable[[WinslowApp, Sequence[str]], None]]:
    """Add a function to the list."""

    def add(do: Callable[[WinslowApp, Sequence[str]], None]) -> Callable[[WinslowApp, Sequence[str]], None]:
        _VERBS.append(
            Verb(
                name=name,
                on=on,
                words=words,
                do=do,
                key=key,
                hint=hint,
                spare=spare,
                bulk=bulk,
                changes=changes,
                also=also,
            )
        )
        return do

    return add


def of(kind: Kind) -> list[Verb]:
    """The verbs for one kind of thing, in the order they were added."""
    return [each for each in _VERBS if each.on == kind]


def bound(action: str) -> Verb | None:
    """The verb that a key is bound to; None for what is no verb."""
    return next((each for each in _VERBS if each.action == action), None)


def find(name: str, kinds: Sequence[Kind]) -> Verb | None:
    """The verb of that name, of the first of the kinds that has one; a unique beginning of a name will do."""
    for kind in kinds:
        exact = sorted(
            (each for each in of(kind) if name in (each.name, *each.also)), key=lambda each: each.name != name
        )
        if exact:
            return exact[0]
    begun = [each for kind in kinds for each in of(kind) if each.name.startswith(name)]
    return begun[0] if len(begun) == 1 else None


def bindings(*kinds: Kind) -> list[Binding]:
    """Keys for a screen that shows things of these kinds."""
    return [
        Binding(
            each.key or UNBOUND,
            each.action,
            each.words,
            show=bool(each.hint),
            id=each.name,
        )
        for kind in kinds
        for each in of(kind)
    ]
