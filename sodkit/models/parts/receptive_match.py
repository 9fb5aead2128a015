"""Which prior learns which object by receptive fields: RFLA (Xu et al., ECCV 2022).

A tiny object may overlap no prior, and then IoU says nothing of which is near. So prior and object
are taken as Gaussians, at their centres and with half the sides as deviations, and compared by the
divergence of the two (receptive field distance): it ranks all priors for every object. Each object
takes the nearest, in two rounds (hierarchical label assignment): none is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sodkit.models.kernels.blocks import blocks
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.coders import centre_and_size
from sodkit.models.parts.ignored import inside
from sodkit.models.parts.matchers import IGNORED
from sodkit.settings.proposers import Metric, ReceptiveMatching

_TINY = 1e-6
"""px: added to every side (release)."""


def match_receptive(
    priors: Tensor, boxes: Tensor, ignore_boxes: Tensor, rule: ReceptiveMatching
) -> Tensor:
    """Match priors of all levels to objects, hierarchically.

    In the first round an object takes its nearest priors; in the second, with all priors shrunk,
    its nearest again, which adds to the first. Priors that are equally near are taken together,
    and of several objects the last one has the prior (release).

    Args:
        priors: (N, 4) xyxy.
        boxes: (G, 4) xyxy.
        ignore_boxes: (I, 4) xyxy, or (I, 5) oriented; no prior inside is taken, an object takes
            the nearest of the others.
        rule: metric, numbers of priors, the closeness from which a free prior is no negative.

    Returns:
        (N,) int64 index of an object, ``NEGATIVE`` or ``IGNORED``.
    """
    ignored = inside(priors, ignore_boxes)
    first, _ = _nearest(priors, boxes, ignored, rule.metric, rule.nearest)
    shrunk = shrink(priors, rule.shrink)
    second, closest = _nearest(shrunk, boxes, ignored, rule.metric, rule.nearest_shrunk)
    gt = torch.where(first >= 0, first, second)
    gt = gt.masked_fill((gt < 0) & (closest >= rule.negative), IGNORED)
    return gt.masked_fill(ignored, IGNORED)


def shrink(boxes: Tensor, share: float) -> Tensor:
    """Return boxes (N, 4) with ``share`` of their sides about their centres."""
    centre, size = centre_and_size(boxes)
    half = share * size / 2
    return torch.cat([centre - half, centre + half], 1)


def closeness(metric: Metric, priors: Tensor, boxes: Tensor) -> Tensor:
    """Return how near priors (N, 4) are to objects (k, 4): (k, N) in (0, 1], 1 for equal boxes."""
    if metric == "wasserstein":
        return _squared_wasserstein(priors, boxes).add_(1).reciprocal_()
    divergence = _divergence(priors, boxes)
    if metric == "exp-kld":
        return divergence.div_(-10).exp_()
    return divergence.add_(1).reciprocal_()


def _divergence(priors: Tensor, boxes: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence (k, N) of priors from objects.

    Of Gaussians with half the sides as deviations, axis by axis:
    2 D = (w_p / w_g)^2 + 4 (dx / w_g)^2 - 1 + 2 ln(w_g / w_p) + the same of the heights.
    """
    (centre, size), (at, side) = centre_and_size(priors), centre_and_size(boxes)
    size, side = size + _TINY, side + _TINY
    logs = side.log().sum(1)[:, None] - size.log().sum(1)
    total = logs.mul_(2).sub_(2)
    for axis in (0, 1):
        shift = centre[:, axis] - at[:, axis, None]
        part = torch.addcmul(size[:, axis].square(), shift, shift, value=4)
        total.add_(part.div_(side[:, axis, None].square()))
    return total.div_(2)


def _squared_wasserstein(priors: Tensor, boxes: Tensor) -> Tensor:
    """Return the squared Wasserstein distance (k, N) in px^2 of priors from objects."""
    (centre, size), (at, side) = centre_and_size(priors), centre_and_size(boxes)
    total = torch.full((len(boxes), len(priors)), _TINY, device=boxes.device)
    for axis in (0, 1):
        shift = centre[:, axis] - at[:, axis, None]
        change = size[:, axis] - side[:, axis, None]
        total.addcmul_(shift, shift).addcmul_(change, change, value=0.25)
    return total


def _nearest(
    priors: Tensor, boxes: Tensor, ignored: Tensor, metric: Metric, count: int
) -> tuple[Tensor, Tensor]:
    """Let every object take its ``count`` nearest priors and all that are as near as the last.

    Args:
        priors: (N, 4).
        boxes: (G, 4).
        ignored: (N,) bool, priors that are not to be taken.
        metric: of the closeness.
        count: of priors an object.

    Returns:
        (N,) int64 the last object that takes each prior, else ``NEGATIVE``; and (N,) the greatest
        closeness to any object, 0 without objects.
    """
    closest = priors.new_zeros(len(priors))
    gt = torch.full_like(closest, NEGATIVE, dtype=torch.int64)
    for rows in blocks(len(boxes), len(priors)):
        near = closeness(metric, priors, boxes[rows])
        closest = torch.maximum(closest, near.amax(0))
        near.masked_fill_(ignored, -1.0)
        least = near.topk(min(count, len(priors)), 1).values[:, -1:]
        number = torch.arange(rows.start, rows.stop, device=boxes.device)[:, None]
        gt = torch.maximum(gt, torch.where(near >= least, number, NEGATIVE).amax(0))
    return gt, closest
