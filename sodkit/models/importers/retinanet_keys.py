"""Checkpoints of mmdetection's RetinaNet, and of mmrotate's, which learns oriented boxes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.models.importers import dense_tables
from sodkit.models.importers.mmdet import Anchors, Recognised, Table


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
    sizes = dense_tables.sizes(state, "retina_cls", "RetinaNet")
    table = dense_tables.table(state, {"retina_cls": "cls", "retina_reg": "reg"})
    if len(reg) % 4:
        dota = dense_tables.inputs(state) == 3
        return _rotated(sizes, len(cls), max(1, len(reg) // 5), table, dota=dota)
    number = max(1, len(reg) // 4)
    return Recognised(
        "retinanet-r50-soda-d", "retinanet", sizes, len(cls) // number, table,
        anchors=Anchors(number, _anchor_settings(number)),
    )  # fmt: skip


def _anchor_settings(number: int) -> str:
    """Return what gives so many anchors; shapes do not show how many scales and ratios."""
    ways = [f"--set model.octave={number} --set model.ratios=[1.0]"]
    if number % 3 == 0:
        ways.insert(0, f"--set model.octave={number // 3}")
    return " or ".join(ways)


def _rotated(
    sizes: tuple[str, ...], scores: int, anchors: int, table: Table, *, dota: bool
) -> Recognised:
    """Return mmrotate's: from P2 on with SODA-A's anchors, from P3 on with those of DOTA."""
    shown = (
        *sizes,
        f"model.first_level={3 if dota else 2}",
        f"model.anchor_scale={4.0 if dota else 1.0}",
        f"model.octave={max(1, anchors // 3)}",
        "model.outside=clamp",
    )
    name = "rotated-retinanet"
    return Recognised(
        f"{name}-r50-soda-a", name, shown, scores // anchors, table,
        anchors=Anchors(anchors, _anchor_settings(anchors)),
    )  # fmt: skip
