"""Class, standing or moving, and speed - with boxes that jitter as a detector's do."""

from __future__ import annotations

import numpy as np
import pytest
from traffic_example.boxes import Box, Detection
from traffic_example.ground import Ground
from traffic_example.mot import TrackedBox
from traffic_example.trajectories import classify, moves, smooth, trajectories
from traffic_example.video import VideoFacts

FPS = 20.0
FACTS = VideoFacts(1000, 800, FPS, 200, "", "yolov3-tiny", "")
CORNERS = np.array([(0.0, 0.0), (1000.0, 0.0), (1000.0, 800.0), (0.0, 800.0)])
FLAT = Ground.fit(CORNERS, CORNERS * (0.1, -0.1))  # seen from above: 10 pixels a metre


def boxes(
    path: list[tuple[float, float]],
    *,
    jitter: float = 0.0,
    size: tuple[float, float] = (60.0, 40.0),
    kind: str = "car",
) -> list[TrackedBox]:
    """Boxes whose feet follow `path`, one a frame; `jitter` in pixels (standard deviation of every edge)."""
    noise = np.random.default_rng(3)
    result = []
    for frame, (x, y) in enumerate(path):
        left, top, right, bottom = np.array(
            [x - size[0] / 2, y - size[1], x + size[0] / 2, y]
        ) + noise.normal(0, jitter, 4)
        box = Box(float(left), float(top), float(right - left), float(bottom - top))
        result.append(TrackedBox(1, Detection(frame, box, 0.8, kind)))
    return result


def straight(
    speed: float, frames: int, *, start: tuple[float, float] = (100.0, 300.0)
) -> list[tuple[float, float]]:
    """`speed` in metres per second, eastward."""
    return [(start[0] + speed * 10 * i / FPS, start[1]) for i in range(frames)]


def test_a_parked_car_whose_box_jitters_stands_and_has_no_speed() -> None:
    [parked] = trajectories(boxes([(500.0, 300.0)] * 200, jitter=4.0), FACTS, FLAT)
    assert not parked.moved
    assert parked.median_speed == 0.0
    assert parked.top_speed == 0.0


def test_one_wild_box_is_no_movement() -> None:
    path = [(500.0, 300.0)] * 100
    path[40] = (700.0, 350.0)
    assert not moves([box.detection.box for box in boxes(path)])


def test_a_half_hidden_parked_car_stands() -> None:
    whole = [Box(500, 300, 60, 40)] * 60
    half = [Box(500, 300, 60, 22)] * 60  # a wall of a passing truck before it
    assert not moves(whole + half + whole)


def test_a_slow_walker_moves() -> None:
    assert moves([box.detection.box for box in boxes(straight(0.5, 60), jitter=1.0, size=(12.0, 30.0))])


@pytest.mark.parametrize("count", [0, 1])
def test_almost_nothing_does_not_move(count: int) -> None:
    assert not moves([Box(0, 0, 10, 10)] * count)


@pytest.mark.parametrize("speed", [1.2, 5.0, 14.0])
def test_jitter_is_not_read_as_speed(speed: float) -> None:
    [moving] = trajectories(boxes(straight(speed, 100), jitter=3.0), FACTS, FLAT)
    assert moving.moved
    assert moving.median_speed == pytest.approx(speed, rel=0.1)
    assert moving.top_speed is not None
    assert moving.top_speed < speed * 1.25 + 0.3


def test_a_stop_is_seen_as_one() -> None:
    path = straight(6.0, 60) + [straight(6.0, 60)[-1]] * 80
    [moving] = trajectories(boxes(path, jitter=2.0), FACTS, FLAT)
    later = [point.speed for point in moving.points[90:130]]
    assert moving.moved
    assert float(np.median([speed for speed in later if speed is not None])) < 0.3


def test_distance_is_the_way_driven() -> None:
    [moving] = trajectories(boxes(straight(8.0, 100), jitter=1.0), FACTS, FLAT)
    assert moving.distance == pytest.approx(8.0 * 100 / FPS, rel=0.06)


def test_without_calibration_there_are_pixels_only() -> None:
    [moving] = trajectories(boxes(straight(5.0, 60)), FACTS, None)
    assert moving.median_speed is None
    assert moving.distance is None
    assert moving.points[30].pixel_speed == pytest.approx(50.0, rel=0.01)


def test_no_speed_where_the_box_is_cut_off_by_the_edge() -> None:
    [leaving] = trajectories(boxes(straight(10.0, 180)), FACTS, FLAT)
    assert leaving.points[20].speed is not None
    assert leaving.points[-1].x > 970
    assert leaving.points[-1].speed is None


def test_no_speed_while_two_road_users_melt_into_one_box() -> None:
    path = straight(5.0, 100)
    melting = boxes(path)
    for i in range(50, 55):  # within a quarter of a second the box is ten times as large
        grown = Box(melting[i].detection.box.left - 30 * (i - 49), 100.0, 60.0 + 30 * (i - 49), 200.0)
        melting[i] = TrackedBox(1, Detection(i, grown, 0.8, "moving"))
    for i in range(55, 100):
        melting[i] = TrackedBox(
            1, Detection(i, Box(melting[i].detection.box.left - 150, 50.0, 260.0, 400.0), 0.8, "moving")
        )
    [one] = trajectories(melting, FACTS, FLAT)
    assert one.points[20].speed is not None
    assert one.points[52].speed is None


def test_a_filled_in_gap_does_not_bend_the_path() -> None:
    path = straight(5.0, 60)
    gap = [
        TrackedBox(1, box.detection, seen=not 25 <= box.detection.frame < 35)
        for box in boxes(path, jitter=1.0)
    ]
    [moving] = trajectories(gap, FACTS, FLAT)
    assert moving.points[30].speed == pytest.approx(5.0, rel=0.1)


def votes(*given: tuple[str, float]) -> list[TrackedBox]:
    return [
        TrackedBox(1, Detection(i, Box(0, 0, 9, 9), weight, kind)) for i, (kind, weight) in enumerate(given)
    ]


def test_the_class_is_what_most_confidence_stands_behind() -> None:
    assert classify(votes(("car", 0.3), ("car", 0.3), ("truck", 0.9))) == "truck"
    assert classify(votes(("car", 0.5), ("car", 0.5), ("truck", 0.9))) == "car"


def test_a_rider_seen_mostly_without_the_cycle_is_a_cyclist() -> None:
    assert classify(votes(*[("pedestrian", 0.6)] * 7, *[("bicycle", 0.6)] * 3)) == "bicycle"
    assert classify(votes(*[("pedestrian", 0.6)] * 9, ("bicycle", 0.6))) == "pedestrian"
    assert classify(votes(*[("motorcycle", 0.5)] * 3, *[("bicycle", 0.6)] * 3)) == "bicycle"


def test_a_filled_in_box_has_no_vote() -> None:
    given = votes(("car", 0.4), ("truck", 0.9))
    assert classify([given[0], TrackedBox(1, given[1].detection, seen=False)]) == "car"


def test_smoothing_leaves_a_straight_path_as_it_is() -> None:
    path = np.column_stack([np.arange(50) * 4.0, 200 - np.arange(50) * 2.0])
    positions, velocities = smooth(path, np.ones(50), fps=FPS)
    np.testing.assert_allclose(positions, path, atol=1e-6)
    np.testing.assert_allclose(velocities, np.tile((80.0, -40.0), (50, 1)), atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_smoothing_a_few_positions(count: int) -> None:
    positions, velocities = smooth(np.arange(2.0 * count).reshape(count, 2), np.ones(count), fps=FPS)
    assert positions.shape == velocities.shape == (count, 2)
    assert np.isfinite(positions).all()


def test_tracks_stay_apart() -> None:
    first, second = boxes(straight(5.0, 30)), boxes(straight(2.0, 30, start=(100.0, 500.0)))
    both = first + [TrackedBox(2, box.detection) for box in second]
    assert [path.track for path in trajectories(both, FACTS, FLAT)] == [1, 2]
