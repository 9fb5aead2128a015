"""Detect objects in images by the ONNX file beside this one: one page without PyTorch or sodkit.

Written by `sodkit export`; it needs numpy, OpenCV (cv2) and onnxruntime, and does what `sodkit
predict` does: windows of the image are resized, padded and normalised; the graph finds boxes in
each; NMS thins them out, in each window and then over all windows (whatever way of merging the
recipe has). What it needs to know stands in the ONNX file's metadata, as JSON.

    python THIS_FILE IMAGE ...      a line for each detection: image, class, score, box

Boxes are left, top, right, bottom; oriented ones are centre x and y, width, height and angle
(radians, clockwise as seen). All lengths are px of the image. Images have 8 bits a channel.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

Array = npt.NDArray[Any]


class Detector:
    """The graph, and what its metadata say; on a GPU put "CUDAExecutionProvider" first."""

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        notes = self.session.get_modelmeta().custom_metadata_map
        self.classes = json.loads(notes["classes"])  # names, by label
        # (width, height), (x, y)
        self.window, self.stride = json.loads(notes["window"]), json.loads(notes["stride"])
        self.scale, self.fill = json.loads(notes["scale"]), json.loads(notes["fill"])
        self.mean, self.std = (np.array(json.loads(notes[k]), np.float32) for k in ("mean", "std"))
        self.keep, self.merge_nms = json.loads(notes["keep"]), json.loads(notes["merge_nms"])
        self.size = [max(int(side * self.scale + 0.5), 1) for side in self.window]
        self.shape = self.session.get_inputs()[0].shape  # images, 3, height, width

    def detect(self, image: Array) -> tuple[Array, Array, Array]:
        """Return boxes (N, 4 or 5), scores (N,) and labels (N,) of (H, W, 3) RGB, best first."""
        sides = (image.shape[1], image.shape[0])
        columns, rows = (starts(*one) for one in zip(sides, self.window, self.stride, strict=True))
        corners, found = [(x, y) for x in columns for y in rows], []
        for first in range(0, len(corners), self.shape[0]):
            some = corners[first : first + self.shape[0]]
            inputs = np.zeros(self.shape, np.float32)  # zero is the padding, right and bottom
            for place, corner in zip(inputs, some, strict=False):
                place[:, : self.size[1], : self.size[0]] = self.prepare(image, *corner)
            outputs = self.session.run(["boxes", "scores", "labels"], {"images": inputs})
            found += [self.best(*one) for one in zip(*outputs, some, strict=False)]
        boxes, scores, labels = (np.concatenate(part) for part in zip(*found, strict=True))
        if boxes.shape[1] == 4:
            boxes = np.clip(boxes, 0, [*sides, *sides])
            whole = (boxes[:, 2:] > boxes[:, :2]).all(1)
        else:
            whole = ((boxes[:, :2] >= 0) & (boxes[:, :2] <= sides) & (boxes[:, 2:4] > 0)).all(1)
        boxes, scores, labels = boxes[whole], scores[whole], labels[whole]
        kept = suppress(boxes, scores, labels, self.merge_nms, len(boxes))
        return boxes[kept], scores[kept], labels[kept]

    def prepare(self, image: Array, x: int, y: int) -> Array:
        """Return the window at (x, y) as the graph takes it: (3, height, width) float32."""
        width, height = self.window
        part = image[y : y + height, x : x + width]
        below, right = height - part.shape[0], width - part.shape[1]
        part = cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_CONSTANT, value=self.fill)
        part = cv2.resize(part, self.size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(((part - self.mean) / self.std).transpose(2, 0, 1))

    def best(
        self, boxes: Array, scores: Array, labels: Array, corner: tuple[int, int]
    ) -> tuple[Array, Array, Array]:
        """Return what is kept of the graph's boxes in the window at ``corner``, px of the image."""
        likely = scores > self.keep["score"]
        boxes, scores, labels = boxes[likely], scores[likely], labels[likely]
        if self.keep["nms"] is not None:
            kept = suppress(boxes, scores, labels, self.keep["nms"], self.keep["max_per_patch"])
            boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
        factors = np.divide(self.size, self.window, dtype=np.float32)
        if boxes.shape[1] == 4:
            boxes = np.clip(boxes, 0, [*self.size, *self.size]) / [*factors, *factors] + corner * 2
        else:
            boxes = boxes / [*factors, *factors, 1] + [*corner, 0, 0, 0]
        return boxes, scores, labels


def starts(length: int, window: int, stride: int) -> list[int]:
    """Return where the windows along a side of an image begin; the last one ends with it."""
    return [*range(0, max(length - window, 0), stride), max(length - window, 0)]


def suppress(boxes: Array, scores: Array, labels: Array, threshold: float, limit: int) -> Array:
    """Return the rows of the ``limit`` best boxes that no better one of their class overlaps."""
    order, kept = np.argsort(-scores, kind="stable"), np.zeros(0, np.int64)
    overlap = upright_overlap if boxes.shape[1] == 4 else turned_overlap
    while len(order) and len(kept) < limit:
        best, order = order[0], order[1:]
        kept = np.append(kept, best)
        gone = labels[order] == labels[best]
        gone[gone] = overlap(boxes[best], boxes[order[gone]]) > threshold
        order = order[~gone]
    return kept


def upright_overlap(box: Array, others: Array) -> Array:
    """Return the IoUs (N,) of a box (4,) with others (N, 4)."""
    shared = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.maximum(shared, 0).prod(1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - both
    return np.asarray(both / np.maximum(union, 1e-9))


def turned_overlap(box: Array, others: Array) -> Array:
    """Return the IoUs (N,) of an oriented box (5,) with others (N, 5)."""
    found, reach = np.zeros(len(others)), np.hypot(others[:, 2], others[:, 3])
    moved = np.column_stack([others[:, :2] - box[:2], others[:, 2:]]).astype(float)
    near = np.hypot(moved[:, 0], moved[:, 1]) * 2 < reach + np.hypot(box[2], box[3])
    own = ((0.0, 0.0), (float(box[2]), float(box[3])), float(np.degrees(box[4])))
    for row in np.flatnonzero(near):
        x, y, w, h, angle = moved[row].tolist()
        other = ((x, y), (w, h), float(np.degrees(angle)))
        _, points = cv2.rotatedRectangleIntersection(own, other)
        if points is not None and len(points) > 2:
            both = cv2.contourArea(cv2.convexHull(points))
            found[row] = both / max(own[1][0] * own[1][1] + w * h - both, both, 1e-9)
    return found


def main() -> None:
    """Print what is found in the images that are named."""
    if len(sys.argv) < 2:
        sys.exit(f"usage: python {sys.argv[0]} IMAGE ...")
    detector = Detector(Path(__file__).with_suffix(".onnx"))
    for name in sys.argv[1:]:
        image = cv2.imread(name, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        if image is None or image.dtype != np.uint8:
            sys.exit(f"{name}: cannot be read as an image of 8 bits a channel")
        for box, score, label in zip(*detector.detect(image[..., ::-1]), strict=True):
            numbers = ",".join(f"{value:.3f}" for value in box)
            print(f"{name},{detector.classes[label]},{score:.4f},{numbers}")


if __name__ == "__main__":
    main()
