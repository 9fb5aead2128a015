"""Checkpoints of the CFINet release and of mmdetection's Faster R-CNN and its relatives."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.models.importers.mmdet import Anchors, Recognised, Table, resnet

_LEVELS = range(4)
_EMBED = "imitation.feat2embed"
_RELEASE_IMITATION = (
    "{iq_iou: proposal, iq_members: score, reweight: true, exemplar_gradient: projection}"
)


_GUIDED: Table = (
    ("rpn_head.conv_loc.", "rpn.location."),
    ("rpn_head.conv_shape.", "rpn.shape."),
    ("rpn_head.feature_adaption.conv_offset.", "rpn.offset."),
    ("rpn_head.feature_adaption.conv_adaption.", "rpn.adapt."),
    ("rpn_head.conv_cls.", "rpn.cls."),
    ("rpn_head.conv_reg.", "rpn.reg."),
)
"""Of GA-RPN, in place of the RPN's."""


def table(rpn: str) -> Table:
    """Return the names; ``rpn`` is our name of the proposal network."""
    return (
        ("backbone.", "backbone."),
        *((f"neck.lateral_convs.{n}.conv.", f"fpn.lateral.{n}.") for n in _LEVELS),
        *((f"neck.fpn_convs.{n}.conv.", f"fpn.output.{n}.") for n in _LEVELS),
        ("rpn_head.stages.0.rpn_conv.conv.", f"{rpn}.coarse_conv."),
        ("rpn_head.stages.0.rpn_reg.", f"{rpn}.coarse_reg."),
        ("rpn_head.stages.1.rpn_conv.conv.", f"{rpn}.fine_conv."),
        ("rpn_head.stages.1.rpn_cls.", f"{rpn}.fine_cls."),
        ("rpn_head.stages.1.rpn_reg.", f"{rpn}.fine_reg."),
        ("rpn_head.rpn_conv.", f"{rpn}.conv."),
        ("rpn_head.rpn_cls.", f"{rpn}.cls."),
        ("rpn_head.rpn_reg.", f"{rpn}.reg."),
        ("roi_head.bbox_head.shared_fcs.0.", "roi.fc1."),
        ("roi_head.bbox_head.shared_fcs.1.", "roi.fc2."),
        ("roi_head.bbox_head.fc_cls.", "roi.cls."),
        ("roi_head.bbox_head.fc_reg.", "roi.reg."),
        ("roi_head.fc_enc.", f"{_EMBED}.fc_enc."),
        ("roi_head.fc_proj.", f"{_EMBED}.fc_proj."),
        *((f"roi_head.comp_convs.{n}.conv.", f"{_EMBED}.convs.{n}.") for n in range(3)),
        *((f"roi_head.comp_convs.{n}.gn.", f"{_EMBED}.norms.{n}.") for n in range(3)),
    )


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what a state dict is, None if it is no two-stage detector of these.

    Args:
        state: their names and tensors.

    Raises:
        ModelError: if its backbone is no ResNet that is known.
    """
    head = state.get("roi_head.bbox_head.fc_cls.bias")
    if head is None or "backbone.conv1.weight" not in state:
        return None
    crpn = "rpn_head.stages.0.rpn_conv.conv.weight" in state
    imitation = "roi_head.fc_proj.weight" in state
    shown = (*sizes(state), *_agnostic(state, len(head) - 1))
    if "rpn_head.conv_loc.weight" in state:
        # mmdetection has trained the location score upside down since version 2.0
        released = ("model.proposals.location=released", *shown)
        return Recognised(
            "ga-rpn-r50-soda-d", "faster-rcnn", released, len(head) - 1, (*_GUIDED, *table("rpn"))
        )
    if not crpn and not imitation:
        # RFLA changes no tensor, only what they are trained with
        return Recognised(
            "faster-rcnn-r50-soda-d", "faster-rcnn", shown, len(head) - 1, table("rpn"),
            also=("rfla-r50-soda-d",), anchors=_anchors(state),
        )  # fmt: skip
    recipe = "cfinet-r50-soda-d-release"
    if crpn:
        off = [] if imitation else ["model.imitation=null"]
        return Recognised(recipe, "cfinet", (*off, *shown), len(head) - 1, table("crpn"))
    parts = ("model.kind=faster-rcnn", f"model.imitation={_RELEASE_IMITATION}")
    return Recognised(
        recipe, "faster-rcnn", (*parts, *shown), len(head) - 1, table("rpn"),
        anchors=_anchors(state),
    )  # fmt: skip


def _anchors(state: Mapping[str, Tensor]) -> Anchors | None:
    """Return how many anchors the RPN has; a recipe's have one scale and several ratios."""
    cls = state.get("rpn_head.rpn_cls.bias")
    if cls is None:
        return None
    ratios = "[1.0]" if len(cls) == 1 else f"[...] with {len(cls)} ratios height / width"
    return Anchors(len(cls), f"--set model.proposals.ratios={ratios}")


def sizes(state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the settings that shapes show."""
    shown = [f"model.backbone.name={resnet(state)}", "model.backbone.weights=null"]
    lateral = state.get("neck.lateral_convs.0.conv.bias")
    hidden = state.get("roi_head.bbox_head.shared_fcs.0.bias")
    if lateral is not None:
        shown.append(f"model.fpn.channels={len(lateral)}")
    if hidden is not None:
        shown.append(f"model.roi.hidden={len(hidden)}")
    return tuple(shown)


def _agnostic(state: Mapping[str, Tensor], classes: int) -> tuple[str, ...]:
    boxes = state.get("roi_head.bbox_head.fc_reg.bias")
    one = boxes is not None and classes > 1 and len(boxes) == 4
    return ("model.roi.class_agnostic=true",) if one else ()
