"""``batches.jpg``: the first images of a training run as the network gets them.

Resized, flipped, turned and padded, with the boxes that are learnt and what is ignored: a fault in
annotations, folders or settings shows here before hours of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from sodkit.arrays import FloatArray
from sodkit.data.batches import Batch, Target
from sodkit.data.images.decoding import RgbImage, write_image
from sodkit.geometry.rotated import obb_to_corners
from sodkit.viz.draw import BoxLayer, View, draw_boxes, mask_ignored, upright_corners
from sodkit.viz.palette import IGNORED, PAPER, class_colour
from sodkit.viz.picture import legend_rows, paste
from sodkit.viz.text import line_height, text_image

NAME = "batches.jpg"
MOST = 9
"""Images that are shown."""
COLUMNS = 3
TILE = 720
"""Longer side of an image in px; smaller ones are not enlarged."""
TEXT = 15
GAP = 6


class BatchPicture:
    """Writes ``batches.jpg`` of a run's first batches; a file that is there stays.

    Args:
        path: the file.
        classes: names, by label.
    """

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        self._path, self._classes = path, classes
        self._batches: list[Batch] = []
        self._done = path.exists()

    def __call__(self, batch: Batch) -> None:
        """Take a batch of bytes; the file is written anew until it has enough images."""
        if self._done:
            return
        self._batches.append(batch)
        write_image(self._path, draw_batches(self._batches, self._classes))
        self._done = sum(len(one.sizes) for one in self._batches) >= MOST
        if self._done:
            self._batches.clear()


def draw_batches(batches: Sequence[Batch], classes: Sequence[str]) -> RgbImage:
    """Return a picture (H, W, 3) of the first images of batches.

    Args:
        batches: with images (B, 3, H, W) uint8 and targets, on the CPU.
        classes: names, by label.
    """
    tiles: list[RgbImage] = []
    seen, ignored = np.zeros(len(classes), np.int64), 0
    for batch in batches:
        for row in range(min(len(batch.sizes), MOST - len(tiles))):
            tiles.append(_tile(batch, row))
            labels = batch.targets[row].labels.numpy()
            seen += np.bincount(labels, minlength=len(classes))
            ignored += len(batch.targets[row].ignore_boxes)
    columns = min(COLUMNS, len(tiles))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    width = max(sum(tile.shape[1] + GAP for tile in row) for row in rows)
    entries = [(f"{classes[k]} {seen[k]}", class_colour(k)) for k in np.flatnonzero(seen).tolist()]
    if ignored:
        entries.append((f"ignored {ignored}", IGNORED))
    strips = [_beside(row, width) for row in rows]
    return np.concatenate([*strips, legend_rows(width, [("learnt", None), *entries])])


def _tile(batch: Batch, row: int) -> RgbImage:
    """Return one image with its boxes below a title."""
    image = np.ascontiguousarray(batch.images[row].numpy().transpose(1, 2, 0))
    height, width = image.shape[:2]
    scale = min(1.0, TILE / max(height, width))
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_AREA), np.uint8)
    target, view = batch.targets[row], View(0, 0, scale)
    corners = _corners(target.boxes.numpy() if target.obb is None else target.obb.numpy())
    ignored = _corners(target.ignore_boxes.numpy())
    if len(ignored):
        mask_ignored(canvas, view, list(ignored), corners)
    draw_boxes(canvas, view, [BoxLayer(corners, target.labels.numpy())])
    return _titled(canvas, _title(batch, row, target))


def _corners(boxes: FloatArray) -> FloatArray:
    """Return the corners (N, 4, 2) of boxes (N, 4) xyxy or (N, 5) oriented."""
    wide = boxes.astype(np.float64)
    return obb_to_corners(wide) if wide.shape[1] == 5 else upright_corners(wide)


def _title(batch: Batch, row: int, target: Target) -> str:
    """Return an image's id, how many objects it has and its size in the network.

    What does not fit into a narrow picture is cut off, so the size comes last.
    """
    height, width = batch.sizes[row]
    x, y = batch.scales[row]
    words = [f"id {batch.image_ids[row]}", f"{len(target.labels)} objects"]
    if len(target.ignore_boxes):
        words.append(f"{len(target.ignore_boxes)} ignored")
    words.append(f"{width} × {height} px")  # noqa: RUF001
    if x != 1 or y != 1:
        words.append(f"scale {x:.3g}" if x == y else f"scale {x:.3g}, {y:.3g}")
    return "  ".join(words)


def _titled(canvas: RgbImage, text: str) -> RgbImage:
    title = np.full((line_height(TEXT), canvas.shape[1], 3), PAPER, np.uint8)
    paste(title, text_image(text, TEXT), 2, 0)
    return np.concatenate([title, canvas])


def _beside(tiles: Sequence[RgbImage], width: int) -> RgbImage:
    """Return tiles in a row of ``width`` px, as high as the highest."""
    strip = np.full((max(len(tile) for tile in tiles) + GAP, width, 3), PAPER, np.uint8)
    at = 0
    for tile in tiles:
        paste(strip, tile, at, 0)
        at += tile.shape[1] + GAP
    return strip
