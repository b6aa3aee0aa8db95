"""Names with what belongs to them, in columns, whatever they are called."""

from __future__ import annotations

from winslow_tui.widgets.facts import named


def test_a_text_hangs_beside_its_name() -> None:
    shown = named([("plan", "one two three four"), ("env", "A=1")], 18).plain.splitlines()
    assert shown == ["plan  one two", "      three four", "env   A=1"]


def test_a_name_without_room_has_a_line_of_its_own() -> None:
    shown = named([("result median_speed", "5.18 and more"), ("node", "ws1")], 24).plain.splitlines()
    assert shown == [
        "result median_speed",
        " " * 12 + "5.18 and",
        " " * 12 + "more",
        "node" + " " * 8 + "ws1",
    ]
