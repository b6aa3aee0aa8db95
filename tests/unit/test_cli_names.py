"""What a person may type for a project (design 3)."""

from __future__ import annotations

import pytest

from winslow.errors import Conflict, InvalidInput, NotFound
from winslow_tui.facade.names import MAX_NAME, check_name, pick, slug

NAMES = {
    "ulm-abcd": "Ulm",
    "ulm-efgh": "Ulm 2",
    "bern-wxyz": "Bern",
    "bern-qrst": "Bern",
    "mainz-abab": "ulm-",
}


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("ulm-abcd", "ulm-abcd"),
        ("Ulm", "ulm-abcd"),
        ("Ulm 2", "ulm-efgh"),
        ("ulm-e", "ulm-efgh"),
        ("ulm-", "mainz-abab"),
    ],
)
def test_id_then_name_then_unique_prefix(query: str, meant: str) -> None:
    assert pick(query, NAMES) == meant


@pytest.mark.parametrize(
    ("query", "candidates"), [("Bern", ("bern-wxyz", "bern-qrst")), ("ulm", ("ulm-abcd", "ulm-efgh"))]
)
def test_ambiguous_is_a_conflict_with_the_candidates(query: str, candidates: tuple[str, ...]) -> None:
    with pytest.raises(Conflict) as caught:
        pick(query, NAMES)
    assert all(candidate in caught.value.hint for candidate in candidates)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("query", "near"), [("ulm-abdc", "ulm-abcd"), ("Brn", "Bern"), ("zzz", "project list"), ("", "list")]
)
def test_unknown_is_not_found_with_the_nearest(query: str, near: str) -> None:
    with pytest.raises(NotFound) as caught:
        pick(query, NAMES)
    assert near in caught.value.hint
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("Ulm [red] Kreuzung", "ulm-red-kreuzung"),
        ("Straße Süd", "strasse-sud"),
        ("../../etc", "etc"),
        ("交差点", "project"),
        ("x" * 200, "x" * 48),
    ],
)
def test_a_slug_is_readable_and_safe(name: str, made: str) -> None:
    assert slug(name) == made


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x1b[31m", "x" * (MAX_NAME + 1)])
def test_a_name_fits_on_a_line(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_name(name)


def test_blanks_around_a_name_go() -> None:
    assert check_name("  Ulm süd ") == "Ulm süd"
