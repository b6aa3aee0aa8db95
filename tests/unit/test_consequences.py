"""Records say not only what happened but what came of it: which run waits, and why none does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.test_steering import TEXT, Story
from winslow.project import EventRecord

RETRYING = TEXT.replace(
    "{name: detect, image: i,", "{name: detect, image: i, retry: {max: 1, 'on': [node_lost]},"
)
ASKING = TEXT.replace("{name: track, image: i,", "{name: track, image: i, confirmation: always,")
NEEDING = TEXT.replace("{name: track, image: i,", "{name: track, image: i, require_env: [LIMIT],")


def last(story: Story) -> EventRecord:
    return story.project.recent_events[-1]


def test_the_run_that_was_made_is_named() -> None:
    story = Story()
    story.start()
    assert (last(story).text, last(story).n) == ("started what comes next; #1 detect is queued", 1)
    story.end()
    assert (last(story).text, last(story).n) == ("run #1: succeeded; #2 track is queued", 1)


def test_the_end_is_told() -> None:
    story = Story()
    story.all()
    assert last(story).text == "run #3: succeeded; nothing follows"


@pytest.mark.parametrize(
    ("text", "fields", "says"),
    [
        (TEXT, {"advance": "single"}, "run #1: succeeded; paused: single"),
        (ASKING, {}, "run #1: succeeded; paused: "),
        (NEEDING, {}, "run #1: succeeded; paused: "),
    ],
)
def test_why_nothing_goes_on_is_told(text: str, fields: dict[str, Any], says: str) -> None:
    story = Story(text)
    story.start(**fields)
    story.end()
    assert last(story).text.startswith(says) and not last(story).text.endswith(": ")


def test_a_failure_and_a_persons_own_pause_are_told_once() -> None:
    story = Story()
    story.start()
    story.end("failed", "exit_code")
    assert last(story).text == "run #1: failed: exit_code"
    story.start()
    story.send("paused", note="lunch")
    assert last(story).text == "paused: lunch"
    story.end()
    assert last(story).text == "run #2: succeeded"


def test_another_try_is_told() -> None:
    story = Story(RETRYING)
    story.start()
    story.send("claimed", n=1, k=1, claim="c", node="ws1", node_uuid="u")
    story.send("lost", n=1, k=1, claim="c", detail="silent for 15 min")
    assert last(story).text == "run #1: attempt 1 was lost: silent for 15 min; #1 is queued again"
