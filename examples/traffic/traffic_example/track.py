"""Stage 2: join boxes to road users. workspace/detections.txt -> workspace/tracks.txt"""

from __future__ import annotations

import shutil
import sys
from itertools import groupby

from traffic_example.mot import read_detections, write_tracks
from traffic_example.stage import Progress, Stage, main, report
from traffic_example.tracking import Tracker
from traffic_example.video import VideoFacts


def run(stage: Stage) -> None:
    """The stage. Raises StageError."""
    facts = VideoFacts.read(stage.handed_over("video.json", by="detect"))
    detections = read_detections(stage.handed_over("detections.txt", by="detect"))
    by_frame = {frame: list(group) for frame, group in groupby(detections, key=lambda d: d.frame)}
    tracker = Tracker(fps=facts.fps)
    progress = Progress(facts.frames)
    for frame in range(facts.frames):
        tracker.step(by_frame.get(frame, []))
        progress.at(frame + 1)
    boxes = tracker.finish()
    write_tracks(stage.workspace / "tracks.txt", boxes)
    shutil.copy(stage.workspace / "tracks.txt", stage.output / "tracks.txt")
    report("tracks", len({box.track for box in boxes}))
    report("boxes_filled_in", sum(not box.seen for box in boxes))


if __name__ == "__main__":
    sys.exit(main(run))
