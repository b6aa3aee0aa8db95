"""What lies over a screen as a picture: every form, question and page, as `test_screens` looks at screens."""

from __future__ import annotations

from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from tests import screens
from tests.snapshot.catalogue import PLACES
from tests.snapshot.looking import SIZES, Made, look, press, quiet


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("place", PLACES)
async def test_over(
    place: str,
    size: str,
    snapshot: SnapshotAssertion,
    made: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One after the other, from the same screen."""
    monkeypatch.setattr(Path, "cwd", lambda: Path("/home/anna"))
    monkeypatch.chdir(tmp_path)  # a field that takes a path suggests what is there
    keys, pictures = PLACES[place]
    app = screens.app(screens.site(), tmp_path)
    async with app.run_test(size=SIZES[size]) as pilot:
        await quiet(pilot)
        await press(pilot, *keys)
        for name, picture in pictures.items():
            await press(pilot, *picture.keys)
            await look(pilot, picture, made, snapshot, name=f"{name}-")
            await press(pilot, *picture.leave)
