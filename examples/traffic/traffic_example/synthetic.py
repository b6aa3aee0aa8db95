"""A clip drawn by this program, for a demo or a test where no real one can be had.

    python3 -m traffic_example.synthetic DIRECTORY

Writes clip.mp4 (four boxes that cross a grey square seen from straight above, one of them after a stop, and one that
never moves; 5 s) and clip.otrfpts (10 pixels a metre). What is in it is known exactly: see `BOXES`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from traffic_example.video import Frame

WIDTH, HEIGHT, FPS, FRAMES = 640, 480, 20, 100
PIXELS_PER_METRE = 10


@dataclass(frozen=True)
class DrawnBox:
    """A box of `size` pixels whose upper left corner starts at `start`; `velocity` in metres per second (east, south),
    0 until `leaves` (seconds)."""

    start: tuple[int, int]
    size: tuple[int, int]
    velocity: tuple[float, float]
    leaves: float = 0.0

    def at(self, seconds: float) -> tuple[int, int]:
        """Its corner then, in pixels."""
        moving = max(0.0, seconds - self.leaves) * PIXELS_PER_METRE
        return round(self.start[0] + self.velocity[0] * moving), round(
            self.start[1] + self.velocity[1] * moving
        )


BOXES = (
    DrawnBox(start=(20, 60), size=(44, 24), velocity=(10.0, 0.0)),
    DrawnBox(start=(560, 150), size=(60, 30), velocity=(-8.0, 0.0)),
    DrawnBox(start=(80, 250), size=(20, 24), velocity=(1.5, 1.5)),
    DrawnBox(start=(500, 320), size=(30, 40), velocity=(0.0, -3.0), leaves=2.0),
    DrawnBox(start=(300, 400), size=(44, 24), velocity=(0.0, 0.0)),
)


def draw(seconds: float, noise: np.random.Generator) -> Frame:
    """One frame, with a camera's noise."""
    frame = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    cv2.line(frame, (0, 220), (WIDTH, 220), (200, 200, 200), 2)
    for number, box in enumerate(BOXES):
        x, y = box.at(seconds)
        shade = 40 + 45 * number
        cv2.rectangle(
            frame, (x, y), (x + box.size[0] - 1, y + box.size[1] - 1), (shade, 255 - shade, 230), -1
        )
    grain = noise.normal(0.0, 2.0, frame.shape)
    return np.clip(frame + grain, 0, 255).astype(np.uint8)


def write(directory: Path) -> tuple[Path, Path]:
    """Write the clip and its calibration; both paths. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    clip, calibration = directory / "clip.mp4", directory / "clip.otrfpts"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise OSError(f"{clip}: OpenCV cannot write it")
    noise = np.random.default_rng(1)
    for index in range(FRAMES):
        writer.write(draw(index / FPS, noise))
    writer.release()
    corners = [(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)]
    points = {
        str(number): {
            "x_px": x, "y_px": y, "hemisphere": "N", "zone_utm": 32,
            "lon_utm": 500_000 + x / PIXELS_PER_METRE, "lat_utm": 5_000_000 - y / PIXELS_PER_METRE,
        }
        for number, (x, y) in enumerate(corners, start=1)
    }  # fmt: skip
    calibration.write_text(json.dumps(points, indent=1) + "\n")
    return clip, calibration


if __name__ == "__main__":
    for path in write(Path(sys.argv[1])):
        print(path)
