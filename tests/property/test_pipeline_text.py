"""Whatever stands in a definition file, `parse` answers with a definition or with places, never otherwise."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from winslow.definition_text import MAX_PROBLEMS, InvalidDefinition
from winslow.pipeline import PipelineDefinition, parse

WORDS = st.sampled_from(
    ["name", "stages", "image", "env", "requires", "memory", "8GiB", "x", "1", "", "~", "<<", "A"]
)
VALUES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
STAGES = st.lists(
    st.fixed_dictionaries(
        {"name": st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True), "image": st.just("img")},
        optional={
            "env": st.dictionaries(
                st.from_regex(r"[A-V][A-Z_]{0,6}", fullmatch=True),
                st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
            ),
            "lost_after": st.sampled_from(["never", "90s", "2h", None]),
            "requires": st.fixed_dictionaries({"memory": st.sampled_from(["1GiB", "3 MB"])}),
        },
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda stage: str(stage["name"]),
)


def answers(text: str) -> PipelineDefinition | None:
    """The definition, or None after checking that every problem's place lies within the text."""
    lines = text.split("\n")
    try:
        return parse(text, source="f")
    except InvalidDefinition as error:
        assert 0 < len(error.problems) <= MAX_PROBLEMS
        for problem in error.problems:
            assert problem.message
            assert 1 <= problem.position.line <= len(lines) + 1
            assert problem.position.column >= 1
        return None


@example("!:")  # a tag that is refused leaves nothing to look into
@given(st.text(alphabet="ab:-[]{}&*!|>'\"#\n\t ,?x\x00\x85\u2028", max_size=60))
def test_any_text(text: str) -> None:
    answers(text)


@given(VALUES)
def test_any_data(value: object) -> None:
    answers(json.dumps(value))


@given(STAGES)
def test_valid_data_comes_through(stages: list[dict[str, object]]) -> None:
    definition = answers(json.dumps({"name": "p", "stages": stages}))
    assert definition is not None
    for stage, given_ in zip(definition.stages, stages, strict=True):
        assert stage.name == given_["name"]
        assert stage.env == given_.get("env", {})
