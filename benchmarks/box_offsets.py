"""How far the boxes of detections are off: what is left of the misses of AP75.

    python benchmarks/box_offsets.py ANN PREDICTIONS

Every object is paired with the detection of the highest IoU; pairs count from an IoU of .3 and a
score of .5 on. Printed are mean, standard deviation and median, in px, of the difference between
detection and object: of the centre (x, y) and of the size (w, h). A mean that is not 0 on other
images than those trained on, and 0 on those, is a difference between the annotations of the two.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import sodkit
from sodkit.arrays import FloatArray
from sodkit.geometry.boxes import iou, xywh_to_xyxy

MIN_IOU, MIN_SCORE = 0.3, 0.5


def main() -> None:
    """Print the differences of a file of predictions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ann", type=Path)
    parser.add_argument("predictions", type=Path)
    options = parser.parse_args()
    truth = sodkit.read_annotations(options.ann)
    off = offsets(truth, sodkit.read_predictions(options.predictions, truth))
    if not len(off):
        raise SystemExit(f"{options.predictions}: no detection is near an object")
    print(f"{len(off)} of {len(truth.xywh)} objects are paired")
    print(f"{'':7}{'x':>7}{'y':>7}{'w':>7}{'h':>7}")
    for name, statistic in (("mean", np.mean), ("std", np.std), ("median", np.median)):
        print(f"{name:7}" + "".join(f"{value:7.2f}" for value in statistic(off, axis=0)))


def offsets(truth: sodkit.Annotations, found: sodkit.Detections) -> FloatArray:
    """Return (K, 4) differences of centre and size, in px, of the K objects that are paired."""
    pairs = [np.zeros((0, 4))]
    for index, image in enumerate(truth.images):
        own = truth.xywh[truth.image_index == index]
        chosen = (found.image_ids == image.id) & (found.scores >= MIN_SCORE)
        boxes = found.xywh[chosen]
        if len(own) and len(boxes):
            overlap = iou(xywh_to_xyxy(own), xywh_to_xyxy(boxes))
            best = overlap.argmax(axis=1)
            paired = overlap.max(axis=1) >= MIN_IOU
            pairs.append(_centred(boxes[best[paired]]) - _centred(own[paired]))
    return np.concatenate(pairs)


def _centred(xywh: FloatArray) -> FloatArray:
    """Return boxes with their centre in place of their corner."""
    return np.concatenate([xywh[:, :2] + xywh[:, 2:] / 2, xywh[:, 2:]], axis=1)


if __name__ == "__main__":
    main()
