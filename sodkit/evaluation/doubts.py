"""What makes metrics doubtful: predictions and annotations that may not be what they look like."""

from __future__ import annotations

import numpy as np

from sodkit.arrays import FloatArray
from sodkit.data.records import CROWD, IGNORED, Annotations, Detections
from sodkit.evaluation.protocol import Protocol
from sodkit.evaluation.tables import image_ranks

_CORNERS = 0.99
"""So large a share of the boxes must fit as corners before they are taken to be corners."""


def doubts(
    annotations: Annotations, detections: Detections, protocol: Protocol, predicted: int
) -> list[str]:
    """Return a sentence about each thing that a reader of the metrics should know.

    Args:
        annotations: the ground truth.
        detections: of these images.
        protocol: says which flags of objects are heeded.
        predicted: how many images were predicted on.
    """
    found = [_without_prediction(len(annotations.images), predicted)]
    found += [_unheeded(annotations, protocol), _outside(annotations, detections)]
    return [sentence for sentence in found if sentence]


def _without_prediction(images: int, predicted: int) -> str:
    missing = images - predicted
    if not missing or not predicted:  # that there is no prediction at all was said before
        return ""
    return (
        f"{missing} of {images} images have no prediction; --only-predicted evaluates on the others"
    )


def _unheeded(annotations: Annotations, protocol: Protocol) -> str:
    """Say how many objects are flagged by what the protocol does not heed."""
    crowd, ignored = (annotations.flagged(flag) for flag in (CROWD, IGNORED))
    objects = ~annotations.is_region
    only = objects & (ignored & ~crowd if protocol.crowd else crowd & ~ignored)
    count = int(only.sum())
    if not count:
        return ""
    which = f"{count} of {int(objects.sum())} objects are"
    if protocol.crowd:
        return (
            f"{which} flagged ignore, which {protocol.name} does not heed: they count as objects, "
            "training ignores them; --protocol soda-d or soda-a heeds ignore"
        )
    return (
        f"{which} iscrowd, which {protocol.name} does not heed: they count as objects, training "
        "ignores them; --protocol coco heeds iscrowd"
    )


def _outside(annotations: Annotations, detections: Detections) -> str:
    """Say how many predictions lie outside their image, and what their boxes may be instead."""
    boxes = detections.xywh
    count = len(boxes)
    if not count:
        return ""
    limit = _sizes(annotations, detections)
    if (boxes.max(axis=0) <= 1.0).all() and limit.min() > 1:
        return (
            f"all {count} predictions are within the first px of their image: are they shares of "
            "its width and height? JSON and npz hold px"
        )
    low, size = boxes[:, :2], boxes[:, 2:]
    reach = (low + size > limit + 1).any(axis=1)
    if detections.obb is None and reach.any():
        fits = ((size > low) & (size <= limit + 1)).all(axis=1)
        if fits.mean() >= _CORNERS:
            return (
                f"{int(reach.sum())} of {count} predictions reach out of their image, and all fit "
                "as corners: are they x1, y1, x2, y2? bbox is x, y, width, height"
            )
    inside = np.clip(np.minimum(low + size, limit) - np.maximum(low, 0), 0, None).prod(axis=1)
    outside = int((inside < size.prod(axis=1) / 2).sum())
    if not outside:
        return ""
    return f"{outside} of {count} predictions lie outside their image, by more than half their area"


def _sizes(annotations: Annotations, detections: Detections) -> FloatArray:
    """Return width and height (N, 2) of each detection's image."""
    images = sorted(annotations.images, key=lambda image: image.id)
    sizes = np.array([(image.width, image.height) for image in images], np.float64).reshape(-1, 2)
    return sizes[image_ranks(annotations, detections.image_ids)]
