"""The stage's surroundings: settings, hand-over, progress, results, errors."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from traffic_example.boxes import CLASSES, Box, Detection
from traffic_example.mot import TrackedBox, read_detections, read_tracks, write_detections, write_tracks
from traffic_example.stage import Progress, Stage, StageError, main, report, sha256


@pytest.fixture
def directories(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "w").mkdir()
    (tmp_path / "o").mkdir()
    return {"WINSLOW_DIR_WORKSPACE": str(tmp_path / "w"), "WINSLOW_DIR_OUTPUT": str(tmp_path / "o")}


def test_directories_come_from_the_environment(directories: dict[str, str], tmp_path: Path) -> None:
    stage = Stage.from_environment(directories)
    assert (stage.workspace, stage.output) == (tmp_path / "w", tmp_path / "o")


@pytest.mark.parametrize("value", [None, "", "/nowhere/at/all"])
def test_a_missing_directory_is_named(directories: dict[str, str], value: str | None) -> None:
    given = {k: v for k, v in directories.items() if k != "WINSLOW_DIR_OUTPUT"}
    if value is not None:
        given["WINSLOW_DIR_OUTPUT"] = value
    with pytest.raises(StageError, match="WINSLOW_DIR_OUTPUT"):
        Stage.from_environment(given)


def test_files(directories: dict[str, str], tmp_path: Path) -> None:
    video = tmp_path / "ulm.mp4"
    video.write_bytes(b"x")
    stage = Stage.from_environment(
        {**directories, "VIDEO": str(video), "WEIGHTS": "", "GONE": "/resources/gone"}
    )
    assert stage.file("VIDEO") == video
    assert stage.file("WEIGHTS") is None
    assert stage.file("CALIBRATION") is None
    with pytest.raises(StageError, match="GONE=/resources/gone: no such file"):
        stage.file("GONE")
    with pytest.raises(StageError, match="WEIGHTS is not set: say so"):
        stage.file("WEIGHTS", required="say so")


def test_numbers(directories: dict[str, str]) -> None:
    stage = Stage.from_environment({**directories, "FPS": "7", "CONFIDENCE": ""})
    assert stage.number("FPS", 20.0) == 7.0
    assert stage.number("CONFIDENCE", 0.25) == 0.25


@pytest.mark.parametrize("value", ["seven", "0", "-1", "nan", "inf"])
def test_what_is_no_number_is_named(directories: dict[str, str], value: str) -> None:
    with pytest.raises(StageError, match=f"FPS={re.escape(value)}"):
        Stage.from_environment({**directories, "FPS": value}).number("FPS", 1.0)


def test_a_missing_hand_over_names_the_stage_that_makes_it(directories: dict[str, str]) -> None:
    with pytest.raises(StageError, match="run the stage `detect` first"):
        Stage.from_environment(directories).handed_over("video.json", by="detect")


def test_progress_is_a_line_for_each_percent_and_ends_at_100(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(795)
    for frame in range(1, 796):
        progress.at(frame)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "frame 795/795 100 %"
    assert len(lines) == 101
    assert all(re.fullmatch(r"frame \d+/795 \d+ %", line) for line in lines)


def test_progress_of_a_video_longer_than_its_header_claims(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(0)
    progress.at(1)
    progress.at(2)
    assert capsys.readouterr().out.splitlines() == ["frame 1/1 100 %"]


def test_a_result_line(capsys: pytest.CaptureFixture[str]) -> None:
    report("count_car", 2)
    assert capsys.readouterr().out == "WINSLOW_RESULT: count_car=2\n"


def test_an_error_is_one_sentence_and_exit_code_2(
    directories: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in directories.items():
        monkeypatch.setitem(os.environ, name, value)

    def failing(stage: Stage) -> None:
        stage.handed_over("tracks.txt", by="track")

    assert main(failing) == 2
    assert capsys.readouterr().err.startswith("error: tracks.txt is not in the workspace")
    assert main(lambda stage: None) == 0


def test_sha256_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_mot_text_comes_back_as_it_went(tmp_path: Path) -> None:
    boxes = [
        TrackedBox(track, Detection(frame, Box(1.5 * frame, 2.25, 30.0, 40.0), 0.5, kind), seen)
        for track, kind, seen in [(1, "car", True), (2, "bicycle", False)]
        for frame in range(3)
    ]
    write_tracks(tmp_path / "t.txt", boxes)
    assert sorted(read_tracks(tmp_path / "t.txt"), key=lambda b: (b.track, b.detection.frame)) == boxes
    first = (tmp_path / "t.txt").read_text().splitlines()[0]
    assert first == f"1,1,0.00,2.25,30.00,40.00,0.5000,{CLASSES.index('car') + 1},1"
    detections = [box.detection for box in boxes]
    write_detections(tmp_path / "d.txt", detections)
    assert read_detections(tmp_path / "d.txt") == detections


@pytest.mark.parametrize(
    "line", ["hello", "1,2,3", "1,-1,a,2,3,4,0.5,1,1", "1,-1,1,2,3,4,0.5,99,1", "0,-1,1,2,3,4,0.5,1,1"]
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "detections.txt"
    path.write_text(f"1,-1,1,2,3,4,0.5,1,1\n{line}\n")
    with pytest.raises(StageError, match=r"detections.txt, line 2"):
        read_detections(path)
