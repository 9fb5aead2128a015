"""Checkpoints of mmdetection's ATSS."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.models.importers import dense_tables
from sodkit.models.importers.mmdet import Recognised

_OUTPUTS = {"atss_cls": "cls", "atss_reg": "reg", "atss_centerness": "centerness"}


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what a state dict is, None if it is no ATSS.

    Args:
        state: their names and tensors.

    Raises:
        ModelError: if its backbone is no ResNet that is known, or its pyramid has other levels.
    """
    cls, beside = (state.get(f"bbox_head.{name}.bias") for name in ("atss_cls", "atss_centerness"))
    if cls is None or beside is None or "neck.lateral_convs.0.conv.weight" not in state:
        return None
    sizes = dense_tables.sizes(state, "atss_cls", "ATSS")
    table = dense_tables.table(state, _OUTPUTS, norm=True)
    anchors = len(beside)  # here there is one a location: more do not fit, and are named
    return Recognised("atss-r50-soda-d", "atss", sizes, len(cls) // anchors, table)
