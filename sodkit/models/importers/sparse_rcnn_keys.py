"""Checkpoints of mmdetection's Sparse R-CNN."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.models.importers.mmdet import Recognised, Table, count, resnet

_HEAD = "roi_head.bbox_head"
_PROPOSALS = "rpn_head.init_proposal_features.weight"
_STAGE = (
    ("attention.attn.", "attention."),
    ("attention_norm.", "attention_norm."),
    ("instance_interactive_conv.dynamic_layer.", "dynamic.filters."),
    ("instance_interactive_conv.norm_in.", "dynamic.norm_in."),
    ("instance_interactive_conv.norm_out.", "dynamic.norm_out."),
    ("instance_interactive_conv.fc_layer.", "dynamic.fc."),
    ("instance_interactive_conv.fc_norm.", "dynamic.fc_norm."),
    ("instance_interactive_conv_norm.", "dynamic_norm."),
    ("ffn.layers.0.0.", "ffn.0."),
    ("ffn.layers.1.", "ffn.2."),
    ("ffn_norm.", "ffn_norm."),
    ("cls_fcs.", "cls_tower."),
    ("reg_fcs.", "reg_tower."),
    ("fc_cls.", "cls."),
    ("fc_reg.", "reg."),
)
_LEVELS = 4


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what a state dict is, None if it is no Sparse R-CNN.

    The benchmark's config has a fifth output of the pyramid, which no proposal is pooled from: its
    convolution is left out.

    Args:
        state: their names and tensors.

    Raises:
        ModelError: if its backbone is no ResNet that is known.
    """
    cls, proposals = state.get(f"{_HEAD}.0.fc_cls.bias"), state.get(_PROPOSALS)
    if cls is None or proposals is None or "backbone.conv1.weight" not in state:
        return None
    stages = count(state, r"roi_head\.bbox_head\.(\d+)\.")
    outputs = count(state, r"neck\.fpn_convs\.(\d+)\.")
    sizes = (
        f"model.backbone.name={resnet(state)}",
        "model.backbone.weights=null",
        f"model.proposals={len(proposals)}",
        f"model.stages={stages}",
        *_sizes(state),
    )
    unused = tuple(f"neck.fpn_convs.{n}." for n in range(_LEVELS, outputs))
    return Recognised(
        "sparse-rcnn-r50-soda-d", "sparse-rcnn", sizes, len(cls), _table(stages), unused=unused
    )


def _sizes(state: Mapping[str, Tensor]) -> list[str]:
    """Return the settings that shapes of the pyramid and of the first stage show."""
    shown = []
    for key, name in (
        ("channels", "attention_norm.bias"),
        ("dynamic", "instance_interactive_conv.norm_in.bias"),
        ("hidden", "ffn.layers.0.0.bias"),
    ):
        tensor = state.get(f"{_HEAD}.0.{name}")
        if tensor is not None:
            shown.append(f"model.{key}={len(tensor)}")
    for key in ("cls", "reg"):
        layers = count(state, rf"roi_head\.bbox_head\.0\.{key}_fcs\.(\d+)\.bias")
        shown.append(f"model.{key}_layers={layers}")
    weight = state.get(f"{_HEAD}.0.instance_interactive_conv.fc_layer.weight")
    if weight is not None and weight.ndim == 2:
        outputs, inputs = weight.shape
        shown.append(f"model.pool={round((inputs / outputs) ** 0.5)}")
    return shown


def _table(stages: int) -> Table:
    return (
        ("backbone.", "backbone."),
        *((f"neck.lateral_convs.{n}.conv.", f"fpn.lateral.{n}.") for n in range(_LEVELS)),
        *((f"neck.fpn_convs.{n}.conv.", f"fpn.output.{n}.") for n in range(_LEVELS)),
        ("rpn_head.init_proposal_bboxes.weight", "proposal_boxes"),
        (_PROPOSALS, "proposal_features"),
        *(
            (f"{_HEAD}.{n}.{theirs}", f"stages.{n}.{ours}")
            for n in range(stages)
            for theirs, ours in _STAGE
        ),
    )
