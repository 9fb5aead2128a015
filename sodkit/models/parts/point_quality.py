"""Which of the point sets that could learn an object do: quality and selection.

Li et al., "Oriented RepPoints for Aerial Object Detection" (CVPR 2022), 3.3: an assessment of
classification, location, orientation and correlation from point to point, and an assignment of the
best sets of an object. As in the release, the assessments are losses: the least is the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sodkit.models.kernels.convex import convex_giou
from sodkit.models.kernels.gather import gather
from sodkit.models.kernels.least_rectangle import least_around_points
from sodkit.models.parts import losses, rotated_coders
from sodkit.models.parts.ranking import place_in_group
from sodkit.settings.dense import FocalLoss
from sodkit.settings.rotated_points import PointQuality

ROWS = 2**11
"""Point sets assessed at once: the features of their points have 19 MB of 256 channels."""
SIDE = 10
"""Points compared on each side of rectangle and object, both corners included (release)."""
SPREAD = 0.05
"""What a distance of 1 px between two rectangles costs (release)."""
SHORTEST = 0.01
"""Shorter features are taken as this long in cosines (release)."""


@dataclass(frozen=True, slots=True, eq=False)
class Assessed:
    """Point sets that overlap an object well enough to learn it, of all images, a row each.

    Attributes:
        image: (P,) int64.
        level: (P,) int64.
        objects: (P,) int64, numbered over all images.
        logits: (P, classes) float32.
        labels: (P,) int64 of the objects.
        initial: (P, 9, 2) points, (x, y) in px.
        refined: (P, 9, 2) the same.
        boxes: (P, 5) the objects, px.
    """

    image: Tensor
    level: Tensor
    objects: Tensor
    logits: Tensor
    labels: Tensor
    initial: Tensor
    refined: Tensor
    boxes: Tensor

    def part(self, rows: slice) -> Assessed:
        """Return some of the rows."""
        columns = (getattr(self, name)[rows] for name in self.__slots__)
        return Assessed(*columns)


@torch.no_grad()
def quality(
    sets: Assessed, pyramid: Sequence[Tensor], strides: Sequence[int],
    config: PointQuality, focal: FocalLoss,
) -> Tensor:  # fmt: skip
    """Return the quality (P,) of point sets, float32: the less, the better.

    Args:
        sets: the point sets.
        pyramid: levels (B, C, H_l, W_l), whose features the points are compared by.
        strides: of the levels, px.
        config: weights.
        focal: of the classes.
    """
    table = FeatureTable.of(pyramid, strides)
    found = [sets.logits.new_zeros(0)]
    for start in range(0, len(sets.image), ROWS):
        one = sets.part(slice(start, start + ROWS))
        wanted = torch.zeros_like(one.logits).scatter(1, one.labels[:, None], 1.0)
        classes = losses.focal_each(one.logits, wanted, focal).sum(1)
        features = table.at(one.image, one.level, one.refined)
        share = config.refined_share
        initial, refined = (
            1 - convex_giou(points, one.boxes) + config.orientation * between(points, one.boxes)
            for points in (one.initial, one.refined)
        )
        placed = (1 - share) * initial + share * refined
        found.append((classes + placed + config.correlation * unlike(features)).float())
    return torch.cat(found)


def between(points: Tensor, boxes: Tensor) -> Tensor:
    """Return how far the least rectangles around points (P, 9, 2) are from boxes (P, 5).

    The chamfer distance of points on their sides: of each the distance to the nearest one of the
    other rectangle, the mean of both means, times ``SPREAD``.
    """
    own, truth = (_sides(one.double()) for one in (least_around_points(points), boxes))
    distance: Tensor = torch.cdist(own, truth, compute_mode="donot_use_mm_for_euclid_dist")
    return SPREAD * (distance.amin(1).mean(1) + distance.amin(2).mean(1)) / 2


def _sides(boxes: Tensor) -> Tensor:
    """Return points (P, 4 * SIDE, 2) on the sides of boxes (P, 5)."""
    corner = rotated_coders.corners(boxes)[:, :, None]
    step = torch.linspace(0, 1, SIDE, dtype=boxes.dtype, device=boxes.device)[:, None]
    return (corner + step * (corner.roll(-1, 1) - corner)).flatten(1, 2)


def unlike(features: Tensor) -> Tensor:
    """Return 1 - cosine (P,) of the feature of (P, 9, C) that is most unlike their mean."""
    middle = features.mean(1, keepdim=True)
    one, other = (x / x.norm(dim=-1, keepdim=True).clamp(min=SHORTEST) for x in (features, middle))
    cosine: Tensor = (one * other).sum(-1)
    return (1 - cosine).amax(1)


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """All cells of a pyramid as rows of a table, to sample its levels together.

    Attributes:
        rows: (cells, C) float32.
        first: (L,) int64, where the first image of a level begins.
        sides: (L, 2) int64, (columns, rows) of a level.
        strides: (L,) px.
    """

    rows: Tensor
    first: Tensor
    sides: Tensor
    strides: Tensor

    @classmethod
    def of(cls, pyramid: Sequence[Tensor], strides: Sequence[int]) -> FeatureTable:
        """Make the table of levels (B, C, H_l, W_l)."""
        parts = [level.float().permute(0, 2, 3, 1).flatten(0, 2) for level in pyramid]
        device = parts[0].device
        sizes = torch.tensor([len(part) for part in parts])
        sides = torch.tensor([level.shape[:1:-1] for level in pyramid])
        each = (sizes.cumsum(0) - sizes, sides, torch.tensor(strides).float())
        return cls(torch.cat(parts), *(one.to(device, non_blocking=True) for one in each))

    def at(self, image: Tensor, level: Tensor, points: Tensor) -> Tensor:
        """Return the features (P, K, C) at points (P, K, 2) in px: bilinear, 0 outside the map.

        Args:
            image: (P,) index in the batch.
            level: (P,) index of the level.
            points: (x, y).
        """
        side = self.sides[level][:, None]
        place = points / self.strides[level][:, None, None] - 0.5
        low = place.floor()
        corner = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]]).to(low.device, non_blocking=True)
        cell = low.long()[:, :, None] + corner  # (P, K, 4, 2)
        share = (1 - (place[:, :, None] - cell).abs()).prod(-1)
        inside = ((cell >= 0) & (cell < side[:, :, None])).all(-1)
        cell = torch.minimum(cell.clamp(min=0), side[:, :, None] - 1)
        start = self.first[level] + image * side[:, 0].prod(-1)
        index = start[:, None, None] + cell[..., 1] * side[:, :, :1] + cell[..., 0]
        offsets = torch.arange(0, index.numel(), 4, dtype=torch.int32, device=index.device)
        found = gather(
            self.rows, index.flatten().int(), (share * inside).flatten().to(self.rows), offsets
        )
        return found.reshape(*points.shape[:2], -1)


def select(
    sets: Assessed, ranked: Tensor, config: PointQuality, *, levels: int, objects: int
) -> Tensor:
    """Return which point sets (P,) bool learn their object.

    Those with the least ``ranked`` (P,) of each level compete, and of all levels together the share
    ``kept`` of these, rounded up, is selected. Of equal ones the first is better.

    Args:
        sets: the point sets.
        ranked: from ``quality``.
        config: the numbers.
        levels: number of levels.
        objects: number of objects of all images.
    """
    competes = place_in_group(sets.objects * levels + sets.level, ranked) < config.each_level
    counts = torch.zeros(objects, dtype=torch.int64, device=ranked.device)
    counts = counts.index_add(0, sets.objects, competes.long())
    wanted = (counts.double() * config.kept).ceil()
    place = place_in_group(sets.objects, ranked.masked_fill(~competes, torch.inf))
    return competes & (place < wanted[sets.objects])
