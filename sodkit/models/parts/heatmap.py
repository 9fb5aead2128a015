"""Heat maps of points: Gaussians about the points of objects, their loss, and their peaks.

Law and Deng, CornerNet, ECCV 2018, 3.2; Zhou et al., Objects as Points, 2019, 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sodkit.data.batches import Batch
from sodkit.models.kernels.blocks import blocks
from sodkit.models.kernels.constants import constant
from sodkit.models.kernels.nonzero import rows_each
from sodkit.models.parts import coders, ignored
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.matchers import IGNORED


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The G objects of a batch that lie in their images.

    Attributes:
        image: (G,) int64.
        label: (G,) int64.
        number: (G,) int64 among the objects of the image.
        boxes: (G, 4) xyxy, px of the network's input, clipped to the image.
    """

    image: Tensor
    label: Tensor
    number: Tensor
    boxes: Tensor


def seen(batch: Batch) -> Seen:
    """Return the objects of a batch; a device is waited for once.

    Of an object that reaches out of its image the part inside counts, as in the originals, whose
    images come with boxes clipped: points of the whole may have no cell.

    Raises:
        ValueError: there are not as many targets as images.
    """
    counts = [len(target.boxes) for target in batch.targets]
    if len(counts) != len(batch.sizes):
        raise ValueError(f"{len(counts)} targets for {len(batch.sizes)} images")
    pairs = zip(batch.targets, batch.sizes, strict=True)
    boxes = torch.cat([coders.clip(target.boxes, size) for target, size in pairs])
    label = torch.cat([target.labels for target in batch.targets])
    number = constant([k for count in counts for k in range(count)], label)
    image = constant([i for i, count in enumerate(counts) for _ in range(count)], label)
    (inside,) = rows_each([(boxes[:, 2:] > boxes[:, :2]).all(1)])
    return Seen(*(one[inside] for one in (image, label, number, boxes)))


def left_out(grid: Tensor, batch: Batch) -> Tensor:
    """Return which cells (B, H * W) lie in an ignore region, or in padding of the batch.

    Args:
        grid: (H * W, 2) middles of the cells, px.
        batch: with its targets.
    """
    return torch.stack(
        [
            ignored.points_inside(grid, target.ignore_boxes) | ignored.in_padding(grid, size)
            for target, size in zip(batch.targets, batch.sizes, strict=True)
        ]
    )


def last_in_cell(place: Tensor, number: Tensor, skipped: Tensor) -> Tensor:
    """Return the match (B, H * W) int64 of cells: of several objects in one, the last.

    Args:
        place: (G,) int64 the cell of each object among the B * H * W of the batch.
        number: (G,) int64 of the object.
        skipped: (B, H * W) bool, cells that are ``IGNORED``; the rest are ``NEGATIVE``.
    """
    match = torch.full((skipped.numel(),), NEGATIVE, device=place.device)
    match.scatter_reduce_(0, place, number, "amax")
    return match.reshape(skipped.shape).masked_fill(skipped, IGNORED)


def at(maps: Tensor, place: Tensor) -> Tensor:
    """Return the values (N, C) of maps (B, C, H, W) in cells (N,) of the B * H * W."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)[place]


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
