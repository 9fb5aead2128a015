"""A small search for anchors, resize factor and dynamic threshold that fit a data set's objects.

Every combination of a documented grid is judged by one number (``Fit.value``), within stated
limits; nothing is learnt and nothing is drawn. It says how anchors meet boxes, not what a trained
detector reaches.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from sodkit.analysis.anchor_grid import best_iou, dynamic_thresholds
from sodkit.analysis.ranked_iou import ranked_iou
from sodkit.analysis.sized_objects import SizedObjects
from sodkit.arrays import BoolArray, FloatArray
from sodkit.settings.anchor_levels import AnchorLevel
from sodkit.settings.proposers import Threshold

SCALES = (0.25, 0.375, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
"""Resize factors that are tried, besides the recipe's own; so with all of these."""
ANCHOR_SCALES = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0)
REFERENCES = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0)
GAMMAS = (0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3)

GOOD_IOU = 0.5
"""An object is covered if its best anchor overlaps it by this."""
MOST_POSITIVES = 12
"""An object has enough positives with 1 to so many: what Eq. 1 of the paper gives objects of
SODA-D's sizes with the paper's anchors."""
PRICE = 0.05
"""What a doubling of the network's pixels costs, in shares of objects."""
LOSS = 0.02
"""No size class may lose more than this share of its objects, whether covered or with enough."""
GAIN = 0.03
"""A change must raise the value by this."""
CLOSE = 0.01
"""Of the combinations that are this close to the best one, the one nearest to the recipe wins."""
SHRUNK_SIDE = 64.0
"""The factor is lowered only so far that 95 % of the objects keep this side in px."""


@dataclass(frozen=True, slots=True)
class Point:
    """A combination of the grid.

    Attributes:
        scale: resize factor.
        anchor: sides of the anchors in strides; None: the detector has no such setting.
        threshold: the dynamic threshold; None: likewise.
    """

    scale: float
    anchor: float | None
    threshold: Threshold | None

    def distance(self, other: Point) -> float:
        """Return how much two combinations differ: in doublings, a gamma of .1 being one."""
        far = 2 * abs(math.log2(self.scale / other.scale))
        if self.anchor is not None and other.anchor is not None:
            far += abs(math.log2(self.anchor / other.anchor))
        if self.threshold is not None and other.threshold is not None:
            far += abs(math.log2(self.threshold.reference / other.threshold.reference)) / 2
            far += abs(self.threshold.gamma - other.threshold.gamma) / 0.1
        return far


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """How a combination fits the objects.

    Attributes:
        point: the combination.
        covered: (5,) share of each size class whose best anchor has an IoU of ``GOOD_IOU``.
        enough: (5,) share of it with 1 to ``MOST_POSITIVES`` anchors that reach the dynamic
            threshold; None: the detector has none.
        lead: mean number of these anchors (those beyond the 13th not counted) of the size class
            that has most, times that of the smallest; of those that count. 0: no threshold.
        value: the mean of ``covered`` over the size classes that count, plus the same of
            ``enough``, less ``PRICE`` for each doubling of the pixels that the network sees.
    """

    point: Point
    covered: FloatArray
    enough: FloatArray | None
    lead: float
    value: float

    def loses(self, own: Fit, loss: float) -> bool:
        """Return whether a size class is worse off.

        One is if it has lost more than this share of its objects; the smallest is if others get
        more positives by this share, and did not before (the paper: larger ones must not
        overwhelm it).
        """
        worse = bool((self.covered < own.covered - loss).any())
        if self.enough is None or own.enough is None:
            return worse
        worse |= bool((self.enough < own.enough - loss).any())
        return worse or self.lead > max(1.0, own.lead) + loss


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """What is searched.

    Attributes:
        objects: what is to be fitted.
        counting: (5,) the size classes that are part of ``Fit.value``.
        own: the recipe's own combination.
        levels: gives the anchors for a value of ``Point.anchor``.
        pad_to: the resized image's sides are padded to a multiple of this.
        side: px of a patch after resizing, which is not exceeded.
    """

    objects: SizedObjects
    counting: BoolArray
    own: Point
    levels: Callable[[float | None], tuple[AnchorLevel, ...]]
    pad_to: int
    side: int

    def run(self, progress: Callable[[int, int], None] | None = None) -> tuple[Fit, Fit]:
        """Return the fit of the recipe, and the best one: the recipe's own if no other gains.

        The search looks at a sample of the objects; what it finds has to hold for all of them.

        Args:
            progress: called with (done, total) as the work goes on.
        """
        sample = self.objects.sampled()
        # half of what all objects may lose: a sample's shares are not exactly theirs
        loss = LOSS if len(sample.size) == len(self.objects.size) else LOSS / 2
        point = self._best(sample, loss, progress)
        own, chosen = self.fit(self.own, self.objects), self.fit(point, self.objects)
        gains = chosen.value >= own.value + GAIN and not chosen.loses(own, LOSS)
        return own, chosen if gains else own

    def fit(self, point: Point, objects: SizedObjects) -> Fit:
        """Return how one combination fits objects."""
        rules = [] if point.threshold is None else [point.threshold]
        return next(self._with_thresholds(self._covering(point, objects), objects, rules))

    def scales(self) -> list[float]:
        """Return the resize factors that may be tried.

        A higher one makes patches smaller, as the network's pixels stay the same: only while a
        patch is twice as long as 95 % of the objects. A lower one only while 95 % of them keep
        ``SHRUNK_SIDE``.
        """
        highest = max(self.own.scale, self.side / (2 * self.objects.long_side()))
        lowest = min(self.own.scale, SHRUNK_SIDE / self.objects.small_side())
        return sorted({self.own.scale, *(s for s in SCALES if lowest <= s <= highest)})

    def anchors(self) -> list[float] | list[None]:
        """Return the anchors' sides in strides that are tried."""
        return [None] if self.own.anchor is None else sorted({self.own.anchor, *ANCHOR_SCALES})

    def thresholds(self) -> list[Threshold]:
        """Return the dynamic thresholds that are tried; base, floor and cap are the recipe's."""
        own = self.own.threshold
        if own is None:
            return []
        pairs = itertools.product({own.reference, *REFERENCES}, {own.gamma, *GAMMAS})
        return [own.model_copy(update={"reference": r, "gamma": g}) for r, g in sorted(pairs)]

    def _best(
        self,
        objects: SizedObjects,
        loss: float,
        progress: Callable[[int, int], None] | None,
    ) -> Point:
        """Return the combination that is nearest to the recipe of those close to the best."""
        own, rules = self.fit(self.own, objects), self.thresholds()
        coarse = []
        pairs = list(itertools.product(self.scales(), self.anchors()))
        for done, (scale, anchor) in enumerate(pairs, start=1):
            coarse.append(self._covering(replace(self.own, scale=scale, anchor=anchor), objects))
            if progress is not None:
                progress(done, len(pairs))
        found, best = [own], own.value
        for fit in sorted(coarse, key=lambda each: -each.value):
            if fit.value + bool(rules) < best - CLOSE:
                break  # those that follow cannot come close
            if not fit.loses(own, loss):
                fits = self._with_thresholds(fit, objects, rules)
                found += [each for each in fits if not each.loses(own, loss)]
                best = max(best, *(each.value for each in found))
        near = [each for each in found if each.value >= best - CLOSE]
        return min(near, key=lambda each: each.point.distance(self.own)).point

    def _covering(self, point: Point, objects: SizedObjects) -> Fit:
        """Return the fit of a combination but for its threshold."""
        boxes, extents = objects.resized(point.scale, self.pad_to)
        best = best_iou(boxes, extents, self.levels(point.anchor))
        covered = objects.mean(best >= GOOD_IOU)
        price = PRICE * 2 * math.log2(point.scale / self.own.scale)
        return Fit(point, covered, None, 0.0, self._mean(covered) - price)

    def _with_thresholds(
        self, fit: Fit, objects: SizedObjects, rules: Sequence[Threshold]
    ) -> Iterator[Fit]:
        """Yield a fit with each of the thresholds, or as it is if there are none."""
        if not rules:
            yield fit
            return
        boxes, extents = objects.resized(fit.point.scale, self.pad_to)
        least = min(rule.floor for rule in rules)
        top = ranked_iou(boxes, extents, self.levels(fit.point.anchor), MOST_POSITIVES + 1, least)
        for rule in rules:
            needed = dynamic_thresholds(rule, objects.boxes)
            positives = (top >= needed[:, None]).sum(axis=1)
            enough = objects.mean((positives > 0) & (positives <= MOST_POSITIVES))
            value = fit.value + self._mean(enough)
            point = replace(fit.point, threshold=rule)
            yield Fit(point, fit.covered, enough, self._lead(objects.mean(positives)), value)

    def _lead(self, positives: FloatArray) -> float:
        """Return the most that a size class has, times what the smallest has."""
        counting = positives[self.counting]
        return float(counting.max() / max(counting[0], 1e-9))

    def _mean(self, shares: FloatArray) -> float:
        """Return the mean over the size classes that count."""
        return float(shares[self.counting].mean())
