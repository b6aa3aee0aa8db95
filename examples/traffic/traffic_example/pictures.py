"""The results as pictures: paths and presence over the scene, speed over time, counts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from traffic_example.trajectories import Trajectory
from traffic_example.video import Frame

COLOURS = {
    "pedestrian": "#f0a202", "bicycle": "#00a6a6", "motorcycle": "#7b5ea7", "car": "#e4572e", "bus": "#2e86ab",
    "truck": "#3a9d23", "moving": "#d6336c",
}  # fmt: skip
_DPI = 120


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
    figure.savefig(path, dpi=_DPI)
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
    moving = sum(path.moved for path in paths)
    title = f"{moving} road users that moved, {len(paths) - moving} that stood (crosses)"
    figure, axes = _over_scene(scene, title, shade=0.25)
    height, width = scene.shape[:2]
    for path in paths:
        colour = COLOURS[path.kind]
        if not path.moved:
            last = path.points[len(path.points) // 2]
            axes.plot(last.x, last.y, "x", color=colour, markersize=7, markeredgewidth=2)
            continue
        xs, ys = [point.x for point in path.points], [point.y for point in path.points]
        axes.plot(xs, ys, color="white", linewidth=4.5, solid_capstyle="round")
        axes.plot(xs, ys, color=colour, linewidth=2.5, solid_capstyle="round")
        axes.plot(xs[0], ys[0], "o", color="white", markeredgecolor=colour, markersize=6)
        step = max(1, len(xs) // 8)
        axes.annotate(
            "", (xs[-1], ys[-1]), (xs[-1 - step], ys[-1 - step]),
            arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2.5, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
        speed = path.median_speed
        text = _label(path) + (f", {speed:.1f} m/s" if speed is not None else "")
        x, y = min(max(xs[-1], 5), width - 130), min(max(ys[-1] + 20, 15), height - 10)
        box = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": colour, "alpha": 0.9}
        axes.text(x, y, text, fontsize=9, color="black", bbox=box)
    return figure


def _heatmap(moving: list[Trajectory], scene: Frame) -> Figure:
    figure, axes = _over_scene(scene, "Where road users moved, and for how long", shade=0.55)
    height, width = scene.shape[:2]
    seconds = np.zeros((height, width), np.float32)
    for path in moving:
        share = path.points[1].time - path.points[0].time
        for point in path.points:
            x, y = round(point.x), round(point.y)
            if 0 <= x < width and 0 <= y < height:
                seconds[y, x] += share
    blurred = cv2.GaussianBlur(seconds, (0, 0), width / 80)
    if blurred.max() > 0:
        relative = blurred / blurred.max()
        layer = axes.imshow(relative, cmap="inferno", vmin=0, vmax=1, alpha=np.clip(relative * 3, 0, 0.85))
        bar = figure.colorbar(layer, ax=axes, fraction=0.035, pad=0.01)
        bar.set_label("time spent, relative to the busiest spot")
    return figure


def _speeds(moving: list[Trajectory]) -> Figure:
    calibrated = any(path.speeds for path in moving)
    figure, axes = plt.subplots(figsize=(9.0, 4.5), layout="constrained")
    for path in moving:
        points = [point for point in path.points if not calibrated or point.speed is not None]
        if not points:
            continue
        values = [point.speed if point.speed is not None else point.pixel_speed for point in points]
        axes.plot([point.time for point in points], values, color=COLOURS[path.kind], linewidth=2)
        axes.annotate(
            _label(path), (points[-1].time, values[-1]), xytext=(5, 0), textcoords="offset points", fontsize=9,
            va="center", color=COLOURS[path.kind],
        )  # fmt: skip
    axes.set_xlabel("time in the video, s")
    axes.set_ylabel("speed, m/s" if calibrated else "speed in the picture, pixels/s (no calibration)")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.12)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("Speed of road users that moved")
    if calibrated:
        axes.secondary_yaxis("right", functions=(lambda v: v * 3.6, lambda v: v / 3.6)).set_ylabel("km/h")
    return figure


def _counts(counts: Mapping[str, int]) -> Figure:
    figure, axes = plt.subplots(figsize=(6.0, 3.6), layout="constrained")
    names = [name for name in COLOURS if counts.get(name)]
    bars = axes.barh(names, [counts[name] for name in names], color=[COLOURS[name] for name in names])
    axes.bar_label(bars, padding=4)
    axes.invert_yaxis()
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("road users that moved")
    axes.set_title("Road users per class" if names else "No road user moved")
    return figure
