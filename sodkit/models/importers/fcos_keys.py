"""Checkpoints of mmdetection's FCOS, as the SODA-D benchmark trains it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.models.importers import dense_tables
from sodkit.models.importers.mmdet import Recognised

_OUTPUTS = {"conv_cls": "cls", "conv_reg": "reg", "conv_centerness": "centerness"}
_CAFFE = "model.backbone.stride_in=1x1"
"""The benchmark's FCOS is on a ResNet of caffe's; neither names nor shapes show it."""


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what a state dict is, None if it is no FCOS.

    Args:
        state: their names and tensors.

    Raises:
        ModelError: if its backbone is no ResNet that is known, or its pyramid has other levels.
    """
    cls, beside = (state.get(f"bbox_head.{name}.bias") for name in ("conv_cls", "conv_centerness"))
    if cls is None or beside is None or "neck.lateral_convs.0.conv.weight" not in state:
        return None
    sizes = (*dense_tables.sizes(state, "conv_cls", "FCOS"), _CAFFE)
    table = dense_tables.table(state, _OUTPUTS, norm=True)
    return Recognised("fcos-r50-soda-d", "fcos", sizes, len(cls), table)
