"""Checkpoints of mmdetection's RetinaNet."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.errors import ModelError
from sodkit.models.importers.mmdet import Anchors, Recognised, Table, count, resnet


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
    levels = count(state, r"neck\.fpn_convs\.(\d+)\.")
    if not 4 <= levels <= 5:
        raise ModelError(
            f"the pyramid has {levels} levels, neck.fpn_convs.0 to {levels - 1}",
            hint="RetinaNet here has P3..P6 or, with model.levels=5, up to P7",
        )
    convs = count(state, r"bbox_head\.cls_convs\.(\d+)\.")
    channels = len(state.get("bbox_head.retina_cls.weight", cls)[0])
    sizes = (
        f"model.backbone.name={resnet(state)}",
        "model.backbone.weights=null",
        f"model.levels={levels}",
        f"model.convs={convs}",
        f"model.channels={channels}",
    )
    number = max(1, len(reg) // 4)
    return Recognised(
        "retinanet-r50-soda-d", "retinanet", sizes, len(cls) // number, _table(levels, convs),
        anchors=Anchors(number, _anchor_settings(number)),
    )  # fmt: skip


def _anchor_settings(number: int) -> str:
    """Return what gives so many anchors: shapes do not tell scales from ratios."""
    ways = [f"--set model.octave={number} --set model.ratios=[1.0]"]
    if number % 3 == 0:
        ways.insert(0, f"--set model.octave={number // 3}")
    return " or ".join(ways)


def _table(levels: int, convs: int) -> Table:
    inputs = range(3)
    return (
        ("backbone.", "backbone."),
        *((f"neck.lateral_convs.{n}.conv.", f"fpn.lateral.{n}.") for n in inputs),
        *((f"neck.fpn_convs.{n}.conv.", f"fpn.output.{n}.") for n in inputs),
        *((f"neck.fpn_convs.{n}.conv.", f"fpn.coarser.{n - 3}.") for n in range(3, levels)),
        *(
            (f"bbox_head.{tower}_convs.{n}.conv.", f"head.{tower}_tower.{2 * n}.")
            for tower in ("cls", "reg")
            for n in range(convs)
        ),
        ("bbox_head.retina_cls.", "head.cls."),
        ("bbox_head.retina_reg.", "head.reg."),
    )
