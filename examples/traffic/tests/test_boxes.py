"""Suppression and riders: one box per road user."""

from __future__ import annotations

import pytest
from traffic_example.boxes import Box, Detection, intersection, iou, iou_matrix, join_riders, suppress


def found(kind: str, confidence: float, *box: float) -> Detection:
    return Detection(0, Box(*box), confidence, kind)


def test_iou_of_known_boxes() -> None:
    whole = Box(0, 0, 10, 10)
    assert iou(whole, whole) == 1.0
    assert iou(whole, Box(5, 0, 10, 10)) == pytest.approx(50 / 150)
    assert iou(whole, Box(10, 0, 10, 10)) == 0.0
    assert intersection(whole, Box(-5, -5, 10, 10)) == 25


@pytest.mark.parametrize("rows, columns", [(0, 0), (0, 3), (3, 0), (2, 3)])
def test_iou_matrix_has_its_shape_even_when_empty(rows: int, columns: int) -> None:
    box = Box(0, 0, 1, 1)
    assert iou_matrix([box] * rows, [box] * columns).shape == (rows, columns)


def test_one_vehicle_called_car_and_truck_is_one() -> None:
    kept = suppress([found("truck", 0.4, 102, 98, 60, 42), found("car", 0.7, 100, 100, 60, 40)])
    assert [(d.kind, d.confidence) for d in kept] == [("car", 0.7)]


def test_boxes_that_coincide_are_one_road_user_whatever_their_classes() -> None:
    kinds = ["bicycle", "motorcycle", "car", "pedestrian"]
    found_all = [found(kind, 0.5 + i / 10, 100, 100, 30, 60) for i, kind in enumerate(kinds)]
    assert suppress(found_all) == [found_all[-1]]


def test_a_part_of_a_vehicle_is_no_vehicle() -> None:
    whole, cab = found("truck", 0.6, 100, 100, 150, 80), found("car", 0.5, 190, 105, 55, 70)
    assert iou(whole.box, cab.box) < 0.45  # the overlap alone would keep both
    assert suppress([whole, cab]) == [whole]


def test_a_person_before_a_car_stays() -> None:
    car, person = found("car", 0.9, 100, 100, 120, 60), found("pedestrian", 0.5, 130, 105, 20, 55)
    assert suppress([car, person]) == [car, person]


def test_neighbours_stay() -> None:
    queue = [found("car", 0.5 + i / 10, 100 + 45 * i, 100, 50, 30) for i in range(4)]
    assert len(suppress(queue)) == 4


def test_a_rider_and_the_cycle_are_one_road_user() -> None:
    [one] = join_riders([found("bicycle", 0.6, 200, 150, 40, 40), found("pedestrian", 0.8, 205, 110, 25, 70)])
    assert one.kind == "bicycle"
    assert one.box == Box(200, 110, 40, 80)
    assert one.confidence == 0.8


def test_somebody_beside_a_parked_bicycle_is_not_its_rider() -> None:
    bicycle, person = found("bicycle", 0.6, 200, 150, 40, 40), found("pedestrian", 0.8, 250, 120, 25, 70)
    assert sorted(d.kind for d in join_riders([bicycle, person])) == ["bicycle", "pedestrian"]


def test_a_car_beside_a_bicycle_is_left_alone() -> None:
    car = found("car", 0.9, 190, 120, 80, 60)
    assert car in join_riders([car, found("bicycle", 0.6, 200, 150, 40, 40)])
