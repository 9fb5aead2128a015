"""The worst images as small pictures: the whole, and a window where the most went wrong.

Found objects are green boxes, false alarms yellow boxes, missed objects orange corners. In a window
with few errors the class stands beside what is missed, class and score beside what is false.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sodkit.arrays import FloatArray
from sodkit.data.formats.folders import is_file
from sodkit.data.images.decoding import RgbImage, encode, read_image
from sodkit.data.records import Annotations, Detections
from sodkit.errors import DataError
from sodkit.evaluation.study import Study
from sodkit.viz.draw import BoxLayer, Line, View, box_corners, draw_boxes
from sodkit.viz.palette import PAPER
from sodkit.viz.tags import draw_tags

FOUND, MISSED, FALSE = 4, 2, 0
"""Colours: places in the palette."""
OVERVIEW = 960
"""Longer side of a whole image in px."""
CLOSE_UP = 560
"""Side of a window in px."""
QUALITY = 80
NAMED = 24
"""Errors in a window that are named at most: more names would hide the image."""
LETTERS = 13
"""Height of the names in px."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture as a ``data:`` address, its size in px, and what it shows."""

    source: str
    width: int
    height: int
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """What is drawn on an image: corners (N, 4, 2) in image px, and what stands beside them."""

    found: FloatArray
    missed: FloatArray
    false: FloatArray
    missed_names: tuple[str, ...] = ()
    false_names: tuple[str, ...] = ()


def thumbnails(
    annotations: Annotations, detections: Detections, study: Study, images: Path
) -> list[tuple[Thumbnail, Thumbnail]]:
    """Return overview and close-up of every worst image.

    Args:
        annotations: the ground truth.
        detections: the predictions.
        study: names the images.
        images: where the images' file names start.

    Raises:
        DataError: an image is missing, undecodable or of another size than annotated.
    """
    paths = [images / annotations.images[one.index].file_name for one in study.worst]
    missing = [path for path in paths if not is_file(path)]
    if missing:
        raise DataError(
            "image not found", where=missing[0], hint="--images says where the file names start"
        )
    return [
        _pair(annotations, detections, study, one.index, path)
        for one, path in zip(study.worst, paths, strict=True)
    ]


def marks(annotations: Annotations, detections: Detections, study: Study, index: int) -> Marks:
    """Return what to draw on an image: what has the study's score or more, and what it misses."""
    found = study.outcomes
    shown = (found.image == index) & (found.score >= study.score)
    right, wrong = shown & found.right, shown & found.wrong
    mine = found.object[found.counts & (annotations.image_index[found.object] == index)]
    missed = np.setdiff1d(mine, found.target[right])
    names = [category.name for category in annotations.categories]
    scored = zip(found.label[wrong].tolist(), found.score[wrong].tolist(), strict=True)
    return Marks(
        box_corners(detections.take(found.detection[right])),
        box_corners(annotations.take(missed)),
        box_corners(detections.take(found.detection[wrong])),
        tuple(names[label] for label in annotations.labels[missed].tolist()),
        tuple(f"{names[label]} {score:.2f}" for label, score in scored),
    )


def worst_window(drawn: Marks, size: tuple[int, int]) -> tuple[float, float, float]:
    """Return the window (left, top, side) around an error that holds the most errors.

    Args:
        drawn: with at least one error.
        size: (width, height) of the image.
    """
    side = float(min(max(max(size) / 8, 160), *size))
    centres = np.concatenate([drawn.missed, drawn.false]).mean(axis=1)
    room = np.array(size) - side
    corners = np.clip(centres - side / 2, 0, room)
    inside = [
        int(((centres >= corner) & (centres <= corner + side)).all(axis=1).sum())
        for corner in corners[:1000]  # enough to choose from, and the work is quadratic
    ]
    left, top = corners[int(np.argmax(inside))].tolist()
    return left, top, side


def _pair(
    annotations: Annotations, detections: Detections, study: Study, index: int, path: Path
) -> tuple[Thumbnail, Thumbnail]:
    record = annotations.images[index]
    image = read_image(path, size=(record.width, record.height))
    drawn = marks(annotations, detections, study, index)
    scale = min(1.0, OVERVIEW / max(record.width, record.height))
    shape = (max(1, round(record.width * scale)), max(1, round(record.height * scale)))
    small = np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_AREA), np.uint8)
    _draw(small, View(0, 0, scale), drawn, 1)
    left, top, side = worst_window(drawn, (record.width, record.height))
    close = _window(image, left, top, side)
    _draw(close, View(left, top, CLOSE_UP / side), drawn, 2)
    _name(close, View(left, top, CLOSE_UP / side), drawn)
    where = f"{side:.0f} px around ({left + side / 2:.0f}, {top + side / 2:.0f})"
    return _encode(small, record.file_name), _encode(close, where)


def _window(image: RgbImage, left: float, top: float, side: float) -> RgbImage:
    """Return a square part of an image, resized to ``CLOSE_UP``."""
    scale = CLOSE_UP / side
    # our coordinates are at pixel corners, OpenCV's at pixel centres
    shift = [0.5 * scale - 0.5 - scale * left, 0.5 * scale - 0.5 - scale * top]
    move = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    how = cv2.INTER_CUBIC if scale >= 1 else cv2.INTER_AREA
    shown = cv2.warpAffine(image, move, (CLOSE_UP, CLOSE_UP), flags=how, borderValue=PAPER)
    return np.asarray(shown, np.uint8)


def _draw(canvas: RgbImage, view: View, drawn: Marks, width: int) -> None:
    layers: Sequence[tuple[FloatArray, int, Line]] = (
        (drawn.found, FOUND, "closed"),
        (drawn.false, FALSE, "closed"),
        (drawn.missed, MISSED, "corners"),
    )
    draw_boxes(
        canvas,
        view,
        [
            BoxLayer(corners, np.full(len(corners), colour), width, line)
            for corners, colour, line in layers
        ],
    )


def _name(canvas: RgbImage, view: View, drawn: Marks) -> None:
    """Write what errors are, if they are not too many: above false alarms, below missed ones."""
    side = np.array(canvas.shape[1::-1]) / view.scale
    groups = (
        (drawn.missed, drawn.missed_names, MISSED),
        (drawn.false, drawn.false_names, FALSE),
    )
    seen = []
    for corners, names, colour in groups:
        centres = corners.mean(axis=1) - [view.x, view.y]
        inside = ((centres >= 0) & (centres <= side)).all(axis=1)
        seen.append((corners[inside], np.array(names, object)[inside].tolist(), colour))
    if sum(len(names) for _, names, _ in seen) <= NAMED:
        for corners, names, colour in seen:
            colours = np.full(len(corners), colour)
            draw_tags(canvas, view, corners, colours, names, LETTERS, below=colour == MISSED)


def _encode(image: RgbImage, text: str) -> Thumbnail:
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    data = encode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), options, text)
    content = base64.b64encode(data.tobytes()).decode()
    return Thumbnail(f"data:image/jpeg;base64,{content}", image.shape[1], image.shape[0], text)
