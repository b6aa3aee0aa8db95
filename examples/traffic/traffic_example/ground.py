"""From pixels to metres on the ground, for a camera that does not move.

A calibration is a file of at least four points of the road whose pixel and UTM position are known, in OTVision's
`.otrfpts` form: JSON of `{"1": {"x_px", "y_px", "lon_utm", "lat_utm", ...}, ...}`, metres.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from traffic_example.stage import StageError

COARSEST = 0.3
"""Metres that one pixel may span where a speed is still given: beyond it jitter of a box drowns the movement."""

_LEAST_POINTS = 4


@dataclass(frozen=True)
class Ground:
    """The homography from pixels to metres east and north of `origin` (UTM); `residual` in metres (RMS)."""

    matrix: NDArray[np.float64]
    origin: tuple[float, float]
    residual: float

    @classmethod
    def fit(cls, pixels: NDArray[np.float64], metres: NDArray[np.float64]) -> Ground:
        """From matching points, both of shape (n, 2), n >= 4. Raises StageError where they give no homography."""
        if len(pixels) < _LEAST_POINTS:
            raise StageError(
                f"calibration: {len(pixels)} points; a homography needs at least {_LEAST_POINTS}"
            )
        origin = metres.mean(axis=0)
        matrix, _ = cv2.findHomography(pixels, metres - origin)
        if matrix is None or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-15:
            raise StageError(
                "calibration: the points give no homography (three on one line, or double points?)"
            )
        matrix = matrix * np.sign(matrix[2] @ (*pixels.mean(axis=0), 1.0))
        draft = cls(matrix, (float(origin[0]), float(origin[1])), 0.0)
        errors = np.array([draft.metres(x, y) for x, y in pixels]) - (metres - origin)
        return cls(matrix, draft.origin, float(np.sqrt((errors**2).sum(axis=1).mean())))

    @classmethod
    def read(cls, path: Path) -> Ground:
        """From an `.otrfpts` file. Raises StageError naming the file."""
        try:
            points = list(json.loads(path.read_text()).values())
            pixels = np.array([(p["x_px"], p["y_px"]) for p in points], dtype=np.float64).reshape(-1, 2)
            metres = np.array([(p["lon_utm"], p["lat_utm"]) for p in points], dtype=np.float64).reshape(-1, 2)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StageError(f"CALIBRATION={path.name}: no otrfpts file ({error!r})") from error
        return cls.fit(pixels, metres)

    def metres(self, x: float, y: float) -> tuple[float, float]:
        """East and north of the origin, in metres, of a pixel on the ground."""
        east, north, depth = self.matrix @ (x, y, 1.0)
        return float(east / depth), float(north / depth)

    def metres_per_pixel(self, x: float, y: float) -> NDArray[np.float64] | None:
        """The 2 x 2 derivative of `metres` there: it turns pixels per second into metres per second.

        None where the calibration says nothing useful: at and above the horizon, and where one pixel spans more
        than `COARSEST` metres."""
        depth = float(self.matrix[2] @ (x, y, 1.0))
        if depth <= 0:
            return None
        here = np.array(self.metres(x, y))
        slope: NDArray[np.float64] = (self.matrix[:2, :2] - np.outer(here, self.matrix[2, :2])) / depth
        return slope if np.linalg.norm(slope, 2) <= COARSEST else None
