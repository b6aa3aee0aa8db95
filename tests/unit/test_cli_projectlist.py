"""Lists of projects, their environment with its origins, and clones."""

from __future__ import annotations

import pytest

from tests.unit import cli_projects as make
from winslow import lifecycle
from winslow.errors import InvalidInput, UsageError
from winslow.events import Archived, EnvChanged, PipelineChanged, RetentionChanged, RunQueued, TagsChanged
from winslow.lifecycle import state_of
from winslow.pipeline import Retention, parse
from winslow.project import PauseReason, Project
from winslow_tui.facade.names import check_comment, check_tag
from winslow_tui.shown.projectlist import entry, env_rows, retention_of, selected, unreadable

DEFINITION = """
name: traffic
env: {CONF: "0.3", MODE: fast}
require_env: [SITE]
stages:
  - {name: detect, image: img, env: {MODE: slow}}
  - {name: track, image: img, require_env: [LANE]}
"""


def listed(project: Project) -> dict[str, object]:
    state, reason = state_of(project)
    return entry(project, state=state, reason=reason, news="")


def test_a_list_is_narrowed_by_tags_states_and_the_archive() -> None:
    new = make.new("a-aaaa")
    tagged = make.after(make.new("b-bbbb"), TagsChanged(id="t", add=("drone", "ulm")))
    away = make.after(make.new("c-cccc"), Archived(id="x"))
    entries = [listed(each) for each in (new, tagged, away, make.needing())] + [unreadable("d-dddd", "why")]

    def ids(**how: object) -> list[object]:
        given = {"archived": False, "tags": (), "states": ()} | how
        return [each["id"] for each in selected(entries, **given)]  # type: ignore[arg-type]

    assert ids() == ["a-aaaa", "b-bbbb", "ulm-abcd", "d-dddd"]
    assert ids(archived=True) == ["a-aaaa", "b-bbbb", "c-cccc", "ulm-abcd", "d-dddd"]
    assert ids(tags=["drone"]) == ids(tags=["ulm", "drone"]) == ["b-bbbb"]
    assert ids(tags=["drone", "other"]) == []
    assert ids(states=["needs-you"]) == ids(states=["needs you"]) == ids(states=["needs_you"]) == ["ulm-abcd"]
    assert ids(states=["new", "unreadable"]) == ["a-aaaa", "b-bbbb", "d-dddd"]
    with pytest.raises(UsageError, match="needs-you"):
        ids(states=["lost"])


def test_the_environment_says_who_set_it_and_what_is_missing() -> None:
    definition = parse(DEFINITION, source="test")
    project = make.after(
        make.new(),
        PipelineChanged(id="p", definition=definition, base=1),
        EnvChanged(id="e", set={"CONF": "0.4", "LANE": "2"}),
    )
    project = project.changed(site_env={"TZ": "Europe/Berlin", "CONF": "0.1"})
    assert [(row["name"], row["value"], row["origin"], row["stage"]) for row in env_rows(project)] == [
        ("CONF", "0.4", "project", ""),
        ("LANE", "2", "project", ""),
        ("MODE", "fast", "pipeline", ""),
        ("MODE", "slow", "stage", "detect"),
        ("SITE", "", "", "detect"),
        ("SITE", "", "", "track"),
        ("TZ", "Europe/Berlin", "site", ""),
    ]


def test_what_is_kept_is_said_in_words() -> None:
    assert retention_of(make.new())["text"] == "all succeeded runs and failed ones"
    own = make.after(
        make.new(), RetentionChanged(id="r", retention=Retention(keep_last=2, keep_failed=False))
    )
    told = retention_of(own)
    assert (told["origin"], told["keep_last"]) == ("project", 2)
    assert told["text"] == "the last 2 succeeded runs of each stage, no failed ones"


def test_a_clone_begins_where_its_original_began() -> None:
    definition = parse(DEFINITION, source="test")
    original = make.after(
        make.ended(),
        TagsChanged(id="t", add=("drone",)),
        PipelineChanged(id="p", definition=definition, base=1),
        EnvChanged(id="e", set={"CLIP": "ulm-abcd:input/a.mp4", "OTHER": "ulm-abcd#1:x"}),
        RetentionChanged(id="r", retention=Retention(keep_last=2)),
    )
    made = lifecycle.clone(original, id="bern-aaaa", event_id="c", name="Bern", author="ann", at="now")
    assert (made.revision, made.runs, made.queue, made.author) == (1, (), (), "ann")
    assert (made.control.reason, made.control.next_stage) == (PauseReason.NEW, "detect")
    assert (made.tags, made.env, made.retention) == (original.tags, original.env, original.retention)
    assert (made.pipeline.definition, made.pipeline.edited, made.source) == (definition, True, "traffic")
    assert [(each.id, each.text) for each in made.recent_events] == [("c", "created as a clone of ulm-abcd")]
    assert make.after(made, RunQueued(id="s", env={"SITE": "x"})).active
    own = lifecycle.clone(original, id="bern-aaaa", event_id="c", name="Bern", with_input=True)
    assert own.env == {"CLIP": "bern-aaaa:input/a.mp4", "OTHER": "ulm-abcd#1:x"}


def test_names_that_could_not_be_removed_again_are_refused() -> None:
    assert check_tag(" drone ") == "drone"
    for tag in ("old-", "", " ", "a\nb", "a\x1b[31m", "x" * 101):
        with pytest.raises(InvalidInput):
            check_tag(tag)
    assert check_comment("fine\nreally") == "fine\nreally"
    with pytest.raises(InvalidInput, match="at most 4000"):
        check_comment("x" * 4001)
