"""A definition that was written is read back equal, whatever stands in it."""

from __future__ import annotations

from hypothesis import given

from tests.definitions import DEFINITIONS, STAGE_FIELDS
from winslow.definition_yaml import write
from winslow.pipeline import PipelineDefinition, StageDefinition, parse


@given(DEFINITIONS)
def test_what_was_written_is_read_back_equal(definition: PipelineDefinition) -> None:
    assert parse(write(definition), source="written") == definition


def test_the_definitions_tried_here_may_use_every_field_of_a_stage() -> None:
    assert set(STAGE_FIELDS) | {"name", "image"} == set(StageDefinition.model_fields)
