"""RoIAlign of oriented boxes, exact, in plain PyTorch, in bounded memory (Oriented R-CNN).

A sample is a weighted sum of four cells, so the whole pooling is one sparse sum of rows of the
feature map: there is no array of (RoIs, samples, channels). Bins may be moved by offsets, which
have a gradient (deformable RoI pooling: Dai et al., ICCV 2017, 2.2; DODet).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from sodkit.models.kernels.constants import constant
from sodkit.models.kernels.gather import Gather, cells
from sodkit.models.kernels.roi_pool import by_level, level_of

SAMPLES = 2
"""Samples a bin, along each side (release)."""
CHUNK = 4096
"""RoIs at a time: bounds the list of samples, 784 entries a RoI of 7 x 7 bins."""


def pool(
    pyramid: Sequence[Tensor],
    boxes: Tensor,
    image: Tensor,
    strides: Sequence[int],
    size: int,
    *,
    chunk: int = CHUNK,
) -> Tensor:
    """Pool oriented boxes to grids that turn with them.

    Args:
        pyramid: P2..P5, (B, C, H_l, W_l).
        boxes: (N, 5) cx, cy, w, h, angle in px of the network's input; no gradient.
        image: (N,) int64 index of each box's image in the batch.
        strides: of the levels.
        size: rows and columns of the result; columns run along w, rows along h.
        chunk: RoIs computed at once.

    Returns:
        (N, C, size, size) float32.
    """
    if torch.compiler.is_compiling():
        return pool_fixed(pyramid, boxes, image, strides, size)

    def pooled(feature: Tensor, rows: Tensor, stride: int) -> Tensor:
        scaled = in_cells(boxes[rows], stride)
        parts = zip(torch.split(scaled, chunk), torch.split(image[rows], chunk), strict=True)
        return torch.cat([align(feature, *part, size).float() for part in parts])

    return by_level(pyramid, level_of_turned(boxes, len(pyramid)), strides, pooled)


def pool_fixed(
    pyramid: Sequence[Tensor], boxes: Tensor, image: Tensor, strides: Sequence[int], size: int
) -> Tensor:
    """Do what ``pool`` does with shapes that do not depend on the boxes: for graphs.

    The levels' cells lie end to end in one table, and each box reads its part of it.
    """
    level = level_of_turned(boxes, len(pyramid))
    heights, widths = [one.shape[2] for one in pyramid], [one.shape[3] for one in pyramid]
    starts = [0]
    for one in pyramid[:-1]:
        starts.append(starts[-1] + one[:, 0].numel())
    height, width, start = (constant(each, image)[level] for each in (heights, widths, starts))
    scaled = torch.cat([boxes[:, :4] / constant(strides, boxes)[level, None], boxes[:, 4:]], 1)
    rows = _sums(
        torch.cat([_table(one) for one in pyramid]).float(),
        _positions(scaled, size, None),
        start + image * height * width,
        (height[:, None, None], width[:, None, None]),
    )
    return rows.reshape(len(boxes), size, size, -1).permute(0, 3, 1, 2)


def level_of_turned(boxes: Tensor, count: int) -> Tensor:
    """Return the level (N,) 0..count-1 that oriented boxes (N, 5) are pooled from."""
    return level_of((boxes[:, 2] * boxes[:, 3]).clamp(min=0).sqrt(), count)


def in_cells(boxes: Tensor, stride: int) -> Tensor:
    """Return oriented boxes (N, 5) in px as they are in cells of a level."""
    return boxes / constant([stride, stride, stride, stride, 1.0], boxes)


def align(
    feature: Tensor, boxes: Tensor, image: Tensor, size: int, offsets: Tensor | None = None
) -> Tensor:
    """Pool boxes (N, 5), in cells, from one level (B, C, H, W) to (N, C, size, size).

    Each bin is the mean of ``SAMPLES`` x ``SAMPLES`` bilinear samples; a sample more than one cell
    outside of the map is 0.

    Args:
        feature: of one level.
        boxes: in cells; no gradient.
        image: (N,) int64 index of each box's image in the batch.
        size: rows and columns of the result.
        offsets: (N, size, size, 2) how far each bin is moved along w and h, in parts of the box's
            w and h; None: not at all.
    """
    channels, height, width = feature.shape[1:]
    table = _table(feature)
    x, y = _positions(boxes, size, offsets)
    column, across = cells(x, width)
    row, down = cells(y, height)
    first = (image * (height * width))[:, None, None, None]
    index = (row * width)[..., :, None] + column[..., None, :] + first[..., None]
    share = down[..., :, None] * across[..., None, :] / SAMPLES**2
    entries = SAMPLES**2 * 4
    count = len(boxes) * size * size
    bins = torch.arange(count, dtype=torch.int32, device=boxes.device)
    rows: Tensor = Gather.apply(
        table,
        index.int().flatten(),
        share.flatten().to(table.dtype),
        bins * entries,
        bins.repeat_interleave(entries),
    )
    return rows.reshape(len(boxes), size, size, channels).permute(0, 3, 1, 2)


def _table(feature: Tensor) -> Tensor:
    """Return the cells (B * H * W, C) of a feature map (B, C, H, W), image by image."""
    return feature.permute(0, 2, 3, 1).flatten(0, 2)


def _sums(
    table: Tensor,
    positions: tuple[Tensor, Tensor],
    first: Tensor,
    shape: tuple[Tensor, Tensor],
) -> Tensor:
    """Return the means (N * bins, C) of the bins' samples by plain indexing: for graphs.

    One of the 16 cells of all bins after the other: no array is larger than the result.

    Args:
        table: (cells, C).
        positions: x and y (N, bins, SAMPLES ** 2) in cells.
        first: (N,) the row of the table where each box's map begins.
        shape: height and width of each box's map (N, 1, 1).
    """
    height, width = shape
    column, across = cells(positions[0], width)
    row, down = cells(positions[1], height)
    row = row * width[..., None] + first[:, None, None, None]
    total = table.new_zeros(first.shape[0] * row.shape[1], table.shape[1])
    for sample, i, j in product(range(SAMPLES**2), range(2), range(2)):
        index = row[:, :, sample, i] + column[:, :, sample, j]
        share = down[:, :, sample, i] * across[:, :, sample, j] / SAMPLES**2
        total = total + table.index_select(0, index.flatten()) * share.flatten()[:, None]
    return total


def _positions(boxes: Tensor, size: int, offsets: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return x and y (N, size * size, SAMPLES ** 2) of all samples, in cells, bin by bin."""
    steps = (torch.arange(size * SAMPLES, device=boxes.device) + 0.5) / (size * SAMPLES) - 0.5
    grid = steps.to(boxes.dtype).reshape(size, SAMPLES)
    along = grid[None, :, None, :].expand(size, size, SAMPLES, SAMPLES).reshape(1, -1, SAMPLES**2)
    across = grid[:, None, :, None].expand(size, size, SAMPLES, SAMPLES)
    across = across.reshape(1, -1, SAMPLES**2)
    if offsets is not None:
        moves = offsets.flatten(1, 2)
        along, across = along + moves[..., :1], across + moves[..., 1:]
    u, v = along * boxes[:, 2, None, None], across * boxes[:, 3, None, None]
    cos, sin = boxes[:, 4].cos()[:, None, None], boxes[:, 4].sin()[:, None, None]
    # the centre of cell 0 is at .5: half a cell off (aligned)
    return (
        boxes[:, 0, None, None] - 0.5 + u * cos - v * sin,
        boxes[:, 1, None, None] - 0.5 + u * sin + v * cos,
    )
