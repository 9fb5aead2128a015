"""From maps of corners to boxes: the best corners of each kind, and all pairs of them that fit.

Law and Deng, ECCV 2018, 4.1 and 4.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sodkit.models.parts import heatmap
from sodkit.models.parts.corner_head import CornerMaps

NONE = -1.0
"""Score of what is no pair."""


@dataclass(frozen=True, slots=True, eq=False)
class Corners:
    """The K best corners of one kind of each image, best first.

    Attributes:
        scores: (B, K); 0 where there are fewer.
        labels: (B, K) int64.
        at: (B, K, 2) (x, y) in px of the network's input, not negative.
        embedding: (B, K).
    """

    scores: Tensor
    labels: Tensor
    at: Tensor
    embedding: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes of each image that two corners make.

    Attributes:
        boxes: (B, N, 4) xyxy in px of the network's input.
        scores: (B, N); ``NONE`` for what is no pair.
        labels: (B, N) int64.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def best_corners(maps: CornerMaps, usable: Tensor, cell: Tensor, count: int) -> Corners:
    """Return the best corners of maps: peaks of the heat map, over all classes.

    Args:
        maps: of one kind of corner.
        usable: (B, H * W) bool cells.
        cell: (2,) width and height of a cell, px.
        count: corners of an image at most.
    """
    columns = maps.logits.shape[3]
    logits = heatmap.peaks(maps.logits).flatten(2).masked_fill(~usable[:, None], -torch.inf)
    cells = logits.shape[2]
    scores, place = logits.sigmoid().flatten(1).topk(min(count, logits[0].numel()))
    labels, place = place.div(cells, rounding_mode="floor"), place % cells
    offset = maps.offset.flatten(2).gather(2, place[:, None].expand(-1, 2, -1)).transpose(1, 2)
    whole = torch.stack([place % columns, place.div(columns, rounding_mode="floor")], -1)
    embedding = maps.embedding.flatten(1).gather(1, place)
    return Corners(scores, labels, ((whole + offset) * cell).clamp(min=0), embedding)


def paired(first: Corners, second: Corners, apart: float, count: int) -> Boxes:
    """Return the best pairs of a top left and a bottom right corner.

    Two corners are a pair if their classes are equal, their embeddings alike, and the second lies
    right of and below the first.

    Args:
        first: top left ones.
        second: bottom right ones.
        apart: embeddings of a pair differ by no more.
        count: pairs of an image at most.
    """
    scores = (first.scores[:, :, None] + second.scores[:, None]) / 2
    beside = (second.at[:, None] <= first.at[:, :, None]).any(-1)
    unlike = (first.embedding[:, :, None] - second.embedding[:, None]).abs() > apart
    other = first.labels[:, :, None] != second.labels[:, None]
    missing = (first.scores <= 0)[:, :, None] | (second.scores <= 0)[:, None]
    scores = scores.masked_fill(beside | unlike | other | missing, NONE).flatten(1)
    scores, pair = scores.topk(min(count, scores.shape[1]))
    seconds = second.scores.shape[1]
    one, two = pair.div(seconds, rounding_mode="floor"), pair % seconds
    ends = [
        corners.at.gather(1, row[..., None].expand(-1, -1, 2))
        for corners, row in ((first, one), (second, two))
    ]
    return Boxes(torch.cat(ends, -1), scores, first.labels.gather(1, one))
