"""For every picture."""

from __future__ import annotations

import pytest

from tests.snapshot.catalogue import ASKED
from tests.snapshot.looking import Made, noting


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """The kinds of the forms, questions and pages that were made."""
    found: Made = {}
    for each in ASKED:
        monkeypatch.setattr(each, "__init__", noting(found, each))
    return found
