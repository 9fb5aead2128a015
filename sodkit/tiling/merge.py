"""From detections of patches to detections of whole images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sodkit.arrays import IntArray
from sodkit.data.records import Detections
from sodkit.geometry.nms import nms, nms_rotated


def shift(
    detections: Detections, start: tuple[float, float], image_id: int | None = None
) -> Detections:
    """Move the detections of one patch to the coordinates of its image.

    Args:
        detections: boxes in px of the patch.
        start: (x, y) of the patch's left top corner in the image.
        image_id: the image's id, which replaces the patch's; None keeps what is there.
    """
    offset = np.array(start, np.float64)
    xywh = detections.xywh.copy()
    xywh[:, :2] += offset
    obb = None if detections.obb is None else detections.obb.copy()
    if obb is not None:
        obb[:, :2] += offset
    ids = detections.image_ids
    if image_id is not None:
        ids = np.full(len(detections), image_id, np.int64)
    return replace(detections, image_ids=ids, xywh=xywh, obb=obb)


def merge_patches(detections: Detections, iou: float = 0.5) -> Detections:
    """Remove the duplicates that overlapping patches make: class-wise NMS in every image.

    Args:
        detections: of any number of images, in the images' coordinates (see ``shift``).
        iou: of two detections of an image and class whose IoU (rotated IoU of oriented boxes) is
            greater, the one with the lower score goes; of equal scores the later one.

    Returns:
        what stays, by ascending image id, then by descending score, equal scores in input order.
        The same whatever the order of the images in the input.
    """
    groups = _groups(detections)
    if detections.obb is None:
        kept = nms(detections.xyxy, detections.scores, iou, groups)
    else:
        kept = nms_rotated(detections.obb, detections.scores, iou, groups)
    by_image = np.argsort(detections.image_ids[kept], kind="stable")
    return detections.take(kept[by_image])


def _groups(detections: Detections) -> IntArray:
    """Return one number for each image and class."""
    _, image = np.unique(detections.image_ids, return_inverse=True)
    classes = int(detections.labels.max(initial=0)) + 1
    return np.asarray(image * classes + detections.labels, np.int64)
