"""Painting ignore regions over, sparing the objects that lie in them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sodkit.arrays import FloatArray
from sodkit.data.records import Annotations
from sodkit.geometry.boxes import intersection

Image = npt.NDArray[np.uint8]
Color = tuple[int, int, int]

_FAR = 2**24
"""Corners farther away than any image is wide are moved to here, within what OpenCV can draw."""


def paint_regions(image: Image, regions: Annotations, objects: Annotations, color: Color) -> None:
    """Paint regions in place, except where an object lies.

    A region covers the pixels whose centres it covers, an object every pixel that it touches;
    polygons as ``cv2.fillPoly`` draws them.

    Args:
        image: (H, W, 3), changed.
        regions: what to paint.
        objects: what to spare, also ignored objects.
        color: in the image's channel order.
    """
    if not len(regions):
        return
    near = intersection(objects.xyxy, regions.xyxy).any(axis=1)
    spared = objects.take(np.flatnonzero(near))
    if regions.polygons is None:
        _paint_boxes(image, regions.xyxy, spared.xyxy, color)
    else:
        _paint_polygons(image, regions, spared, color)


def _paint_boxes(image: Image, regions: FloatArray, spared: FloatArray, color: Color) -> None:
    """Paint boxes; what is spared is set aside first and put back."""
    height, width = image.shape[:2]
    limit = np.array([width, height, width, height], np.float64)
    painted = np.clip(np.ceil(regions - 0.5), 0, limit).astype(np.int64).tolist()
    low, high = np.floor(spared[:, :2]), np.ceil(spared[:, 2:])
    boxes = np.clip(np.concatenate([low, high], axis=1), 0, limit).astype(np.int64).tolist()
    aside = [image[y1:y2, x1:x2].copy() for x1, y1, x2, y2 in boxes]
    for x1, y1, x2, y2 in painted:
        if x1 < x2 and y1 < y2:
            cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), color, cv2.FILLED)
    for (x1, y1, x2, y2), pixels in zip(boxes, aside, strict=True):
        image[y1:y2, x1:x2] = pixels


def _paint_polygons(image: Image, regions: Annotations, spared: Annotations, color: Color) -> None:
    """Paint polygons region by region, so that a mask is never larger than a region."""
    height, width = image.shape[:2]
    limit = np.array([width, height, width, height], np.float64)
    box = regions.xyxy
    outer = np.concatenate([np.floor(box[:, :2]), np.floor(box[:, 2:]) + 1], axis=1)
    frames = np.clip(outer, 0, limit).astype(np.int64)
    touching = intersection(box, spared.xyxy) > 0
    painted, kept = _pixel_corners(regions), _pixel_corners(spared)
    for row, (x1, y1, x2, y2) in enumerate(frames.tolist()):
        if x1 >= x2 or y1 >= y2:
            continue
        mask = np.zeros((y2 - y1, x2 - x1), np.uint8)
        _draw(mask, painted[row], (x1, y1), 1)
        for number in np.flatnonzero(touching[row]).tolist():
            _draw(mask, kept[number], (x1, y1), 0)
        frame = image[y1:y2, x1:x2]
        cv2.bitwise_xor(frame, frame, dst=frame, mask=mask)  # black: no copy is made for it
        if any(color):
            cv2.add(frame, (*color, 0), dst=frame, mask=mask)  # type: ignore[call-overload]


def _pixel_corners(shapes: Annotations) -> list[npt.NDArray[np.int32]]:
    """Return each polygon's corners (K, 2), cut to whole pixels."""
    if shapes.polygons is None:
        return []
    whole = np.clip(np.floor(shapes.polygons.points), -_FAR, _FAR).astype(np.int32)
    return np.split(whole, shapes.polygons.offsets[1:-1])


def _draw(mask: Image, corners: npt.NDArray[np.int32], origin: tuple[int, int], value: int) -> None:
    """Draw a polygon of the image into a mask whose first pixel is ``origin``."""
    # one by one: fillPoly leaves out where polygons of one call overlap
    cv2.fillPoly(mask, [corners], (value,), offset=(-origin[0], -origin[1]))
