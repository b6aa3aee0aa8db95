"""The tracker: one number per road user, through misses, crossings and doubt."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from traffic_example.boxes import Box, Detection
from traffic_example.mot import TrackedBox
from traffic_example.tracking import BoxFilter, Tracker

FPS = 20.0


def seen(frame: int, x: float, y: float = 100.0, *, size: float = 40.0, confidence: float = 0.9) -> Detection:
    return Detection(frame, Box(x, y, size, size), confidence, "car")


def track(frames: Iterable[list[Detection]]) -> list[TrackedBox]:
    tracker = Tracker(fps=FPS)
    for detections in frames:
        tracker.step(detections)
    return tracker.finish()


def numbers(boxes: list[TrackedBox]) -> set[int]:
    return {box.track for box in boxes}


def test_a_steady_road_user_is_one_track_with_every_box() -> None:
    boxes = track([seen(i, 5.0 * i)] for i in range(40))
    assert numbers(boxes) == {1}
    assert [box.detection.frame for box in boxes] == list(range(40))
    assert all(box.seen for box in boxes)


def test_a_hidden_road_user_keeps_its_number_and_the_gap_is_filled_in() -> None:
    boxes = track([seen(i, 6.0 * i)] if not 15 <= i < 27 else [] for i in range(45))
    assert numbers(boxes) == {1}
    filled = [box for box in boxes if not box.seen]
    assert [box.detection.frame for box in filled] == list(range(15, 27))
    assert filled[5].detection.box.left == pytest.approx(6.0 * 20)
    assert all(box.detection.confidence == 0.0 for box in filled)


def test_who_is_away_longer_than_patience_comes_back_as_another() -> None:
    boxes = track([seen(i, 100.0)] if not 20 <= i < 45 else [] for i in range(65))
    assert numbers(boxes) == {1, 2}


def test_two_that_cross_keep_their_numbers() -> None:
    boxes = track([seen(i, 8.0 * i, 100.0), seen(i, 480.0 - 8.0 * i, 118.0)] for i in range(60))
    assert numbers(boxes) == {1, 2}
    for number in (1, 2):
        path = [box.detection.box.left for box in boxes if box.track == number]
        assert abs(path[-1] - path[0]) == pytest.approx(8.0 * 59)


def test_a_doubtful_box_continues_a_track_and_starts_none() -> None:
    continued = track([seen(i, 5.0 * i, confidence=0.9 if i < 10 else 0.25)] for i in range(40))
    assert numbers(continued) == {1}
    assert max(box.detection.frame for box in continued) == 39
    assert track([seen(i, 5.0 * i, confidence=0.25)] for i in range(40)) == []


def test_a_flash_is_no_road_user() -> None:
    assert track([seen(i, 300.0)] if i in (5, 6, 7) else [] for i in range(40)) == []


def test_a_small_fast_one_whose_boxes_do_not_overlap_is_followed() -> None:
    boxes = track([seen(i, 21.0 * i, size=20.0)] for i in range(30))
    assert numbers(boxes) == {1}


def test_jitter_does_not_break_a_track() -> None:
    noise = np.random.default_rng(7)
    boxes = track([seen(i, 3.0 * i + noise.normal(0, 3), 100 + noise.normal(0, 3))] for i in range(100))
    assert numbers(boxes) == {1}


def test_tracks_are_numbered_by_first_appearance() -> None:
    boxes = track([seen(i, 300.0)] + ([seen(i, 10.0)] if i >= 10 else []) for i in range(30))
    assert {box.track: box.detection.box.left for box in boxes} == {1: 300.0, 2: 10.0}


def test_no_detection_at_all() -> None:
    assert track([] for _ in range(10)) == []


def test_the_filter_learns_a_velocity_and_predicts_with_it() -> None:
    box_filter = BoxFilter(Box(0, 0, 40, 40))
    for i in range(1, 20):
        box_filter.predict()
        box_filter.correct(Box(4.0 * i, 0, 40, 40))
    assert box_filter.predict().left == pytest.approx(80.0, abs=1.0)
    for _ in range(5):
        box_filter.rest()
        box = box_filter.predict()
    assert box.left == pytest.approx(100.0, abs=3.0)
    assert box.width == pytest.approx(40.0, abs=1.0)
