"""How many positives an object gets from every system of the paper's tables, each by its own rule.

CFINet's Figure 1 shows that few anchors reach the IoU that the RPN asks for, the fewer the smaller
the object. This asks the same of the rivals: anchors, matcher and numbers are those of their
recipes. Of proposal networks the stage counts that is trained from the regular grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sodkit.analysis import assigners
from sodkit.analysis.anchor_grid import count_region, dynamic_thresholds
from sodkit.arrays import FloatArray, IntArray
from sodkit.config import load_recipe
from sodkit.settings import Recipe
from sodkit.settings.anchor_levels import AnchorLevel
from sodkit.settings.atss import Atss
from sodkit.settings.dense import RetinaNet
from sodkit.settings.detectors import Model
from sodkit.settings.dodet import Dodet
from sodkit.settings.dyhead import DyHead
from sodkit.settings.fcos import Fcos
from sodkit.settings.proposers import Crpn, Guided, Region, Rfla, Rpn
from sodkit.settings.roi_transformer import RoiTransformer
from sodkit.settings.two_stage import Cfinet, FasterRcnn, OrientedRcnn

COMPARED = (
    "cfinet-r50-soda-d",
    "faster-rcnn-r50-soda-d",
    "rpn05-r50-soda-d",
    "cascade-rpn-r50-soda-d",
    "rfla-r50-soda-d",
    "ga-rpn-r50-soda-d",
    "retinanet-r50-soda-d",
    "fcos-r50-soda-d",
    "atss-r50-soda-d",
)
"""The recipes that are always shown: one for each assigner."""


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """Objects to assign to, row by row.

    Attributes:
        boxes: (N, 4) xyxy in px of the resized image, sides > 0.
        extents: (N, 2) width and height of each object's resized (and padded) image.
        scale: factor of the resizing.
    """

    boxes: FloatArray
    extents: FloatArray
    scale: float


def positives_by_system(recipe: Recipe, objects: Objects) -> dict[str, IntArray]:
    """Return the positives (N,) of each object by the name of the recipe.

    Args:
        recipe: comes first, unless its assigner is one of those that are compared; its settings
            of anything else than the model play no part.
        objects: what is assigned to.
    """
    found: dict[str, IntArray] = {}
    own = positives_of(recipe.model, objects)
    compared = {name: load_recipe(name).model for name in COMPARED}
    if own is not None and recipe.model not in compared.values():
        found[recipe.name] = own
    for name, model in compared.items():
        counts = positives_of(model, objects)
        if counts is not None:
            found.setdefault(name, counts)
    return found


def positives_of(model: Model, objects: Objects) -> IntArray | None:
    """Return the positives (N,) of each object alone, None if its assigner is not counted here."""
    match model:
        case RetinaNet():
            rule = model.matching
            return assigners.count_matched(
                objects.boxes, objects.extents, model.anchor_levels(),
                rule.positive, rule.low_quality,
            )  # fmt: skip
        case Fcos():
            return assigners.count_points(
                objects.boxes, objects.extents, model.strides, model.ranges(), model.radius
            )
        case Atss() | DyHead():
            return assigners.count_adaptive(
                objects.boxes, objects.extents, model.anchor_levels(), model.candidates
            )
        case Cfinet():
            return _coarse(model.crpn, model.anchor_levels(), objects)
        case FasterRcnn(proposals=Crpn() as crpn):
            return _coarse(crpn, model.anchor_levels(), objects)
        case FasterRcnn(proposals=Rfla() as rfla):
            return assigners.count_receptive(
                objects.boxes, objects.extents, model.anchor_levels(), rfla.matching
            )
        case FasterRcnn(proposals=Guided() as guided):
            return assigners.count_matched(
                objects.boxes, objects.extents, guided.shape_levels(model.fpn.strides),
                guided.shape_matching.positive, guided.shape_matching.low_quality,
                by_location=True,
            )  # fmt: skip
        case (
            FasterRcnn(proposals=Rpn() as rpn) | RoiTransformer(proposals=Rpn() as rpn)
            | OrientedRcnn(rpn=rpn) | Dodet(rpn=rpn)
        ):  # fmt: skip
            return assigners.count_matched(
                objects.boxes, objects.extents, model.anchor_levels(),
                rpn.matching.positive, rpn.matching.low_quality,
            )  # fmt: skip
        case _:
            return None


def _coarse(crpn: Crpn, levels: tuple[AnchorLevel, ...], objects: Objects) -> IntArray:
    """Return the positives of the first of two stages."""
    boxes, extents, rule = objects.boxes, objects.extents, crpn.assignment
    if isinstance(rule, Region):
        return count_region(boxes, extents, levels, rule.positive)
    thresholds = dynamic_thresholds(rule, boxes / objects.scale)
    return assigners.count_thresholded(boxes, extents, levels, thresholds, rule.match_best)


def share_without(counts: IntArray) -> float:
    """Return the share of objects that get no positive."""
    return float(np.mean(counts == 0))
