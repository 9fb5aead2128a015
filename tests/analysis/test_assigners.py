"""Counts of positives against the detectors' own matchers, and against every anchor one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from sodkit.analysis import assigners
from sodkit.analysis.anchor_grid import count_region
from sodkit.arrays import FloatArray, IntArray
from sodkit.models.parts import anchors, matchers
from sodkit.models.parts.box_iou import every_iou
from sodkit.models.parts.receptive_match import match_receptive
from sodkit.settings.anchor_levels import AnchorLevel
from sodkit.settings.dense import RetinaNet
from sodkit.settings.proposers import ReceptiveMatching, Region, Rfla
from sodkit.settings.two_stage import Cfinet, FasterRcnn, Fpn

WIDTH, HEIGHT = 252, 188
NO_BOXES = torch.zeros(0, 4)
LEVELS = RetinaNet().anchor_levels()
SQUARES = tuple(AnchorLevel(s, ((2.0 * s, 2.0 * s),)) for s in (8, 16, 32, 64))
RPN = FasterRcnn(fpn=Fpn(levels=5)).anchor_levels()


def objects(seed: int, count: int = 120) -> tuple[FloatArray, FloatArray]:
    """Return boxes of all sizes, some across the border, and the extents of their images.

    Their numbers are of float32, in which the detectors compute.
    """
    rng = np.random.default_rng(seed)
    sides = np.exp(rng.uniform(np.log(2), np.log(150), (count, 2)))
    middle = rng.uniform(0, 1, (count, 2)) * [WIDTH, HEIGHT]
    boxes = (
        np.concatenate([middle - sides / 2, middle + sides / 2], axis=1)
        .astype(np.float32)
        .astype(np.float64)
    )
    return boxes, np.tile([float(WIDTH), HEIGHT], (count, 1))


def grid(levels: tuple[AnchorLevel, ...]) -> torch.Tensor:
    return torch.cat(anchors.grid((HEIGHT, WIDTH), levels))


def by_matcher(boxes: FloatArray, match: Callable[[torch.Tensor], torch.Tensor]) -> list[int]:
    """Return how many positives a matcher gives to each object alone."""
    return [int((match(torch.tensor(box[None]).float()) >= 0).sum()) for box in boxes]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("levels", "positive", "low"),
    [(LEVELS, 0.5, 0.0), (RPN, 0.7, 0.3), (RPN, 0.5, 0.3), (RPN, 0.7, None)],
    ids=["retinanet", "rpn", "rpn05", "without low quality"],
)
def test_max_iou(
    seed: int, levels: tuple[AnchorLevel, ...], positive: float, low: float | None
) -> None:
    boxes, extents = objects(seed)
    priors = grid(levels)

    def match(box: torch.Tensor) -> torch.Tensor:
        rule = {"positive": positive, "negative": 0.0, "low_quality": low}
        return matchers.match_iou(priors, box, NO_BOXES, **rule).gt

    counts = assigners.count_matched(boxes, extents, levels, positive, low)
    assert counts.tolist() == by_matcher(boxes, match)
    assert counts.max() >= 1


def test_ties_of_the_best_anchor_all_count() -> None:
    """Two rows of four anchors overlap a flat box in their middle by the same IoU."""
    box, extent = np.array([[32.0, 34.0, 34.0, 38.0]]), np.array([[128.0, 128.0]])
    levels = (AnchorLevel(4, ((8.0, 8.0),)),)
    found = assigners.count_matched(box, extent, levels, 0.5, 0.0)[0]
    priors = torch.cat(anchors.grid((128, 128), levels))
    (gt,) = by_matcher(
        box,
        lambda b: (
            matchers.match_iou(priors, b, NO_BOXES, positive=0.5, negative=0.0, low_quality=0.0).gt
        ),
    )
    assert found == gt > 1


@pytest.mark.parametrize("match_best", [True, False])
def test_dynamic_threshold(match_best: bool) -> None:
    boxes, extents = objects(5)
    levels = Cfinet().anchor_levels()
    thresholds = np.random.default_rng(0).uniform(0.2, 0.6, len(boxes))
    priors = grid(levels)
    counts = assigners.count_thresholded(boxes, extents, levels, thresholds, match_best)
    wanted = [
        int((gt >= 0).sum())
        for box, threshold in zip(boxes, thresholds, strict=True)
        for gt in [
            matchers.match_dynamic(
                priors, torch.tensor(box[None]).float(), NO_BOXES,
                torch.tensor([threshold]), match_best=match_best,
            ).gt
        ]
    ]  # fmt: skip
    assert counts.tolist() == wanted
    assert (counts == 0).any() != match_best


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_regions(share: float) -> None:
    boxes, extents = objects(6)
    levels = Cfinet().anchor_levels()
    priors, strides = grid(levels), [level.stride for level in levels]
    region = Region(positive=share, ignored=share)

    def match(box: torch.Tensor) -> torch.Tensor:
        return matchers.match_region(priors, box, NO_BOXES, region, 2.0, strides).gt

    assert count_region(boxes, extents, levels, share).tolist() == by_matcher(boxes, match)


def places(level: AnchorLevel, shift: float = 0.0) -> FloatArray:
    """Return all locations of a level, row by row."""
    xs = (np.arange(np.ceil(WIDTH / level.stride)) + shift) * level.stride
    ys = (np.arange(np.ceil(HEIGHT / level.stride)) + shift) * level.stride
    return np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)


def iou_of(box: FloatArray, centres: FloatArray, size: tuple[float, float]) -> FloatArray:
    half = np.array(size) / 2
    side = np.minimum(box[2:], centres + half) - np.maximum(box[:2], centres - half)
    overlap = np.maximum(side, 0).prod(axis=1)
    return overlap / ((box[2:] - box[:2]).prod() + size[0] * size[1] - overlap)


def test_locations_of_ga_rpn() -> None:
    """Every location by the best of its nine anchors: from .7 on, else the best from .3 on."""
    boxes, extents = objects(7)
    priors, wanted = grid(LEVELS), []
    for box in boxes:
        best = every_iou(torch.tensor(box[None]).float(), priors)[0].reshape(-1, 9).amax(1)
        low = best.max() if best.max() >= 0.3 else np.inf
        wanted.append(int(((best >= 0.7) | (best == low)).sum()))
    counts = assigners.count_matched(boxes, extents, LEVELS, 0.7, 0.3, by_location=True)
    assert counts.tolist() == wanted
    assert max(wanted) >= 1
    assert min(wanted) == 0


def test_points_of_fcos() -> None:
    boxes, extents = objects(8)
    ranges = ((-1.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 1e8))
    wanted = []
    for x1, y1, x2, y2 in boxes:
        count = 0
        for level, (least, most) in zip(SQUARES, ranges, strict=True):
            for x, y in places(level, 0.5):
                reach = 1.5 * level.stride
                inner = (x1 + x2) / 2 - reach, (y1 + y2) / 2 - reach
                outer = (x1 + x2) / 2 + reach, (y1 + y2) / 2 + reach
                near = max(inner[0], x1) < x < min(outer[0], x2)
                near &= max(inner[1], y1) < y < min(outer[1], y2)
                count += near and least <= max(x - x1, x2 - x, y - y1, y2 - y) <= most
        wanted.append(int(count))
    strides = [level.stride for level in SQUARES]
    assert assigners.count_points(boxes, extents, strides, ranges, 1.5).tolist() == wanted
    assert min(wanted) == 0
    assert max(wanted) >= 9


@pytest.mark.parametrize("candidates", [1, 4, 9, 20])
def test_candidates_of_atss(candidates: int) -> None:
    boxes, extents = objects(9)
    wanted = []
    for box in boxes:
        middle, ious, inner = (box[:2] + box[2:]) / 2, [], []
        for level in SQUARES:
            centres = places(level)
            order = ((centres - middle) ** 2).sum(axis=1).argsort(kind="stable")[:candidates]
            centres = centres[order]
            ious.extend(iou_of(box, centres, level.sizes[0]))
            depth = np.concatenate([centres - box[:2], box[2:] - centres], axis=1)
            inner.extend(depth.min(axis=1) > 0.01)
        least = np.mean(ious) + np.std(ious, ddof=1)
        wanted.append(int(((np.array(ious) >= least) & np.array(inner)).sum()))
    assert assigners.count_adaptive(boxes, extents, SQUARES, candidates).tolist() == wanted
    assert min(wanted) == 0
    assert max(wanted) >= 1


RULES = (
    ReceptiveMatching(),
    ReceptiveMatching(nearest=2, shrink=0.7),
    ReceptiveMatching(metric="wasserstein", nearest=1, nearest_shrunk=4),
    ReceptiveMatching(metric="exp-kld", nearest=9),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.metric}-{rule.nearest}")
def test_receptive_fields_of_rfla(rule: ReceptiveMatching) -> None:
    boxes, extents = objects(10)
    levels = FasterRcnn(fpn=Fpn(levels=5), proposals=Rfla()).anchor_levels()
    priors = grid(levels)
    wanted = by_matcher(boxes, lambda box: match_receptive(priors, box, NO_BOXES, rule))
    assert assigners.count_receptive(boxes, extents, levels, rule).tolist() == wanted
    assert rule.nearest <= min(wanted) < max(wanted)


def test_no_objects() -> None:
    none, pairs = np.zeros((0, 4)), np.zeros((0, 2))
    counts: list[IntArray] = [
        assigners.count_matched(none, pairs, RPN, 0.7, 0.3),
        assigners.count_thresholded(none, pairs, RPN, np.zeros(0), True),
        assigners.count_matched(none, pairs, RPN, 0.7, 0.3, by_location=True),
        assigners.count_points(none, pairs, [8], [(0.0, 64.0)], 1.5),
        assigners.count_adaptive(none, pairs, SQUARES, 9),
        assigners.count_receptive(none, pairs, RPN, ReceptiveMatching()),
    ]
    assert [count.tolist() for count in counts] == [[]] * 6
