"""State dicts of the authors' release (mmdetection's names) as state dicts of ours.

Works on tensors in memory; reading and writing files is the engine's. Faster R-CNN checkpoints of
the same benchmark are understood too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sodkit.errors import ModelError
from sodkit.models.detector import Detector

_EMBED = "roi.imitation.feat2embed"
_LEVELS = range(4)
_PREFIXES = (
    ("backbone.", "backbone."),
    *((f"neck.lateral_convs.{n}.conv.", f"fpn.lateral.{n}.") for n in _LEVELS),
    *((f"neck.fpn_convs.{n}.conv.", f"fpn.output.{n}.") for n in _LEVELS),
    ("rpn_head.stages.0.rpn_conv.conv.", "rpn.coarse_conv."),
    ("rpn_head.stages.0.rpn_reg.", "rpn.coarse_reg."),
    ("rpn_head.stages.1.rpn_conv.conv.", "rpn.fine_conv."),
    ("rpn_head.stages.1.rpn_cls.", "rpn.fine_cls."),
    ("rpn_head.stages.1.rpn_reg.", "rpn.fine_reg."),
    ("rpn_head.rpn_conv.", "rpn.conv."),
    ("rpn_head.rpn_cls.", "rpn.cls."),
    ("rpn_head.rpn_reg.", "rpn.reg."),
    ("roi_head.bbox_head.shared_fcs.0.", "roi.fc1."),
    ("roi_head.bbox_head.shared_fcs.1.", "roi.fc2."),
    ("roi_head.bbox_head.fc_cls.", "roi.cls."),
    ("roi_head.bbox_head.fc_reg.", "roi.reg."),
    ("roi_head.fc_enc.", f"{_EMBED}.fc_enc."),
    ("roi_head.fc_proj.", f"{_EMBED}.fc_proj."),
    *((f"roi_head.comp_convs.{n}.conv.", f"{_EMBED}.convs.{n}.") for n in range(3)),
    *((f"roi_head.comp_convs.{n}.gn.", f"{_EMBED}.norms.{n}.") for n in range(3)),
)
"""The release's beginnings of names, and ours."""
_RESNETS = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a state dict of the release is.

    Attributes:
        recipe: the built-in recipe it was trained by.
        overrides: ``a.b=value`` settings on it.
        classes: number of classes.
    """

    recipe: str
    overrides: tuple[str, ...]
    classes: int


def unwrap(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    """Return the state dict and the class names (None: not given) of what mmdetection saves.

    Args:
        checkpoint: a state dict, or a mapping with ``state_dict`` and ``meta``.

    Raises:
        ModelError: if there are no tensors in it.
    """
    state = checkpoint.get("state_dict", checkpoint)
    if not isinstance(state, Mapping) or not state:
        raise ModelError("holds no state_dict", hint="a checkpoint saved by mmdetection")
    wrong = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if wrong:
        raise ModelError(f"the state_dict holds no tensor under {_some(map(str, wrong))}")
    return dict(state), _class_names(checkpoint.get("meta"))


def _class_names(meta: object) -> tuple[str, ...] | None:
    """Return the class names in mmdetection's ``meta``: of version 2, or 3."""
    if not isinstance(meta, Mapping):
        return None
    dataset = meta.get("dataset_meta")
    places = (meta, dataset) if isinstance(dataset, Mapping) else (meta,)
    for place in places:
        for key in ("CLASSES", "classes"):
            names = place.get(key)
            if isinstance(names, str) and names:
                return (names,)
            if isinstance(names, (tuple, list)) and names:
                return tuple(str(name) for name in names)
    return None


def recognise(state: Mapping[str, Tensor]) -> Recognised:
    """Tell backbone, parts and number of classes from names and shapes.

    Args:
        state: the release's names and tensors.

    Raises:
        ModelError: if it is no two-stage detector on a ResNet.
    """
    head = state.get("roi_head.bbox_head.fc_cls.bias")
    if head is None or "backbone.conv1.weight" not in state:
        raise ModelError(
            "is no CFINet or Faster R-CNN of mmdetection: "
            "backbone.conv1.weight or roi_head.bbox_head.fc_cls.bias is missing",
            hint="import-weights takes the released CFINet checkpoints",
        )
    crpn = "rpn_head.stages.0.rpn_conv.conv.weight" in state
    imitation = "roi_head.fc_proj.weight" in state
    overrides = [f"model.backbone.name={_resnet(state)}", "model.backbone.weights=null"]
    if not crpn and not imitation:
        return Recognised("faster-rcnn-r50-soda-d", tuple(overrides), len(head) - 1)
    if not crpn:
        overrides.append("model.proposals=rpn")
    if not imitation:
        overrides.append("model.imitation.enabled=false")
    return Recognised("cfinet-r50-soda-d-release", tuple(overrides), len(head) - 1)


def convert(state: Mapping[str, Tensor], detector: Detector) -> dict[str, Tensor]:
    """Rename a state dict of the release for ``detector`` and check it against it.

    Exemplars, which the release keeps elsewhere, stay the detector's own.

    Args:
        state: the release's names and tensors.
        detector: built from the recipe that ``recognise`` names.

    Returns:
        a complete state dict for ``detector.load_state_dict``.

    Raises:
        ModelError: naming what is missing, extra or of the wrong shape.
    """
    wanted = detector.state_dict()
    kept = {key: value for key, value in wanted.items() if ".exemplars." in key}
    renamed = {_rename(key): key for key in state}
    problems = []
    missing = [_original(key) for key in wanted if key not in renamed and key not in kept]
    if missing:
        problems.append(f"missing: {_some(missing)}")
    extra = [old for new, old in renamed.items() if new not in wanted or new in kept]
    if extra:
        problems.append(f"not expected: {_some(extra)}")
    shapes = [
        f"{old} {tuple(state[old].shape)} instead of {tuple(wanted[new].shape)}"
        for new, old in renamed.items()
        if new in wanted and state[old].shape != wanted[new].shape
    ]
    if shapes:
        problems.append(f"wrong shape: {_some(shapes)}")
    if problems:
        raise ModelError(
            "the weights do not fit: " + "; ".join(problems),
            hint="is the checkpoint complete, and of CFINet or Faster R-CNN with FPN?",
        )
    return {new: state[old] for new, old in renamed.items()} | kept


def _rename(key: str) -> str:
    """Return our name; a key that is none of the release's becomes one that is none of ours."""
    for theirs, ours in _PREFIXES:
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return f"not of the release: {key}"


def _original(key: str) -> str:
    """Return the release's name of one of ours."""
    for theirs, ours in _PREFIXES:
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    return key


def _resnet(state: Mapping[str, Tensor]) -> str:
    """Tell the ResNet from the number and kind of its blocks."""
    blocks = tuple(
        len({m[1] for key in state if (m := re.match(rf"backbone\.layer{n}\.(\d+)\.", key))})
        for n in (1, 2, 3, 4)
    )
    kind = (blocks, "backbone.layer1.0.conv3.weight" in state)
    if kind not in _RESNETS:
        raise ModelError(
            f"the backbone is no ResNet that is known: its layers have {blocks} blocks",
            hint="ResNet 18, 34, 50, 101 and 152 are",
        )
    return _RESNETS[kind]


def _some(names: Iterable[str]) -> str:
    """Join a few names, and count the others."""
    all_names = list(names)
    more = f" and {len(all_names) - _SHOWN} more" if len(all_names) > _SHOWN else ""
    return ", ".join(all_names[:_SHOWN]) + more
