"""Boxes of road users, and the suppression of boxes that show the same one.

A box is (left, top, width, height) in pixels, origin at the picture's upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CLASSES = ("pedestrian", "bicycle", "motorcycle", "car", "bus", "truck", "moving")
"""What a road user can be; a class's number in MOT text is its place here, from 1. `moving` is what a detector
without weights says: something that moves, of unknown kind."""


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    top: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    @property
    def foot(self) -> tuple[float, float]:
        """The middle of the lower edge: where the road user stands on the ground."""
        return self.left + self.width / 2, self.top + self.height


@dataclass(frozen=True)
class Detection:
    """One box in one frame (numbered from 0) with its class and confidence (0 to 1)."""

    frame: int
    box: Box
    confidence: float
    kind: str


def intersection(a: Box, b: Box) -> float:
    """The area that two boxes share, in square pixels."""
    width = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    height = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    return max(width, 0.0) * max(height, 0.0)


def iou(a: Box, b: Box) -> float:
    """Intersection over union, 0 to 1."""
    shared = intersection(a, b)
    return shared / (a.area + b.area - shared) if shared else 0.0


def iou_matrix(rows: list[Box], columns: list[Box]) -> NDArray[np.float64]:
    """`iou` of every row with every column, shape (rows, columns)."""
    return np.array([[iou(a, b) for b in columns] for a in rows]).reshape(len(rows), len(columns))


def suppress(detections: list[Detection], *, overlap: float = 0.45, inside: float = 0.8) -> list[Detection]:
    """Keep the most confident of boxes that show one road user, whatever their classes are.

    A detector calls one vehicle `car` and `truck` at once, so classes do not protect a box from another. Boxes
    show one road user when their IoU exceeds `overlap`, or when the smaller lies within the larger by more
    than `inside` and is of a like kind (a part of a car taken for a car). A person within a vehicle's box may be
    somebody who passes in front of it, and stays.
    """
    kept: list[Detection] = []
    for candidate in sorted(detections, key=lambda detection: -detection.confidence):
        if not any(_same(candidate, other, overlap, inside) for other in kept):
            kept.append(candidate)
    return kept


def _same(a: Detection, b: Detection, overlap: float, inside: float) -> bool:
    if iou(a.box, b.box) > overlap:
        return True
    smaller = min(a.box.area, b.box.area)
    return _wide(a.kind) == _wide(b.kind) and intersection(a.box, b.box) > inside * smaller


def _wide(kind: str) -> bool:
    return kind in ("car", "bus", "truck")


def join_riders(detections: list[Detection]) -> list[Detection]:
    """Make one road user of a cycle and the person on it.

    A person whose foot stands within a cycle's box, grown upwards by its own height, is its rider: both boxes
    become one of the cycle's class. A pedestrian beside the cycle stays.
    """
    cycles = [d for d in detections if d.kind in ("bicycle", "motorcycle")]
    free = [d for d in detections if d.kind == "pedestrian"]
    joined = [d for d in detections if d.kind not in ("bicycle", "motorcycle", "pedestrian")]
    for cycle in cycles:
        riders = [person for person in free if _rides(person.box, cycle.box)]
        free = [person for person in free if person not in riders]
        box = _hull([cycle.box, *(person.box for person in riders)])
        confidence = (
            max(cycle.confidence, *(person.confidence for person in riders)) if riders else cycle.confidence
        )
        joined.append(Detection(cycle.frame, box, confidence, cycle.kind))
    return joined + free


def _rides(person: Box, cycle: Box) -> bool:
    middle, _ = person.foot
    across = cycle.left - 0.2 * cycle.width <= middle <= cycle.left + 1.2 * cycle.width
    bottom = person.top + person.height
    touching = cycle.top <= bottom <= cycle.top + 1.4 * cycle.height
    return across and touching and intersection(person, cycle) > 0.15 * min(person.area, cycle.area)


def _hull(boxes: list[Box]) -> Box:
    left, top = min(b.left for b in boxes), min(b.top for b in boxes)
    right, bottom = max(b.left + b.width for b in boxes), max(b.top + b.height for b in boxes)
    return Box(left, top, right - left, bottom - top)
