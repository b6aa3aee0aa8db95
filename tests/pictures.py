"""Takes the README's pictures: the full-screen program on the example site of the tests, as SVG.

make screenshots
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests import screens

SIZE = (110, 26)
FOLDER = Path(__file__).parent.parent / "docs" / "pictures"
PICTURES = {
    "projects": (),
    "project": ("slash", *"ulm", "enter", "enter"),
    "compare": ("slash", *"ulm", "enter", "enter", "j", "space", "space", "c"),
    "nodes": ("2",),
}


async def take(name: str, keys: tuple[str, ...], folder: Path) -> None:
    """One picture, once what is read in the background is there."""
    with tempfile.TemporaryDirectory() as state:
        app = screens.app(screens.site(), Path(state))
        async with app.run_test(size=SIZE) as pilot:
            for key in ("", *keys):
                if key:
                    await pilot.press(key)
                await pilot.pause(0.2)
                await app.workers.wait_for_complete()
            await pilot.pause(0.5)
            (folder / f"{name}.svg").write_text(app.export_screenshot())


def main() -> None:
    """All of them."""
    for name, keys in PICTURES.items():
        asyncio.run(take(name, keys, FOLDER))


if __name__ == "__main__":
    main()
