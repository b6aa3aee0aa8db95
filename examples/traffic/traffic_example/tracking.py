"""From boxes in single frames to road users over time: Kalman prediction and optimal assignment.

Confident boxes are assigned first, doubtful ones then continue what exists but start nothing (ByteTrack, Zhang
et al. 2022). A road user that is hidden goes on by prediction until `patience` runs out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from traffic_example.boxes import Box, Detection, iou_matrix
from traffic_example.mot import TrackedBox

_NEVER = 1e6  # a cost no assignment would take by choice
_START = 0.45  # confidence, 0 to 1, that starts a track
_KEEP = 0.2  # confidence that still continues one
_PATIENCE = 1.0  # seconds a road user may be hidden
_LEAST_DURATION = 0.4  # seconds it must have been seen, in all
_LEAST_OVERLAP = 0.15  # IoU of prediction and box
_REACH = (
    0.25  # share by which boxes grow before they are compared: small fast ones overlap themselves no more
)


class BoxFilter:
    """A Kalman filter of one box: centre and size, each with its change per frame.

    Noise goes with the box's own size, since a near vehicle moves and jitters by more pixels than a far one."""

    _PROCESS = 0.03
    _MEASURED = 0.06

    def __init__(self, box: Box) -> None:
        self._state = np.concatenate([_measure(box), np.zeros(4)])
        spread = self._scale() * np.repeat([self._MEASURED, 0.2], 4)
        self._covariance = np.diag(spread**2)

    def _scale(self) -> float:
        return float(np.sqrt(max(self._state[2] * self._state[3], 1.0)))

    @property
    def box(self) -> Box:
        """The present estimate."""
        across, down, width, height = (float(value) for value in self._state[:4])
        width, height = max(width, 1.0), max(height, 1.0)
        return Box(across - width / 2, down - height / 2, width, height)

    def predict(self) -> Box:
        """Go on by one frame."""
        step = np.eye(8)
        step[:4, 4:] = np.eye(4)
        noise = self._scale() * np.array(
            [*[self._PROCESS / 2] * 4, *[self._PROCESS] * 2, *[self._PROCESS / 3] * 2]
        )
        self._state = step @ self._state
        self._covariance = step @ self._covariance @ step.T + np.diag(noise**2)
        return self.box

    def correct(self, box: Box) -> None:
        """Take in what was seen in this frame."""
        noise = (self._scale() * self._MEASURED) ** 2 * np.eye(4)
        gain = self._covariance[:, :4] @ np.linalg.inv(self._covariance[:4, :4] + noise)
        self._state = self._state + gain @ (_measure(box) - self._state[:4])
        self._covariance = self._covariance - gain @ self._covariance[:4]

    def rest(self) -> None:
        """Stop the growth of a box that is not seen: a hidden vehicle does not swell."""
        self._state[6:] = 0.0


def _measure(box: Box) -> NDArray[np.float64]:
    return np.array([box.left + box.width / 2, box.top + box.height / 2, box.width, box.height])


@dataclass
class _Track:
    filter: BoxFilter
    seen: list[Detection] = field(default_factory=list)
    missed: int = 0


class Tracker:
    """Feed frames in order with `step`; `finish` gives every track long enough to believe."""

    def __init__(self, *, fps: float) -> None:
        self._patience = round(_PATIENCE * fps)
        self._least_seen = max(2, round(_LEAST_DURATION * fps))
        self._live: list[_Track] = []
        self._ended: list[_Track] = []

    def step(self, detections: list[Detection]) -> None:
        """Take in one frame's detections (all of the same frame; empty for a frame without any)."""
        for track in self._live:
            track.filter.predict()
        sure = [d for d in detections if d.confidence >= _START]
        doubtful = [d for d in detections if _KEEP <= d.confidence < _START]
        waiting, unused = self._assign(self._live, sure)
        waiting, _ = self._assign(waiting, doubtful)
        for track in waiting:
            track.missed += 1
            track.filter.rest()
        self._ended += [track for track in self._live if track.missed > self._patience]
        self._live = [track for track in self._live if track.missed <= self._patience]
        self._live += [_Track(BoxFilter(d.box), [d]) for d in unused]

    def _assign(
        self, tracks: list[_Track], detections: list[Detection]
    ) -> tuple[list[_Track], list[Detection]]:
        """Give tracks their detections; what is left over of both comes back."""
        if not tracks or not detections:
            return tracks, detections
        overlap = iou_matrix(
            [_grow(track.filter.box, _REACH) for track in tracks], [_grow(d.box, _REACH) for d in detections]
        )
        cost = np.where(overlap >= _LEAST_OVERLAP, 1.0 - overlap, _NEVER)
        pairs = [
            (int(r), int(c)) for r, c in zip(*linear_sum_assignment(cost), strict=True) if cost[r, c] < _NEVER
        ]
        for row, column in pairs:
            track = tracks[row]
            track.filter.correct(detections[column].box)
            track.seen.append(detections[column])
            track.missed = 0
        rows, columns = {row for row, _ in pairs}, {column for _, column in pairs}
        return (
            [track for row, track in enumerate(tracks) if row not in rows],
            [d for column, d in enumerate(detections) if column not in columns],
        )

    def finish(self) -> list[TrackedBox]:
        """All tracks, numbered from 1 by first appearance, gaps filled in by straight lines."""
        believed = [track.seen for track in self._ended + self._live if len(track.seen) >= self._least_seen]
        believed.sort(key=lambda seen: (seen[0].frame, seen[0].box))
        return [box for number, seen in enumerate(believed, start=1) for box in _fill(number, seen)]


def _grow(box: Box, share: float) -> Box:
    across, down = share * box.width, share * box.height
    return Box(box.left - across, box.top - down, box.width + 2 * across, box.height + 2 * down)


def _fill(number: int, seen: list[Detection]) -> list[TrackedBox]:
    filled = [TrackedBox(number, seen[0])]
    for before, after in pairwise(seen):
        span = after.frame - before.frame
        for frame in range(before.frame + 1, after.frame):
            part = (frame - before.frame) / span
            box = Box(*(a + part * (b - a) for a, b in zip(before.box, after.box, strict=True)))
            filled.append(
                TrackedBox(number, replace(before, frame=frame, box=box, confidence=0.0), seen=False)
            )
        filled.append(TrackedBox(number, after))
    return filled
