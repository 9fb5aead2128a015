"""From detections of patches to detections of whole images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.data.records import Detections
from sodkit.geometry.boxes import xyxy_to_xywh
from sodkit.geometry.nms import nms, nms_rotated
from sodkit.geometry.rotated import obb_to_xywh
from sodkit.settings import MergeMethod
from sodkit.tiling.merge_methods import Merged, enclose, fuse, prefer_whole


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


def merge_patches(
    detections: Detections,
    iou: float = 0.5,
    method: MergeMethod = "nms",
    cut: BoolArray | None = None,
) -> Detections:
    """Make one of the detections that overlapping patches have of one object.

    Args:
        detections: of any number of images, in the images' coordinates (see ``shift``).
        iou: ``nms``: of two detections of an image and class whose IoU (rotated IoU of oriented
            boxes) is greater, the one with the lower score goes; of equal scores the later one.
            The other methods: see ``merge_methods``.
        method: class-wise NMS, or one of ``merge_methods``.
        cut: (N,) the border of its patch cuts the box, see ``cut_by_border``; for ``border`` only.

    Returns:
        what stays, by ascending image id, then by descending score, equal scores in input order.
        The same whatever the order of the images in the input.
    """
    if method != "nms":
        return _merged(detections, iou, method, cut)
    groups = _groups(detections)
    if detections.obb is None:
        kept = nms(detections.xyxy, detections.scores, iou, groups)
    else:
        kept = nms_rotated(detections.obb, detections.scores, iou, groups)
    by_image = np.argsort(detections.image_ids[kept], kind="stable")
    return detections.take(kept[by_image])


def cut_by_border(
    detections: Detections,
    start: tuple[int, int],
    side: int,
    size: tuple[int, int],
    border: float,
) -> BoolArray:
    """Return (N,) which boxes of a patch come close to its border, and may be cut by it.

    Where the image ends, too, there is nothing to cut.

    Args:
        detections: in px of the image; of oriented boxes the enclosing ones count.
        start: (x, y) of the patch's left top corner in the image.
        side: of the patch in px.
        size: (width, height) of the image in px.
        border: so many px from the border are close.
    """
    low, far = np.array(start, np.float64), np.array(start, np.float64) + side
    near_low = (detections.xyxy[:, :2] < low + border) & (low > 0)
    near_far = (detections.xyxy[:, 2:] > far - border) & (far < np.array(size))
    return np.asarray((near_low | near_far).any(axis=1))


def _merged(
    detections: Detections, iou: float, method: MergeMethod, cut: BoolArray | None
) -> Detections:
    """Merge by one of ``merge_methods``, image by image and class by class."""
    order = np.argsort(-detections.scores, kind="stable")
    groups = _groups(detections)[order]
    xyxy, obb = detections.xyxy, detections.obb
    boxes = (xyxy if obb is None else obb)[order]
    rows, results = [np.zeros(0, np.int64)], [boxes[:0]]
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        scores = detections.scores[order[own]]
        if method == "wbf":
            merged = fuse(boxes[own], scores, iou)
        elif method == "nmm":
            merged = enclose(boxes[own], iou)
        else:
            flags = np.zeros(len(own), np.bool_) if cut is None else cut[order[own]]
            stays = prefer_whole(boxes[own], scores, flags, iou)
            merged = Merged(stays, boxes[own][stays])
        rows.append(own[merged.rows])
        results.append(merged.boxes)
    ranks, found = np.concatenate(rows), np.concatenate(results)
    ids = detections.image_ids[order[ranks]]
    by_image = np.lexsort((ranks, ids))
    left = detections.take(order[ranks[by_image]])
    return _with_boxes(left, found[by_image])


def _with_boxes(detections: Detections, boxes: FloatArray) -> Detections:
    """Return detections with other boxes; those that are the same keep their bits."""
    if detections.obb is not None:
        return replace(detections, xywh=obb_to_xywh(boxes), obb=boxes)
    same = (detections.xyxy == boxes).all(axis=1)
    xywh = np.where(same[:, None], detections.xywh, xyxy_to_xywh(boxes))
    return replace(detections, xywh=xywh)


def _groups(detections: Detections) -> IntArray:
    """Return one number for each image and class."""
    _, image = np.unique(detections.image_ids, return_inverse=True)
    classes = int(detections.labels.max(initial=0)) + 1
    return np.asarray(image * classes + detections.labels, np.int64)
