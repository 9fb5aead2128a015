"""Heat maps of points: Gaussians about the points of objects, their loss, and their peaks.

Law and Deng, CornerNet, ECCV 2018, 3.2; Zhou et al., Objects as Points, 2019, 3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sodkit.models.kernels.blocks import blocks


def radius(sides: Tensor, overlap: float) -> Tensor:
    """Return how far (G,) int64 a point may be moved, in whole cells, along both axes.

    A box whose two corners are moved by less has an IoU of ``overlap`` at least with the object's:
    if both are moved alike, both outwards, or both inwards, the least of the three.

    Args:
        sides: (G, 2) width and height in cells.
        overlap: in (0, 1).
    """
    half_round, area = sides.double().sum(1), sides.double().prod(1)
    alike = (half_round - (half_round**2 - 4 * area * (1 - overlap) / (1 + overlap)).sqrt()) / 2
    inwards = (2 * half_round - (4 * half_round**2 - 16 * (1 - overlap) * area).sqrt()) / 8
    root = (4 * overlap**2 * half_round**2 + 16 * overlap * (1 - overlap) * area).sqrt()
    outwards = (root - 2 * overlap * half_round) / (8 * overlap)
    return torch.minimum(torch.minimum(alike, inwards), outwards).long().clamp(min=0)


def draw(shape: tuple[int, int, int], channel: Tensor, cell: Tensor, reach: Tensor) -> Tensor:
    """Return a map (channels, H, W) float32 of Gaussians, 1 at their middle, the greatest of each.

    A Gaussian of radius r has the standard deviation (2r + 1) / 6 and ends r cells from its middle.
    The host waits for a device once, for the largest radius.

    Args:
        shape: channels (of all images), rows and columns.
        channel: (G,) int64.
        cell: (G, 2) int64 (column, row) of the middle, on the map.
        reach: (G,) int64 radius.
    """
    channels, rows, columns = shape
    heat = torch.zeros(channels * rows * columns, device=cell.device)
    if len(cell) == 0:
        return heat.reshape(shape)
    far = int(reach.max())
    steps = torch.arange(-far, far + 1, device=cell.device)
    dy, dx = (axis.flatten() for axis in torch.meshgrid(steps, steps, indexing="ij"))
    square = (dx * dx + dy * dy).float()
    largest = torch.maximum(dx.abs(), dy.abs())
    for part in blocks(len(cell), len(square)):
        r = reach[part, None]
        x, y = cell[part, :1] + dx, cell[part, 1:] + dy
        on_map = (x >= 0) & (x < columns) & (y >= 0) & (y < rows) & (largest <= r)
        value = torch.exp(-18 * square / (2 * r + 1) ** 2) * on_map
        place = (channel[part, None] * rows + y.clamp(0, rows - 1)) * columns
        place = place + x.clamp(0, columns - 1)
        heat.scatter_reduce_(0, place.flatten(), value.flatten(), "amax")
    return heat.reshape(shape)


def focal(logits: Tensor, heat: Tensor, left_out: Tensor) -> Tensor:
    """Return the summed focal loss of a heat map (CornerNet, Eq. 1; alpha 2, beta 4).

    Negatives near an object's point count little: by (1 - heat)^4.

    Args:
        logits: (B, classes, H, W) float32.
        heat: (B, classes, H, W) wanted, 1 at objects.
        left_out: (B, H, W) bool, cells that are not trained on.
    """
    p = logits.sigmoid()
    positive = (1 - p) ** 2 * F.softplus(-logits)
    negative = (1 - heat) ** 4 * p**2 * F.softplus(logits)
    each = torch.where(heat == 1, positive, negative)
    return each.masked_fill(left_out[:, None], 0).sum()


def peaks(logits: Tensor) -> Tensor:
    """Return logits (B, classes, H, W), minus infinity where one of 8 neighbours has a greater."""
    greatest = F.max_pool2d(logits, 3, stride=1, padding=1)
    return logits.masked_fill(logits < greatest, -torch.inf)
