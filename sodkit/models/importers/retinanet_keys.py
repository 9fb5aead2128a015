"""Checkpoints of mmdetection's RetinaNet."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.models.importers.mmdet import Recognised, Table, count, resnet


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what a state dict is, None if it is no RetinaNet.

    Args:
        state: their names and tensors.

    Raises:
        ModelError: if its backbone is no ResNet that is known.
    """
    cls, reg = (state.get(f"bbox_head.retina_{name}.bias") for name in ("cls", "reg"))
    if cls is None or reg is None or "backbone.conv1.weight" not in state:
        return None
    levels = count(state, r"neck\.fpn_convs\.(\d+)\.")
    convs = count(state, r"bbox_head\.cls_convs\.(\d+)\.")
    channels = len(state.get("bbox_head.retina_cls.weight", cls)[0])
    sizes = (
        f"model.backbone.name={resnet(state)}",
        "model.backbone.weights=null",
        f"model.levels={levels}",
        f"model.convs={convs}",
        f"model.channels={channels}",
    )
    classes = len(cls) // max(1, len(reg) // 4)
    return Recognised("retinanet-r50-soda-d", "retinanet", sizes, classes, _table(levels, convs))


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
