"""Calibration: pixels to metres, and where it stops being of use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from traffic_example.ground import COARSEST, Ground
from traffic_example.stage import StageError

CAMERA = np.array(
    [[0.05, 0.02, -20.0], [0.0, -0.15, 90.0], [0.0, 0.004, -0.2]]
)  # looks down a road; horizon at y = 50
PIXELS = np.array([(100.0, 120.0), (700.0, 130.0), (650.0, 400.0), (90.0, 420.0), (400.0, 250.0)])


def true_metres(x: float, y: float) -> np.ndarray:
    east, north, depth = CAMERA @ (x, y, 1.0)
    return np.array([east / depth, north / depth])


def ground(*, offset: tuple[float, float] = (500_000.0, 5_000_000.0)) -> Ground:
    return Ground.fit(PIXELS, np.array([true_metres(*p) for p in PIXELS]) + offset)


def distance(fitted: Ground, a: tuple[float, float], b: tuple[float, float]) -> float:
    return float(np.linalg.norm(np.array(fitted.metres(*a)) - fitted.metres(*b)))


def test_distances_between_other_points_come_out_right() -> None:
    for a, b in [((200.0, 150.0), (600.0, 380.0)), ((300.0, 500.0), (310.0, 200.0))]:
        truth = float(np.linalg.norm(true_metres(*a) - true_metres(*b)))
        assert distance(ground(), a, b) == pytest.approx(truth, rel=1e-3)


def test_the_residual_tells_how_well_the_points_agree() -> None:
    assert ground().residual < 1e-3
    metres = np.array([true_metres(*p) for p in PIXELS])
    metres[4] += (1.0, 0.0)
    assert 0.05 < Ground.fit(PIXELS, metres).residual < 1.0


def test_the_slope_is_the_derivative() -> None:
    fitted = ground()
    slope = fitted.metres_per_pixel(400.0, 400.0)
    assert slope is not None
    here = np.array(fitted.metres(400.0, 400.0))
    across = (np.array(fitted.metres(400.01, 400.0)) - here) / 0.01
    down = (np.array(fitted.metres(400.0, 400.01)) - here) / 0.01
    np.testing.assert_allclose(slope, np.column_stack([across, down]), rtol=1e-3)


def test_no_metres_above_the_horizon_or_where_a_pixel_spans_too_much() -> None:
    fitted = ground()
    assert fitted.metres_per_pixel(400.0, 40.0) is None
    assert fitted.metres_per_pixel(400.0, 55.0) is None
    near = fitted.metres_per_pixel(400.0, 400.0)
    assert near is not None
    assert np.linalg.norm(near, 2) <= COARSEST


def test_a_mirrored_calibration_has_the_same_horizon() -> None:
    metres = np.array([true_metres(*p) for p in PIXELS]) * (-1.0, 1.0)
    fitted = Ground.fit(PIXELS, metres)
    assert fitted.metres_per_pixel(400.0, 400.0) is not None
    assert fitted.metres_per_pixel(400.0, 40.0) is None


@pytest.mark.parametrize("rows", [3, 0])
def test_too_few_points(rows: int) -> None:
    with pytest.raises(StageError, match="at least 4"):
        Ground.fit(PIXELS[:rows], PIXELS[:rows])


def test_points_on_one_line_are_refused() -> None:
    line = np.array([(x, 2 * x) for x in (0.0, 10.0, 20.0, 30.0)])
    with pytest.raises(StageError, match="no homography"):
        Ground.fit(line, line)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"1": {"x_px": 1}}', '{"1": 5}', '"points"'])
def test_another_file_is_no_calibration(tmp_path: Path, text: str) -> None:
    path = tmp_path / "points.otrfpts"
    path.write_text(text)
    with pytest.raises(StageError, match=r"calibration|CALIBRATION"):
        Ground.read(path)


def test_an_otrfpts_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "points.otrfpts"
    points = {
        str(i): {
            "x_px": x,
            "y_px": y,
            "lon_utm": 5e5 + true_metres(x, y)[0],
            "lat_utm": 5e6 + true_metres(x, y)[1],
        }
        for i, (x, y) in enumerate(PIXELS)
    }
    path.write_text(json.dumps(points))
    assert Ground.read(path).residual < 1e-3
