"""Checkpoints of mmdetection's RetinaNet."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.models.importers import dense_tables
from sodkit.models.importers.mmdet import Anchors, Recognised


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what a state dict is, None if it is no RetinaNet.

    Args:
        state: their names and tensors.

    Raises:
        ModelError: if its backbone is no ResNet that is known, or its pyramid has other levels.
    """
    cls, reg = (state.get(f"bbox_head.retina_{name}.bias") for name in ("cls", "reg"))
    if cls is None or reg is None or "backbone.conv1.weight" not in state:
        return None
    number = max(1, len(reg) // 4)
    return Recognised(
        "retinanet-r50-soda-d", "retinanet",
        dense_tables.sizes(state, "retina_cls", "RetinaNet"), len(cls) // number,
        dense_tables.table(state, {"retina_cls": "cls", "retina_reg": "reg"}),
        anchors=Anchors(number, _anchor_settings(number)),
    )  # fmt: skip


def _anchor_settings(number: int) -> str:
    """Return what gives so many anchors: shapes do not tell scales from ratios."""
    ways = [f"--set model.octave={number} --set model.ratios=[1.0]"]
    if number % 3 == 0:
        ways.insert(0, f"--set model.octave={number // 3}")
    return " or ".join(ways)
