"""Which prior learns which object by receptive fields: RFLA (Xu et al., ECCV 2022).

A tiny object may overlap no prior, and then IoU says nothing of which is near. So prior and object
are taken as Gaussians, at their centres and with half the sides as deviations, and compared by the
divergence of the two (receptive field distance): it ranks all priors for every object. Each object
takes the nearest, in two rounds (hierarchical label assignment): none is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sodkit.geometry.touching import Runs
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
    shrunk = shrink(priors, rule.shrink)
    first = torch.full((len(priors),), NEGATIVE, device=priors.device)
    second, closest = first.clone(), priors.new_zeros(len(priors))
    runs = _runs(priors)
    for part in blocks(len(boxes), len(priors)):
        near = slice(None) if runs is None else _near(priors, runs, boxes[part], ignored, rule)
        number = torch.arange(part.start, part.stop, device=boxes.device)[:, None]
        whole = closeness(rule.metric, priors[near], boxes[part])
        taken = _nearest(whole.masked_fill_(ignored[near], -1.0), rule.nearest)
        first[near] = torch.maximum(first[near], torch.where(taken, number, NEGATIVE).amax(0))
        small = closeness(rule.metric, shrunk[near], boxes[part])
        closest[near] = torch.maximum(closest[near], small.amax(0))
        taken = _nearest(small.masked_fill_(ignored[near], -1.0), rule.nearest_shrunk)
        second[near] = torch.maximum(second[near], torch.where(taken, number, NEGATIVE).amax(0))
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


def _nearest(near: Tensor, count: int) -> Tensor:
    """Return (k, N) bool: the ``count`` nearest priors of each object, and all as near as the last.

    Args:
        near: (k, N) closeness.
        count: of priors an object.
    """
    return near >= near.topk(min(count, near.shape[1]), 1).values[:, -1:]


def _runs(priors: Tensor) -> tuple[Runs, Runs] | None:
    """Return priors and their centres in runs; on a device, which would be waited for, none."""
    if priors.device.type != "cpu":
        return None
    at = centre_and_size(priors)[0]
    return Runs.of(priors.double().numpy()), Runs.of(torch.cat([at, at], 1).double().numpy())


def _near(
    priors: Tensor, runs: tuple[Runs, Runs], boxes: Tensor, ignored: Tensor, rule: ReceptiveMatching
) -> Tensor:
    """Return the rows of all priors that one of k objects may take, or be too near to.

    The priors that hold an object's centre are near it. How near its nearest are is bounded by
    them, and how far apart centres may be by that: the others need not be compared.
    """
    around, points = runs
    centre, side = centre_and_size(boxes)
    rows = torch.from_numpy(around.rows(torch.cat([centre, centre], 1).double().numpy()))
    least = torch.full_like(centre[:, 0], rule.negative)
    whole = priors[rows]
    for some, count in ((whole, rule.nearest), (shrink(whole, rule.shrink), rule.nearest_shrunk)):
        found = closeness(rule.metric, some, boxes).masked_fill_(ignored[rows], -1.0)
        enough = count <= len(rows)
        last = found.topk(count, 1).values[:, -1] if enough else torch.zeros_like(least)
        least = torch.minimum(least, last)
    # a little more than exact: all that rounding makes equal to the nearest is to be compared
    reach = 1.001 * _reach(rule.metric, least[:, None].clamp(min=0), side) + 0.001
    window = torch.cat([centre - reach, centre + reach], 1)
    return torch.from_numpy(points.rows(window.double().numpy()))


def _reach(metric: Metric, near: Tensor, side: Tensor) -> Tensor:
    """Return how far centres are apart at most, in px (k, 2), at a closeness (k, 1) of ``near``.

    Of equal sides the divergence is 2 (dx / w)^2 + 2 (dy / h)^2, of others it is greater.
    """
    if metric == "wasserstein":
        return (1 / near - 1).sqrt().expand_as(side)
    divergence = 1 / near - 1 if metric == "kld" else -10 * near.log()
    return (side + _TINY) * (divergence / 2).sqrt()
