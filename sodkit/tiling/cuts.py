"""Which window of an image shows what of which object: all windows at once, no pixel touched.

An object meets few windows, so each object's windows are found by bisection, not each window's
objects by comparing; the work grows with the pairs that overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np
import numpy.typing as npt

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.data.records import Annotations, ImageRecord
from sodkit.geometry.boxes import area, clip
from sodkit.tiling.grid import starts
from sodkit.tiling.settings import SplitSettings
from sodkit.tiling.visible import visible_shares

_SLIVER = 1e-3
"""An object that shows only a part, and that thinner than this many px, shows nothing."""

_WHOLE = 1 - 1e-9
"""The visible share from which on an object is whole: clipping rounds."""


class Status(IntEnum):
    """How an annotation stands in a patch: left out, to be ignored, or an object."""

    KEEP = 0
    IGNORE = 1
    DROP = 2


@dataclass(frozen=True, slots=True, eq=False)
class Cuts:
    """Windows of an image, and as columns what each of them shows: row k is one object in one.

    Attributes:
        starts: (W, 2) left top corners (x, y) of the windows in the image.
        window: (K,) index into ``starts``, ascending.
        rows: (K,) annotations that a window shows any of, ascending within a window.
        share: (K,) how much of what the image shows of each lies in the window, in (0, 1].
        status: (K,) values of ``Status``.
    """

    starts: IntArray
    window: IntArray
    rows: IntArray
    share: FloatArray
    status: npt.NDArray[np.int8]

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.starts)

    @property
    def whole(self) -> BoolArray:
        """(K,) true where the window shows all of it that the image shows."""
        return np.asarray(self.share >= _WHOLE)

    @property
    def written(self) -> BoolArray:
        """(K,) true where the patch's annotations have it."""
        return np.asarray(self.status != Status.DROP)

    def take_windows(self, chosen: BoolArray) -> Self:
        """Select windows by mask (W,), with what they show."""
        rows = chosen[self.window]
        return type(self)(
            starts=self.starts[chosen],
            window=(np.cumsum(chosen) - 1)[self.window[rows]],
            rows=self.rows[rows],
            share=self.share[rows],
            status=self.status[rows],
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Join the windows of one image, in order."""
        first = np.cumsum([0, *(len(part) for part in parts)])
        return cls(
            starts=np.concatenate([part.starts for part in parts]),
            window=np.concatenate(
                [part.window + before for part, before in zip(parts, first[:-1], strict=True)]
            ),
            rows=np.concatenate([part.rows for part in parts]),
            share=np.concatenate([part.share for part in parts]),
            status=np.concatenate([part.status for part in parts]),
        )


def cut(annotations: Annotations, index: int, rows: IntArray, settings: SplitSettings) -> Cuts:
    """Look at every window of an image, in the order of ``grid.windows``.

    Args:
        annotations: of the data set.
        index: of the image in ``annotations.images``.
        rows: (R,) the annotations of that image.
        settings: the rules; ``also`` is not looked at.
    """
    image = annotations.images[index]
    own = annotations.take(rows)
    bounds = own.xyxy
    places = _Windows.of(image, settings)
    window, shown = places.meeting(bounds)
    frame = places.frames[window]
    low = np.maximum(bounds[shown, :2], frame[:, :2])
    high = np.minimum(bounds[shown, 2:], frame[:, 2:])
    if own.polygons is None:
        full = area(clip(bounds, (0, 0, image.width, image.height)))[shown]
        seen = np.prod(high - low, axis=1)
        share = np.divide(seen, full, out=np.zeros(len(full)), where=full > 0)
    else:
        share = visible_shares(own.polygons, shown, frame, (image.width, image.height))
    thin = (high - low).min(axis=1, initial=np.inf) < _SLIVER
    kept = np.flatnonzero(np.where(thin, share >= _WHOLE, share > 0))
    window, shown, share = window[kept], shown[kept], np.minimum(share[kept], 1.0)
    status = _statuses(own.is_region[shown], own.ignore[shown], share, settings)
    return Cuts(places.frames[:, :2].astype(np.int64), window, rows[shown], share, status)


@dataclass(frozen=True, slots=True, eq=False)
class _Windows:
    """A grid of windows: left and top of its columns and rows, and what each window shows."""

    lefts: IntArray
    tops: IntArray
    size: int
    frames: FloatArray
    """(W, 4) left, top, right, bottom of what each shows of the image; x outer, y inner."""

    @classmethod
    def of(cls, image: ImageRecord, settings: SplitSettings) -> _Windows:
        size, stride = settings.size, settings.stride
        lefts = np.array(starts(image.width, size, stride), np.int64)
        tops = np.array(starts(image.height, size, stride), np.int64)
        corner = np.stack([np.repeat(lefts, len(tops)), np.tile(tops, len(lefts))], axis=1)
        end = np.minimum(corner + size, [image.width, image.height])
        return cls(lefts, tops, size, np.concatenate([corner, end], axis=1).astype(np.float64))

    def meeting(self, bounds: FloatArray) -> tuple[IntArray, IntArray]:
        """Return all pairs of a window and a box (N, 4) xyxy inside it in part: indices of both.

        Sorted by window, then by box.
        """
        right, bottom = self.frames[-1, 2:]
        column, columns = _span(self.lefts, self.size, right, bounds[:, 0], bounds[:, 2])
        row, rows = _span(self.tops, self.size, bottom, bounds[:, 1], bounds[:, 3])
        count = columns * rows
        box = np.repeat(np.arange(len(bounds)), count)
        nth = np.arange(len(box)) - np.repeat(np.cumsum(count) - count, count)
        across, down = np.divmod(nth, rows[box])
        window = (column[box] + across) * len(self.tops) + row[box] + down
        order = np.argsort(window, kind="stable")
        return window[order], box[order]


def _span(
    first: IntArray, size: int, end: float, low: FloatArray, high: FloatArray
) -> tuple[IntArray, IntArray]:
    """Return where the windows begin that overlap low..high (N,) along one side, and how many."""
    begin = np.searchsorted(np.minimum(first + size, end), low, side="right")
    return begin, np.maximum(np.searchsorted(first, high, side="left") - begin, 0)


def _statuses(
    region: BoolArray, ignored: BoolArray, share: FloatArray, settings: SplitSettings
) -> npt.NDArray[np.int8]:
    """Return the status (K,) of annotations that show a share each."""
    least = settings.min_visible
    enough = share >= least if settings.keep_at_min else share > least
    too_little = Status.IGNORE if settings.truncated == "ignore" else Status.DROP
    of_region = Status.IGNORE if settings.ignore == "flag" else Status.DROP
    of_object = np.where(enough, np.where(ignored, Status.IGNORE, Status.KEEP), too_little)
    return np.where(region, of_region, of_object).astype(np.int8)
