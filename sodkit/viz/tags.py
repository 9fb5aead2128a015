"""Names and scores beside boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from sodkit.arrays import FloatArray, IntArray
from sodkit.data.images.decoding import RgbImage
from sodkit.data.records import Category
from sodkit.viz.draw import View
from sodkit.viz.palette import class_colour, class_letter, marked
from sodkit.viz.text import line_height, text_image

LabelMode = Literal["none", "class", "score", "both"]
APART = 5
"""Canvas pixels between a box and its tag: past its line."""


def tag_texts(
    labels: IntArray, scores: FloatArray | None, categories: Sequence[Category], mode: LabelMode
) -> list[str]:
    """Return what stands beside each box; "" for nothing.

    Classes that have an earlier one's colour show their letter at least.

    Args:
        labels: (N,) class indices.
        scores: (N,) in [0, 1]; None: ground truth.
        categories: the classes, by label.
        mode: what is shown.
    """
    texts = []
    for row, label in enumerate(labels.tolist()):
        names = mode in {"class", "both"}
        parts = [marked(categories[label].name, label) if names else class_letter(label)]
        if scores is not None and mode in {"score", "both"}:
            parts.append(f"{scores[row]:.2f}".lstrip("0"))
        texts.append(" ".join(part for part in parts if part))
    return texts


def draw_tags(
    canvas: RgbImage,
    view: View,
    corners: FloatArray,
    labels: IntArray,
    texts: Sequence[str],
    size: int,
    *,
    below: bool = False,
) -> None:
    """Write texts above boxes, below them where the canvas ends, in place.

    Args:
        canvas: (H, W, 3) uint8 RGB.
        view: what of the image the canvas shows.
        corners: (N, 4, 2) image pixels.
        labels: (N,) class indices: the colours.
        texts: N, "" for none.
        size: of the letters in px.
        below: write below all boxes.
    """
    shown = (corners - [view.x, view.y]) * view.scale
    height = line_height(size)
    for box, label, text in zip(shown, labels.tolist(), texts, strict=True):
        (left, top), (right, bottom) = box.min(axis=0), box.max(axis=0)
        out = right < 0 or bottom < 0 or left > canvas.shape[1] or top > len(canvas)
        if out or not text:
            continue
        tag = text_image(text, size, class_colour(label))
        above = int(np.floor(top)) - APART - height
        y = above if above >= 0 and not below else int(np.ceil(bottom)) + APART
        _paste(canvas, tag, int(np.floor(left)), y)


def _paste(canvas: RgbImage, tag: RgbImage, x: int, y: int) -> None:
    """Copy a tag to (x, y), moved into the canvas from the left and right, cut where it is."""
    x = max(0, min(x, canvas.shape[1] - tag.shape[1]))
    part = canvas[y : y + len(tag), x : x + tag.shape[1]]
    part[:] = tag[: part.shape[0], : part.shape[1]]
