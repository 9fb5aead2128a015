"""Which family of detectors a state dict is of: each recognises its own names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from sodkit.errors import ModelError
from sodkit.models.importers import (
    atss_keys,
    centernet_keys,
    cornernet_keys,
    deformable_detr_keys,
    dyhead_keys,
    fcos_keys,
    oriented_keys,
    reppoints_keys,
    retinanet_keys,
    roi_transformer_keys,
    s2anet_keys,
    sparse_rcnn_keys,
    two_stage_keys,
    yolox_keys,
)
from sodkit.models.importers.mmdet import Recognised

FAMILIES: tuple[Callable[[Mapping[str, Tensor]], Recognised | None], ...] = (
    oriented_keys.recognise,
    roi_transformer_keys.recognise,
    two_stage_keys.recognise,
    retinanet_keys.recognise,
    s2anet_keys.recognise,
    centernet_keys.recognise,
    cornernet_keys.recognise,
    sparse_rcnn_keys.recognise,
    deformable_detr_keys.recognise,
    fcos_keys.recognise,
    atss_keys.recognise,
    dyhead_keys.recognise,
    reppoints_keys.recognise,
    yolox_keys.recognise,
)


def recognise(state: Mapping[str, Tensor]) -> Recognised:
    """Return what a state dict is.

    Raises:
        ModelError: if its names are of no known family.
    """
    for family in FAMILIES:
        if (found := family(state)) is not None:
            return found
    raise ModelError(
        "is none of the detectors that are known: CFINet, Faster R-CNN, GA-RPN, RetinaNet, FCOS, "
        "ATSS, DyHead, RepPoints, Sparse R-CNN, Deformable DETR, CenterNet, "
        "CornerNet, YOLOX of mmdetection, "
        "Rotated Faster R-CNN, Oriented R-CNN, Gliding Vertex, "
        "Rotated RetinaNet, S2A-Net, RoI Transformer, Rotated RepPoints, Oriented RepPoints of "
        "mmrotate",
        hint=f"its names begin with {', '.join(sorted({k.split('.')[0] for k in state})[:5])}",
    )
