"""What the README shows works."""

from __future__ import annotations

import re
from pathlib import Path

from winslow import pipeline

README = Path(__file__).resolve().parents[2] / "README.md"


def test_its_pipeline_is_valid() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README.read_text(), flags=re.DOTALL)
    definition = pipeline.parse(text, source="README.md")
    assert [stage.name for stage in definition.stages] == ["count", "report"]


def test_it_names_the_two_commands() -> None:
    text = README.read_text()
    assert "\nmake demo\n" in text and "\nmake test\n" in text
