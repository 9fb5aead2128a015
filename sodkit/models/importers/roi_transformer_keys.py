"""Checkpoints of mmrotate's RoI Transformer: two heads, numbered."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.models.importers.mmdet import Anchors, Recognised, resnet
from sodkit.models.importers.two_stage_keys import table

_HEADS = {"roi_head.bbox_head.0": "learner", "roi_head.bbox_head.1": "roi"}
_LAYERS = {"shared_fcs.0": "fc1", "shared_fcs.1": "fc2", "fc_cls": "cls", "fc_reg": "reg"}


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what a state dict is, None if it is no RoI Transformer.

    Args:
        state: their names and tensors.

    Raises:
        ModelError: if its backbone is no ResNet that is known.
    """
    names = [f"{head}.{layer}.bias" for head in _HEADS for layer in _LAYERS]
    names += ["rpn_head.rpn_cls.bias", "neck.lateral_convs.0.conv.bias", "backbone.conv1.weight"]
    if not all(name in state for name in names) or "roi_head.bbox_head.2.fc_cls.bias" in state:
        return None
    length = {name: len(state[name]) for name in names}
    classes = length["roi_head.bbox_head.0.fc_cls.bias"] - 1
    last = length["roi_head.bbox_head.1.fc_reg.bias"]
    # a cascade of upright heads has the same names
    if length["roi_head.bbox_head.0.fc_reg.bias"] != 5 or last not in (5, 5 * classes):
        return None
    shown = (
        f"model.backbone.name={resnet(state)}",
        "model.backbone.weights=null",
        f"model.fpn.channels={length['neck.lateral_convs.0.conv.bias']}",
        *(
            f"model.{own}.hidden={length[f'{head}.shared_fcs.0.bias']}"
            for head, own in _HEADS.items()
        ),
        f"model.roi.class_agnostic={str(last == 5).lower()}",
        "model.proposals.outside=keep",
        "model.roi.box.outside=clamp",
    )
    heads = (
        (f"{head}.{layer}.", f"{own}.{ours}.")
        for head, own in _HEADS.items()
        for layer, ours in _LAYERS.items()
    )
    ratios = length["rpn_head.rpn_cls.bias"]
    anchors = Anchors(
        ratios, f"--set model.proposals.ratios=[...] with {ratios} ratios height / width"
    )
    name = "roi-transformer"
    return Recognised(
        f"{name}-r50-soda-a", name, shown, classes, (*heads, *table("rpn")), anchors=anchors
    )
