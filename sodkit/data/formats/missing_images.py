"""Annotations of images that are not there: leaving them out, if that is wished."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sodkit.data.formats.source import MissingImageError, stop
from sodkit.data.records import Annotations
from sodkit.errors import DataError


class MissingImages:
    """A ``Report`` that notes missing images if they are to be left out, and raises all else.

    What was read of them stays until ``without`` takes it away, so that it can be counted.
    """

    def __init__(self, *, leave_out: bool) -> None:
        self.errors: list[MissingImageError] = []
        self._leave_out = leave_out

    def __call__(self, error: DataError, kind: str) -> None:
        """Note a missing image, or raise."""
        if not self._leave_out or not isinstance(error, MissingImageError):
            stop(error, kind)
            return
        self.errors.append(error)

    def without(self, annotations: Annotations) -> Annotations:
        """Return annotations without the missing images and their objects."""
        names = {error.stem for error in self.errors}
        if not names:
            return annotations
        there = np.array([image.file_name not in names for image in annotations.images], np.bool_)
        own = annotations.take(there[annotations.image_index])
        return replace(
            own,
            images=tuple(image for image, keep in zip(own.images, there, strict=True) if keep),
            image_index=(np.cumsum(there) - 1)[own.image_index],
        )
