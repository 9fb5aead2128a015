"""Settings that fit a data set's objects better than a recipe's, with the reason in numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sodkit.analysis.anchor_grid import best_iou
from sodkit.analysis.anchor_search import Fit, Point, Search
from sodkit.analysis.anchor_study import LEVELS_OF_IOU, anchor_levels
from sodkit.analysis.patch_size import suggest_patch
from sodkit.analysis.recipe_values import anchor_key, threshold_key, value_of, with_values
from sodkit.analysis.sized_objects import SizedObjects, sized_objects
from sodkit.analysis.system_positives import Objects, positives_of
from sodkit.arrays import FloatArray
from sodkit.data.records import Annotations
from sodkit.data.sizes import SIZE_NAMES
from sodkit.errors import DataError
from sodkit.settings import Recipe
from sodkit.settings.anchor_levels import AnchorLevel

WHEN = ("before", "after")
ROUNDING = 1e-3
"""px that a side may differ by through rounding."""
LONGEST = 2.25
"""A box whose sides have this many times an anchor's ratio, or more, cannot reach an IoU of .5 with
it, whatever its size: the best IoU is 1 / (2 sqrt(times) - 1)."""


@dataclass(frozen=True, slots=True, eq=False)
class Meeting:
    """How a recipe's anchors meet the objects of each size class; NaN: there are none.

    Attributes:
        above: (5,) share whose best anchor has an IoU of at least .3, .5, .7.
        enough: (5,) share with 1 to 12 anchors at or above the dynamic threshold, None without.
        positives: (5,) mean number of positives an object gets by the recipe's rule; None: its
            rule is not counted here.
    """

    above: dict[float, FloatArray]
    enough: FloatArray | None
    positives: FloatArray | None

    def __repr__(self) -> str:
        return f"<Meeting: IoU levels {', '.join(f'{level:g}' for level in self.above)}>"


@dataclass(frozen=True, slots=True, eq=False)
class Suggestion:
    """What to change in a recipe.

    Attributes:
        recipe: the recipe with the changes.
        changes: by key the value before and the one that is suggested; empty if it fits.
        objects: (5,) objects of each size class of ``SIZE_NAMES``.
        before: how the recipe as given meets them.
        after: how the changed one does.
        value: before and after: what is maximised (``anchor_search.Fit.value``).
        pixels: of the network for an image, times those of the recipe as given.
        too_long: share of objects that no anchor of this shape overlaps by .5, whatever its size.
        longer: before and after: share of objects that are longer than patches overlap.
    """

    recipe: Recipe
    changes: dict[str, tuple[float, float]]
    objects: tuple[int, ...]
    before: Meeting
    after: Meeting
    value: tuple[float, float]
    pixels: float
    too_long: float
    longer: tuple[float, float]

    def __repr__(self) -> str:
        old, new = self.value
        return (
            f"<Suggestion for {self.recipe.name}: {len(self.changes)} changes, "
            f"{sum(self.objects)} objects, value {old:.3f} -> {new:.3f}>"
        )

    def lines(self) -> list[str]:
        """Return the changes as ``key=value``, as ``--set`` takes them."""
        return [f"{key}={new}" for key, (_, new) in self.changes.items()]


def suggest_settings(
    annotations: Annotations,
    recipe: Recipe,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Suggestion:
    """Suggest anchors, dynamic threshold, resize factor and patches for a data set.

    Objects of all sizes count, those above N as a size class of their own; oriented ones by their
    enclosing boxes. docs/anchors.md says what is tried, maximised and kept within limits.

    Args:
        annotations: ignored objects are left out.
        recipe: where the search begins; what it does not search stays as it is.
        progress: called with (done, total) as the work goes on.

    Raises:
        DataError: no object is left.
        UsageError: the recipe's detector has no anchors.
    """
    levels = anchor_levels(recipe)
    objects = sized_objects(annotations)
    if len(objects.size) == 0:
        raise DataError("no objects to suggest settings for: there are none, or all are ignored")
    own, best = _search(objects, recipe).run(progress)
    values = _values(recipe, best.point, objects)
    changed = with_values(recipe, values)
    old = {key: value_of(recipe, key) for key in values}
    return Suggestion(
        recipe=changed,
        changes={key: (old[key], new) for key, new in values.items() if old[key] != new},
        objects=tuple(objects.counts().tolist()),
        before=_meeting(objects, recipe, own),
        after=_meeting(objects, changed, best),
        value=(own.value, best.value),
        pixels=(best.point.scale / recipe.input.scale) ** 2,
        too_long=_too_long(objects, levels),
        longer=(_longer(objects, recipe), _longer(objects, changed)),
    )


def _search(objects: SizedObjects, recipe: Recipe) -> Search:
    """Return the search that begins at a recipe."""
    key, rule = anchor_key(recipe), threshold_key(recipe)

    def levels(anchor: float | None) -> tuple[AnchorLevel, ...]:
        changes = {} if key is None or anchor is None else {key: anchor}
        return anchor_levels(with_values(recipe, changes))

    own = Point(
        recipe.input.scale,
        None if key is None else value_of(recipe, key),
        None if rule is None else value_of(recipe, rule),
    )
    pad_to, side = recipe.input.pad_to, recipe.input.side
    return Search(objects, objects.counting(), own, lru_cache(levels), pad_to, side)


def _values(recipe: Recipe, point: Point, objects: SizedObjects) -> dict[str, float]:
    """Return the values by key that a combination stands for, with patches for its factor."""
    size, stride = suggest_patch(objects, recipe.input, point.scale)
    values = {"input.scale": point.scale, "input.patch": size, "input.stride": stride}
    key, rule = anchor_key(recipe), threshold_key(recipe)
    if key is not None and point.anchor is not None:
        values[key] = point.anchor
    if rule is not None and point.threshold is not None:
        values[f"{rule}.reference"] = point.threshold.reference
        values[f"{rule}.gamma"] = point.threshold.gamma
    return values


def _meeting(objects: SizedObjects, recipe: Recipe, fit: Fit) -> Meeting:
    """Return how a recipe's anchors meet the objects."""
    boxes, extents = objects.resized(recipe.input.scale, recipe.input.pad_to)
    best = best_iou(boxes, extents, anchor_levels(recipe))
    positives = positives_of(recipe.model, Objects(boxes, extents, recipe.input.scale))
    return Meeting(
        {level: objects.mean(best >= level) for level in LEVELS_OF_IOU},
        fit.enough,
        None if positives is None else objects.mean(positives),
    )


def _too_long(objects: SizedObjects, levels: tuple[AnchorLevel, ...]) -> float:
    """Return the share of objects that no anchor of these shapes overlaps by .5 at any size."""
    sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
    shape = sides[:, 0] / sides[:, 1]
    ratios = {width / height for level in levels for width, height in level.sizes}
    times = np.min([np.maximum(shape / ratio, ratio / shape) for ratio in ratios], axis=0)
    return float((times > LONGEST).mean())


def _longer(objects: SizedObjects, recipe: Recipe) -> float:
    """Return the share of objects that are longer than patches overlap; 0 if none is cut."""
    if objects.images.max() <= recipe.input.patch:
        return 0.0
    sides = (objects.boxes[:, 2:] - objects.boxes[:, :2]).max(axis=1)
    overlap = recipe.input.patch - recipe.input.stride
    return float((sides > overlap + ROUNDING).mean())


def suggestion_as_dict(suggestion: Suggestion) -> dict[str, object]:
    """Return a suggestion as plain data for JSON; shares of 0 to 1, null where undefined."""
    meetings = dict(zip(WHEN, (suggestion.before, suggestion.after), strict=True))
    return {
        "set": {key: new for key, (_, new) in suggestion.changes.items()},
        "now": {key: old for key, (old, _) in suggestion.changes.items()},
        "value": dict(zip(WHEN, suggestion.value, strict=True)),
        "pixels": suggestion.pixels,
        "share_too_long_for_anchors": suggestion.too_long,
        "share_longer_than_overlap": dict(zip(WHEN, suggestion.longer, strict=True)),
        "sizes": {
            name: {
                "objects": count,
                **{when: _at(meeting, k) for when, meeting in meetings.items()},
            }
            for k, (name, count) in enumerate(zip(SIZE_NAMES, suggestion.objects, strict=True))
        },
    }


def _at(meeting: Meeting, size: int) -> dict[str, object]:
    """Return how objects of one size class are met."""

    def number(values: FloatArray | None) -> float | None:
        return None if values is None or np.isnan(values[size]) else float(values[size])

    return {
        "share_above": {f"{level:g}": number(share) for level, share in meeting.above.items()},
        "share_with_1_to_12": number(meeting.enough),
        "mean_positives": number(meeting.positives),
    }
