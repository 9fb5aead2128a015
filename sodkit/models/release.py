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
_NAMES = (
    (r"backbone\.(.+)", r"backbone.\1"),
    (r"neck\.lateral_convs\.(\d)\.conv\.(.+)", r"fpn.lateral.\1.\2"),
    (r"neck\.fpn_convs\.(\d)\.conv\.(.+)", r"fpn.output.\1.\2"),
    (r"rpn_head\.stages\.0\.rpn_conv\.conv\.(.+)", r"rpn.coarse_conv.\1"),
    (r"rpn_head\.stages\.0\.rpn_reg\.(.+)", r"rpn.coarse_reg.\1"),
    (r"rpn_head\.stages\.1\.rpn_conv\.conv\.(.+)", r"rpn.fine_conv.\1"),
    (r"rpn_head\.stages\.1\.rpn_cls\.(.+)", r"rpn.fine_cls.\1"),
    (r"rpn_head\.stages\.1\.rpn_reg\.(.+)", r"rpn.fine_reg.\1"),
    (r"rpn_head\.rpn_(conv|cls|reg)\.(.+)", r"rpn.\1.\2"),
    (r"roi_head\.bbox_head\.shared_fcs\.0\.(.+)", r"roi.fc1.\1"),
    (r"roi_head\.bbox_head\.shared_fcs\.1\.(.+)", r"roi.fc2.\1"),
    (r"roi_head\.bbox_head\.fc_(cls|reg)\.(.+)", r"roi.\1.\2"),
    (r"roi_head\.(fc_enc\.\d|fc_proj)\.(.+)", rf"{_EMBED}.\1.\2"),
    (r"roi_head\.comp_convs\.(\d)\.conv\.(.+)", rf"{_EMBED}.convs.\1.\2"),
    (r"roi_head\.comp_convs\.(\d)\.gn\.(.+)", rf"{_EMBED}.norms.\1.\2"),
)
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
    meta = checkpoint.get("meta")
    names = meta.get("CLASSES") if isinstance(meta, Mapping) else None
    return dict(state), tuple(str(n) for n in names) if names else None


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
    missing = [key for key in wanted if key not in renamed and key not in kept]
    if missing:
        problems.append(f"missing: {_some(missing)} (in our names)")
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
    for pattern, name in _NAMES:
        match = re.fullmatch(pattern, key)
        if match:
            return match.expand(name)
    return f"not of the release: {key}"


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
