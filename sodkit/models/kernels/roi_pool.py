"""RoI features: each box pooled to a small grid from the pyramid level of its size.

On CUDA by torchvision's RoIAlign; on the CPU, where that runs on one thread and wants channels
first, by gathering. Both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align

from sodkit.models.kernels.gather import Gather, cells
from sodkit.models.kernels.nonzero import rows_each

FINEST = 56.0
"""Boxes below 2 * FINEST px (square root of the area) are pooled from P2."""


def levels(boxes: Tensor, count: int) -> Tensor:
    """Return the level (N,) 0..count-1 that boxes (N, 4) are pooled from (release, step 9)."""
    return level_of((boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1).sqrt(), count)


def level_of(side: Tensor, count: int) -> Tensor:
    """Return the level (N,) of boxes by the square root of their area (N,) in px."""
    return torch.log2(side / FINEST + 1e-6).floor().clamp(0, count - 1).long()


def pool(
    pyramid: Sequence[Tensor], boxes: Tensor, image: Tensor, strides: Sequence[int], size: int,
    samples: int = 0,
) -> Tensor:  # fmt: skip
    """Pool boxes by RoIAlign.

    Args:
        pyramid: P2..P5, (B, C, H_l, W_l).
        boxes: (N, 4) xyxy, px of the network's input; no gradient.
        image: (N,) int64 index of each box's image in the batch.
        strides: of the levels.
        size: rows and columns of the result.
        samples: a bin along each axis; 0: as many as it has cells (release, step 9).

    Returns:
        (N, C, size, size) float32.
    """
    if torch.compiler.is_compiling():
        return pool_fixed(pyramid, boxes, image, strides, size, samples)
    align = align_gather if boxes.device.type == "cpu" else align_torchvision

    def pooled(feature: Tensor, rows: Tensor, stride: int) -> Tensor:
        return align(feature, boxes[rows] / stride, image[rows], size, samples)

    return by_level(pyramid, levels(boxes, len(pyramid)), strides, pooled)


def pool_fixed(
    pyramid: Sequence[Tensor], boxes: Tensor, image: Tensor, strides: Sequence[int], size: int,
    samples: int,
) -> Tensor:  # fmt: skip
    """Do what ``pool`` does with shapes that do not depend on the boxes: for graphs.

    Every level pools all boxes; those that are not its own are empty there, which costs nothing
    where samples follow from the size.
    """
    level, parts = levels(boxes, len(pyramid)), []
    for number, (feature, stride) in enumerate(zip(pyramid, strides, strict=True)):
        mine = (level == number)[:, None]
        own = torch.where(mine, boxes / stride, 0.0)
        found = align_torchvision(feature, own, image, size, samples)
        parts.append(torch.where(mine[..., None, None], found, 0.0))
    return torch.stack(parts).sum(0)


def by_level(
    pyramid: Sequence[Tensor],
    level: Tensor,
    strides: Sequence[int],
    pooled: Callable[[Tensor, Tensor, int], Tensor],
) -> Tensor:
    """Pool each box from its level (N,); ``pooled`` takes a feature map, rows and the stride."""
    order = rows_each([level == number for number in range(len(pyramid))])
    parts = [
        pooled(feature, rows, stride).float()
        for feature, rows, stride in zip(pyramid, order, strides, strict=True)
    ]
    return torch.cat(parts)[torch.cat(order).argsort()]


def align_torchvision(
    feature: Tensor, boxes: Tensor, image: Tensor, size: int, samples: int = 0
) -> Tensor:
    """RoIAlign of boxes (N, 4), in cells, on one level (B, C, H, W): (N, C, size, size)."""
    rois = torch.cat([image[:, None].to(boxes.dtype), boxes], 1)
    result: Tensor = roi_align(feature.float(), rois, size, sampling_ratio=samples, aligned=True)
    return result


def align_gather(
    feature: Tensor, boxes: Tensor, image: Tensor, size: int, samples: int = 0
) -> Tensor:
    """Compute what ``align_torchvision`` does by gathering: for the CPU."""
    batch, channels, height, width = feature.shape
    table = feature.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    index, share, counts = _samples(boxes, height, width, size, samples)
    bins = counts.repeat_interleave(size * size)
    first = (image * height * width).repeat_interleave(counts * size * size)
    index = (index + first[:, None]).int().flatten()
    bag = torch.arange(len(bins), dtype=torch.int32).repeat_interleave(bins * 4)
    offsets = ((bins.cumsum(0) - bins) * 4).int()
    rows: Tensor = Gather.apply(table, index, share.flatten().to(table.dtype), offsets, bag)
    return rows.reshape(len(boxes), size, size, channels).permute(0, 3, 1, 2)


def _samples(
    boxes: Tensor, height: int, width: int, size: int, samples: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the samples of all bins, box by box, bin by bin.

    Args:
        boxes: (N, 4) xyxy in cells.
        height: of the feature map.
        width: of the feature map.
        size: bins a side.
        samples: a bin along each axis; 0: as many as it has cells.

    Returns:
        index (S, 4) int64 of the cells a sample is made of and their share (S, 4), which sums to 1
        over a bin; samples a bin (N,).
    """
    start, bins = boxes[:, :2] - 0.5, (boxes[:, 2:] - boxes[:, :2]) / size
    grid = (
        bins.ceil().clamp(min=0).long() if samples == 0 else torch.full_like(bins, samples).long()
    )
    counts = grid[:, 0] * grid[:, 1]
    box = torch.arange(len(boxes)).repeat_interleave(counts * size * size)
    number = torch.arange(len(box)) - (
        (counts * size * size).cumsum(0) - counts * size * size
    ).repeat_interleave(counts * size * size)
    count, columns = counts[box], grid[box, 0]
    place, inner = number // count, number % count
    x = start[box, 0] + bins[box, 0] * (place % size + (inner % columns + 0.5) / columns)
    rows = grid[box, 1]
    y = start[box, 1] + bins[box, 1] * (place // size + (inner // columns + 0.5) / rows)
    column, x_share = cells(x, width)
    row, y_share = cells(y, height)
    index = (row * width)[:, :, None] + column[:, None, :]
    share = y_share[:, :, None] * x_share[:, None, :] / count[:, None, None]
    return index.flatten(1), share.flatten(1), counts
