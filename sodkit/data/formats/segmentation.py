"""COCO's ``segmentation``, and what other tools put beside the box: boxes and corners from them.

A segmentation is a list of polygons (x1 y1 x2 y2 ...) or run lengths: ``size`` (height, width) and
``counts``, column by column, as numbers or as COCO's text (``rleFrString`` in cocoapi's
``maskApi.c``). Few files need this module; the others are not slowed down by it.
"""

from __future__ import annotations

import json
from itertools import accumulate

import msgspec
import numpy as np

from sodkit.arrays import BoolArray, FloatArray
from sodkit.json_text import FAULTS

_HEAD = 1 << 16
"""So many bytes of a list of annotations are looked into for four-corner polygons."""

_BENT = 0.05
"""Diagonals of a rectangle differ by no more than this share, or by a pixel."""


_NULL = msgspec.Raw(b"null")


class Run(msgspec.Struct):
    """Run lengths of a mask."""

    size: tuple[int, int]
    counts: list[int] | str


class Extra(msgspec.Struct):
    """Fields of an annotation beside its box, undecoded."""

    segmentation: msgspec.Raw = _NULL
    attributes: msgspec.Raw = _NULL


def extra_of(raw: msgspec.Raw) -> Extra:
    """Return the extra fields of an annotation, none if it cannot be decoded."""
    try:
        return msgspec.json.decode(raw, type=Extra)
    except FAULTS:
        return Extra()


class _Attributes(msgspec.Struct):
    rotation: float | None = None


def box_of(raw: msgspec.Raw) -> tuple[float, float, float, float] | None:
    """Return the box xywh around a segmentation, None if it is empty or no segmentation."""
    try:
        shape = msgspec.json.decode(raw, type=list[list[float]] | Run | None)
    except FAULTS:
        return None
    if isinstance(shape, Run):
        return _box_of_runs(shape)
    points = [value for polygon in shape or [] for value in polygon]
    if not points or any(len(polygon) % 2 for polygon in shape or []):
        return None
    left, top = min(points[0::2]), min(points[1::2])
    return left, top, max(points[0::2]) - left, max(points[1::2]) - top


def _box_of_runs(runs: Run) -> tuple[float, float, float, float] | None:
    height = runs.size[0]
    counts = _from_text(runs.counts) if isinstance(runs.counts, str) else runs.counts
    if height < 1 or any(count < 0 for count in counts):
        return None
    ends = list(accumulate(counts))
    ones = [(start, end) for start, end in zip(ends[0::2], ends[1::2], strict=False) if end > start]
    if not ones:
        return None
    left, right = ones[0][0] // height, (ones[-1][1] - 1) // height
    # A run that goes on in the next column covers this one's last row and that one's first.
    wraps = any(start // height != (end - 1) // height for start, end in ones)
    top = 0 if wraps else min(start % height for start, _ in ones)
    bottom = height - 1 if wraps else max((end - 1) % height for _, end in ones)
    return float(left), float(top), right - left + 1.0, bottom - top + 1.0


def _from_text(text: str) -> list[int]:
    """Return the run lengths of COCO's text; what is none ends in a negative length."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 60:
            return [-1]
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    return counts


def rotation_of(raw: msgspec.Raw) -> float:
    """Return CVAT's ``attributes.rotation`` in degrees clockwise, 0 if there is none."""
    try:
        found = msgspec.json.decode(raw, type=_Attributes | None)
    except FAULTS:
        return 0.0
    return 0.0 if found is None or found.rotation is None else found.rotation


def corners_of(raw: msgspec.Raw) -> list[float] | None:
    """Return x1 y1 ... y4 of a segmentation of one polygon of four corners, else None."""
    try:
        shape = msgspec.json.decode(raw, type=list[list[float]] | None)
    except FAULTS:
        return None
    if shape is None or len(shape) != 1:
        return None
    corners = shape[0]
    if len(corners) == 10 and corners[:2] == corners[8:]:
        corners = corners[:8]
    return corners if len(corners) == 8 else None


def starts_with_corners(text: bytes) -> bool:
    """Return whether the first annotations are all drawn with four corners, one of them turned."""
    found = []
    decoder, at = json.JSONDecoder(), 1
    head = text[:_HEAD].decode(errors="replace")
    while True:
        while head[at : at + 1] in (" ", "\n", "\r", "\t", ","):
            at += 1
        try:
            record, at = decoder.raw_decode(head, at)
        except (ValueError, RecursionError):
            break
        if not isinstance(record, dict):
            return False
        found.append(corners_of(msgspec.Raw(json.dumps(record.get("segmentation")).encode())))
    corners = [item for item in found if item is not None]
    if not corners or len(corners) < len(found):
        return False
    return bool(turned(np.array(corners).reshape(-1, 4, 2)).any())


@np.errstate(over="ignore", invalid="ignore")  # corners beyond all images are refused later
def turned(corners: FloatArray) -> BoolArray:
    """Return (N,) true for (N, 4, 2) corners that are no upright box's, by more than a pixel."""
    box = np.stack([corners.min(axis=1), corners.max(axis=1)], axis=1)
    away = np.minimum(np.abs(corners - box[:, :1]), np.abs(corners - box[:, 1:]))
    return np.asarray((away > 1).any(axis=(1, 2)))


@np.errstate(over="ignore", invalid="ignore")
def rectangular(corners: FloatArray) -> BoolArray:
    """Return (N,) true for (N, 4, 2) corners of a rectangle, nearly."""
    first, second = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    middle = np.abs(corners[:, 0] + corners[:, 2] - corners[:, 1] - corners[:, 3]).max(axis=1) / 2
    one, other = np.hypot(*first.T), np.hypot(*second.T)
    slack = np.maximum(1, _BENT * np.maximum(one, other))
    return np.asarray((np.abs(one - other) <= slack) & (middle <= slack))
