"""What a detector returns, checked: one from outside may return anything.

A wrong value here would end in wrong metrics, not in an error, so it is named where it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sodkit.data.batches import PatchDetections
from sodkit.errors import ModelError

_BEYOND = 2.0
"""Boxes may reach so many px beyond their window: resizing rounds."""


def check_losses(model: object, losses: object) -> dict[str, Tensor]:
    """Return the losses if they are scalars by name.

    Args:
        model: who returned them, for messages.
        losses: what ``forward`` returned.

    Raises:
        ModelError: they are not.
    """
    name = type(model).__name__
    if not isinstance(losses, Mapping) or not losses:
        raise ModelError(
            f"returns {type(losses).__name__} instead of losses by name", where=f"{name}.forward"
        )
    for key, value in losses.items():
        if not isinstance(value, Tensor) or value.ndim != 0:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ModelError(f"the loss {key!r} is no scalar: {shape}", where=f"{name}.forward")
    return dict(losses)


def check_detections(
    model: object,
    found: object,
    windows: Sequence[tuple[str, tuple[float, float]]],
    *,
    classes: int | None,
) -> list[PatchDetections]:
    """Return the detections of each window on the CPU; raise unless they are sound.

    They are fetched from a device first, for all windows at once: it is waited for once a column,
    not for every look at a value.

    Args:
        model: who returned them, for messages.
        found: what ``detect`` returned.
        windows: image and (width, height) in px of each window.
        classes: labels are below it; None: not checked.

    Returns:
        the detections.

    Raises:
        ModelError: naming the model, the image and the value.
    """
    where = f"{type(model).__name__}.detect"
    if not isinstance(found, Sequence) or len(found) != len(windows):
        many = len(found) if isinstance(found, Sequence) else type(found).__name__
        raise ModelError(f"returns {many} results for {len(windows)} images", where=where)
    for one, (image, _) in zip(found, windows, strict=True):
        if not isinstance(one, PatchDetections):
            raise ModelError(
                f"returns {type(one).__name__} instead of PatchDetections", where=where
            )
        if problem := _wrong_shape(one):
            raise ModelError(f"{image}: {problem}", where=where)
    fetched = _on_host(found)
    for one, (image, size) in zip(fetched, windows, strict=True):
        if problem := _wrong_value(one, size, classes):
            raise ModelError(f"{image}: {problem}", where=where)
    return fetched


def _on_host(found: Sequence[PatchDetections]) -> list[PatchDetections]:
    """Return detections on the CPU."""
    if all(one.scores.device.type == "cpu" for one in found):
        return list(found)
    counts = [len(one.scores) for one in found]
    boxes, scores, labels = (
        torch.split(torch.cat(column).cpu(), counts)
        for column in zip(*((one.boxes, one.scores, one.labels) for one in found), strict=True)
    )
    oriented = [one.obb for one in found if one.obb is not None]
    rows = torch.split(torch.cat(oriented).cpu(), [*map(len, oriented)]) if oriented else ()
    obb = iter(rows)
    return [
        PatchDetections(box, score, label, None if one.obb is None else next(obb))
        for one, box, score, label in zip(found, boxes, scores, labels, strict=True)
    ]


def _wrong_shape(found: PatchDetections) -> str | None:
    """Return what is wrong with the tensors of a window's detections, None if nothing is."""
    for name, (tensor, shape) in _tensors(found).items():
        if tuple(tensor.shape) != shape:
            return f"{name} have the shape {tuple(tensor.shape)}, expected {shape}"
    if len(found.scores) and found.labels.is_floating_point():
        return f"labels are {found.labels.dtype}, expected whole numbers"
    return None


def _tensors(found: PatchDetections) -> dict[str, tuple[Tensor, tuple[int, ...]]]:
    """Return the tensors of detections with the shapes they must have."""
    count = len(found.scores)
    return {
        "boxes": (found.boxes, (count, 4)),
        "scores": (found.scores, (count,)),
        "labels": (found.labels, (count,)),
        **({} if found.obb is None else {"obb": (found.obb, (count, 5))}),
    }


def _wrong_value(
    found: PatchDetections, size: tuple[float, float], classes: int | None
) -> str | None:
    """Return what is wrong with the values of a window's detections, None if nothing is."""
    count = len(found.scores)
    for name, (tensor, _) in _tensors(found).items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            row = int(torch.nonzero(~torch.isfinite(tensor.reshape(count, -1)).all(1))[0])
            return f"{name}[{row}] is not finite: {tensor[row].tolist()}"
    if count == 0:
        return None
    low, high = int(found.labels.min()), int(found.labels.max())
    if low < 0 or (classes is not None and high >= classes):
        return f"the label {low if low < 0 else high} is none of 0 to {(classes or 0) - 1}"
    if found.obb is None:
        return _outside(found.boxes, size)
    return None


def _outside(boxes: Tensor, size: tuple[float, float]) -> str | None:
    """Return which box lies outside of a window, None if none does."""
    beyond = (boxes < -_BEYOND) | (boxes > boxes.new_tensor([*size, *size]) + _BEYOND)
    rows = torch.nonzero(beyond.any(1))
    if len(rows) == 0:
        return None
    row = int(rows[0])
    numbers = ", ".join(f"{value:g}" for value in boxes[row].tolist())
    return f"box {row} ({numbers}) lies outside of its {size[0]:g} x {size[1]:g} px"
