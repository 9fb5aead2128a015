"""What anchors can do for small objects: the numbers behind the paper's Figure 1.

For every object that counts: the best IoU an anchor of the recipe reaches, how many anchors would
train it under several rules, and how many positives it gets from every system. Objects are taken
where they are annotated: a whole image (or a patch, if patches are given) is resized by the
recipe's factor and the grid begins at its top left corner. Cutting patches moves the grid under an
object by less than a stride, which changes single objects, hardly the distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sodkit.analysis.anchor_grid import (
    best_iou,
    count_anchors,
    count_region,
    dynamic_thresholds,
)
from sodkit.analysis.anchor_tables import anchor_tables
from sodkit.analysis.rotated_anchors import best_rotated_iou
from sodkit.analysis.system_positives import Objects, positives_by_system, share_without
from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.csv_text import Cell, csv_text
from sodkit.data.records import Annotations
from sodkit.data.sizes import SIZE_BOUNDS, SIZE_NAMES, size_index
from sodkit.errors import DataError, UsageError
from sodkit.files import write_text
from sodkit.geometry import rotated
from sodkit.settings import Input, Recipe
from sodkit.settings.anchor_levels import Anchored, AnchorLevel
from sodkit.settings.proposers import Crpn, Threshold
from sodkit.settings.two_stage import Cfinet, FasterRcnn
from sodkit.table_text import TextTable

COUNTED = SIZE_NAMES[: len(SIZE_BOUNDS)]
"""The size classes, without what is larger than N."""
LARGER = len(COUNTED)
LEVELS_OF_IOU = (0.3, 0.5, 0.7)
FIXED = (0.2, 0.4, 0.5, 0.7)
PAPER = Threshold()
RELEASE = Threshold(base=0.25, gamma=0.15, floor=0.20, cap=0.25)
REGION_SHARES = (0.2, 0.5, 0.8)
"""Centre regions of Cascade RPN in the paper's Table 1."""


@dataclass(frozen=True, slots=True)
class SizeSummary:
    """One row of the result.

    Attributes:
        name: eS, rS, gS, N, or all (of these four).
        objects: how many.
        mean_iou: mean of the best IoU, None without objects.
        median_iou: median of it.
        shares: share of objects whose best IoU is at least .3, .5, .7.
        positives: mean number of positive anchors an object gets, by rule.
        systems: mean number of positives an object gets from a system, by its recipe.
        without: share of objects that get none from it.
        rotated_iou: mean of the best rotated IoU, None without objects or if horizontal.
    """

    name: str
    objects: int
    mean_iou: float | None
    median_iou: float | None
    shares: dict[float, float | None]
    positives: dict[str, float | None]
    systems: dict[str, float | None]
    without: dict[str, float | None]
    rotated_iou: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class AnchorQuality:
    """How anchors meet objects; row i of every column is one object.

    Attributes:
        recipe: name of the recipe.
        area: (N,) px^2 in the original image.
        size: (N,) index into ``COUNTED``.
        iou: (N,) best IoU with an anchor.
        positives: by rule (N,) how many anchors reach its threshold (each object on its own).
        systems: by recipe (N,) how many positives each object alone gets by that system's rule.
        larger: objects above N, in no row.
        ignored: ignored objects and regions, in no row.
        rotated_iou: (N,) best rotated IoU of the oriented object itself with an (upright) anchor,
            None if the data are horizontal.
    """

    recipe: str
    area: FloatArray
    size: IntArray
    iou: FloatArray
    positives: dict[str, IntArray]
    systems: dict[str, IntArray]
    larger: int
    ignored: int
    rotated_iou: FloatArray | None = None

    def __repr__(self) -> str:
        mean = self.iou.mean() if len(self.iou) else float("nan")
        return (
            f"<AnchorQuality of {self.recipe}: {len(self.iou)} objects, mean best IoU {mean:.3f}>"
        )

    def tables(self) -> list[TextTable]:
        """Return best IoUs and positives by size class as ``analyze-anchors`` prints them."""
        return anchor_tables(self)

    def _repr_html_(self) -> str:
        left = f"<p>left out: {self.larger} larger than N, {self.ignored} ignored</p>"
        return "".join(table.html() for table in self.tables()) + left

    def summary(self) -> list[SizeSummary]:
        """Return a row for each size class, and one for all."""
        rows = [self._row(name, self.size == k) for k, name in enumerate(COUNTED)]
        return [*rows, self._row("all", np.ones(len(self.size), dtype=np.bool_))]

    def _row(self, name: str, chosen: BoolArray) -> SizeSummary:
        iou = self.iou[chosen]
        some = len(iou) > 0
        turned = some and self.rotated_iou is not None
        return SizeSummary(
            name,
            len(iou),
            float(iou.mean()) if some else None,
            float(np.median(iou)) if some else None,
            {t: float((iou >= t).mean()) if some else None for t in LEVELS_OF_IOU},
            {r: float(n[chosen].mean()) if some else None for r, n in self.positives.items()},
            {r: float(n[chosen].mean()) if some else None for r, n in self.systems.items()},
            {r: share_without(n[chosen]) if some else None for r, n in self.systems.items()},
            float(self.rotated_iou[chosen].mean()) if turned and self.rotated_iou is not None
            else None,
        )  # fmt: skip


def analyze_anchors(
    annotations: Annotations,
    recipe: Recipe,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> AnchorQuality:
    """Measure how the recipe's anchors meet the objects.

    Oriented objects count by their enclosing boxes, as in training, and their best rotated IoU
    with an anchor is measured besides; their size class follows their own area.

    Args:
        annotations: objects that are ignored or larger than N are left out, and counted.
        recipe: gives anchors, resize factor and dynamic threshold.
        progress: called with (done, total) as the work goes on.

    Raises:
        DataError: if no object is left.
    """
    size = size_index(annotations.area)
    chosen = _counted(annotations)
    objects = annotations.take(chosen)
    if len(objects) == 0:
        what = "no objects of the size classes eS, rS, gS, N to analyse"
        larger = bool((~annotations.ignore).any())
        hint = "all are larger: --suggest says how to reduce the images" if larger else None
        raise DataError(what, hint=hint)
    boxes = objects.xyxy
    scaled, extents = boxes * recipe.input.scale, resized_extents(objects, recipe.input)
    levels = anchor_levels(recipe)
    rules = _threshold_rules(recipe, boxes)
    thresholds = np.stack(list(rules.values()), axis=1)
    counts = count_anchors(scaled, extents, levels, thresholds, progress)
    positives = {name: counts[:, k] for k, name in enumerate(rules)}
    for share in REGION_SHARES:
        positives[f"region {share:g}"] = count_region(scaled, extents, levels, share)
    return AnchorQuality(
        recipe=recipe.name,
        area=objects.area,
        size=size[chosen],
        iou=best_iou(scaled, extents, levels),
        positives=positives,
        systems=positives_by_system(recipe, Objects(scaled, extents, recipe.input.scale)),
        larger=int((~annotations.ignore & (size == LARGER)).sum()),
        ignored=int(annotations.ignore.sum()),
        rotated_iou=_rotated(objects, recipe, extents),
    )


def has_counted(annotations: Annotations) -> bool:
    """Return whether there are objects of the four size classes that are not ignored."""
    return bool(_counted(annotations).any())


def _counted(annotations: Annotations) -> BoolArray:
    """Return which objects (N,) are of the four size classes and not ignored."""
    return np.asarray(~annotations.ignore & (size_index(annotations.area) < LARGER))


def anchor_levels(recipe: Recipe) -> tuple[AnchorLevel, ...]:
    """Return the anchors of a recipe's detector.

    Raises:
        UsageError: if it has none.
    """
    if not isinstance(recipe.model, Anchored):
        raise UsageError(
            f"{recipe.model.kind} has no anchors", where=f"recipe {recipe.name}",
            hint="give another --recipe: sodkit recipes lists them",
        )  # fmt: skip
    return recipe.model.anchor_levels()


def _own_threshold(recipe: Recipe) -> Threshold | None:
    """Return the dynamic threshold of a recipe's coarse stage, None if it has none."""
    match recipe.model:
        case Cfinet(crpn=crpn) | FasterRcnn(proposals=Crpn() as crpn):
            return crpn.assignment if isinstance(crpn.assignment, Threshold) else None
        case _:
            return None


def _rule(threshold: Threshold) -> Threshold:
    """Return the threshold alone: how many anchors reach it does not depend on ``match_best``."""
    return threshold.model_copy(update={"match_best": True})


def _rotated(objects: Annotations, recipe: Recipe, extents: FloatArray) -> FloatArray | None:
    """Return the best rotated IoU (N,) of oriented objects with an anchor."""
    if objects.obb is None:
        return None
    scaled = rotated.scale(objects.obb, (recipe.input.scale, recipe.input.scale))
    return best_rotated_iou(scaled, extents, anchor_levels(recipe))


def resized_extents(objects: Annotations, settings: Input) -> FloatArray:
    """Return width and height (N, 2) of each object's image, resized and padded."""
    sizes = np.array([(image.width, image.height) for image in objects.images], dtype=np.float64)
    resized = np.round(sizes * settings.scale)
    padded = np.ceil(resized / settings.pad_to) * settings.pad_to
    return np.asarray(padded[objects.image_index])


def _threshold_rules(recipe: Recipe, boxes: FloatArray) -> dict[str, FloatArray]:
    """Return the thresholds (N,) of each rule by its name."""
    rules = {f"IoU {t:g}": np.full(len(boxes), t) for t in FIXED}
    own = _own_threshold(recipe)
    rules["dynamic (paper)"] = dynamic_thresholds(PAPER, boxes)
    rules["dynamic (release)"] = dynamic_thresholds(RELEASE, boxes)
    if own is not None and _rule(own) not in (_rule(PAPER), _rule(RELEASE)):
        rules["dynamic (recipe)"] = dynamic_thresholds(own, boxes)
    return rules


def quality_as_dict(quality: AnchorQuality) -> dict[str, object]:
    """Return the summary as plain data for JSON."""
    rows = {
        row.name: {
            "objects": row.objects,
            "mean_best_iou": row.mean_iou,
            "median_best_iou": row.median_iou,
            "mean_best_rotated_iou": row.rotated_iou,
            "share_above": {f"{t:g}": share for t, share in row.shares.items()},
            "mean_positives": row.positives,
            "systems": {
                name: {"mean_positives": mean, "share_without": row.without[name]}
                for name, mean in row.systems.items()
            },
        }
        for row in quality.summary()
    }
    return {
        "recipe": quality.recipe,
        "sizes": rows,
        "larger": quality.larger,
        "ignored": quality.ignored,
    }


def write_quality_csv(quality: AnchorQuality, path: Path) -> None:
    """Write the summary as CSV, a row a size class; undefined values stay empty."""
    rules = list(quality.positives)
    shares = [f"share_iou_{t:g}" for t in LEVELS_OF_IOU]
    means = ["mean_best_iou", "median_best_iou", "mean_best_rotated_iou"]
    heads = ["size", "objects", *means, *shares, *(f"positives {rule}" for rule in rules)]
    heads += [f"{what} {name}" for what in ("positives", "without") for name in quality.systems]
    rows: list[list[Cell]] = [[*heads]]
    for row in quality.summary():
        numbers = [row.mean_iou, row.median_iou, row.rotated_iou]
        numbers += [*row.shares.values(), *row.positives.values()]
        numbers += [*row.systems.values(), *row.without.values()]
        cells = ["" if number is None else f"{number:.6g}" for number in numbers]
        rows.append([row.name, row.objects, *cells])
    write_text(path, csv_text(rows))
