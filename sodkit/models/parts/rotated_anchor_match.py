"""Which anchor learns which oriented object: matching by rotated IoU, all images together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sodkit.data.batches import Target
from sodkit.models.parts import anchors as anchors_of
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.coders import centre_and_size
from sodkit.models.parts.matchers import IGNORED, Matches
from sodkit.models.parts.regression import oriented_truth
from sodkit.models.parts.rotated_coders import upright
from sodkit.models.parts.rotated_pairs import Pairs, touching_pairs
from sodkit.settings.anchor_levels import AnchorLevel
from sodkit.settings.base import IouMatching


def as_oriented(anchors: Tensor) -> Tensor:
    """Return upright anchors (N, 4) xyxy as (N, 5) with angle 0: their width stays the side w.

    So a tall anchor has w < h; ``rotated_coders.upright`` would turn it.
    """
    centre, size = centre_and_size(anchors)
    return torch.cat([centre, size, torch.zeros_like(size[:, :1])], 1)


def grid(
    size: tuple[int, int], levels: Sequence[AnchorLevel], device: torch.device | None = None
) -> list[Tensor]:
    """Return the anchors (A_l, 5) of every level, with angle 0; args as of ``anchors.grid``."""
    return [as_oriented(level) for level in anchors_of.grid(size, levels, device)]


def match_anchors(
    anchors: Sequence[Tensor], targets: Sequence[Target], rule: IouMatching
) -> list[Matches]:
    """Match the anchors of each image to its objects by their best rotated IoU, exact.

    A device is waited for once, whatever the number of images and objects. Anchors with more than
    half of their area inside an ignore region are ignored. An object also takes the anchors that
    overlap it best, from ``rule.low_quality`` on; of several such objects the last one has the
    anchor (release), but never anchors that do not overlap it: the release gives it nearly all.

    Args:
        anchors: (N, 5) oriented, a tensor each image.
        targets: with oriented boxes, one an image.
        rule: the thresholds.
    """
    objects = [oriented_truth(target) for target in targets]
    regions = [
        region if region.shape[1] == 5 else upright(region)
        for region in (target.ignore_boxes for target in targets)
    ]
    pairs = touching_pairs([*anchors, *anchors], [*objects, *regions])
    images = zip(
        anchors, objects, regions, pairs[: len(objects)], pairs[len(objects) :], strict=True
    )
    return [
        match_pairs(one, len(own), near, _inside(one, region, cover), rule)
        for one, own, region, near, cover in images
    ]


def _inside(anchors: Tensor, regions: Tensor, pairs: Pairs) -> Tensor:
    """Return (N,) bool: more than half of the anchor lies in one region."""
    anchor_area = anchors[:, 2] * anchors[:, 3]
    much = pairs.intersection(anchors, regions) > anchor_area[pairs.box] / 2
    return torch.zeros_like(anchor_area).index_add(0, pairs.box, much.to(anchors)) > 0


def match_pairs(
    anchors: Tensor, objects: int, pairs: Pairs, ignored: Tensor, rule: IouMatching
) -> Matches:
    """Match anchors by their pairs with objects, see ``match_anchors``.

    Args:
        anchors: (N, ...) float.
        objects: number of them.
        pairs: all in which anchor and object overlap.
        ignored: (N,) bool: anchors that no object takes.
        rule: the thresholds.
    """
    box, other, iou = pairs.box, pairs.other, pairs.iou
    best = anchors.new_zeros(len(anchors)).scatter_reduce(0, box, iou, "amax")
    # of equal IoUs the first object
    first = torch.where((iou == best[box]) & (iou > 0), other, objects)
    index = torch.full_like(ignored, objects, dtype=torch.int64)
    index = index.scatter_reduce(0, box, first, "amin")
    gt = torch.full_like(index, IGNORED).masked_fill(best < rule.negative, NEGATIVE)
    gt = torch.where((best >= rule.positive) & (index < objects), index, gt)
    if rule.low_quality is not None:
        usable = torch.where(ignored[box], 0.0, iou)
        top = anchors.new_zeros(objects).scatter_reduce(0, other, usable, "amax")[other]
        takes = (usable == top) & (top >= rule.low_quality) & (top > 0)
        last = torch.full_like(gt, NEGATIVE)
        last = last.scatter_reduce(0, box, torch.where(takes, other, NEGATIVE), "amax")
        gt = torch.where(last >= 0, last, gt)
    return Matches(gt.masked_fill(ignored, IGNORED), best)
