"""The program as `winslow` starts it over SSH, with a beat in its event loop: how late each beat is, is how long
the loop did not answer."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path

from winslow.config import Config
from winslow_tui.cli import screen

BEAT_SECONDS = 0.005


def program(config: Config, report: Path) -> None:
    """Run it until the person leaves; then `report` has each beat and how late it was, in seconds of the monotonic
    clock. SIGUSR1 ends the beat, so that what follows can be idle."""
    screen.profile()
    from winslow_tui.program import app

    class Measured(app.WinslowApp):
        beats: list[tuple[float, float]]

        def on_mount(self) -> None:
            self.beats = []
            beating = asyncio.create_task(self._beat(), name="beat")
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, beating.cancel)

        async def _beat(self) -> None:
            while True:
                begun = time.monotonic()
                await asyncio.sleep(BEAT_SECONDS)
                now = time.monotonic()
                self.beats.append((now, now - begun - BEAT_SECONDS))

        def on_unmount(self) -> None:
            report.write_text(json.dumps({"beats": self.beats, "projects": len(self.site.projects)}))

    app.WinslowApp = Measured  # type: ignore[misc]
    screen.screen(lambda: config, readonly=False)
