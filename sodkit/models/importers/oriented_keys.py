"""Checkpoints of mmrotate's two-stage detectors of oriented boxes.

Rotated Faster R-CNN, Oriented R-CNN and Gliding Vertex have the names of Faster R-CNN; the numbers
that their heads regress show which of them it is. Where mmrotate does something else than the
recipes here, the weights were trained with it: such settings are its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.models.importers.mmdet import Anchors, Join, Recognised
from sodkit.models.importers.two_stage_keys import sizes, table

_HEAD = "roi_head.bbox_head"
_GLIDING = tuple(f"{_HEAD}.fc_{part}" for part in ("reg", "fix", "ratio"))


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what a state dict is, None if it is none of these three.

    Args:
        state: their names and tensors.

    Raises:
        ModelError: if its backbone is no ResNet that is known.
    """
    biases = [f"{_HEAD}.fc_cls", f"{_HEAD}.fc_reg", "rpn_head.rpn_cls", "rpn_head.rpn_reg"]
    found = [state.get(f"{name}.bias") for name in biases]
    cls, reg, objectness, deltas = (0 if bias is None else len(bias) for bias in found)
    if not (cls and reg and objectness and deltas) or "backbone.conv1.weight" not in state:
        return None
    classes = cls - 1
    if f"{_GLIDING[1]}.bias" in state:
        agnostic = reg == 4
        return _gliding(state, classes, boxes=1 if agnostic else classes)
    if reg not in (5, 5 * classes):
        return None
    shown = (*sizes(state), f"model.roi.class_agnostic={str(reg == 5).lower()}")
    if deltas == 6 * objectness:
        shown += (
            "model.rpn.outside=keep",
            "model.rpn.vertices=release",
            "model.roi.box.outside=clamp",
        )
        recipe, kind = "oriented-rcnn-r50-soda-a", "oriented-rcnn"
    else:
        shown += ("model.proposals.outside=keep", "model.roi.box.outside=keep")
        recipe, kind = "rotated-faster-rcnn-r50-soda-a", "faster-rcnn"
    part = "rpn" if kind == "oriented-rcnn" else "proposals"
    return Recognised(
        recipe, kind, shown, classes, table("rpn"), anchors=_anchors(objectness, part)
    )


def _anchors(count: int, part: str) -> Anchors:
    """Return how many anchors the RPN has; its settings are in ``part`` of the model's."""
    return Anchors(count, f"--set model.{part}.ratios=[...] with {count} ratios height / width")


def _gliding(state: Mapping[str, Tensor], classes: int, boxes: int) -> Recognised:
    """Return Gliding Vertex: its three regressions are one here, box by box."""
    own = (
        f"model.roi.class_agnostic={str(boxes == 1).lower()}",
        "model.proposals.outside=keep",
        "model.roi.box={kind: gliding, glide_beta: 1.0, share_weight: 1.0, rectangle: edges}",
    )
    return Recognised(
        "gliding-vertex-r50-soda-a",
        "faster-rcnn",
        (*sizes(state), *own),
        classes,
        table("rpn"),
        (Join(_GLIDING[0], _GLIDING, boxes),),
        anchors=_anchors(len(state["rpn_head.rpn_cls.bias"]), "proposals"),
    )
