"""Which set of points learns which oriented object: matching by the IoU of convex hulls."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sodkit.data.batches import Target
from sodkit.models.kernels.convex import convex_iou, overlaps
from sodkit.models.parts.matchers import Matches
from sodkit.models.parts.regression import oriented_truth
from sodkit.models.parts.rotated_anchor_match import match_pairs
from sodkit.models.parts.rotated_coders import enclosing, upright
from sodkit.models.parts.rotated_pairs import Pairs, touching_each
from sodkit.settings.base import IouMatching


def match_hulls(
    sets: Sequence[Tensor], targets: Sequence[Target], left_out: Sequence[Tensor], rule: IouMatching
) -> list[Matches]:
    """Match the points of each image by the best IoU of their hulls, exact.

    The rule is that of ``match_anchors``. Hulls with more than half of their area inside an ignore
    region are ignored. A device is waited for once, whatever the number of images and objects.

    Args:
        sets: (N, 9, 2) of each image, (x, y) in px; no gradient.
        targets: with oriented boxes, one an image.
        left_out: (N,) bool of each image: sets that are ignored in any case.
        rule: the thresholds.
    """
    objects = [oriented_truth(target) for target in targets]
    regions = [
        region if region.shape[1] == 5 else upright(region)
        for region in (target.ignore_boxes for target in targets)
    ]
    around = [torch.cat([one.amin(1), one.amax(1)], 1) for one in sets]
    both = [*zip(around, objects, strict=True), *zip(around, regions, strict=True)]
    pairs = touching_each([(hull, enclosing(other)) for hull, other in both])
    found = []
    for image, (own, gts, beyond) in enumerate(zip(sets, objects, left_out, strict=True)):
        box, other = pairs[image]
        near = Pairs(box, other, convex_iou(own[box], gts[other]).to(own))
        ignored = beyond | _inside(own, regions[image], *pairs[len(sets) + image])
        found.append(match_pairs(own, len(gts), near, ignored, rule))
    return found


def _inside(sets: Tensor, regions: Tensor, hull: Tensor, region: Tensor) -> Tensor:
    """Return (N,) bool: more than half of the hull lies in one region, of the pairs given."""
    shared, own = overlaps(sets[hull], regions[region])
    much = (shared > own / 2).to(sets)
    return sets.new_zeros(len(sets)).index_add(0, hull, much) > 0
