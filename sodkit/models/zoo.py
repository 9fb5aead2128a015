"""From settings to a detector: the one constructor call."""

from __future__ import annotations

from sodkit import settings
from sodkit.data.records import BoxKind
from sodkit.models.backbone import load_weights
from sodkit.models.detector import Detector


def build(model: settings.Model, num_classes: int, boxes: BoxKind = "horizontal") -> Detector:
    """Return a detector in training mode, its backbone pretrained as the settings say.

    Args:
        model: the model part of a recipe.
        num_classes: classes of the data set, without background and ``ignore``.
        boxes: the recipe's kind of box.

    Raises:
        ModelError: if the backbone's weights cannot be had or do not fit.
    """
    detector = Detector(model, num_classes, boxes)
    load_weights(detector.backbone, model.backbone)
    return detector
