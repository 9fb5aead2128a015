"""How far the boxes of detections are off: what is left of the misses of AP75.

    python benchmarks/box_offsets.py ANN PREDICTIONS --classes car --move 0.3 -0.8

Every object is paired with the detection of the highest IoU; pairs count from an IoU of .3 and a
score of .5 on. Printed are mean, standard deviation and median, in px, of the difference between
detection and object: of the centre (x, y) and of the size (w, h). A mean that is not 0 on other
images than those trained on, and 0 on those, is a difference between the annotations of the two.
With ``--move`` AP, AP50 and AP75 follow, of the detections as they are and moved by so many px.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import sodkit
from sodkit.arrays import FloatArray
from sodkit.data.restriction import chosen_labels, only_labels
from sodkit.geometry.boxes import iou, xywh_to_xyxy

MIN_IOU, MIN_SCORE = 0.3, 0.5


def main() -> None:
    """Print the differences of a file of predictions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ann", type=Path)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("--classes", help="only these; names with commas between")
    parser.add_argument("--move", type=float, nargs=2, metavar=("X", "Y"))
    options = parser.parse_args()
    truth = sodkit.read_annotations(options.ann)
    found = sodkit.read_predictions(options.predictions, truth)
    if options.classes is not None:
        labels = chosen_labels(options.classes, truth.categories, str(options.ann), print)
        truth, found = (only_labels(rows, labels, len(truth.categories)) for rows in (truth, found))
    off = offsets(truth, found)
    if not len(off):
        raise SystemExit(f"{options.predictions}: no detection is near an object")
    print(f"{len(off)} of {len(truth.xywh)} objects are paired")
    print(f"{'':7}{'x':>7}{'y':>7}{'w':>7}{'h':>7}")
    for name, statistic in (("mean", np.mean), ("std", np.std), ("median", np.median)):
        print(f"{name:7}" + "".join(f"{value:7.2f}" for value in statistic(off, axis=0)))
    for move in ((0.0, 0.0), options.move) if options.move else ():
        moved = replace(found, xywh=found.xywh + np.array([*move, 0.0, 0.0]))
        metrics = sodkit.evaluate(truth, moved, sodkit.protocol_for(truth.kind)).metrics
        values = " ".join(f"{name} {metrics[name]:.4f}" for name in ("AP", "AP50", "AP75"))
        print(f"moved by {move[0]:g}, {move[1]:g} px: {values}")


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
