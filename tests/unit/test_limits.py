"""How silence is counted: only in intervals that the agent saw both ends of."""

from __future__ import annotations

from node_agent.limits import Silence


def test_silence_adds_up() -> None:
    silence = Silence(longest=10)
    assert [silence.look(now, 7) for now in (0.0, 1.0, 2.5)] == [0.0, 1.0, 2.5]


def test_a_byte_ends_it() -> None:
    silence = Silence(longest=10)
    for now, heard in ((0.0, 0), (5.0, 0), (6.0, 1)):
        seconds = silence.look(now, heard)
    assert seconds == 0.0
    assert silence.look(8.0, 1) == 2.0


def test_time_in_which_nobody_could_hear_does_not_count() -> None:
    silence = Silence(longest=10)
    looks: list[tuple[float, int | None]] = [(0, 3), (2, 3), (4, None), (100, None), (102, 3), (103, 3)]
    assert [silence.look(now, heard) for now, heard in looks] == [0, 2, 2, 2, 2, 3]


def test_bytes_written_while_nobody_heard_end_it_too() -> None:
    silence = Silence(longest=10)
    looks: list[tuple[float, int | None]] = [(0, 3), (2, 3), (4, None), (100, 9), (101, 9)]
    assert [silence.look(now, heard) for now, heard in looks] == [0, 2, 2, 0, 1]


def test_an_agent_that_did_not_get_to_look_counts_little() -> None:
    """Suspended, starved, or held up by an engine that took its time."""
    silence = Silence(longest=4)
    assert [silence.look(now, 3) for now in (0.0, 1000.0, 1001.0)] == [0.0, 4.0, 5.0]
