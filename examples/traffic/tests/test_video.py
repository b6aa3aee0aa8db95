"""Videos, the drawn clip, what moves in it, and pictures of the results."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from traffic_example import synthetic
from traffic_example.boxes import Box
from traffic_example.ground import Ground
from traffic_example.motion import MotionDetector
from traffic_example.pictures import draw_all
from traffic_example.stage import StageError
from traffic_example.trajectories import Point, Trajectory
from traffic_example.video import VideoFacts, frames, probe, sample
from traffic_example.yolo import YoloDetector, darknet_configuration


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return synthetic.write(tmp_path_factory.mktemp("clip"))


def test_the_drawn_clip_is_what_it_says(clip: tuple[Path, Path]) -> None:
    assert probe(clip[0]) == (synthetic.WIDTH, synthetic.HEIGHT, float(synthetic.FPS), synthetic.FRAMES)
    assert sum(1 for _ in frames(clip[0])) == synthetic.FRAMES
    ground = Ground.read(clip[1])
    metres = np.linalg.norm(np.array(ground.metres(100, 100)) - ground.metres(200, 100))
    assert metres == pytest.approx(100 / synthetic.PIXELS_PER_METRE)


def test_samples_are_spread_over_the_video(clip: tuple[Path, Path]) -> None:
    samples = list(sample(clip[0], claimed=synthetic.FRAMES, wanted=10))
    assert len(samples) == 10
    x, y = synthetic.BOXES[0].at(4.75)
    assert float(np.abs(samples[9][y + 12, x + 22].astype(int) - 120).max()) > 40


def test_a_header_that_claims_too_little_or_nothing_is_no_harm(clip: tuple[Path, Path]) -> None:
    assert len(list(sample(clip[0], claimed=0, wanted=5))) == 5
    assert len(list(sample(clip[0], claimed=150, wanted=5))) == 3


@pytest.mark.parametrize("content", [b"", b"this is no video" * 100])
def test_what_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ulm.mp4"
    path.write_bytes(content)
    with pytest.raises(StageError, match=r"ulm\.mp4"):
        probe(path)
    with pytest.raises(StageError, match=r"ulm\.mp4"):
        list(frames(path))
    with pytest.raises(StageError, match=r"ulm\.mp4"):
        list(sample(path, claimed=100, wanted=5))


def test_what_moves_is_found_and_what_stands_is_not(clip: tuple[Path, Path]) -> None:
    detector = MotionDetector(
        sample(clip[0], claimed=synthetic.FRAMES, wanted=50), width=synthetic.WIDTH, height=synthetic.HEIGHT
    )
    found = []
    for index, frame in enumerate(frames(clip[0])):
        if index <= 20:
            found = detector.find(index, frame)
    moving = [box for box in synthetic.BOXES if any(box.velocity) and not box.leaves]
    for box in moving:
        x, y = box.at(1.0)
        assert any(abs(d.box.left - x) < 4 and abs(d.box.top - y) < 4 for d in found), box
    standing = synthetic.BOXES[-1].start
    assert not any(abs(d.box.left - standing[0]) < 20 and abs(d.box.top - standing[1]) < 20 for d in found)
    assert all(d.kind == "moving" and 0.0 < d.confidence <= 1.0 for d in found)


def test_the_network_has_the_anchors_its_weights_were_trained_with() -> None:
    text = darknet_configuration(800, 608)
    assert text.count("[yolo]") == 2
    assert [line for line in text.splitlines() if line.startswith("mask")] == ["mask=3,4,5", "mask=1,2,3"]
    assert text.count("[convolutional]") == 13
    assert "width=800\nheight=608" in text


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.weights"
    path.write_bytes(b"\0" * 1000)
    with pytest.raises(StageError, match=r"other\.weights"):
        YoloDetector(path, confidence=0.25, aspect=4 / 3)


def test_facts_come_back_as_they_went_and_others_are_refused(tmp_path: Path) -> None:
    facts = VideoFacts(800, 600, 20.0, 60, "aa", "mog2", "")
    facts.write(tmp_path / "video.json")
    assert VideoFacts.read(tmp_path / "video.json") == facts
    (tmp_path / "video.json").write_text("{}")
    with pytest.raises(StageError, match=r"video\.json"):
        VideoFacts.read(tmp_path / "video.json")


def path(track: int, kind: str, *, moved: bool = True, speed: float | None = 5.0) -> Trajectory:
    points = tuple(
        Point(i, i / 20, 50.0 + (4.0 * i if moved else 0), 60.0 + 20 * track, 80.0, None, speed)
        for i in range(40)
    )
    return Trajectory(track, kind, moved, points)


def colours(picture: Path) -> int:
    read = cv2.imread(str(picture))
    assert read is not None
    return len(np.unique(read.reshape(-1, 3), axis=0))


SCENE = np.full((300, 400, 3), 90, np.uint8)


def test_pictures_show_something(tmp_path: Path) -> None:
    paths = [path(1, "car"), path(2, "bicycle"), path(3, "car", moved=False)]
    drawn = draw_all(tmp_path, paths, SCENE, {"car": 1, "bicycle": 1})
    assert {picture.name for picture in drawn} == {
        "trajectories.png",
        "heatmap.png",
        "counts.png",
        "speeds.png",
    }
    assert all(colours(picture) > 20 for picture in drawn)


def test_pictures_of_nothing_at_all(tmp_path: Path) -> None:
    drawn = draw_all(tmp_path, [], SCENE, {})
    assert {picture.name for picture in drawn} == {"trajectories.png", "heatmap.png", "counts.png"}


@pytest.mark.parametrize("speed", [None, 5.0])
def test_pictures_of_more_road_users_than_labels(tmp_path: Path, speed: float | None) -> None:
    paths = [path(i, "pedestrian", speed=speed) for i in range(40)]
    assert len(draw_all(tmp_path, paths, SCENE, {"pedestrian": 40})) == 4


def test_a_box_says_where_it_stands() -> None:
    assert Box(10.0, 20.0, 30.0, 40.0).foot == (25.0, 60.0)
