"""What differs between two definitions, as people read it."""

from __future__ import annotations

from textwrap import dedent

import pytest
from hypothesis import given

from tests.definitions import DEFINITIONS
from winslow.definition_diff import Change, Kind, env_changes, pipeline_changes, sentence, stage_changes
from winslow.pipeline import PipelineDefinition, parse

BEFORE = dedent(
    """\
    name: traffic
    env: {CONF: 0.3, OLD: a}
    stages:
      - {name: detect, image: "i:1", command: [detect, --fast], requires: {memory: 8GiB}}
      - {name: track, image: "i:1", env: {CONF: 0.3}, timeout: 2h}
      - {name: clean, image: "i:1"}
      - {name: stats, image: "i:1"}
    """
)


def told(after: str, before: str = BEFORE) -> list[str]:
    changes = pipeline_changes(parse(before, source="before"), parse(after, source="after"))
    return [str(change) for change in changes]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("env: {CONF: 0.3, OLD: a}", "env: {CONF: 0.35, OLD: a}", "env.CONF: 0.3 -> 0.35"),
        (", OLD: a", "", "env.OLD: removed, was a"),
        ("OLD: a", "OLD: a, NEW: b c", "env.NEW: added b c"),
        ("env: {CONF: 0.3}", "env: {CONF: ''}", 'stages.track.env.CONF: 0.3 -> ""'),
        ("--fast", "--slow", "stages.detect.command: [detect, --fast] -> [detect, --slow]"),
        ("memory: 8GiB", "memory: 500 MB", "stages.detect.requires.memory: 8GiB -> 500MB"),
        (
            "memory: 8GiB",
            "memory: 8GiB, gpus: {count: 2, memory: 24GiB}",
            "stages.detect.requires.gpus: none -> {count: 2, memory: 24GiB}",
        ),
        ("timeout: 2h", "timeout: 90m", "stages.track.timeout: 2h -> 90m"),
        (", timeout: 2h", "", "stages.track.timeout: 2h -> none"),
        ("timeout: 2h", "timeout: 2h, lost_after: never", "stages.track.lost_after: none -> never"),
        ("stages:", "confirmation: once\nstages:", "confirmation: never -> once"),
        ("stages:", "retention: {keep_last: 3}\nstages:", "retention.keep_last: none -> 3"),
        ("name: traffic", "name: other", "name: traffic -> other"),
    ],
)
def test_one_difference(old: str, new: str, says: str) -> None:
    assert BEFORE.count(old) == 1
    assert told(BEFORE.replace(old, new)) == [says]


def test_stages_added_removed_and_moved() -> None:
    after = dedent(
        """\
        name: traffic
        env: {CONF: 0.3, OLD: a}
        stages:
          - {name: look, image: "i:1"}
          - {name: stats, image: "i:2"}
          - {name: detect, image: "i:1", command: [detect, --fast], requires: {memory: 8GiB}}
          - {name: clean, image: "i:1"}
          - {name: more, image: "i:1"}
        """
    )
    assert told(after) == [
        "stages.track: removed",
        "stages.look: added as the first stage",
        "stages.stats: moved after look",
        "stages.stats.image: i:1 -> i:2",
        "stages.more: added after clean",
    ]


def test_how_something_is_written_is_no_difference() -> None:
    assert told(BEFORE.replace("8GiB", "8192MiB").replace("2h", "120m") + "# a comment\n") == []


def test_long_values_are_shown_where_they_differ() -> None:
    (shown,) = told(
        BEFORE.replace("--fast", "x" * 300 + "slow" + "y" * 300), BEFORE.replace("--fast", "x" * 600)
    )
    assert len(shown) < 250
    assert "slow" in shown
    assert shown.count("…") == 4


def test_two_stages_and_two_environments() -> None:
    definition = parse(BEFORE, source="before")
    detect, track = definition.stages[:2]
    assert Change("name", Kind.CHANGED, "detect", "track") in stage_changes(detect, track)
    assert [str(change) for change in env_changes({"A": "1", "B": "2"}, {"B": "3", "C": "4"}, path="e")] == [
        "e.A: removed, was 1",
        "e.B: 2 -> 3",
        "e.C: added 4",
    ]


def test_a_sentence_says_how_much_it_leaves_out() -> None:
    changes = env_changes({}, dict.fromkeys("ABCDEFG", "1"))
    assert sentence(changes, most=2) == "env.A: added 1; env.B: added 1; and 5 more"
    assert sentence([]) == "nothing"


@given(DEFINITIONS, DEFINITIONS)
def test_nothing_differs_only_between_equals(one: PipelineDefinition, other: PipelineDefinition) -> None:
    assert (pipeline_changes(one, other) == []) == (one == other)
    assert pipeline_changes(one, one) == []
