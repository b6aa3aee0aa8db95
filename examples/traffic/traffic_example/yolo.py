"""The detector with weights: YOLOv3-tiny (Redmon and Farhadi 2018, trained on COCO) through OpenCV.

The network's layout is written here and handed to OpenCV as Darknet configuration text. The fine output's anchors
are numbers 1 to 3: the configuration that is passed around with these weights says 0 to 2, which they were not
trained with (recall falls from 0.88 to 0.07).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from traffic_example.boxes import Box, Detection, join_riders, suppress
from traffic_example.stage import StageError

_ANCHORS = "10,14, 23,27, 37,58, 81,82, 135,169, 344,319"
_COCO = {0: "pedestrian", 1: "bicycle", 2: "car", 3: "motorcycle", 5: "bus", 7: "truck"}
_COCO_CLASSES = 80
_WEIGHTS_BYTES = 20 + 4 * 8_858_734  # a header, then one float a parameter
_INPUT_HEIGHT = 608  # pixels; at 448 far vehicles and cyclists are lost
_OUTPUT_FILTERS = 3 * (5 + _COCO_CLASSES)


def _convolution(filters: int, size: int, *, output: bool = False) -> str:
    normal = "" if output else "batch_normalize=1\n"
    activation = "linear" if output else "leaky"
    return (
        f"[convolutional]\n{normal}filters={filters}\nsize={size}\nstride=1\npad=1\nactivation={activation}\n"
    )


def _pool(stride: int) -> str:
    return f"[maxpool]\nsize=2\nstride={stride}\n"


def _head(mask: str) -> str:
    return f"[yolo]\nmask={mask}\nanchors={_ANCHORS}\nclasses={_COCO_CLASSES}\nnum=6\n"


def darknet_configuration(width: int, height: int) -> str:
    """The network as Darknet text for pictures of `width` x `height` pixels (multiples of 32)."""
    backbone = "".join(_convolution(filters, 3) + _pool(2) for filters in (16, 32, 64, 128, 256))
    deep = _convolution(512, 3) + _pool(1) + _convolution(1024, 3) + _convolution(256, 1)
    coarse = _convolution(512, 3) + _convolution(_OUTPUT_FILTERS, 1, output=True) + _head("3,4,5")
    rising = (
        "[route]\nlayers=-4\n" + _convolution(128, 1) + "[upsample]\nstride=2\n" + "[route]\nlayers=-1,8\n"
    )
    fine = _convolution(256, 3) + _convolution(_OUTPUT_FILTERS, 1, output=True) + _head("1,2,3")
    return f"[net]\nwidth={width}\nheight={height}\nchannels=3\n" + backbone + deep + coarse + rising + fine


class YoloDetector:
    """Finds road users in single frames. `confidence`: the least that counts, 0 to 1; `aspect`: width by height
    of the video, which the network's input takes over."""

    name = "yolov3-tiny"

    def __init__(self, weights: Path, *, confidence: float, aspect: float) -> None:
        """Raises StageError where `weights` are not this network's."""
        data = weights.read_bytes()
        if len(data) != _WEIGHTS_BYTES:  # OpenCV would take any file, and find nothing
            raise StageError(
                f"WEIGHTS={weights.name}: {len(data)} bytes; the weights of YOLOv3-tiny for COCO have {_WEIGHTS_BYTES}"
            )
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._size = (max(round(_INPUT_HEIGHT * aspect / 32), 1) * 32, _INPUT_HEIGHT)
        self._confidence = confidence
        configuration = darknet_configuration(*self._size).encode()
        self._network = cv2.dnn.readNetFromDarknet(
            np.frombuffer(configuration, np.uint8), np.frombuffer(data, np.uint8)
        )
        self._outputs = self._network.getUnconnectedOutLayersNames()

    def find(self, index: int, frame: NDArray[np.uint8]) -> list[Detection]:
        """Road users in one BGR frame, one box each."""
        self._network.setInput(cv2.dnn.blobFromImage(frame, 1 / 255, self._size, swapRB=True))
        rows = np.vstack(self._network.forward(self._outputs))
        scores = rows[:, 5:]
        height, width = frame.shape[:2]
        found: list[Detection] = []
        for row in np.flatnonzero(scores.max(axis=1) >= self._confidence):
            kind = _COCO.get(int(scores[row].argmax()))
            if kind is not None:
                across, down, wide, high = (float(v) for v in rows[row, :4] * (width, height, width, height))
                box = Box(across - wide / 2, down - high / 2, wide, high)
                found.append(Detection(index, box, float(scores[row].max()), kind))
        return join_riders(suppress(found))
