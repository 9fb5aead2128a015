"""State dicts of mmdetection and its relatives: what all families share.

Works on tensors in memory; reading and writing files is the engine's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sodkit.errors import ModelError
from sodkit.models.detector import DetectorModule

Table = tuple[tuple[str, str], ...]
"""Beginnings of names: theirs, and ours."""

_RESNETS = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Join:
    """Layers of theirs that are one of ours: their outputs follow each other, box by box.

    Attributes:
        name: of the joined layer, as if it were theirs.
        parts: their layers, in the order of our outputs.
        boxes: how many boxes each of them has outputs for.
    """

    name: str
    parts: tuple[str, ...]
    boxes: int


@dataclass(frozen=True, slots=True)
class Anchors:
    """How many anchors a location has, which shapes show, but not which ones.

    Attributes:
        count: of them.
        settings: what gives a recipe so many.
    """

    count: int
    settings: str


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a state dict is.

    Attributes:
        recipe: the built-in recipe it was trained by.
        kind: of the detector.
        overrides: ``a.b=value`` settings on the recipe: the sizes that the shapes show.
        classes: number of classes.
        table: the names.
        joins: layers that are joined before they are renamed.
        also: other recipes whose weights have the same names and shapes.
        anchors: of each location, None where the shapes do not show them.
        unused: beginnings of names that their detector has, but does not use.
        bgr: convolutions whose inputs are colours as blue, green, red; ours are red, green, blue.
    """

    recipe: str
    kind: str
    overrides: tuple[str, ...]
    classes: int
    table: Table
    joins: tuple[Join, ...] = ()
    also: tuple[str, ...] = ()
    anchors: Anchors | None = None
    unused: tuple[str, ...] = ()
    bgr: tuple[str, ...] = ()


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


def joined(state: Mapping[str, Tensor], joins: Iterable[Join]) -> dict[str, Tensor]:
    """Return a state dict with layers joined.

    Raises:
        ModelError: naming the parts that are missing or do not fit together.
    """
    result = dict(state)
    for join in joins:
        for kind in ("weight", "bias"):
            names = [f"{part}.{kind}" for part in join.parts]
            missing = [name for name in names if name not in result]
            if missing:
                raise ModelError(f"the weights do not fit: missing: {_some(missing)}")
            tensors = [result.pop(name) for name in names]
            try:
                split = [t.reshape(join.boxes, -1, *t.shape[1:]) for t in tensors]
                result[f"{join.name}.{kind}"] = torch.cat(split, 1).flatten(0, 1)
            except RuntimeError as error:
                shapes = (f"{n} {tuple(t.shape)}" for n, t in zip(names, tensors, strict=True))
                raise ModelError(f"the weights do not fit together: {_some(shapes)}") from error
    return result


def convert(
    state: Mapping[str, Tensor],
    detector: DetectorModule,
    table: Table,
    joins: Iterable[Join] = (),
    hint: str = "is the checkpoint complete? --recipe names another detector",
    *,
    unused: tuple[str, ...] = (),
    bgr: tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """Rename a state dict for ``detector`` and check it against it.

    Exemplars, which the release keeps elsewhere, stay the detector's own.

    Args:
        state: their names and tensors.
        detector: built from the recipe that was recognised.
        table: the names.
        joins: layers that are joined first.
        hint: of the error.
        unused: beginnings of names that are left out.
        bgr: weights whose inputs are reversed, colour by colour.

    Returns:
        a complete state dict for ``detector.load_state_dict``.

    Raises:
        ModelError: naming what is missing, extra or of the wrong shape.
    """
    state = {key: value for key, value in state.items() if not key.startswith(unused)}
    state, wanted = joined(state, joins), detector.state_dict()
    kept = {key: value for key, value in wanted.items() if ".exemplars." in key}
    renamed = {rename(key, table): key for key in state}
    problems = []
    missing = [original(key, table) for key in wanted if key not in renamed and key not in kept]
    if missing:
        problems.append(f"missing: {_some(missing)}")
    extra = [old for new, old in renamed.items() if new not in wanted or new in kept]
    if extra:
        problems.append(f"not expected: {_some(extra)}")
    shapes = [
        f"{old} {tuple(state[old].shape)} instead of {tuple(wanted[new].shape)}"
        for new, old in renamed.items()
        if new in wanted and _sides(state[old]) != _sides(wanted[new])
    ]
    if shapes:
        problems.append(f"wrong shape: {_some(shapes)}")
    if problems:
        raise ModelError("the weights do not fit: " + "; ".join(problems), hint=hint)
    for name in bgr:
        state[name] = _reversed_colours(state[name])
    return {new: state[old].reshape(wanted[new].shape) for new, old in renamed.items()} | kept


def _sides(tensor: Tensor) -> list[int]:
    """Return the lengths of a tensor's axes but for those of 1: they change nothing."""
    return [side for side in tensor.shape if side != 1]


def _reversed_colours(weight: Tensor) -> Tensor:
    """Reverse the inputs of a convolution (O, 3 n, H, W) within each of the n triples."""
    outputs, inputs, *kernel = weight.shape
    triples = weight.reshape(outputs, inputs // 3, 3, *kernel)
    return triples.flip(2).reshape(weight.shape)


def rename(key: str, table: Table) -> str:
    """Return our name; a key that is none of theirs becomes one that is none of ours."""
    for theirs, ours in table:
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return f"unknown: {key}"


def original(key: str, table: Table) -> str:
    """Return their name of one of ours."""
    for theirs, ours in table:
        if key.startswith(ours):
            return theirs + key.removeprefix(ours)
    return key


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """Return how many different first groups of ``pattern`` the names have: layers, levels."""
    return len({m[1] for key in state if (m := re.match(pattern, key))})


def resnet(state: Mapping[str, Tensor]) -> str:
    """Return the name of the ResNet with that number and kind of blocks."""
    blocks = tuple(count(state, rf"backbone\.layer{n}\.(\d+)\.") for n in (1, 2, 3, 4))
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
