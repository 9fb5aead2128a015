"""Boxes that are probably in another form than the format's: fractions, or corners for sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sodkit.arrays import FloatArray
from sodkit.data.formats.source import Report
from sodkit.data.records import Note
from sodkit.errors import DataError

if TYPE_CHECKING:
    from sodkit.data.formats.assemble import Collected

_SMALLEST = 10.0
"""Sides in px of images on which boxes within one pixel cannot be meant."""

_SHARE = 0.1
"""From this share of boxes that reach out of their image on, another form is likelier."""

_SLACK = 1.0
"""Corners may reach so many px out of the image: rounding."""


def note_doubts(
    source: Collected, xywh: FloatArray, limit: FloatArray, report: Report
) -> Collected:
    """Report boxes that are fractions, and return the source with a note on probable corners.

    Args:
        source: annotations with sound boxes.
        xywh: (N, 4) their upright boxes in px.
        limit: (N, 2) width and height of their images.
        report: called with an error.
    """
    what = in_fractions(xywh, limit)
    if what is not None:
        hint = "multiply them by the width and height of the image: pixels are expected"
        report(DataError(what, where=source.place(0), hint=hint), "fractions")
    what = None if source.polygons is not None else as_corners(xywh, limit)
    return source if what is None else replace(source, notes=(*source.notes, Note("corners", what)))


def in_fractions(xywh: FloatArray, limit: FloatArray) -> str | None:
    """Say so if all boxes lie within the first pixel: they are fractions of the image's size.

    Args:
        xywh: (N, 4) boxes in px.
        limit: (N, 2) width and height of their images.
    """
    if not len(xywh) or not (limit > _SMALLEST).all():
        return None
    within = (xywh >= 0).all() and (xywh[:, :2] + xywh[:, 2:] <= 1).all()
    if not within:
        return None
    box = ", ".join(f"{value:g}" for value in xywh[0])
    what = f"all {len(xywh)} boxes lie within one pixel, such as {box}"
    return f"{what}: these are fractions of the image's size"


def as_corners(xywh: FloatArray, limit: FloatArray) -> str | None:
    """Say so if many boxes reach out of their image, and all fit into it as x1, y1, x2, y2.

    Arguments as ``in_fractions``.
    """
    if len(xywh) < 2:
        return None
    high = xywh[:, :2] + xywh[:, 2:]
    reaches = np.asarray((high > limit + _SLACK).any(axis=1))
    fit = (xywh[:, 2:] > xywh[:, :2]) & (xywh[:, 2:] <= limit + _SLACK) & (xywh[:, :2] >= 0)
    count = np.count_nonzero(reaches)
    if not count or count < _SHARE * len(xywh) or not fit.all():
        return None
    return (
        f"{count} of {len(xywh)} boxes reach out of their image, and all would fit "
        "as corners x1, y1, x2, y2: is that how they are written? x, y, width, height is read"
    )
