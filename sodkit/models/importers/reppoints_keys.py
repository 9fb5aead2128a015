"""Checkpoints of mmdetection's RepPoints, and of mmrotate's two, which learn oriented boxes.

Rotated RepPoints and Oriented RepPoints have the same names and shapes, and detect alike: they
differ in their training.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.models.importers import dense_tables
from sodkit.models.importers.mmdet import Recognised

_MOMENT, _NORM = "bbox_head.moment_transfer", "neck.lateral_convs.0.gn.weight"
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
    if cls is None or not (_MOMENT in state or _NORM in state):
        return None
    sizes = dense_tables.sizes(state, "reppoints_cls_out", "RepPoints")
    if _MOMENT not in state:
        return _rotated(state, sizes, len(cls))
    table = (
        *dense_tables.table(state, _OUTPUTS),
        (_MOMENT, "head.moment"),
    )
    return Recognised("reppoints-r50-soda-d", "reppoints", sizes, len(cls), table)


def _rotated(state: Mapping[str, Tensor], sizes: tuple[str, ...], classes: int) -> Recognised:
    """Return mmrotate's: from P2 on as in the SODA-A benchmark, from P3 on as for DOTA."""
    shown = (
        *sizes,
        f"model.first_level={2 if dense_tables.inputs(state) == 4 else 3}",
        "model.matching.transposed=true",
        "model.outside=keep",
    )
    name = "rotated-reppoints"
    return Recognised(
        f"{name}-r50-soda-a", name, shown, classes,
        dense_tables.table(state, _OUTPUTS, norm=True, pyramid_norm=True),
        also=("oriented-reppoints-r50-soda-a",),
    )  # fmt: skip
