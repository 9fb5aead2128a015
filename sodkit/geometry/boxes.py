"""Upright boxes as numpy arrays: conversions, clipping, overlap.

Boxes are float64 (N, 4) in continuous pixels; ``xyxy`` is left, top, right, bottom, ``xywh`` left,
top, width, height. A box with width or height <= 0 has area 0 and overlaps nothing.
"""

from __future__ import annotations

import numpy as np

from sodkit.arrays import FloatArray


def xywh_to_xyxy(xywh: FloatArray) -> FloatArray:
    """Turn (N, 4) xywh into xyxy."""
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def xyxy_to_xywh(xyxy: FloatArray) -> FloatArray:
    """Turn (N, 4) xyxy into xywh."""
    return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)


def area(xyxy: FloatArray) -> FloatArray:
    """Return the areas (N,) of (N, 4) xyxy boxes in px^2, 0 for inverted ones."""
    sides = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 0.0)
    return sides[:, 0] * sides[:, 1]


def clip(xyxy: FloatArray, window: tuple[float, float, float, float]) -> FloatArray:
    """Clip (N, 4) xyxy boxes to a window (left, top, right, bottom)."""
    left, top, right, bottom = window
    low, high = np.array([left, top]), np.array([right, bottom])
    return np.concatenate(
        [np.clip(xyxy[:, :2], low, high), np.clip(xyxy[:, 2:], low, high)], axis=1
    )


def intersection(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the intersection areas (N, M) of xyxy boxes ``a`` (N, 4) and ``b`` (M, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(high - low, 0.0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return intersection over union (N, M) of xyxy boxes; 0 where both have no area."""
    inter = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
