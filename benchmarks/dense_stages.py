"""What ``dense.py`` measures: patches full of objects, trained on, predicted, merged, evaluated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

CLASSES = 9
CROWD = 4096
"""Objects of a full patch: fewer are as small as these, so that only their number differs."""

MERGED_PATCHES = 16
PAD = 32
"""px: patches are padded to a multiple of this, as in training."""

KEY = ("stage", "recipe", "divisor", "size", "count")


@dataclass(frozen=True, slots=True)
class Case:
    """What a row is of.

    Attributes:
        stage: of ``STAGES``.
        recipe: built-in; empty where there is no detector.
        divisor: of its widths; 1: as it is.
        size: of the patch, px.
        count: objects, or of ``predict`` detections.
    """

    stage: str
    recipe: str
    divisor: int
    size: int
    count: int

    def key(self) -> tuple[str, ...]:
        """Return the cells that tell a row from others."""
        return tuple(str(getattr(self, name)) for name in KEY)


def _boxes(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Return oriented boxes (N, 5) in rows over a square of ``size`` px.

    They are as long as ``CROWD`` of them have room for; of more they are shorter.
    """
    rng = np.random.default_rng(seed)
    columns = int(np.ceil(np.sqrt(count)))
    pitch = size / columns
    number = np.arange(count)
    centre = np.stack([number % columns, number // columns], 1) * pitch + pitch / 2
    long = rng.uniform(0.7, 0.95, count) * min(pitch, size / CROWD**0.5)
    sides = np.stack([long, long * rng.uniform(0.3, 0.5, count)], 1)
    return np.column_stack([centre, sides, rng.uniform(-1.5, 1.5, count)])


def _detector(case: Case, objects: int):
    """Return a detector and a batch of one patch with so many objects."""
    import systems
    import torch

    from sodkit.config import load_recipe
    from sodkit.data.batches import Batch, Target
    from sodkit.engine.build import without_weights
    from sodkit.models import zoo
    from sodkit.models.parts import rotated_coders

    recipe, size = load_recipe(case.recipe), case.size
    if case.divisor > 1:
        same = systems.same_for_all(recipe, case.divisor)
        recipe = load_recipe(case.recipe, [one for one in same if one.startswith("model.")])
    torch.manual_seed(0)
    detector = zoo.build(without_weights(recipe.model), CLASSES).train(case.stage == "train")
    obb = torch.from_numpy(_boxes(objects, size)).float()
    turned = recipe.boxes == "oriented"
    target = Target(
        rotated_coders.enclosing(obb),
        torch.arange(objects) % CLASSES,
        torch.zeros(0, 5 if turned else 4),
        obb if turned else None,
    )
    padded = -(-size // PAD) * PAD
    images = torch.zeros(1, 3, padded, padded)
    images[..., :size, :size] = torch.randn(3, size, size)
    return detector, Batch(images, ((size, size),), ((1.0, 1.0),), (target,))


def _train(case: Case) -> Callable[[], object]:
    import torch

    from sodkit.models.parts.sampling import random_order

    detector, batch = _detector(case, case.count)

    def run() -> object:
        losses = detector(batch, random_order(torch.Generator().manual_seed(0)))
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        total.backward()
        return f"{total.item():.5g}"

    return run


def _predict(case: Case) -> Callable[[], object]:
    from sodkit.settings import Keep

    detector, batch = _detector(case, 1)
    keep = Keep(score=0.0 if case.count else 1.0, nms=0.5, max_per_patch=max(1, case.count))
    return lambda: len(detector.detect(batch, keep)[0].scores)


def _records(objects: int, size: int):
    """Return annotations of one image and detections: every object found twice, nearly."""
    from sodkit.data.records import Annotations, Category, Detections, ImageRecord
    from sodkit.geometry.rotated import canonical, obb_to_xywh

    rng = np.random.default_rng(1)
    obb = _boxes(objects, size)
    labels = np.arange(objects) % CLASSES
    near = canonical(
        np.tile(obb, (2, 1)) + rng.normal(0, 0.3, (2 * objects, 5)) * [1, 1, 1, 1, 0.1]
    )
    near[:, 2:4] = np.maximum(near[:, 2:4], 0.5)
    truth = Annotations(
        images=(ImageRecord(1, "dense.png", size, size),),
        categories=tuple(Category(k, f"class {k}") for k in range(CLASSES)),
        ids=np.arange(objects) + 1,
        image_index=np.zeros(objects, np.int64),
        labels=labels,
        xywh=obb_to_xywh(obb),
        area=obb[:, 2] * obb[:, 3],
        ignore=np.zeros(objects, np.bool_),
        obb=obb,
    )
    found = Detections(
        np.ones(2 * objects, np.int64),
        np.tile(labels, 2),
        rng.uniform(0.05, 1, 2 * objects),
        obb_to_xywh(near),
        near,
    )
    return truth, found


def _merge(case: Case) -> Callable[[], object]:
    """Merge what ``MERGED_PATCHES`` patches of so many detections make of one image."""
    from sodkit.tiling.merge import merge_patches

    _, found = _records(case.count * MERGED_PATCHES // 2, case.size * 4)
    merge_patches(found.take(np.arange(10)))  # compiled
    return lambda: len(merge_patches(found))


def _evaluate(case: Case) -> Callable[[], object]:
    from sodkit.evaluation.evaluate import evaluate
    from sodkit.evaluation.protocol import protocol_for

    truth, found = _records(case.count, case.size)
    few, some = _records(10, 100)
    evaluate(few, some, protocol_for("oriented"))  # compiled
    return lambda: round(evaluate(truth, found, protocol_for("oriented")).metrics["AP50"] or 0, 3)


STAGES: dict[str, Callable[[Case], Callable[[], object]]] = {
    "train": _train,
    "predict": _predict,
    "merge": _merge,
    "evaluate": _evaluate,
}
