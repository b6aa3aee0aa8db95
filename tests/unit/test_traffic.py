"""The example's own tests (`examples/traffic/tests`), in the environment that its programs run in.

The example is a package of its own with its own requirements (OpenCV and others), which the project's environment
does not have: `environment.py` prepares them, as it does for the demo.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "traffic"
FILES = sorted(path.name for path in (EXAMPLE / "tests").glob("test_*.py"))


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest) -> Path:
    """The interpreter of the prepared environment. Skips without network (fails under WINSLOW_TEST_REQUIRE=all)."""
    default = Path.home() / ".cache" / "winslow" / "traffic"
    cache = Path(os.environ.get("WINSLOW_TRAFFIC_CACHE") or default)
    made = subprocess.run(
        [sys.executable, str(EXAMPLE / "environment.py"), str(cache), "--with", "pytest>=9,<10"],
        capture_output=True,
        text=True,
        timeout=280,
    )
    if made.returncode:
        if os.environ.get("WINSLOW_TEST_REQUIRE") == "all":
            pytest.fail(f"no environment for the example: {made.stderr}", pytrace=False)
        pytest.skip(f"no environment for the example: {made.stderr}")
    return Path(json.loads(made.stdout)["python"])


def test_there_are_tests() -> None:
    assert {"test_boxes.py", "test_ground.py", "test_tracking.py", "test_trajectories.py"} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_example(python: Path, name: str) -> None:
    done = subprocess.run(
        [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/{name}"],
        cwd=EXAMPLE,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(EXAMPLE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(Path.home()),
        },
        capture_output=True,
        text=True,
        timeout=200,
    )
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed in " in last, done.stdout
    assert "skipped" not in last, last
