"""Reading a video frame by frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from traffic_example.stage import StageError

Frame = NDArray[np.uint8]  # height x width x 3, BGR


@dataclass(frozen=True)
class VideoFacts:
    """What later stages must know without the video. `fps` in frames per second, sizes in pixels."""

    width: int
    height: int
    fps: float
    frames: int
    sha256: str
    detector: str
    weights_sha256: str

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> VideoFacts:
        """What `write` wrote. Raises StageError when it is something else."""
        try:
            return cls(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise StageError(f"{path.name}: not the facts that the stage `detect` writes: {error}") from error


def probe(path: Path) -> tuple[int, int, float, int]:
    """Width, height, frames per second and the number of frames a header claims. Raises StageError."""
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise StageError(f"{path.name}: OpenCV cannot read this video")
        width, height = (
            int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        return width, height, capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()


def frames(path: Path) -> Iterator[Frame]:
    """Every frame in order. Raises StageError when there is none."""
    capture = cv2.VideoCapture(str(path))
    count = 0
    try:
        while True:
            there, frame = capture.read()
            if not there:
                break
            count += 1
            yield frame.astype(np.uint8, copy=False)
    finally:
        capture.release()
    if not count:
        raise StageError(f"{path.name}: holds no frame that OpenCV can read")


def sample(path: Path, *, claimed: int, wanted: int) -> Iterator[Frame]:
    """At most `wanted` frames, evenly spread over a video whose header claims `claimed` frames.

    Jumps to them, since decoding hours of video for a few frames takes as long as a detector does. Raises
    StageError when there is none."""
    step = max(claimed / wanted, 1.0)
    capture = cv2.VideoCapture(str(path))
    count = 0
    try:
        for number in range(wanted):
            capture.set(cv2.CAP_PROP_POS_FRAMES, int((number + 0.5) * step))
            there, frame = capture.read()
            if not there:
                break
            count += 1
            yield frame.astype(np.uint8, copy=False)
    finally:
        capture.release()
    if not count:
        raise StageError(f"{path.name}: holds no frame that OpenCV can read")
