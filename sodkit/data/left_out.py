"""What ``--skip-bad`` leaves out: boxes that no detector can learn, images that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sodkit.csv_text import csv_text
from sodkit.data.formats.source import SKIPPED, MissingImageError, Report, advised, stop
from sodkit.data.images.decoding import read_image
from sodkit.data.records import Annotations, ImageRecord
from sodkit.data.restriction import only_images
from sodkit.errors import DataError, ImageError
from sodkit.files import write_text
from sodkit.threads import map_in_order

LEFT_OUT = "left_out.csv"
"""The list that is written into the folder of a command's output."""

_NAMED = 10


class LeftOut:
    """Collects what is left out, if that is wished.

    Args:
        bad: leave out boxes of the kinds in ``SKIPPED``, and images that cannot be read.
        missing: leave out labels whose image is not there.
        bit_depth: of images of more than 8 bits, see ``read_image``.
    """

    def __init__(
        self, *, bad: bool, missing: bool | None = None, bit_depth: int | None = None
    ) -> None:
        self.errors: list[DataError] = []
        self._bad = bad
        self._missing = bad if missing is None else missing
        self._bit_depth = bit_depth

    @property
    def report(self) -> Report:
        """The ``Report`` for reading annotations."""
        return self._note if self._bad or self._missing else stop

    def _note(self, error: DataError, kind: str) -> None:
        missing = isinstance(error, MissingImageError)
        bad = kind in SKIPPED or isinstance(error, ImageError)
        if (missing and self._missing) or (bad and self._bad):
            self.errors.append(error)
        else:
            stop(error, kind)

    def image(self, error: DataError) -> None:
        """Note an image that cannot be read; raise the error if none may be left out."""
        if not self._bad:
            raise advised(error) from error
        self.errors.append(error)

    def without_missing(self, annotations: Annotations) -> Annotations:
        """Return annotations without the images that are not there, and their objects."""
        stems = {error.stem for error in self.errors if isinstance(error, MissingImageError)}
        if not stems:
            return annotations
        there = np.array([image.file_name not in stems for image in annotations.images], np.bool_)
        return only_images(annotations, np.flatnonzero(there))

    def readable(self, annotations: Annotations, folder: Path, threads: int = 2) -> Annotations:
        """Return annotations of the images that can be read: each is, if some may be left out.

        Args:
            annotations: what is to be used.
            folder: where ``file_name`` starts.
            threads: that read.

        Raises:
            DataError: none can be read.
        """
        if not self._bad:
            return annotations
        annotations = self.without_missing(annotations)
        work = map_in_order(
            lambda image: _fault(image, folder, self._bit_depth), annotations.images, threads
        )
        faults = list(work)
        self.errors += [fault for fault in faults if fault is not None]
        kept = np.array([index for index, fault in enumerate(faults) if fault is None], np.int64)
        self.check_some_left(len(kept), len(faults))
        return annotations if len(kept) == len(faults) else only_images(annotations, kept)

    def check_some_left(self, left: int, images: int) -> None:
        """Raise DataError if there were images and none is left."""
        if images and not left:
            first = self.errors[-1]
            raise DataError(
                f"none of the {images} images can be read, {first.where}: {first.what}",
                hint="are these the images? --images DIR says where file_name starts",
            )

    def write(self, path: Path) -> None:
        """Write the list as CSV, where and why, if something was left out."""
        if self.errors:
            rows = [(error.where, error.what) for error in self.errors]
            write_text(path, csv_text([("where", "reason"), *rows]))

    def sentences(self, path: Path | None = None) -> list[str]:
        """Return the count and the first ten, for people; ``path``: where the list is."""
        if not self.errors:
            return []
        end = "" if path is None else f"; all are in {path}"
        first = (f"  {error.where}: {error.what}" for error in self.errors[:_NAMED])
        return [f"left out: {len(self.errors)}{end}", *first]


def _fault(image: ImageRecord, folder: Path, bit_depth: int | None) -> DataError | None:
    try:
        read_image(folder / image.file_name, size=(image.width, image.height), bit_depth=bit_depth)
    except DataError as error:
        return error
    return None
