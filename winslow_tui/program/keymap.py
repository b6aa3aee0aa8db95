"""Which keys do what. In `[keys]` of the configuration file a person gives others, by the names of what they do.

A name may stand for one thing that several screens have: `down` moves in lists, logs and pages alike. What is said
there replaces the keys that something has by itself; no key at all takes it from the keyboard, not from `:`.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from textual.binding import Binding, BindingsMap
from textual.dom import DOMNode
from textual.keys import KEY_ALIASES, KEY_NAME_REPLACEMENTS, KEY_TO_UNICODE_NAME, Keys, format_key

from winslow.config import Config
from winslow.errors import InvalidInput

UNBOUND = "unbound"
"""The key of a binding that has none until a person gives it one; no terminal sends it."""
_MODIFIERS = ("alt", "ctrl", "shift")
_NAMED = {
    *(each.value.rpartition("+")[2] for each in Keys if "<" not in each.value and "-" not in each.value),
    *(KEY_NAME_REPLACEMENTS.get(name, name) for name in KEY_TO_UNICODE_NAME),
    *KEY_NAME_REPLACEMENTS.values(),
    *("asterisk", "comma", "full_stop", "colon", "semicolon", "ampersand", "apostrophe", "tilde"),
}
_SAME = {alias: key for key, aliases in KEY_ALIASES.items() for alias in aliases} | {
    "ctrl+left_square_bracket": "escape"
}


@dataclass(frozen=True)
class Context:
    """What can have the keys at the same time: a screen with its parts, and the program. `where` says so in words."""

    where: str
    nodes: tuple[type[DOMNode], ...]

    def held(self, chosen: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
        """Every key with the name of what it does; of what cannot be given other keys, words."""
        for node in self.nodes:
            for key, binding in rebound(node._merge_bindings(), chosen):
                yield key, binding.id or binding.description.lower() or binding.action


@dataclass(frozen=True)
class Action:
    """Something that can be given keys: `words` is what hints and help say at different places, `keys` are those it
    has by itself."""

    name: str
    words: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Keymap:
    """See the module. `actions` by name; `chosen` are a person's keys by name, as Textual calls them."""

    actions: Mapping[str, Action]
    chosen: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, config: Config, contexts: Sequence[Context]) -> Keymap:
        """Raises InvalidInput for a name or key that is none, and for a key that does something else at the same
        place."""
        actions, chosen = _actions(contexts), dict[str, tuple[str, ...]]()
        for name, keys in config.settings.keys.items():
            place = f"{config.origins.get(f'keys.{name}', 'configuration')}: keys.{name}"
            if name not in actions:
                close = difflib.get_close_matches(name, actions, n=1)
                advice = f"; did you mean '{close[0]}'?" if close else ""
                raise InvalidInput(
                    f"{place}: nothing has this name{advice}", hint="winslow keys lists the names"
                )
            try:
                chosen[name] = tuple(key_of(key) for key in keys)
            except ValueError as error:
                raise InvalidInput(
                    f"{place}: {error}", hint="a key is written like n, N, ?, f5, space, ctrl+n or shift+up"
                ) from None
        for context in contexts:
            _refuse_conflicts(config, chosen, context)
        return cls(actions=actions, chosen=chosen)

    def keys(self, name: str) -> tuple[str, ...]:
        """What does it now."""
        return self.chosen.get(name, self.actions[name].keys)

    def key(self, name: str, own: str | None = None) -> str:
        """The first of its keys for people, empty for none. `own` is the key of one of several of this name."""
        keys = self.keys(name) if own is None else self.chosen.get(name, (own,) if own else ())
        return displayed(keys[0]) if keys else ""

    def told(self, name: str) -> str:
        """How it is asked for: its key, else what is typed behind `:`."""
        return self.key(name) or f":{name}"


@runtime_checkable
class HasKeymap(Protocol):
    """The program, for what is part of it."""

    keymap: Keymap


def rebind(node: DOMNode) -> None:
    """Give a part of the program the person's keys; called when it is mounted."""
    if isinstance(node.app, HasKeymap):
        node._bindings = rebound(type(node)._merge_bindings(), node.app.keymap.chosen)


def rebound(bindings: BindingsMap, chosen: Mapping[str, Sequence[str]]) -> BindingsMap:
    """The same bindings with the keys that were chosen for them, and without those that have none.

    (Textual's own keymaps take a key from everything that shares it, and bring keys back that a text field has.)
    """
    found: dict[str, list[Binding]] = {}
    moved: set[tuple[str, str]] = set()
    for key, binding in bindings:
        name = binding.id or ""
        if name not in chosen:
            if key != UNBOUND:
                found.setdefault(key, []).append(binding)
        elif (name, binding.action) not in moved:
            moved.add((name, binding.action))
            for each in chosen[name]:
                found.setdefault(each, []).append(binding.with_key(each))
    return BindingsMap.from_keys(found)


def key_of(text: str) -> str:
    """A key as a person writes it in Textual's words. Raises ValueError."""
    if len(text) == 1:
        return _sign(text)
    *modifiers, name = text.casefold().split("+")
    name = _sign(name) if len(name) == 1 else {"esc": "escape", "return": "enter"}.get(name, name)
    wrong = [each for each in modifiers if each not in _MODIFIERS]
    if wrong or (len(name) != 1 and name not in _NAMED):
        close = difflib.get_close_matches((wrong or [name])[0], [*_MODIFIERS, *sorted(_NAMED)], n=1)
        raise ValueError(f"{text!r} is no key" + (f"; did you mean '{close[0]}'?" if close else ""))
    if modifiers == ["shift"] and len(name) == 1:
        return name.upper()
    key = "+".join([*(each for each in _MODIFIERS if each in modifiers), name])
    return _SAME.get(key, key)


def displayed(key: str) -> str:
    """A key of Textual's as people read it."""
    *modifiers, name = key.split("+")
    return "".join(f"{each}+" for each in modifiers) + format_key(name)


def written(key: str) -> str:
    """A key of Textual's as people write it."""
    *modifiers, name = key.split("+")
    sign = format_key(name)
    named = name in ("up", "down", "left", "right", "backspace", "enter") or len(sign) > 1
    return "+".join([*modifiers, name if named else sign])


def _sign(character: str) -> str:
    if not character.isprintable():
        raise ValueError("a key must be a sign that can be seen, or have a name")
    if character == " ":
        return "space"
    if character.isalnum():
        return character
    name = unicodedata.name(character).lower().replace("-", "_").replace(" ", "_")
    return KEY_NAME_REPLACEMENTS.get(name, name)


def _actions(contexts: Iterable[Context]) -> dict[str, Action]:
    found: dict[str, Action] = {}
    for context in contexts:
        for node in context.nodes:
            for key, binding in node._merge_bindings():
                if binding.id:
                    before = found.get(binding.id, Action(binding.id))
                    words = (*before.words, binding.description)
                    keys = (*before.keys, *(() if key == UNBOUND else (key,)))
                    found[binding.id] = Action(
                        binding.id, tuple(dict.fromkeys(words)), tuple(dict.fromkeys(keys))
                    )
    return found


def _refuse_conflicts(config: Config, chosen: Mapping[str, Sequence[str]], context: Context) -> None:
    """Raises InvalidInput for a key that was chosen for something and does something else there, too, unless the two
    share it by themselves."""
    own, now = set(context.held({})), sorted(set(context.held(chosen)))
    for key, name in now:
        for other_key, other in now if name in chosen else ():
            if other_key != key or other == name or {(key, name), (key, other)} <= own:
                continue
            place = config.origins.get(f"keys.{name}", "configuration")
            raise InvalidInput(
                f"{place}: keys.{name}: {displayed(key)} is the key for '{other}' {context.where}",
                hint=f"choose another key, or give '{other}' another one in [keys] too; winslow keys lists them",
            )
