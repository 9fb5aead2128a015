"""Oriented boxes as numpy arrays; the angle convention lives here.

An oriented box is (cx, cy, w, h, angle): w >= h, angle of the long side in radians, clockwise with
y down (from the x axis towards the y axis), in [-pi/2, pi/2) ("le90").
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_PAIRS = ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3))


def corners_to_obb(corners: FloatArray) -> FloatArray:
    """Return the rectangles of least area around four corners each.

    One side of the rectangle of least area lies on an edge of the convex hull, and each hull edge
    joins two of the corners: so the best of the six directions between corners is exact, whatever
    their order.

    Args:
        corners: (N, 4, 2) xy, in any order.

    Returns:
        (N, 5) oriented boxes; w = h = 0 where all corners coincide.
    """
    if not len(corners):
        return np.zeros((0, 5))
    edges = np.stack([corners[:, b] - corners[:, a] for a, b in _PAIRS], axis=1)
    lengths = np.linalg.norm(edges, axis=2)
    axes = edges / np.where(lengths > 0, lengths, 1.0)[..., None]
    normals = np.stack([-axes[..., 1], axes[..., 0]], axis=2)
    along = np.einsum("nci,ndi->ndc", corners, axes)
    across = np.einsum("nci,ndi->ndc", corners, normals)
    areas = np.ptp(along, axis=2) * np.ptp(across, axis=2)
    best = np.argmin(np.where(lengths > 0, areas, np.inf), axis=1)
    rows = np.arange(len(corners))
    return _from_frame(axes[rows, best], normals[rows, best], along[rows, best], across[rows, best])


def obb_to_corners(obb: FloatArray) -> FloatArray:
    """Return the corners (N, 4, 2) of (N, 5) oriented boxes, clockwise with y down."""
    cos, sin = np.cos(obb[:, 4]), np.sin(obb[:, 4])
    half_w = np.stack([cos, sin], axis=1) * obb[:, 2:3] / 2
    half_h = np.stack([-sin, cos], axis=1) * obb[:, 3:4] / 2
    center = obb[:, :2]
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return np.stack([center + a * half_w + b * half_h for a, b in signs], axis=1)


def canonical(obb: FloatArray) -> FloatArray:
    """Return (N, 5) oriented boxes of any angle and side order with w >= h and angle in le90."""
    swap = obb[:, 3] > obb[:, 2]
    sides = np.where(swap[:, None], obb[:, [3, 2]], obb[:, [2, 3]])
    angle = obb[:, 4] + np.where(swap, np.pi / 2, 0.0)
    angle = (angle + np.pi / 2) % np.pi - np.pi / 2
    # the modulo of a tiny negative number rounds up to pi itself
    angle = np.where(angle >= np.pi / 2, -np.pi / 2, angle)
    return np.concatenate([obb[:, :2], sides, angle[:, None]], axis=1)


def _from_frame(
    axis: FloatArray, normal: FloatArray, along: FloatArray, across: FloatArray
) -> FloatArray:
    """Turn extents along an axis (N, 4) and across it into oriented boxes."""
    u = (along.min(axis=1) + along.max(axis=1)) / 2
    v = (across.min(axis=1) + across.max(axis=1)) / 2
    center = axis * u[:, None] + normal * v[:, None]
    angle = np.arctan2(axis[:, 1], axis[:, 0])
    sides = np.stack([np.ptp(along, axis=1), np.ptp(across, axis=1)], axis=1)
    return canonical(np.concatenate([center, sides, angle[:, None]], axis=1))
