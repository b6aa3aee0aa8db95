"""What is around the full-screen program's start (`winslow_tui.cli.screen`)."""

from __future__ import annotations

import logging
from pathlib import Path

from winslow_tui.cli.screen import keep_log


def test_what_libraries_say_goes_to_a_file_and_not_onto_the_screen(tmp_path: Path) -> None:
    handler = keep_log(tmp_path / "state" / "winslow")
    try:
        handler.emit(logging.LogRecord("aiomqtt", logging.ERROR, "client.py", 1, "unexpected", None, None))
    finally:
        handler.close()
    assert "aiomqtt ERROR unexpected" in (tmp_path / "state" / "winslow" / "screen.log").read_text()


def test_without_a_place_for_the_file_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    assert isinstance(keep_log(tmp_path / "taken" / "winslow"), logging.NullHandler)
