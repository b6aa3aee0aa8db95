"""The detector without weights: whatever differs from the background moves (MOG2, Zivkovic 2004)."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from traffic_example.boxes import Box, Detection
from traffic_example.video import Frame

_SHADOW = 127  # MOG2 marks a moving shadow with this value, what moves with 255
_BACKGROUND_RATIO = 0.6  # of the time a pixel shows the scene; in a short clip road users hide it for long
_LEAST_AREA = 1 / 2500  # of the picture; anything smaller is noise


class MotionDetector:
    """Finds what moves; its class is always `moving`."""

    name = "mog2"
    sha256 = ""

    def __init__(self, samples: Iterable[Frame], *, width: int, height: int) -> None:
        """`samples` show the scene over the whole video, so that the first frames have a background too."""
        self._model = cv2.createBackgroundSubtractorMOG2(history=500, varThreshold=32, detectShadows=True)
        self._model.setBackgroundRatio(_BACKGROUND_RATIO)
        for number, frame in enumerate(samples, start=1):
            self._model.apply(frame, learningRate=1 / number)
        self._least = width * height * _LEAST_AREA
        span = max(3, width // 100)
        self._close = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (span, 2 * span))
        self._open = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))

    def find(self, index: int, frame: Frame) -> list[Detection]:
        """What moves in one frame; `confidence` is the share of the box that moves."""
        mask = np.where(self._model.apply(frame, learningRate=0.001) > _SHADOW, 255, 0).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, self._open).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, self._close).astype(np.uint8)
        found = []
        for left, top, width, height, area in cv2.connectedComponentsWithStats(mask)[2][1:]:
            if area >= self._least:
                box = Box(float(left), float(top), float(width), float(height))
                found.append(Detection(index, box, float(area) / box.area, "moving"))
        return found
