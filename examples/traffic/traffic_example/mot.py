"""Detections and tracks as MOT Challenge text, which other people's tools read too.

A line: `frame,id,left,top,width,height,confidence,class,visibility`. Frames and classes count from 1, a
detection's id is -1. Visibility is 1 where the road user was seen and 0 where its box was filled in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from traffic_example.boxes import CLASSES, Box, Detection
from traffic_example.stage import StageError

_FIELDS = 9


@dataclass(frozen=True)
class TrackedBox:
    """One road user's box in one frame (numbered from 0); `seen` is False where it was filled in."""

    track: int
    detection: Detection
    seen: bool = True


def _line(track: int, detection: Detection, seen: bool) -> str:
    box = detection.box
    corners = f"{box.left:.2f},{box.top:.2f},{box.width:.2f},{box.height:.2f}"
    kind = CLASSES.index(detection.kind) + 1
    return f"{detection.frame + 1},{track},{corners},{detection.confidence:.4f},{kind},{int(seen)}\n"


def write_detections(path: Path, detections: Iterable[Detection]) -> None:
    """Write one line each."""
    path.write_text("".join(_line(-1, detection, True) for detection in detections))


def write_tracks(path: Path, boxes: Iterable[TrackedBox]) -> None:
    """Write one line each, by frame, then track."""
    ordered = sorted(boxes, key=lambda box: (box.detection.frame, box.track))
    path.write_text("".join(_line(box.track, box.detection, box.seen) for box in ordered))


def read_tracks(path: Path) -> list[TrackedBox]:
    """Raises StageError naming the line that is no MOT text."""
    boxes = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            boxes.append(_parse(line))
        except ValueError as error:
            raise StageError(f"{path.name}, line {number}: {error}") from error
    return boxes


def read_detections(path: Path) -> list[Detection]:
    """Raises StageError naming the line that is no MOT text."""
    return [box.detection for box in read_tracks(path)]


def _parse(line: str) -> TrackedBox:
    fields = line.split(",")
    if len(fields) != _FIELDS:
        raise ValueError(f"{len(fields)} fields, not the {_FIELDS} of MOT text")
    frame, track, kind, seen = (int(fields[i]) for i in (0, 1, 7, 8))
    left, top, width, height, confidence = (float(fields[i]) for i in (2, 3, 4, 5, 6))
    if not 1 <= kind <= len(CLASSES) or frame < 1:
        raise ValueError(f"frame {frame} and class {kind}: both count from 1, classes to {len(CLASSES)}")
    detection = Detection(frame - 1, Box(left, top, width, height), confidence, CLASSES[kind - 1])
    return TrackedBox(track, detection, bool(seen))
