"""What a road user did: its class, whether it moved at all, its smoothed path and its speed.

The point that is followed is the middle of a box's lower edge. Boxes jitter by some pixels from frame to frame;
so positions and speeds come from straight lines fitted to 1.5 seconds of them, never from the difference of two
frames, and who does not get further than its own size in the whole video is standing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from traffic_example.boxes import Box
from traffic_example.ground import Ground
from traffic_example.mot import TrackedBox
from traffic_example.video import VideoFacts

_WINDOW = 1.5  # seconds of positions behind one fitted line
_FILLED_WEIGHT = 0.2  # of a position that was filled in, against one that was seen
_CYCLE_SHARE = 0.25  # of the votes for person and cycle: enough to believe in the cycle below the rider
_EDGE = 3.0  # pixels: a box this near to the picture's edge is cut off, its foot is not where the road user stands
_FASTEST_GROWTH = 2.0  # of a box's area, as its logarithm per second; faster, it shows now one thing, now two
_STANDS_BELOW = 2.0  # times the jitter: a move within a window that is smaller is none


@dataclass(frozen=True)
class Point:
    """One moment. Pixels and seconds; `metres` (east, north) and `speed` (m/s) where the calibration reaches."""

    frame: int
    time: float
    x: float
    y: float
    pixel_speed: float
    metres: tuple[float, float] | None = None
    speed: float | None = None


@dataclass(frozen=True)
class Trajectory:
    """One road user."""

    track: int
    kind: str
    moved: bool
    points: tuple[Point, ...]

    @property
    def speeds(self) -> list[float]:
        """Metres per second, where known."""
        return [point.speed for point in self.points if point.speed is not None]

    @property
    def median_speed(self) -> float | None:
        """Metres per second; None where the calibration reaches no moment of it."""
        return float(np.median(self.speeds)) if self.speeds else None

    @property
    def top_speed(self) -> float | None:
        """The speed it exceeded in 5 % of its moments, so that no single frame decides. Metres per second."""
        return float(np.quantile(self.speeds, 0.95)) if self.speeds else None

    @property
    def distance(self) -> float | None:
        """Metres along the path, where the calibration reaches; None where it does not."""
        return sum(self.speeds) * (self.points[1].time - self.points[0].time) if self.speeds else None


def trajectories(boxes: list[TrackedBox], facts: VideoFacts, ground: Ground | None) -> list[Trajectory]:
    """One per track, by number. `ground` None: no metres."""
    by_track = groupby(sorted(boxes, key=lambda b: (b.track, b.detection.frame)), key=lambda b: b.track)
    return [_trajectory(track, list(own), facts, ground) for track, own in by_track]


def _trajectory(track: int, boxes: list[TrackedBox], facts: VideoFacts, ground: Ground | None) -> Trajectory:
    feet = np.array([box.detection.box.foot for box in boxes])
    percent = 100 * np.log([[max(box.detection.box.area, 1.0)] for box in boxes])
    weights = np.array([1.0 if box.seen else _FILLED_WEIGHT for box in boxes])
    moved = moves([box.detection.box for box in boxes if box.seen])
    positions, velocities = smooth(feet, weights, fps=facts.fps)
    growths = smooth(percent, weights, fps=facts.fps)[1][:, 0] / 100
    if not moved:
        velocities = np.zeros_like(velocities)
    points = []
    for box, (x, y), velocity, growth in zip(boxes, positions, velocities, growths, strict=True):
        moment = Point(
            frame=box.detection.frame, time=box.detection.frame / facts.fps, x=float(x), y=float(y),
            pixel_speed=float(np.linalg.norm(velocity)),
        )  # fmt: skip
        measurable = _whole(box, facts) and abs(growth) <= _FASTEST_GROWTH
        points.append(_on_the_ground(moment, velocity, ground) if ground and measurable else moment)
    return Trajectory(track, classify(boxes), moved, tuple(points))


def _on_the_ground(point: Point, velocity: NDArray[np.float64], ground: Ground) -> Point:
    slope = ground.metres_per_pixel(point.x, point.y)
    if slope is None:
        return point
    speed = float(np.linalg.norm(slope @ velocity))
    return Point(
        point.frame, point.time, point.x, point.y, point.pixel_speed, ground.metres(point.x, point.y), speed
    )


def _whole(box: TrackedBox, facts: VideoFacts) -> bool:
    left, top, width, height = box.detection.box
    across = left > _EDGE and left + width < facts.width - _EDGE
    return across and top > _EDGE and top + height < facts.height - _EDGE


def moves(boxes: list[Box]) -> bool:
    """Whether something got further than its own shorter side.

    Compared are medians of a fifth of its boxes each, so one wild box is not a movement; and all four edges'
    centre, not the foot, since a box that is half hidden for a while changes its height."""
    if len(boxes) < 2:
        return False
    centres = np.array([(box.left + box.width / 2, box.top + box.height / 2) for box in boxes])
    parts = np.array_split(centres, min(5, len(boxes)))
    stops = np.array([np.median(part, axis=0) for part in parts])
    furthest = max(float(np.linalg.norm(a - b)) for a in stops for b in stops)
    return furthest > float(np.median([min(box.width, box.height) for box in boxes]))


def classify(boxes: list[TrackedBox]) -> str:
    """The class with the most confidence behind it over the whole track.

    A rider is often seen without the cycle, never a cycle that is not there without its rider: a cycle wins against
    `pedestrian` with a quarter of their votes."""
    votes: defaultdict[str, float] = defaultdict(float)
    for box in boxes:
        votes[box.detection.kind] += box.detection.confidence if box.seen else 0.0
    kind = max(sorted(votes), key=lambda name: votes[name])
    cycle = max(("bicycle", "motorcycle"), key=lambda name: votes[name])
    cycles = votes["bicycle"] + votes["motorcycle"]
    if kind in ("pedestrian", "bicycle", "motorcycle") and cycles >= _CYCLE_SHARE * (
        cycles + votes["pedestrian"]
    ):
        return cycle if cycles else kind
    return kind


def smooth(
    path: NDArray[np.float64], weights: NDArray[np.float64], *, fps: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions and velocities (per second) of a path of shape (n, any), one position per frame.

    At each frame a line is fitted to the positions half a window before and after it, weighted by `weights` and
    by nearness, twice: the second time positions far off the first line count less. A velocity that moves no
    further than the positions scatter about their line, or half a unit, is zero."""
    count = len(path)
    half = max(2, round(_WINDOW * fps / 2))
    times = np.arange(count) / fps
    positions, velocities = np.empty_like(path), np.empty_like(path)
    for i in range(count):
        span = slice(max(0, i - half), min(count, i + half + 1))
        offset = times[span] - times[i]
        near = (1 - (np.abs(offset) / ((half + 1) / fps)) ** 3) ** 3 * weights[span]
        positions[i], velocities[i] = _line(offset, path[span], near)
    return positions, velocities


def _line(
    times: NDArray[np.float64], path: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Position and velocity at time 0 of the line through weighted positions."""
    if len(path) < 3:
        return path[int(np.argmin(np.abs(times)))], np.zeros(path.shape[1])
    design = np.column_stack([np.ones_like(times), times])
    off = np.zeros(len(path))
    robust = weights
    for _ in range(2):
        root = np.sqrt(robust)[:, None]
        fit = np.linalg.lstsq(design * root, path * root, rcond=None)[0]
        off = np.linalg.norm(path - design @ fit, axis=1)
        usual = max(1.5 * float(np.median(off)), 0.5)
        robust = weights / np.maximum(1.0, off / usual)
    moved = float(np.linalg.norm(fit[1])) * float(times[-1] - times[0])
    jitter = max(float(np.sqrt(np.average(off**2, weights=robust))), 0.5)
    return fit[0], fit[1] if moved > _STANDS_BELOW * jitter else np.zeros(path.shape[1])
