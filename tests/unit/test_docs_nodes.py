"""docs/nodes.md names every key of an agent's configuration and no other, and its example is valid."""

from __future__ import annotations

import re
from pathlib import Path

from winslow import config

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "nodes.md").read_text()


def test_every_key_is_there() -> None:
    told = re.findall(r"^\| `(\w+)` \|", TEXT, flags=re.MULTILINE)
    assert sorted(told) == sorted(config.AgentSettings.model_fields)


def test_its_example_is_valid(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    file = tmp_path / "config.toml"
    file.write_text(example)
    agent = config.load(environ={"WINSLOW_CONFIG": str(file)}).settings.agent
    assert (agent.name, agent.memory, agent.secrets) == ("ws3", 96 << 30, Path("/etc/winslow/secrets.toml"))
