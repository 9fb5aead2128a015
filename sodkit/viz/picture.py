"""One picture an image, as in the paper's Figure 5: boxes, zoom-ins of the smallest, a legend.

With predictions and ground truth together, predictions are closed boxes and ground truth the
corners around them. Compared (``verdicts``), what was found is a closed box, what is false a dashed
one, and what was missed corners.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sodkit.arrays import FloatArray, IntArray
from sodkit.data.images.decoding import RgbImage
from sodkit.data.records import Category
from sodkit.viz.content import Content, IgnoreMode, Style
from sodkit.viz.draw import (
    BoxLayer,
    Line,
    View,
    box_corners,
    draw_boxes,
    line_width,
    mask_ignored,
    outline_ignored,
)
from sodkit.viz.palette import IGNORED, INK, PAPER, Colour, class_colour, marked
from sodkit.viz.tags import draw_tags, tag_texts
from sodkit.viz.text import line_height, text_image, text_width

ZOOM_CONTEXT = 4.0
"""Side of a zoom-in's window, in parts of the object's longer side."""
MIN_WINDOW = 32.0
"""Least side of a zoom-in's window in image px."""


def draw_selected(
    image: RgbImage, categories: Sequence[Category], content: Content, style: Style
) -> RgbImage:
    """Return a picture of one image with its boxes.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        categories: the classes, by label.
        content: what is drawn, see ``select``.
        style: how.

    Returns:
        (H', W, 3) uint8 RGB, the image on top, H' >= H.
    """
    canvas = image.copy()
    width = line_width(image.shape[1], image.shape[0])
    draw_content(canvas, View(), content, style.ignore, width)
    _tag(canvas, View(), categories, content, style, 8 + 3 * width)
    parts = [canvas]
    if style.zoom:
        parts.append(_zoom_strip(image, categories, content, style))
    parts.append(_legend(image.shape[1], categories, content, style))
    return np.concatenate(parts, axis=0)


def draw_content(
    canvas: RgbImage, view: View, content: Content, ignore: IgnoreMode, width: int
) -> None:
    """Draw everything on a canvas, in place."""
    truth, found = content.truth, content.found
    if ignore == "mask" and content.ignored:
        keep = np.zeros((0, 4, 2)) if truth is None else box_corners(truth)
        mask_ignored(canvas, view, content.ignored, keep, width)
    elif ignore == "outline" and content.ignored:
        outline_ignored(canvas, view, content.ignored, width)
    layers = []
    if truth is not None:
        beside = found is not None
        thin = max(1, width - 1) if beside else width
        line: Line = "corners" if beside else "closed"
        layers.append(BoxLayer(box_corners(truth), truth.labels, thin, line))
    if found is not None:
        corners = box_corners(found)
        false = np.zeros(len(found), np.bool_) if content.false is None else content.false
        layers.append(BoxLayer(corners[~false], found.labels[~false], width))
        layers.append(BoxLayer(corners[false], found.labels[false], width, "dashed"))
    draw_boxes(canvas, view, layers)


def _tag(
    canvas: RgbImage,
    view: View,
    categories: Sequence[Category],
    content: Content,
    style: Style,
    size: int,
) -> None:
    """Write beside boxes what the style says: of ground truth only where nothing was found."""
    truth, found = content.truth, content.found
    if truth is not None and (found is None or content.false is not None):
        texts = tag_texts(truth.labels, None, categories, style.labels)
        draw_tags(canvas, view, box_corners(truth), truth.labels, texts, size)
    if found is not None:
        texts = tag_texts(found.labels, found.scores, categories, style.labels)
        draw_tags(canvas, view, box_corners(found), found.labels, texts, size)


def _zoom_strip(
    image: RgbImage, categories: Sequence[Category], content: Content, style: Style
) -> RgbImage:
    """Return the strip of zoom-ins, as wide as the image."""
    total = image.shape[1]
    side, size, columns = _strip_layout(total, style.zoom)
    tiles = [
        zoom_tile(image, window, caption, categories, content, style, min(side, total), size)
        for window, caption in zoom_windows(image.shape, categories, content, style.zoom)
    ]
    strip = np.empty((0, total, 3), dtype=np.uint8)
    for start in range(0, len(tiles), columns):
        row = np.concatenate(tiles[start : start + columns], axis=1)
        strip = np.concatenate([strip, _widen(row, total)])
    return strip


def _strip_layout(total: int, zoom: int) -> tuple[int, int, int]:
    """Return side and text size of the zoom-ins, and how many stand beside each other."""
    side = max(64, min(total // zoom, max(360, total // 8)))
    return side, max(11, side // 14), max(1, total // side)


def most_below(width: int, zoom: int, classes: int) -> int:
    """Return how many px a picture of ``width`` px is at most higher than its image.

    Args:
        width: of the image in px.
        zoom: how many zoom-ins it has.
        classes: how many the legend may name.
    """
    size = _legend_size(width)
    legend = (classes + 2) * (line_height(size) + size // 2)  # at most a line an entry
    if not zoom:
        return legend
    side, size, columns = _strip_layout(width, zoom)
    return legend - (-zoom // columns) * (min(side, width) + line_height(size))


def zoom_windows(
    shape: tuple[int, ...], categories: Sequence[Category], content: Content, count: int
) -> list[tuple[tuple[float, float, float], str]]:
    """Choose windows (left, top, side) around the smallest objects, and their captions.

    Where no object is annotated, around the smallest detections.
    Objects that already show well inside another window get none of their own.
    """
    truth, found = content.truth, content.found
    objects = truth if truth is not None and (len(truth) or found is None) else found
    if objects is None:
        return []
    sides = objects.xywh[:, 2:] if objects.obb is None else objects.obb[:, 2:4]
    windows: list[tuple[tuple[float, float, float], str]] = []
    for row in np.argsort(sides.prod(axis=1), kind="stable"):
        if len(windows) == count:
            break
        x, y = objects.xywh[row, :2] + objects.xywh[row, 2:] / 2
        if any(max(abs(x - a - s / 2), abs(y - b - s / 2)) < 0.4 * s for (a, b, s), _ in windows):
            continue
        name = categories[int(objects.labels[row])].name
        caption = f"{sides[row, 0]:.0f} × {sides[row, 1]:.0f} px {name}"  # noqa: RUF001
        windows.append((window_around(objects.xywh[row], shape), caption))
    return windows


def window_around(xywh: FloatArray, shape: tuple[int, ...]) -> tuple[float, float, float]:
    """Return the window (left, top, side) of a zoom-in on a box, in an image of (H, W, ...)."""
    side = max(ZOOM_CONTEXT * float(xywh[2:].max()), MIN_WINDOW)
    x, y = xywh[:2] + xywh[2:] / 2
    # moved into the image where it can be
    left = max(0.0, min(float(x) - side / 2, shape[1] - side))
    top = max(0.0, min(float(y) - side / 2, shape[0] - side))
    return left, top, side


def zoom_tile(
    image: RgbImage,
    window: tuple[float, float, float],
    caption: str,
    categories: Sequence[Category],
    content: Content,
    style: Style,
    side: int,
    size: int,
) -> RgbImage:
    """Return a square of ``side`` px that shows a window of the image, with its caption above."""
    left, top, extent = window
    scale = side / extent
    move = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    # our coordinates are at pixel corners, OpenCV's at pixel centres
    move[:, 2] += 0.5 * scale - 0.5
    how = cv2.INTER_NEAREST if scale >= 1 else cv2.INTER_AREA
    shown = cv2.warpAffine(image, move, (side, side), flags=how, borderValue=PAPER)
    tile = np.asarray(shown, dtype=np.uint8)
    width = max(1, side // 160)
    view = View(left, top, scale)
    draw_content(tile, view, content, style.ignore, width)
    _tag(tile, view, categories, content, style, size)
    tile[:, -2:] = PAPER
    title = np.full((line_height(size), side, 3), PAPER, dtype=np.uint8)
    paste(title, text_image(caption, size), 2, 0)
    return np.concatenate([title, tile])


def _legend(width: int, categories: Sequence[Category], content: Content, style: Style) -> RgbImage:
    """Return the legend, as wide as the image: what the lines mean, counts by class."""
    return legend_rows(width, legend_entries(categories, content, style))


def legend_rows(width: int, texts: Sequence[tuple[str, Colour | None]]) -> RgbImage:
    """Return a legend of ``width`` px: texts, with swatches of their colours, in rows."""
    size = _legend_size(width)
    entries = [_entry(text, colour, size) for text, colour in texts]
    gap, height = size, line_height(size) + size // 2
    rows: list[RgbImage] = []
    at = width
    for entry in entries:
        if at + entry.shape[1] + gap > width:
            rows.append(np.full((height, width, 3), PAPER, dtype=np.uint8))
            at = gap // 2
        paste(rows[-1], entry, at, size // 4)
        at += entry.shape[1] + gap
    return np.concatenate(rows)


def _legend_size(width: int) -> int:
    return int(np.clip(width / 90, 11, 44))


def legend_entries(
    categories: Sequence[Category], content: Content, style: Style
) -> list[tuple[str, Colour | None]]:
    """Return the legend's entries: text and colour of the swatch, if any."""
    truth, found = content.truth, content.found
    count = len(categories)
    right = np.zeros(count, np.int64) if truth is None else _count(truth.labels, count)
    seen = np.zeros(count, np.int64) if found is None else _count(found.labels, count)
    score = f"score ≥ {style.score:g}"
    if found is not None and content.false is not None:
        false = _count(found.labels[content.false], count)
        texts = [f"{a} / {b} / {c}" for a, b, c in zip(seen - false, false, right, strict=True)]
        header = f"{score}: found (boxes) / false (dashed) / missed (corners)"
    elif found is not None and truth is not None:
        texts = [f"{a} / {b}" for a, b in zip(seen, right, strict=True)]
        header = f"predictions, {score} (boxes) / ground truth (corners)"
    elif found is not None:
        texts, header = [str(a) for a in seen], f"predictions, {score}"
    else:
        texts, header = [str(b) for b in right], "ground truth"
    entries: list[tuple[str, Colour | None]] = [(header, None)]
    entries += [
        (f"{marked(categories[k].name, k)} {texts[k]}", class_colour(k))
        for k in range(count)
        if right[k] or seen[k]
    ]
    if content.ignored and style.ignore != "hide":
        entries.append((f"ignored {len(content.ignored)}", IGNORED))
    return entries


def _count(labels: IntArray, classes: int) -> IntArray:
    return np.bincount(labels, minlength=classes).astype(np.int64)


def _entry(text: str, colour: Colour | None, size: int) -> RgbImage:
    """Return one entry of a legend: a swatch and a text."""
    swatch = size + size // 2 if colour is not None else 0
    entry = np.full((line_height(size), swatch + text_width(text, size) + 2, 3), PAPER, np.uint8)
    if colour is not None:
        top = max(0, (len(entry) - size) // 2)
        entry[top : top + size, :size] = colour
    paste(entry, text_image(text, size, INK), swatch, 0)
    return entry


def paste(canvas: RgbImage, part: RgbImage, x: int, y: int) -> None:
    """Copy ``part`` into ``canvas`` at (x, y) >= 0, in place, cut where it does not fit."""
    height = max(0, min(part.shape[0], canvas.shape[0] - y))
    width = max(0, min(part.shape[1], canvas.shape[1] - x))
    canvas[y : y + height, x : x + width] = part[:height, :width]


def _widen(row: RgbImage, width: int) -> RgbImage:
    """Pad or cut (H, W, 3) at the right to ``width``."""
    wide = np.full((row.shape[0], width, 3), PAPER, dtype=np.uint8)
    paste(wide, row, 0, 0)
    return wide
