"""The results as pictures: paths and presence over the scene, speed over time, counts."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from traffic_example.trajectories import Point, Trajectory
from traffic_example.video import Frame

COLOURS = {
    "pedestrian": "#f0a202", "bicycle": "#00a6a6", "motorcycle": "#7b5ea7", "car": "#e4572e", "bus": "#2e86ab",
    "truck": "#3a9d23", "moving": "#d6336c",
}  # fmt: skip
_DPI = 120
_STEPS = 5  # of the heat map between two positions, so that a fast path is a band, not beads
_LABELLED = 25  # road users; more labels than that hide the picture


def draw_all(directory: Path, paths: list[Trajectory], scene: Frame, counts: Mapping[str, int]) -> list[Path]:
    """Write every picture that these results allow; their files."""
    moving = [path for path in paths if path.moved]
    drawn = [
        _save(directory / "trajectories.png", _trajectories(paths, scene)),
        _save(directory / "heatmap.png", _heatmap(moving, scene)),
        _save(directory / "counts.png", _counts(counts)),
    ]
    if moving:
        drawn.append(_save(directory / "speeds.png", _speeds(moving)))
    return drawn


def _save(path: Path, figure: Figure) -> Path:
    figure.savefig(path, dpi=_DPI, bbox_inches="tight", pad_inches=0.1)
    plt.close(figure)
    return path


def _over_scene(scene: Frame, title: str, *, shade: float) -> tuple[Figure, Axes]:
    """Axes in pixels with the scene, paled by `shade` (0 to 1), behind them."""
    height, width = scene.shape[:2]
    figure, axes = plt.subplots(figsize=(9.0, 9.0 * height / width + 0.6), layout="constrained")
    pale = cv2.cvtColor(scene, cv2.COLOR_BGR2RGB) * (1 - shade) + 255 * shade
    axes.imshow(pale.astype(np.uint8))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    axes.set_title(title)
    return figure, axes


def _label(path: Trajectory) -> str:
    return f"{path.track} {path.kind}"


def _trajectories(paths: list[Trajectory], scene: Frame) -> Figure:
    moving = [path for path in paths if path.moved]
    title = f"{len(moving)} road users that moved, {len(paths) - len(moving)} that stood (crosses)"
    figure, axes = _over_scene(scene, title, shade=0.3)
    line = 2.5 if len(moving) <= _LABELLED else 1.2
    for path in paths:
        colour = COLOURS[path.kind]
        if not path.moved:
            middle = path.points[len(path.points) // 2]
            axes.plot(middle.x, middle.y, "x", color=colour, markersize=7, markeredgewidth=2)
            continue
        xs, ys = [point.x for point in path.points], [point.y for point in path.points]
        axes.plot(xs, ys, color="white", linewidth=1.8 * line, solid_capstyle="round")
        axes.plot(xs, ys, color=colour, linewidth=line, solid_capstyle="round")
        axes.plot(xs[0], ys[0], "o", color="white", markeredgecolor=colour, markersize=2 * line + 1)
        step = max(1, len(xs) // 8)
        axes.annotate(
            "", (xs[-1], ys[-1]), (xs[-1 - step], ys[-1 - step]),
            arrowprops={"arrowstyle": "-|>", "color": colour, "lw": line, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
    if len(moving) <= _LABELLED:
        crosses = [
            (p.points[len(p.points) // 2].x, p.points[len(p.points) // 2].y) for p in paths if not p.moved
        ]
        _name_paths(axes, moving, scene, crosses)
    return figure


def _name_paths(
    axes: Axes, moving: list[Trajectory], scene: Frame, crosses: list[tuple[float, float]]
) -> None:
    """Labels at the paths' ends, each where it hides the fewest points of paths, crosses and earlier labels."""
    height, width = scene.shape[:2]
    wide, high = width * 0.17, height * 0.035
    taken = crosses * 3 + [(point.x, point.y) for path in moving for point in path.points[::3]]
    for path in moving:
        speed = path.median_speed
        text = _label(path) + (f", {speed:.1f} m/s" if speed is not None else "")
        end = path.points[-1]
        corners = [
            (min(max(end.x + across, 4), width - wide - 4), min(max(end.y + down, high), height - high))
            for down in (high, -high, 2 * high, -2 * high)
            for across in (-wide / 2, 0.06 * width, -wide - 0.04 * width)
        ]
        hidden = [
            sum(x - 8 <= a <= x + wide + 8 and abs(b - y) <= high for a, b in taken) for x, y in corners
        ]
        x, y = corners[hidden.index(min(hidden))]
        taken += [
            (x + part * wide / 4, y + side) for part in range(5) for side in (-high / 2, 0.0, high / 2)
        ] * 3
        box = {
            "boxstyle": "round,pad=0.2",
            "facecolor": "white",
            "edgecolor": COLOURS[path.kind],
            "alpha": 0.9,
        }
        axes.text(x, y, text, fontsize=9, color="black", va="center", bbox=box)


def _heatmap(moving: list[Trajectory], scene: Frame) -> Figure:
    figure, axes = _over_scene(scene, "Where road users moved, and for how long", shade=0.55)
    height, width = scene.shape[:2]
    seconds = np.zeros((height, width), np.float32)
    for path in moving:
        for here, there in pairwise(path.points):
            share = (there.time - here.time) / _STEPS
            for x, y in np.linspace((here.x, here.y), (there.x, there.y), _STEPS, endpoint=False):
                if 0 <= x < width and 0 <= y < height:
                    seconds[int(y), int(x)] += share
    blurred = cv2.GaussianBlur(seconds, (0, 0), width / 80)
    if blurred.max() > 0:
        relative = blurred / blurred.max()
        layer = axes.imshow(relative, cmap="plasma", vmin=0, vmax=1, alpha=np.clip(relative * 5, 0, 0.85))
        bar = figure.colorbar(layer, ax=axes, fraction=0.035, pad=0.01)
        bar.set_label("time spent, relative to the busiest spot")
    return figure


def _speeds(moving: list[Trajectory]) -> Figure:
    calibrated = any(path.speeds for path in moving)
    unit = "speed, m/s" if calibrated else "speed in the picture, pixels/s (no calibration)"
    figure, axes = plt.subplots(figsize=(9.0, 4.5), layout="constrained")
    series = [
        (path, [point for point in path.points if _speed(point, calibrated) is not None]) for path in moving
    ]
    series = [(path, points) for path, points in series if points]
    if len(series) <= _LABELLED:
        _speed_lines(axes, series, unit, calibrated)
    else:
        _speed_distribution(axes, series, unit, calibrated)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _speed(point: Point, calibrated: bool) -> float | None:
    return point.speed if calibrated else point.pixel_speed


def _speeds_of(points: list[Point], calibrated: bool) -> list[float]:
    return [speed for point in points if (speed := _speed(point, calibrated)) is not None]


def _speed_lines(
    axes: Axes, series: list[tuple[Trajectory, list[Point]]], unit: str, calibrated: bool
) -> None:
    for path, points in series:
        values = _speeds_of(points, calibrated)
        axes.plot([point.time for point in points], values, color=COLOURS[path.kind], linewidth=2)
        axes.annotate(
            _label(path), (points[-1].time, values[-1]), xytext=(5, 0), textcoords="offset points", fontsize=9,
            va="center", color=COLOURS[path.kind],
        )  # fmt: skip
    axes.set_title("Speed of road users that moved")
    axes.set_xlabel("time in the video, s")
    axes.set_ylabel(unit)
    axes.margins(x=0.1)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    if calibrated:
        kilometres = axes.secondary_yaxis("right", functions=(_to_kilometres, _to_metres))
        kilometres.set_ylabel("km/h")


def _to_kilometres(metres: Any) -> Any:
    """Per hour, from metres per second; of anything that matplotlib gives."""
    return metres * 3.6


def _to_metres(kilometres: Any) -> Any:
    return kilometres / 3.6


def _speed_distribution(
    axes: Axes, series: list[tuple[Trajectory, list[Point]]], unit: str, calibrated: bool
) -> None:
    """Each road user's median speed, stacked by class: lines of so many would hide each other."""
    medians: dict[str, list[float]] = {}
    for path, points in series:
        medians.setdefault(path.kind, []).append(float(np.median(_speeds_of(points, calibrated))))
    kinds = [kind for kind in COLOURS if kind in medians]
    colours = [COLOURS[kind] for kind in kinds]
    axes.hist([medians[kind] for kind in kinds], bins=20, stacked=True, color=colours, label=kinds)
    axes.set_title(f"Median speeds of {len(series)} road users that moved")
    axes.set_xlabel(unit)
    axes.set_ylabel("road users")
    axes.set_xlim(left=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)


def _counts(counts: Mapping[str, int]) -> Figure:
    figure, axes = plt.subplots(figsize=(6.0, 3.6), layout="constrained")
    names = [name for name in COLOURS if counts.get(name)]
    bars = axes.barh(names, [counts[name] for name in names], color=[COLOURS[name] for name in names])
    axes.bar_label(bars, padding=4)
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("road users that moved")
    axes.set_title("Road users per class" if names else "No road user moved")
    return figure
