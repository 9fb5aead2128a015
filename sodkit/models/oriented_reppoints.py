"""Oriented RepPoints (Li et al., CVPR 2022): of the point sets on an object the best learn it.

What is new in it, beside Rotated RepPoints: sets that overlap an object a little are candidates,
and what they give decides which of them are positives; points outside of the object are pulled in.

::

    initial points --IoU of hulls--> candidates --quality--> positives
                                        ^
    classes, initial and refined points, features at the points
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sodkit.data.batches import Batch
from sodkit.models.kernels.convex import in_frame
from sodkit.models.kernels.nonzero import rows_each
from sodkit.models.parts import dense_matches, losses
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.dense_matches import DenseMatches
from sodkit.models.parts.locations import Locations
from sodkit.models.parts.point_quality import Assessed, quality, select
from sodkit.models.parts.regression import oriented_truth
from sodkit.models.parts.reppoints_head import PointSets
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.rotated_reppoints import (
    RotatedRepPoints,
    about_location,
    in_pixels,
    level_counts,
)
from sodkit.settings import rotated_points

_OUTSIDE = 0.2
"""What a point outside of its object costs for each unit of distance to the centre (release)."""
_UNIT = 2.0
"""Strides that are a unit of this distance (release)."""


class OrientedRepPoints(RotatedRepPoints):
    """The network of Rotated RepPoints, trained on selected point sets.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    config: rotated_points.OrientedRepPoints

    def __init__(self, config: rotated_points.OrientedRepPoints, classes: int) -> None:
        super().__init__(config, classes)

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return the losses of classes, hulls and points outside; nothing is drawn.

        The initial points are trained as in Rotated RepPoints. The refined ones and the classes are
        trained on the selected sets; candidates that are not selected are negatives. Both are
        divided by the number of selected sets, one at least.
        """
        config = self.config
        pyramid = self.pyramid(batch.images)
        output: PointSets = self.head(pyramid)
        locations = self.locations(batch)
        initial, refined = (torch.cat(one, 1) for one in (output.initial, output.refined))
        nearest = self.nearest(batch, locations)
        selected = self.selected(output, pyramid, locations, batch)
        logits = torch.cat(output.logits, 1).flatten(0, 1)[selected.used].float()
        cls = losses.focal(logits, selected.place, selected.labels, config.focal)
        count = batch.step.total(sum(selected.counts))
        first = self.hull_loss(initial, nearest, locations)
        inwards = self.outside_loss(initial, nearest, locations, batch)
        inwards_refined = self.outside_loss(refined, selected, locations, batch, together=True)
        return {
            "loss_cls": cls / count,
            "loss_init": self.level_means(first, nearest, locations, batch) * config.init_weight,
            "loss_refine": self.hull_loss(refined, selected, locations).sum()
            / count
            * config.refine_weight,
            "loss_spatial_init": inwards * config.spatial_init_weight,
            "loss_spatial_refine": inwards_refined * config.spatial_refine_weight,
        }

    @torch.no_grad()
    def selected(
        self, output: PointSets, pyramid: Sequence[Tensor], locations: Locations, batch: Batch
    ) -> DenseMatches:
        """Return what the refined points and the classes of a batch are trained on."""
        initial = torch.cat(output.initial, 1)
        gts = [one.gt for one in self.match_sets(initial, locations, batch)]
        candidates = rows_each([gt >= 0 for gt in gts])
        sets = self.assessed(output, gts, candidates, locations, batch)
        ranked = quality(sets, pyramid, self.config.strides, self.config.quality, self.config.focal)
        chosen = select(
            sets, ranked, self.config.quality,
            levels=self.config.levels, objects=sum(len(one.labels) for one in batch.targets),
        )  # fmt: skip
        each = torch.split(chosen, [len(rows) for rows in candidates])
        left = [
            gt.index_copy(0, rows, torch.where(own, gt[rows], NEGATIVE))
            for gt, rows, own in zip(gts, candidates, each, strict=True)
        ]
        return dense_matches.of_batch(batch, left, oriented_truth)

    def assessed(
        self, output: PointSets, gts: Sequence[Tensor], candidates: Sequence[Tensor],
        locations: Locations, batch: Batch,
    ) -> Assessed:  # fmt: skip
        """Return what is known of the candidates: rows (C,) of each image with a match (N,)."""
        logits, initial, refined = (
            torch.cat(one, 1) for one in (output.logits, output.initial, output.refined)
        )
        parts, before = [], 0
        for image, (target, rows) in enumerate(zip(batch.targets, candidates, strict=True)):
            own, at, stride = gts[image][rows], locations.at[rows], locations.stride[rows]
            placed = (in_pixels(one[image, rows], at, stride) for one in (initial, refined))
            parts.append((
                torch.full_like(rows, image), locations.level[rows], own + before,
                logits[image, rows].float(), target.labels[own], *placed,
                oriented_truth(target)[own],
            ))  # fmt: skip
            before += len(target.labels)
        return Assessed(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def outside_loss(
        self, sets: Tensor, matched: DenseMatches, locations: Locations, batch: Batch, *,
        together: bool = False,
    ) -> Tensor:  # fmt: skip
        """Return the loss of the positives' points that lie outside of their object.

        It is the mean distance to the object's centre, divided by the number of positives: of each
        level, and summed over them, or of all ``together``.
        """
        own, boxes = about_location(sets, matched, locations)
        own = in_frame(own, boxes)
        outside = (own.abs() > boxes[:, None, 2:4] / 2).any(-1)
        level = locations.level[matched.anchors] * (not together)
        # a norm of 0 has no gradient, but then the point is not outside
        distance: Tensor = torch.where(outside[..., None], own, 1.0).norm(dim=-1) * outside
        each = _OUTSIDE / _UNIT * distance.sum(1)
        points = level_counts(level, locations, batch, outside.sum(1))
        positives = level_counts(level, locations, batch)
        # two totals over the processes: their number must divide once only
        processes = 1 / batch.step.total(0)
        share = 1 / (points * positives * processes)
        total: Tensor = (each * share[level]).sum()
        return total
