"""Stage 1: find road users in every frame. VIDEO -> workspace/detections.txt, video.json, scene.png

Settings: VIDEO (a file; required), WEIGHTS (YOLOv3-tiny weights; without them whatever moves is found, of unknown
class), CONFIDENCE (0 to 1, default 0.25), FPS (where the video's header is wrong).
"""

from __future__ import annotations

import shutil
import sys
from typing import Protocol

import cv2

from traffic_example.boxes import Detection
from traffic_example.mot import write_detections
from traffic_example.motion import MotionDetector
from traffic_example.stage import Progress, Stage, main, report, sha256
from traffic_example.video import Frame, VideoFacts, frames, probe, sample
from traffic_example.yolo import YoloDetector

_BACKGROUND_FRAMES = 100


class Detector(Protocol):
    """Finds road users in one frame. `sha256` is that of its weights, empty where it has none."""

    name: str
    sha256: str

    def find(self, index: int, frame: Frame) -> list[Detection]:
        """The road users in frame `index`."""


def run(stage: Stage) -> None:
    """The stage. Raises StageError."""
    video = stage.file("VIDEO", required="start with --env VIDEO=res:traffic/your-video.mp4")
    assert video is not None
    weights = stage.file("WEIGHTS")
    width, height, fps, claimed = probe(video)
    fps = stage.number("FPS", fps)
    cv2.setNumThreads(max(1, int(stage.number("WINSLOW_RES_CORES", 1))))
    print(f"video {video.name}: {width}x{height}, {fps:g} frames/s, {claimed} frames", flush=True)

    for scene in sample(video, claimed=claimed, wanted=1):
        cv2.imwrite(str(stage.workspace / "scene.png"), scene)
    detector: Detector
    if weights is None:
        print("WEIGHTS is not set: looking for whatever moves (classes stay unknown)", flush=True)
        detector = MotionDetector(
            sample(video, claimed=claimed, wanted=_BACKGROUND_FRAMES), width=width, height=height
        )
    else:
        detector = YoloDetector(weights, confidence=stage.number("CONFIDENCE", 0.25), aspect=width / height)
        print(f"weights {weights.name}: sha256 {detector.sha256}", flush=True)

    progress = Progress(claimed)
    found: list[Detection] = []
    count = 0
    for count, frame in enumerate(frames(video), start=1):
        found += detector.find(count - 1, frame)
        progress.at(count)

    write_detections(stage.workspace / "detections.txt", found)
    facts = VideoFacts(width, height, fps, count, sha256(video), detector.name, detector.sha256)
    facts.write(stage.workspace / "video.json")
    shutil.copy(stage.workspace / "detections.txt", stage.output / "detections.txt")
    report("frames", count)
    report("detections", len(found))
    report("detector", detector.name)
    report("weights_sha256", detector.sha256 or "none")
    report("video_sha256", facts.sha256)


if __name__ == "__main__":
    sys.exit(main(run))
