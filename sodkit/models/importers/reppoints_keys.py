"""Checkpoints of mmdetection's RepPoints."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.models.importers import dense_tables
from sodkit.models.importers.mmdet import Recognised

_OUTPUTS = {
    "reppoints_cls_conv": "cls_conv",
    "reppoints_cls_out": "cls_out",
    "reppoints_pts_init_conv": "initial_conv",
    "reppoints_pts_init_out": "initial_out",
    "reppoints_pts_refine_conv": "refined_conv",
    "reppoints_pts_refine_out": "refined_out",
}


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what a state dict is, None if it is no RepPoints.

    Args:
        state: their names and tensors.

    Raises:
        ModelError: if its backbone is no ResNet that is known, or its pyramid has other levels.
    """
    cls = state.get("bbox_head.reppoints_cls_out.bias")
    if cls is None or "bbox_head.moment_transfer" not in state:
        return None
    sizes = dense_tables.sizes(state, "reppoints_cls_out", "RepPoints")
    table = (
        *dense_tables.table(state, _OUTPUTS),
        ("bbox_head.moment_transfer", "head.moment"),
    )
    return Recognised("reppoints-r50-soda-d", "reppoints", sizes, len(cls), table)
