"""Stage 3: what the road users did. workspace/tracks.txt -> output: tables, pictures, summary.json

Settings: CALIBRATION (an .otrfpts file; without it speeds stay in pixels per second).
"""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from traffic_example.ground import Ground
from traffic_example.mot import read_tracks
from traffic_example.pictures import draw_all
from traffic_example.stage import Stage, StageError, main, report
from traffic_example.trajectories import Trajectory, trajectories
from traffic_example.video import VideoFacts


def run(stage: Stage) -> None:
    """The stage. Raises StageError."""
    facts = VideoFacts.read(stage.handed_over("video.json", by="detect"))
    boxes = read_tracks(stage.handed_over("tracks.txt", by="track"))
    scene = cv2.imread(str(stage.handed_over("scene.png", by="detect")))
    if scene is None:
        raise StageError("scene.png is no picture: run the stage `detect` again")
    calibration = stage.file("CALIBRATION")
    ground = Ground.read(calibration) if calibration else None
    if ground:
        print(f"calibration {ground.residual:.2f} m off at its points", flush=True)
    else:
        print("CALIBRATION is not set: speeds in pixels per second", flush=True)

    paths = trajectories(boxes, facts, ground)
    print("paths and speeds 40 %", flush=True)
    moved, stood = [path for path in paths if path.moved], [path for path in paths if not path.moved]
    counts = dict(Counter(path.kind for path in moved).most_common())
    _write_points(stage.output / "trajectories.csv", paths)
    _write_road_users(stage.output / "road_users.csv", paths)
    pictures = draw_all(stage.output, paths, scene.astype(np.uint8, copy=False), counts)
    print("pictures 90 %", flush=True)

    summary = {
        "video": {"sha256": facts.sha256, "seconds": facts.frames / facts.fps, "frames": facts.frames},
        "detector": {"name": facts.detector, "weights_sha256": facts.weights_sha256 or None},
        "calibration": {"origin_utm": ground.origin, "residual_m": ground.residual} if ground else None,
        "counts": counts,
        "standing": dict(Counter(path.kind for path in stood).most_common()),
        "road_users": [_facts(path) for path in moved],
        "pictures": [path.name for path in pictures],
    }
    (stage.output / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    for kind, count in counts.items():
        report(f"count_{kind}", count)
    report("count", len(moved))
    report("standing", len(stood))
    speeds = [path.median_speed for path in moved if path.median_speed is not None]
    if speeds:
        report("median_speed_mps", f"{float(np.median(speeds)):.2f}")
    report("weights_sha256", facts.weights_sha256 or "none")
    print("done 100 %", flush=True)


def _facts(path: Trajectory) -> dict[str, object]:
    return {
        "track": path.track,
        "class": path.kind,
        "from_s": path.points[0].time,
        "to_s": path.points[-1].time,
        "distance_m": _rounded(path.distance),
        "median_speed_mps": _rounded(path.median_speed),
        "top_speed_mps": _rounded(path.top_speed),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _write_road_users(path: Path, paths: list[Trajectory]) -> None:
    with path.open("w", newline="") as file:
        rows = [{"moved": int(trajectory.moved), **_facts(trajectory)} for trajectory in paths]
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["track", "class"])
        writer.writeheader()
        writer.writerows(rows)


def _write_points(path: Path, paths: list[Trajectory]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["track", "class", "moved", "frame", "time_s", "x_px", "y_px", "east_m", "north_m", "speed_mps"]
        )
        for trajectory in paths:
            for point in trajectory.points:
                east, north = (f"{v:.2f}" for v in point.metres) if point.metres else ("", "")
                speed = "" if point.speed is None else f"{point.speed:.2f}"
                writer.writerow([
                    trajectory.track, trajectory.kind, int(trajectory.moved), point.frame, f"{point.time:.3f}",
                    f"{point.x:.1f}", f"{point.y:.1f}", east, north, speed,
                ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(run))
