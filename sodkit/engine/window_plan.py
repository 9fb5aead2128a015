"""Which windows are predicted on, in which batches: from the images' sizes alone.

A detector's numbers depend in their last bits on the batch that a window is in. So batches are laid
before any image is read, and windows that cannot be read keep their places. Whoever computes a
batch, one of many processes or a run that goes on after it was killed, computes the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile, islice

from sodkit.data.records import ImageRecord
from sodkit.tiling.grid import windows


@dataclass(frozen=True, slots=True)
class Window:
    """A window of an image.

    Attributes:
        image: index of its image in the list that is predicted on.
        start: (x, y) of its left top corner in px of the image.
        side: its width and height in px; it may reach beyond the image.
        last: it is the last one of its image.
    """

    image: int
    start: tuple[int, int]
    side: int
    last: bool


Batch = tuple[Window, ...]
"""Windows that the detector gets at once; of one image or of several."""


def window_batches(
    images: Sequence[ImageRecord], size: int | None, stride: int, batch: int, *, first: int = 0
) -> Iterator[Batch]:
    """Yield the windows of all images in order, in batches; only the last one may be smaller.

    Every N-th batch, by ``itertools.islice``, is the work of one of N processes.

    Args:
        images: what is predicted on.
        size: of a window in px; None: each image is one window.
        stride: from one window to the next in px.
        batch: windows a batch.
        first: begin with the batch that holds the first window of this image.
    """
    stream = _windows(images, size, stride)
    batches = iter(lambda: tuple(islice(stream, batch)), ())
    return dropwhile(lambda one: one[-1].image < first, batches)


def _windows(images: Sequence[ImageRecord], size: int | None, stride: int) -> Iterator[Window]:
    for index, image in enumerate(images):
        side = size or max(image.width, image.height)
        starts = windows(image.width, image.height, side, stride if size else side)
        for number, start in enumerate(starts, 1):
            yield Window(index, start, side, number == len(starts))
