"""What is typed behind `:` picks what it names, also by the words of the command line."""

from __future__ import annotations

import pytest

from winslow_tui.program import app as _app  # noqa: F401  its screens add every verb
from winslow_tui.program import verbs
from winslow_tui.program.verbs import Kind
from winslow_tui.screens.command import VIEW_NAMES, CommandLine

SCREENS: tuple[tuple[Kind, ...], ...] = (
    ("project", "site"),
    ("run", "project", "site"),
    ("file", "run", "project", "site"),
    ("file", "site"),
    ("node", "site"),
    ("pipeline", "site"),
    ("queue",),
)


@pytest.mark.parametrize("kinds", SCREENS, ids="-".join)
def test_a_name_in_full_picks_itself(kinds: tuple[Kind, ...]) -> None:
    line = CommandLine(kinds)
    for name in (*(each.name for kind in kinds for each in verbs.of(kind)), *VIEW_NAMES, "quit"):
        assert line.fitting(name)[0].name == name


@pytest.mark.parametrize(
    ("typed", "picked"),
    [
        ("resume", "start"),
        ("confirm", "answer"),
        ("q", "quit"),
        ("exit", "quit"),
        ("arch", "archive"),
        ("Archive ", "archive"),
        ("newest revision", "update-pipeline"),
    ],
)
def test_what_is_typed_of_a_project(typed: str, picked: str) -> None:
    assert CommandLine(("project", "site")).fitting(typed)[0].name == picked


def test_everything_is_offered_until_something_is_typed_and_nothing_for_nonsense() -> None:
    line = CommandLine(("project", "site"))
    assert [each.name for each in line.fitting("")][:3] == ["start", "pause", "abort"]
    assert line.fitting("frobnicate") == []


@pytest.mark.parametrize(("typed", "found"), [("undrain", "drain"), ("labels", "label")])
def test_a_verb_is_found_by_what_else_it_is_called(typed: str, found: str) -> None:
    verb = verbs.find(typed, ("node", "site"))
    assert verb is not None
    assert verb.name == found
