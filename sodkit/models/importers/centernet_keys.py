"""Checkpoints of mmdetection's CenterNet without deformable convolutions."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.models.importers.mmdet import Recognised, Table, resnet

_BLOCKS = range(6)
_TABLE: Table = (
    ("backbone.", "backbone."),
    *((f"neck.deconv_layers.{n}.conv.", f"neck.{n}.0.") for n in _BLOCKS),
    *((f"neck.deconv_layers.{n}.bn.", f"neck.{n}.1.") for n in _BLOCKS),
    ("bbox_head.heatmap_head.", "head.heatmap."),
    ("bbox_head.wh_head.", "head.size."),
    ("bbox_head.offset_head.", "head.offset."),
)


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what a state dict is, None if it is no CenterNet.

    Args:
        state: their names and tensors.

    Raises:
        ModelError: if its backbone is no ResNet that is known.
    """
    hidden, cls = (state.get(f"bbox_head.heatmap_head.{n}.bias") for n in (0, 2))
    norm = state.get("neck.deconv_layers.5.bn.bias")
    if hidden is None or cls is None or norm is None or "backbone.conv1.weight" not in state:
        return None
    sizes = (
        f"model.backbone.name={resnet(state)}",
        "model.backbone.weights=null",
        f"model.channels={len(norm)}",
        f"model.hidden={len(hidden)}",
    )
    return Recognised("centernet-r50-soda-d", "centernet", sizes, len(cls), _TABLE)
