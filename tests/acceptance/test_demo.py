"""`winslow demo` as a stranger starts it: real clips, real detector, two agents; by eye's counts at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.conftest import missing
from tests.services.engine import DockerService
from tests.services.servers import draw_ports
from winslow_tui import demo

TRUTH = tomllib.loads(Path(__file__).with_name("traffic_truth.toml").read_text())
CLIPS = {"cyclist": "cars-cyclist", "truck": "cars-truck"}
DEADLINE = 500.0


def run_demo(home: Path, runtime: str, **variables: str) -> str:
    """What it prints; fails the test where it does not end with 0."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WINSLOW_")}
    environment |= {"WINSLOW_TRAFFIC_CACHE": str(demo.cache_directory()), "HOME": str(home), **variables}
    draw_ports(home / "demo")
    program = Path(sys.executable).with_name("winslow")
    done = subprocess.run(
        [str(program), "demo", "--headless", "--dir", str(home / "demo"), "--runtime", runtime],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    told = done.stderr + done.stdout
    if "weights cannot be had" in told or "clip-" in told.partition("2. how stages run")[0]:
        missing("the demo's clips or weights cannot be had")
    assert done.returncode == 0, told
    return told


def check_results(home: Path, told: str) -> None:
    """Counts per class equal those counted by eye, and the pictures are there."""
    for name, clip in CLIPS.items():
        (results,) = (home / "demo/results").glob(f"{name}-????")
        summary = json.loads((results / "summary.json").read_text())
        counts = {kind: number for kind, number in summary["counts"].items() if number}
        assert counts == TRUTH[clip]["counts"]
        pictures = sorted(results.rglob("*.png"))
        assert {picture.name for picture in pictures} == {
            "counts.png", "heatmap.png", "speeds.png", "trajectories.png",
        }  # fmt: skip
        assert all(str(picture) in told and picture.stat().st_size > 4000 for picture in pictures)
    assert "weights_sha256 = dccea06f59b7" in told
    assert told.count("SUCCEEDED") == 6
    assert "bids" in told and "how to go on" in told


def test_the_demo_on_plain_processes(tmp_path: Path) -> None:
    told = run_demo(tmp_path, "process")
    assert "runtime: process (asked for)" in told
    check_results(tmp_path, told)
    assert "secret" not in told.lower()


def test_the_demo_in_containers(tmp_path: Path, docker_engine: DockerService) -> None:
    base = subprocess.run(
        [sys.executable, str(demo.EXAMPLE / "base_image.py"), str(demo.cache_directory())],
        env={**os.environ, **docker_engine.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if base.returncode != 0:
        missing("a base image for the stages cannot be made (debootstrap, as root)")
    told = run_demo(
        tmp_path,
        "auto",
        **docker_engine.environment,
        WINSLOW_DEMO_BASE_IMAGE=base.stdout.strip().splitlines()[-1],
    )
    assert "runtime: docker" in told
    check_results(tmp_path, told)
