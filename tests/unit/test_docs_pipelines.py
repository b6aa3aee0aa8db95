"""docs/pipelines.md names every key of a definition and no other, with the schema's words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from winslow.definition_yaml import flow, plain
from winslow.pipeline import (
    GpuRequirement,
    PipelineDefinition,
    Requirements,
    Retention,
    Retry,
    StageDefinition,
    json_schema,
    parse,
)

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "pipelines.md").read_text()
TABLES: dict[str, type[BaseModel]] = {
    "## The definition": PipelineDefinition,
    "### `stages`": StageDefinition,
    "### `requires`": Requirements,
    "### `gpus`": GpuRequirement,
    "### `retry`": Retry,
    "### `retention`": Retention,
}


def test_every_table_of_the_schema_is_there() -> None:
    schema = json_schema()
    tables = {name for name, told in schema["$defs"].items() if told["type"] == "object"}
    assert tables | {"PipelineDefinition"} == {model.__name__ for model in TABLES.values()}


@pytest.mark.parametrize("heading", TABLES)
def test_a_table_says_what_the_schema_says(heading: str) -> None:
    section = re.split(r"\n##+ ", TEXT.split(f"\n{heading}", 1)[1], maxsplit=1)[0]
    rows = [re.split(r" *\| *", row.strip("| ")) for row in section.splitlines() if row.startswith("| `")]
    told = {key.strip("`"): (default, words) for key, _value, default, words in rows}
    assert told == {
        name: (_default(TABLES[heading], name), field.description)
        for name, field in TABLES[heading].model_fields.items()
    }


def _default(model: type[BaseModel], name: str) -> str:
    field = model.model_fields[name]
    if field.is_required():
        return "needed"
    empty = field.default in (None, "", (), {}) or isinstance(field.default, BaseModel)
    return "" if empty else f"`{flow(plain(field.default, field))}`"


def test_its_example_is_valid() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
    assert [stage.name for stage in parse(text, source="docs").stages] == ["detect", "track", "report"]
